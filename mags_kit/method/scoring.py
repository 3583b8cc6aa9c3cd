"""Whether an answer is correct, by the rules of the benchmarks. (What a correct answer earns in training: `rewards`.)

VSR asks for yes or no (true or false), TallyQA for one number, GQA for the same words in VQA's normal form. What models
add around an answer is read: "Answer: …", LaTeX, a sentence, an option's letter. A text that says two things counts as
no answer. Text is matched, never evaluated, in time linear in its length.
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

# Commands that change only the looks. "$5" and "$5-$6" are prices, "$5$" is a 5: pandoc's rule
LOOKS = re.compile(
    r"\\(?:boxed|[fmh]box|text(?:bf|it|rm|sf|tt|sc|sl|up|normal)?|math(?:bf|it|rm|sf|tt|normal)|emph|underline|"
    r"operatorname|displaystyle|left|right)(?![a-z])"
)
MATH = re.compile(r"(?<!\\)(\$\$?)(?=[^\s$])([^$]*?[^\s\\$])\1(?!\d)")
FRACTION = re.compile(r"\\[dtc]?frac *(?:\{([^{}]*)\}|(\d)) *(?:\{([^{}]*)\}|(\d))")
DEGREE = re.compile(r"\^ *\{? *\\circ(?![a-z]) *\}?|\\(?:text)?degree(?![a-z])")
BOX = re.compile(r"\\boxed *\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}")


def without_latex(text: str) -> str:
    r"""A text without the LaTeX around and within an answer.

    >>> without_latex(r"$5\,\text{cm}$").split(), without_latex(r"\frac{1}{2}").strip(), without_latex("$5")
    (['5', 'cm'], '1/2', '$5')
    """
    text = MATH.sub(r"\2", text)
    if "\\" in text:
        text = re.sub(r"(?<=\d)(?=\\[dtc]?frac)", " ", DEGREE.sub("°", text).replace(r"\!", "").replace("{,}", ","))
        text = LOOKS.sub("", FRACTION.sub(r"\1\2/\3\4", text))
        text = re.sub(r"\\[()\[\],;: ]|(?<=\w)~|\\q?quad(?![a-z])|(?<!\\)[{}]", " ", text)
        text = re.sub(r"\\([%$#&_])", r"\1", text)
    return text


def plain(text: str) -> str:
    """A text in one way of writing: small letters, plain spaces, hyphens and quotes, number words as digits."""
    text = without_latex(text)
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
IDLE = "idea clue way answer doubt question error mistake problem reason evidence information longer other".split()
IDLE += ["others"]
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
    r"\d ?\^|\\(?:sqrt|frac|times|cdot|div|pm|mp|[lg]eq?|neq?|overline|pi|infty|log|ln)(?![a-z])|"
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


OPTION = re.compile(  # "(A)", "[A]", "A)", or at the start of a line "A.", "A:", "A -", also behind a bullet, also bold
    r"(?<!\w)(?:\([a-z]\)|\[[a-z]\]|[a-z]\)(?=\s))\**[ \t]*(?=\S)|"
    r"^[ \t>*+-]*[a-z](?:\**[.:、]\**| [-–])[ \t]*(?=\S)",
    re.MULTILINE | re.IGNORECASE,
)
LINE = re.compile(r"[?:]\s+(?=a[.:])", re.IGNORECASE)  # before a list in one line, "Choices: A. red, B. blue"
IN_LINE = re.compile(r"(?<![\w.])[a-z][.:][ \t]*(?=\w)", re.IGNORECASE)
WIDE = str.maketrans("（）［］．：", "()[].:")
REQUEST = re.compile(r"[.?!]? (?:Please|Answer with|Answer the|Choose|Select|Pick) ")  # behind the last option
ADDED = re.compile(  # what models put before an answer
    r"\A\W*(?:(?:the )?(?:final |correct |right |best )?(?:answer|option|choice)(?: is\b)?(?: option\b)? ?[:=]?|"
    r"(?:it is|it's|i choose)\b)(?=\W)[ *:\"']*"
)
MARK = re.compile(r"[ _]*(?:[).:,;\]*\"_]|'(?!\w)| -|$| is (?:correct|right)\b)")  # follows an option's letter


def options(question: str) -> dict[str, str]:
    """The options that a question lists (see `OPTION` and `LINE`), by small letter.

    >>> options("What colour is it? (A) red (B) dark blue"), options("Is (A) it?")
    ({'a': 'red', 'b': 'dark blue'}, {})
    """
    question = question.translate(WIDE)
    start = LINE.search(question)
    for found in (OPTION.finditer(question), IN_LINE.finditer(question, start.end()) if start else ()):
        marks = []
        for mark in found:
            if re.search("[A-Za-z]", mark[0])[0].upper() == chr(ord("A") + len(marks)):
                marks.append(mark)
        if len(marks) > 1:
            break
    else:
        return {}
    ends = [mark.start() for mark in marks[1:]] + [len(question)]
    texts = [question[mark.end() : end].split("\n")[0] for mark, end in zip(marks, ends, strict=True)]
    texts = [REQUEST.split(text)[0].rstrip(" \t,;|/*").removesuffix(" or").rstrip(" ,") for text in texts]
    return {chr(ord("a") + i): text for i, text in enumerate(texts)}


def choice(text: str, listed: dict[str, str]) -> str:
    """The small letter of the option that a text chooses, by its letter or by its words; nothing if none or several.

    >>> choice("Answer: (B)", {}), choice("b) the red one", {}), choice("A or B", {}), choice("red", {"a": "red"})
    ('b', 'b', '', 'a')
    """
    named = {normalise(words): letter for letter, words in listed.items() if normalise(words)}
    said = ADDED.sub("", plain(text)).lstrip("([{*_\"' ")
    letter, rest = said[:1], said[1:]
    if letter in listed and not WORD.search(rest) and MARK.match(rest):
        return letter  # before the words: an option's may be another's letter
    if normalise(text) in named:
        return named[normalise(text)]
    if not re.match("[a-z]", letter) or (listed and letter not in listed) or not MARK.match(rest):
        return ""
    if named.get(normalise(rest)) == letter and not re.match(r"\W*[,;([]", rest):
        return letter  # with its words, which may be a letter
    words = WORD.findall(rest)
    listing = any(words) and all(word in ("or", "and") or len(word) == 1 for word in words)
    another = re.search(r"\b[a-z](?:[)\]]|[.:] \w)", rest) or named.get(normalise(rest), letter) != letter
    return "" if listing or another else letter


SEVERAL = re.compile(r"(?i)\W*[a-z](?:[)\].'\" ]*(?:[,;&+](?: ?and )?| and )[(\[\"' ]*[a-z])+\W*")  # "A, C"


def several(text: str, listed: dict[str, str]) -> set[str]:
    """The options that a text lists by letters or words, in any order; empty if anything else is said.

    >>> several("A and C", {}) == several("CA", {}), several("A or C", {"a": "red", "c": "blue"})
    (True, set())
    """
    said = ADDED.sub("", plain(text.replace("\n", ", ")))
    letters = re.sub(r"\band\b|[\s,;&+()\[\]{}\"'*.:]", "", said)
    if re.fullmatch("[a-z]{2,}", letters) and (not listed or listed.keys() >= set(letters)):
        return set(letters)
    chosen = {choice(part, listed) for part in re.split(r"[,;&]|\band\b", said) if part.strip()}
    return set() if "" in chosen else chosen


UNITS = """
    mm millimeter millimetre | cm centimeter centimetre | m meter metre | km kilometer kilometre | in inch | ft foot
    mi mile | kg kilogram | g gram | lb pound | oz ounce | l liter litre | ml milliliter millilitre | s second sec
    min minute | h hour hr | yr year | % percent | ° degree deg | $ dollar usd | € euro eur | ¢ cent
