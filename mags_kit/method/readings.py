"""What an English text says: yes or no, a number, or one of a question's options. Text is matched, never evaluated.

What says two things says nothing, and so does what is not understood: rather open than the contrary.
"""

import re
from decimal import Decimal

from mags_kit.method.wording import clauses, digits, normalise, plain

YES, NO = "yes yeah yep yup true correct accurate agree", "no nope nah false incorrect inaccurate untrue disagree"
YES_NO = dict.fromkeys(YES.split(), "yes") | dict.fromkeys(NO.split(), "no")
PARTICLES = "yes yeah yep yup no nope nah".split()
FLIP = {"yes": "no", "no": "yes"}
# Say yes or no only as the whole text
ALONE = dict.fromkeys(["of course", "certainly", "absolutely", "definitely", "indeed", "affirmative", "sure"], "yes")
ALONE |= dict.fromkeys(["i think so", "i believe so"], "yes") | {"negative": "no", "no way": "no"}
SIDES = {"right": "yes", "wrong": "no"}  # only at the end of a clause of `LINKS`: "right" is a side, too
NEGATIONS = set(
    "not never hardly barely scarcely neither nor none nothing nobody nowhere no nope without doubt doubtful unlikely "
    "deny dispute contest refuse reject fail fails too less lie myth mistakenly wrongly falsely".split()
)
# A negation reaches a yes or no over these words; with others between them a text is not understood
LINKS = set(
    "a an the it its it's is be that thats that's this these they of to from in at as any all way seem seems look "
    "looks appear appears sound sounds think thought believe feel find call consider considered statement caption "
    "claim description sentence answer very really quite entirely completely totally exactly factually strictly "
    "actually even so was were been being am are i would i'd you you're either or and".split()
).union(YES_NO)
# "Of course not", "I don't doubt it": a clause of these and denials
DENIALS = set("not never hardly doubt doubtful unlikely".split())
ASIDES = set("probably course definitely certainly absolutely surely do does did me".split())
ASIDES |= DENIALS | LINKS - set(YES_NO)
HEDGES = set(
    "unsure uncertain unclear unknown maybe may might perhaps possibly could if unless whether depends depending "
    "ambiguous partly partially somewhat half almost nearly hard difficult impossible both wish pretend only".split()
)
CONDITIONS = set("if unless depending maybe perhaps".split())  # after yes or no
# "Not sure": a hedge after a negation
KNOWING = set("say tell know determine see sure certain clear judge verify confirm decide possible".split())
WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
# Phrases with the words of yes and no that say something else, and what stands for them, in order
PHRASES = [
    (re.compile(pattern), meant)
    for pattern, meant in (
        (r"\bno (?:doubt|question|error|mistake|problem|contradiction|reason|evidence|other)\b", " "),
        (r"\bno (?:idea|clue|information|answer|way to|telling|knowing)\b", " unclear "),
        (r"\b(?:yes|true|correct|right) ?(?:\b(?:or|and)\b|/) ?(?:no|false|incorrect|wrong)\b", " "),
        (r"\b(?:no|false|incorrect|wrong) ?(?:\b(?:or|and)\b|/) ?(?:yes|true|correct|right)\b", " "),
        (r"(?<!\ba )\b(?:correct|right|true) (?:answer|option|choice|response|verdict)\b", " answer "),
        (r"\b(?:wrong|false|incorrect|untrue) to (?:say|call|claim|answer|state|think|describe)\b", " not "),
        (r"\b(?:could not|couldn't|cannot|can't) agree more\b", " yes "),
        (r"\b(?:used to be|would have been)\b", " unclear "),
        (r"\bonly (?:if|when)\b", " if "),
        (r"\b(?:anything but|far from|by no means|in no way|no longer|rather than)\b", " not "),
        (r"\bthe (?:opposite|reverse|contrary) of\b", " not "),
    )
]

# What bounds or divides a count is no count, nor is a place in an order; 1.000 is one thing here and another there
PARTS = (
    "half|halves|(?:quarter|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|hundredth|pair|couple)s?|first|second"
)
VAGUE = re.compile(
    r"\b(?:at (?:least|most)|(?:more|less|fewer|greater) than|over|under|above|below|up to|almost|nearly|not quite|"
    r"(?:max|min)(?:imum)?(?: of)?|half(?: of)?(?: the)?) \d|(?<!\S)[<>≤≥±] ?\d|\d ?/ ?\d|\d\+(?!\w)|\d\.000(?!\d)|"
    rf"\d (?:or|and) (?:more|less|fewer|over|under|up)\b|\d[ -](?:and )?(?:a )?(?:{PARTS})\b"
)
UNCOUNTED = (  # "no idea", "no more", "no it is"
    "idea clue way answer doubt problem information more less fewer longer other others additional further it its i we "
    "you he she they there this that these those the a an is are was were but and or not yes no true false of"
)
ZERO = re.compile(
    rf"\bno (?!(?:{UNCOUNTED.replace(' ', '|')})\b)[^\W\d]|\bthere not an? |\bwithout any\b|"
    r"\bnot (?:(?!(?:sure|certain|clear|know|tell|say|if)\b)\w+ ){0,3}?(?:any|a single)\b"
)
NUMBER = re.compile(
    r"(?<![\w.$€£¥^])(?<!\d[:/])-?(?:\d+(?:\.\d+)?|\.\d+)(?![\w%°]|\.\d|[:/]\d| (?:%|°|per ?cent))"  # of no unit
)
DENIED = re.compile(r"\b(?:not|never|hardly|doubt|without)\b")

