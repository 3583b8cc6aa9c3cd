"""Whether an answer is correct, by the rules of the benchmarks. (What a correct answer earns in training: `rewards`.)

VSR asks for yes or no (true or false), TallyQA for one number, GQA for the same words in VQA's normal form. What models
add around an answer is read: "Answer: …", "It is …", a sentence, an option's letter. A text that says two things
counts as no answer. Text is matched, never evaluated, in time linear in its length.
"""

import re
import unicodedata
from decimal import Decimal

from mags_kit.records import Sample

LONGEST = 1000  # characters; a longer text is no answer
SPELLINGS = str.maketrans("‐‑‒–−‘’ʼ“”⁄", "-----'''\"\"/")
ARTICLE = re.compile(r"(?<![\w-])(?:the|an|a(?!\s+[a-z](?![\w'-])))\s+(?=[\"'(*]*\w)")  # "a" before a letter is one
ONES = "one two three four five six seven eight nine".split()
TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
NUMBER_WORDS = dict(zip(["zero", *ONES, *TEENS, *TENS, "none"], [*range(20), *range(20, 100, 10), 0], strict=True))
NUMBER_WORD = re.compile(rf"\b(?:(?:{'|'.join(TENS)})[ -](?:{'|'.join(ONES)})|{'|'.join(NUMBER_WORDS)})\b")
WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
NOT = re.compile(r"\b(?:(?:is|are|was|were|do|does|did)nt|can ?not|can't|anything but)\b|n't\b")  # and "not" itself
NEGATIONS = "not never hardly doubt unlikely without".split()


def plain(text: str) -> str:
    """A text in one way of writing: small letters, plain spaces, hyphens and quotes, number words as digits."""
    text = re.sub(r"(?<![\d.,])[1-9]\d{0,2}(?:,\d{3})+(?!,?\d)", lambda found: found[0].replace(",", ""), text)
    if not text.isascii():
        text = re.sub(r"(?<=\d)(?=[²³¹⁰-₉¼-¾⅐-⅞])", " ", text)  # else 10² would read 102
        text = unicodedata.normalize("NFKC", text).translate(SPELLINGS)
        text = "".join(c for c in text if unicodedata.category(c) != "Cf" and not "\ufe00" <= c <= "\ufe0f")
    text = " ".join(text.casefold().split())
    return NUMBER_WORD.sub(lambda found: str(sum(NUMBER_WORDS[word] for word in re.split("[ -]", found[0]))), text)


def normalise(text: str) -> str:
    """VQA's normal form: case, articles and punctuation go, number words become digits; unlike there, signs stay.

    >>> normalise("The Three."), normalise("A T-shirt"), normalise("A"), normalise("women's"), normalise("-3 %")
    ('3', 't shirt', 'a', 'womens', '-3%')
    """
    text = re.sub(r"(?<=\w)'(?=[^\W\d_])", "", ARTICLE.sub("", plain(text)))
    text = re.sub(r"[.:](?!\d)|/(?! ?\d)|(?<=\w)-(?=\w)|(?<!\S)-(?![^\w\s-]?\.?\d)", " ", text)  # the others are signs
    said = (c if c in ".:/-%#" or unicodedata.category(c)[0] in "LNMS" and c not in "`=<>~|^" else " " for c in text)
    return " ".join("".join(said).replace(" %", "%").split())


PARTICLES = dict.fromkeys("yes yeah yep".split(), "yes") | dict.fromkeys("no nope nah".split(), "no")
YES_NO = PARTICLES | dict.fromkeys("true correct accurate agree".split(), "yes")
YES_NO |= dict.fromkeys("false incorrect inaccurate untrue disagree".split(), "no")
SIDES = {"right": "yes", "wrong": "no"}  # at the end of a clause only: "right" is a side, too
CLAUSE = re.compile(r"[,;:!?()\[\]—…=]|\.(?!\d)|\b(?:but|so|because|since|therefore|although|though|however)\b")
# The only words over which a yes or no is read and a negation reaches it; those in AHEAD may stand right before it
AHEAD = {*"so i answer is it's that's are was be seem seems really entirely".split(), *NEGATIONS, *YES_NO}
LINKS = AHEAD.union("the this that it do does think believe there appear to statement caption claim sentence".split())
IDLE = "idea clue way answer doubt question error mistake problem reason evidence information longer other others".split()
UNCLEAR = {*"or and is would not if unless maybe perhaps".split(), *IDLE}  # "yes or no", "yes is wrong", "no idea"