"""
UNITS = [words.split() for line in UNITS.strip().splitlines() for words in line.split("|")]
UNITS = {form: words[0] for words in UNITS for word in words for form in (word, word + "s" * (len(word) > 1))}
UNITS |= {"feet": "ft", "inches": "in", "kph": "km h", "kmh": "km h", "mph": "mi h", "celsius": "c"}


def measured(text: str) -> str:
    """A normal form with a number and its unit in one way of writing.

    >>> measured("5cm"), measured("5.0 centimetres long"), measured("$5.00"), measured("about 50%")
    ('5 cm', '5 cm', '5 $', '50 %')
    """
    text = re.sub(r"^(?:about|around|approximately|roughly) (?=\S?\d)", "", text)
    text = re.sub(r"([$€£¥]) ?(\d[\d.]*)", r"\2 \1", text)
    text = re.sub(r"(?<=[\d%°]) ?(?=[^\W\d_]|[%°$€£¥¢])", " ", text).replace("per cent", "%")
    text = " ".join(UNITS.get(word, word) for word in re.sub(r"\b([ap]) m\b", r"\1m", text).split())
    words = re.sub(r" per (?=(?:h|min|s)\b)", " ", text).split()
    for i, unit in enumerate(words[1:]):  # of a number without a unit ("version 3.10") the zeros count
        if unit in UNITS and re.fullmatch(r"\d+\.\d+", words[i]) and not words[i].endswith(".000"):
            words[i] = words[i].rstrip("0").rstrip(".")
    return re.sub(r"(?<=\d )(\S+) (?:long|wide|high|tall|deep|old)$", r"\1", " ".join(words))


IS = "is are was were its thats looks appears seems be".split()  # may stand right before what a sentence says
FRAME = {*IS, *"it this that these those he she they there i we think believe see to in image picture photo".split()}
FRAME |= {"magnified", "shown", "view", "region", "of"}
OTHERWISE = {*"or and but no if than what which who how where".split(), *NEGATIONS}
PLACE = "in on at by to with near from above below behind under over beside between left right front next or than"
PLACE = PLACE.replace(" ", "|")
ELSE = re.compile(rf"\b(?:{PLACE})(?: (?:{PLACE}|of|side))* \w+")  # what else it names: "to the left of the bus"


def says(said: str, meant: str, question: str) -> bool:
    """Whether a sentence ends with what is meant, behind "is" or the question's last word ("is holding"), and before
    that has only words of what the question is about and a few idle ones. All three are normal forms.

    >>> asked = "what colour is car"
    >>> says("car is red", "red", asked), says("car by bus is red", "red", asked), says("is car red", "red", asked)
    (True, False, False)
    """
    asked = [word for word in ELSE.sub("", question).split() if len(word) > 1]
    said, meant = said.split(), meant.split()
    before = said[: -len(meant)]
    if before + meant != said or not before or before[0] in IS[:4] or before[-1] not in {*IS, *asked[-1:]}:
        return False
    known = {word.rstrip("s") for word in FRAME.union(asked) - OTHERWISE}  # "the car's colour"
    return all(word.rstrip("s") in known for word in before) and sum(word in IS[:-1] for word in before) == 1


def is_right(answer: str | None, truth: str, question: str = "") -> bool:
    """Whether an answer says what the truth says, to a question that may list options.

    The truth decides the rule: an option, yes or no, a number, or words. A text equal to the truth is always right.

    >>> is_right("the red one", "B", "Which? (A) the blue one (B) the red one"), is_right("50", "50%")
    (True, False)
    """
    if answer is None or len(answer) > LONGEST:
        return answer == truth
    boxes = BOX.findall(answer)
    around = NOT.sub(" not ", plain(answer))
    if len(boxes) == 1 and not VAGUE.search(around) and {"or", *NEGATIONS}.isdisjoint(around.split()):
        answer = boxes[0]  # by convention the final answer
    said, listed, meant = plain(answer), options(question), normalise(truth)
    if said == plain(truth):
        return said != ""
    letter = choice(truth, listed) if listed else meant if re.fullmatch("[a-z]", meant) else ""
    lists = not letter and (SEVERAL.fullmatch(truth) or (listed and (truth.isupper() or not truth.isalpha())))
    if lists and len(letters := several(truth, listed)) > 1:
        return several(answer, listed) == letters
    meant = normalise(listed.get(letter, truth))
    if letter and (chosen := choice(answer, listed)):
        return chosen == letter
    if meant in ("yes", "no", "true", "false"):
        return yes_or_no(answer) == YES_NO[meant]
    if re.fullmatch(r"-?\d*\.?\d+", meant):
        return number(answer) == Decimal(meant)
    forms = [normalise(ADDED.sub("", said)), normalise(said), meant]
    short, said, meant = map(measured, forms) if re.search(r"\d", meant) else forms
    return meant != "" and (short == meant or says(said, meant, normalise(question.split("?")[0])))


def fits(text: str | None, sample: Sample) -> bool:
    """Whether a text is a right answer to a sample: it says what any of the accepted answers says."""
    return any(is_right(text, truth, sample.question) for truth in sample.accepted)