LEADS = "the|final|correct|best|right|answer|option|choice|letter|response|is|it|it's|i|choose|pick|select|would|be"
CHOICE = re.compile(rf"(?:\W*\b(?:{LEADS})\b)*[\W_]*([a-z])(?!\w)(.*)", re.DOTALL)
AFTER = re.compile(r"[)\]}*\"'_ ]*(?:[).:,;\]*\"'_]| -|$| is (?:the )?(?:correct|right|best|answer|option|choice)\b)")
OPTION = re.compile(r"(?:\(([A-Z])\)|(?<!\w)([A-Z])\)|^[ \t]*([A-Z])[.:])[ \t]+", re.MULTILINE)


def yes_or_no(text: str) -> str:
    """`yes` or `no` if a text says so in whatever way, else nothing: both, or neither.

    >>> yes_or_no("True."), yes_or_no("No, it is not."), yes_or_no("The statement is not true"), yes_or_no("yes or no")
    ('yes', 'no', 'no', '')
    >>> yes_or_no("I don't think that's correct."), yes_or_no("I'm not sure it is true"), yes_or_no("not false")
    ('no', '', 'yes')
    """
    text = plain(text.replace("\n", ". "))
    outside = re.sub(r'"[^"]*"', " ", text)
    return _yes_or_no(outside) or (_yes_or_no(text.replace('"', " ")) if outside != text else "")


def _yes_or_no(text: str) -> str:
    sentences = re.split(r"(?<=[.!?;]) ", text)
    # a question says nothing
    text = " ".join(s for s in sentences if not s.endswith("?") or s.strip("? ") in PARTICLES)
    for pattern, meant in PHRASES:
        text = pattern.sub(meant, text)
    if (whole := " ".join(WORD.findall(text))) in ALONE:
        return ALONE[whole]
    parts = [words for words in map(WORD.findall, clauses(text)) if words]
    said = [_said(words) for words in parts]
    values = {value for clause in said for value in clause}
    if len(values) == 1:
        return values.pop().strip("?")
    # "No, it is correct that …" says no; "Yes. No." and "Yes is wrong" say nothing
    first = said[0][0] if said and said[0] and parts[0][0] in YES_NO else "?"
    begun = {YES_NO[words[0]] for words in parts if words[0] in PARTICLES}
    return first.strip("?") if begun <= {first} else ""


def _said(words: list[str]) -> list[str]:
    """What a clause says, in order: `yes`, `no`, or `?` where a negation may or may not reach it."""
    said, negated, hedged, lost = [], 0, False, False
    for before, word, after in zip(["", *words], words, [*words[1:], ""], strict=False):
        value = YES_NO.get(word)
        if word in SIDES and not (after or said or lost) and LINKS.union(NEGATIONS).issuperset(words[:-1]):
            value = SIDES[word]
        hedged = hedged or word in HEDGES or (negated and word in KNOWING)
        attribute = before == "the" and after and word not in PARTICLES
        if value and not (attribute or hedged or after in CONDITIONS):
            unclear = lost or after in ("is", "would", "not", "or") or YES_NO.get(after, value) != value
            said.append("?" if unclear else FLIP[value] if negated % 2 else value)
        if word in NEGATIONS:
            negated = 1 if said or word == "nor" else negated + 1
        lost = lost or (negated > 0 and word not in LINKS and word not in NEGATIONS)
    if not said and DENIALS.intersection(words) and ASIDES.issuperset(words):
        return ["no" if negated % 2 else "yes"]
    return said + ["?"] * (len(said) > 0 and "wrong" in words[:-1])


def number(text: str) -> Decimal | None:
    """The one number that a text names, in digits or words; None if there is none or more than one, or a bound.

    >>> number("There are three cats."), number("no cats"), number("2 or 3"), number("3rd"), number("at least 3")
    (Decimal('3'), Decimal('0'), None, None, None)
    """
    text = plain(text.replace("\n", ". "))
    text = re.sub(r"\b(?:none|nothing|no[ -]one|nobody|neither)\b", "0", text)
    text = digits(re.sub(r"\ba (?:pair|couple)\b", "2", re.sub(r"(?<!not )\ba single\b", "1", text)))
    text = re.sub(r"\b(?:minus|negative) (?=\d)", "-", text)
    if VAGUE.search(text):
        return None
    found = set()
    for clause in clauses(text):
        denied = DENIED.search(clause)
        named = NUMBER.finditer(clause, 0, denied.start() if denied else len(clause))  # "4, not 3" names 4
        found |= {Decimal(value[0]) for value in named} | ({Decimal(0)} if ZERO.search(clause) else set())
    return found.pop() if len(found) == 1 else None


def options(question: str) -> dict[str, str]:
    """The options that a question lists as "(A) …", "A) …" or, at the start of a line, "A. …", by small letter.

    >>> options("What colour is it? (A) red (B) dark blue"), options("Is (A) it?")
    ({'a': 'red', 'b': 'dark blue'}, {})
    """
    marks = []
    for mark in OPTION.finditer(question):
        if next(filter(None, mark.groups())) == chr(ord("A") + len(marks)):
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
    found = CHOICE.fullmatch(plain(text))
    if not found or (listed and found[1] not in listed) or normalise(text) in named:
        return named.get(normalise(text), "")
    letter, rest = found.groups()
    if normalise(rest) in named:
        return letter if named[normalise(rest)] == letter else ""
    words = re.findall(r"\w+", rest)
    more = words and all(word in ("or", "and") or (len(word) == 1 and word.isalpha()) for word in words)
    others = set(re.findall(r"(?<!\w)([a-z])(?:[)\]]|[.:] \w)", rest)) - {letter}
    return "" if more or others or not AFTER.match(rest) else letter