def yes_or_no(text: str) -> str:
    """`yes` or `no` if a text says so in the usual words; nothing if it says both, neither, or is not understood.

    >>> yes_or_no("True."), yes_or_no("No, it is not."), yes_or_no("The statement isn't true"), yes_or_no("yes or no")
    ('yes', 'no', 'no', '')
    """
    sentences = re.split(r"(?<=[.!?]) ", plain(text.replace("\n", ". ")))
    text = " ".join(s for s in sentences if not s.endswith("?") or s[:-1] in PARTICLES)  # a question says nothing
    clauses = [words for words in map(WORD.findall, CLAUSE.split(NOT.sub(" not ", text))) if words]
    said = [_said(words) for words in clauses]
    values = {value for clause in said for value in clause}
    if len(values) == 1:
        return values.pop().strip("?")
    # What a text begins with decides, unless another clause begins with the contrary: "No, it is correct that …"
    first = said[0][0] if clauses and clauses[0][0] in YES_NO else "?"
    begun = {PARTICLES[words[0]] for words in clauses if words[0] in PARTICLES}
    return first.strip("?") if begun <= {first} else ""


def _said(words: list[str]) -> list[str]:
    """What a clause says, in order: `yes`, `no`, or `?` where that is not clear."""
    said, negated, understood, before = [], False, True, "so"
    for word, after in zip(words, [*words[1:], ""], strict=True):
        value = YES_NO.get(word) or (SIDES.get(word) if understood and not after else None)
        if value and not (before == "the" and after):  # "the correct answer"
            clear = understood and before in AHEAD and YES_NO.get(after, value) == value and after not in UNCLEAR
            said.append("?" if not clear else {"yes": "no", "no": "yes"}[value] if negated else value)
        before, understood, negated = word, understood and word in LINKS, negated ^ (word in NEGATIONS)
    return said or ["no"] * (understood and negated)  # "it is not"


# Numbers without a unit; bounds, fractions, ranges, times and multiples are no count, and 1.000 may be 1 or 1000
NUMBER = re.compile(r"(?<![\w.$€£¥^-])-?(?:\d+(?:\.\d+)?|\.\d+)(?![\w%°]|\.\d| (?:%|°|per ?cent))")
VAGUE = re.compile(
    r"\b(?:least|most|than|over|under|above|below|up to|almost|nearly|half|minus|negative|(?:max|min)(?:imum)?)"
    r"(?: of)?(?: the)? \d|(?<!\S)[<>≤≥±] ?\d|\d\+(?!\w)|\d ?/ ?\d|\d[,:']\d|\d-\w|\w-\d|\d\.000(?!\d)|"
    r"\d (?:or|and) (?:more|less|fewer|over|under|up)\b|\d (?:and )?(?:a )?(?:half|halves|quarters?|thirds?)\b|"
    r"\b(?:pair|couple|dozen|hundred|thousand|million|billion|neither)s?\b"
)
UNCOUNTED = "more less fewer it i we you she they there this that the a of is are was but so because and or not yes no"
NO_THING = re.compile(rf"\bno (?!(?:{'|'.join([*IDLE, *UNCOUNTED.split()])})\b)[^\W\d]|\bnot (?:see |have )?any\b")


def number(text: str) -> Decimal | None:
    """The one number that a text names, in digits or words; None for none, several, a bound or a negation.

    >>> number("There are three cats."), number("no cats"), number("2 or 3"), number("3rd"), number("at least 3")
    (Decimal('3'), Decimal('0'), None, None, None)
    """
    text = re.sub(r"(?i)\b(?:nothing|nobody|no[ -]one)\b", "0", text.replace("\n", ". "))
    text = NOT.sub(" not", plain(text))
    found = {Decimal(value) for value in NUMBER.findall(text)} | ({Decimal(0)} if NO_THING.search(text) else set())
    denied = re.split(rf"\b(?:{'|'.join(NEGATIONS)})\b", text, maxsplit=1)[1:]  # "4, not 3"
    return None if any(map(NUMBER.search, denied)) or len(found) != 1 or VAGUE.search(text) else found.pop()


OPTION = re.compile(r"(?:\([A-Z]\)|(?<!\w)[A-Z]\)|^[ \t]*[A-Z][.:])[ \t]+", re.MULTILINE)
ADDED = re.compile(  # what models put before an answer
    r"\A\W*(?:(?:the )?(?:final |correct )?answer(?: is\b)? ?[:=]?|(?:it is|it's|option|i choose)\b)(?=\W)[ *:\"']*"
)
MARK = re.compile(r"[ _]*(?:[).:,;\]*\"_]|'(?!\w)| -|$| is (?:correct|right)\b)")  # follows an option's letter


def options(question: str) -> dict[str, str]:
    """The options that a question lists as "(A) …", "A) …" or, at the start of a line, "A. …", by small letter.

    >>> options("What colour is it? (A) red (B) dark blue"), options("Is (A) it?")
    ({'a': 'red', 'b': 'dark blue'}, {})
    """
    marks = []
    for mark in OPTION.finditer(question):
        if mark[0].strip(" \t().:") == chr(ord("A") + len(marks)):
            marks.append(mark)
    ends = [mark.start() for mark in marks[1:]] + [len(question)]
    texts = [question[mark.end() : end].split("\n")[0].strip() for mark, end in zip(marks, ends, strict=False)]
    return {chr(ord("a") + i): text for i, text in enumerate(texts)} if len(texts) > 1 else {}


def choice(text: str, listed: dict[str, str]) -> str:
    """The small letter of the option that a text chooses, by its letter or by its words; nothing if none or several.

    >>> choice("Answer: (B)", {}), choice("b) the red one", {}), choice("A or B", {}), choice("red", {"a": "red"})
    ('b', 'b', '', 'a')
    """
    named = {normalise(words): letter for letter, words in listed.items()}
    if normalise(text) in named:
        return named[normalise(text)]
    said = ADDED.sub("", plain(text)).lstrip("([{*_\"' ")
    letter, rest = said[:1], said[1:]
    if not re.match("[a-z]", letter) or (listed and letter not in listed) or not MARK.match(rest):
        return ""
    words = WORD.findall(rest)
    listing = any(words) and all(word in ("or", "and") or len(word) == 1 for word in words)
    another = re.search(r"\b[a-z](?:[)\]]|[.:] \w)", rest) or named.get(normalise(rest), letter) != letter
    return "" if listing or another else letter


def is_right(answer: str | None, truth: str, question: str = "") -> bool:
    """Whether an answer says what the truth says, to a question that may list options.

    The truth decides the rule: an option, yes or no, a number, or words. A text equal to the truth is always right.

    >>> is_right("the red one", "B", "Which? (A) the blue one (B) the red one"), is_right("50", "50%")
    (True, False)
    """
    if answer is None or len(answer) > LONGEST:
        return answer == truth
    said, listed, meant = plain(answer), options(question), normalise(truth)
    if said == plain(truth):
        return said != ""
    letter = choice(truth, listed) if listed else meant if re.fullmatch("[a-z]", meant) else ""
    meant = normalise(listed.get(letter, truth))
    if letter and (chosen := choice(answer, listed)):
        return chosen == letter
    if meant in ("yes", "no", "true", "false"):
        return yes_or_no(answer) == YES_NO[meant]
    if re.fullmatch(r"-?\d*\.?\d+", meant):
        return number(answer) == Decimal(meant)
    return normalise(ADDED.sub("", said)) == meant != ""


def fits(text: str | None, sample: Sample) -> bool:
    """Whether a text is a right answer to a sample: it says what any of the accepted answers says."""
    return any(is_right(text, truth, sample.question) for truth in sample.accepted)
