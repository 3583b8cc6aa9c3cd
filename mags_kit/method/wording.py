"""Texts made alike where they differ in writing only. Text is matched, never evaluated; all of it in linear time."""

import re
import unicodedata

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
TENS = {word: 10 * i for i, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)}
UNITS = {"none": 0} | {word: i for i, word in enumerate(ONES)} | TENS
SCALES = {"dozen": 12, "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9}
_WORD = "|".join(sorted([*UNITS, *SCALES], key=len, reverse=True))
# number words in a row; digits only before a word that multiplies them, as in "3 hundred"
_RUN = re.compile(rf"\b(?:(?<![.,])\d{{1,15}}[ -](?:{'|'.join(SCALES)})|{_WORD})\b(?:[ -](?:and )?(?:{_WORD})\b)*")
_GROUPED = re.compile(
    r"(?<![\d.,'’])(?:[1-9]\d{0,2}([,'’\u00a0\u2009\u202f])\d{3}(?:\1\d{3})*|[1-9]\d?(?:,\d\d)+,\d{3})(?![,'’]?\d)"
)
# "a" stands before a word: not alone, not at the end ("vitamin A"), not in a list ("A, C"), not before a letter
_ARTICLE = re.compile(
    r"(?<![\w-])(?:(?:the|an)\s+(?=[^\w\s,;:.!?)]*\w)|a\s+(?=[^\w\s,;:.!?)]*\w)(?![^\W\d_](?![\w'-])))|"
    r"(?<=\w )(?:the|an)$"
)
_SIGN = re.compile(r"(?<![\w.)%-])-(?=[^\w\s-]?\.?\d)|(?<=\w)[+#]+(?!\w)|(?<=\b[a-z])-(?![\w-])")
_NOT = re.compile(
    r"\b[a-z]+ ?n't\b|\b(?:is|are|was|were|do|does|did|ca|could|wo|would|should|has|have|had|ai|must)nt\b|"
    r"\b(?:can|could|will|would|should|is|are|was|were|do|does|did|has|have|had|must) ?not\b"
)
_CLAUSE = r"[,;:!?()\[\]—…]|\.(?!\d)|\b(?:but|so|because|since|therefore|thus|hence|while|although|though|however)\b"
_CLAUSE = re.compile(_CLAUSE)


class _Table(dict):
    """A table for `str.translate` that is made on demand by a rule of characters."""

    def __init__(self, rule):
        self.rule = rule

    def __missing__(self, code):
        self[code] = self.rule(chr(code))
        return self[code]


def _one_way(char: str) -> str:
    """Invisible marks go (zero width, direction, byte order, emoji's variants); one kind of hyphen, quote, slash."""
    if unicodedata.category(char) == "Cf" or "\ufe00" <= char <= "\ufe0f":
        return ""
    kinds = {"-": "‐‑‒–−", "'": "‘’‛`´ʼ′", '"': "“”„‟«»″", "/": "⁄∕"}
    return next((kind for kind, chars in kinds.items() if char in chars), char)


def _as_words(char: str) -> str:
    """Letters, digits and their marks stay; units stand apart; all else is a space."""
    if char in ".:/" or unicodedata.category(char)[0] in "LNM":
        return char
    if char in "%°" or unicodedata.category(char) == "Sc":
        return f" {char} "
    return {"−": "-", "＋": "+", "＃": "#"}.get(char, " ")  # what `_SIGN` found


_ONE_WAY, _AS_WORDS = _Table(_one_way), _Table(_as_words)


def plain(text: str) -> str:
    """A text without what only its writing adds: case, kinds of space, hyphen and quote, invisible marks, 1,000's mark.

    >>> plain(" Don’t\\u200b  ＡＢ "), plain("1,000 or 1\\u202f000"), plain("10² or ½")
    ("don't ab", '1000 or 1000', '10 2 or 1/2')
    """
    text = _GROUPED.sub(lambda found: re.sub(r"\D", "", found[0]), text)
    if not text.isascii():
        text = re.sub(r"(?<=\d)(?=[²³¹⁰-₉¼-¾⅐-⅞])", " ", text)  # else 10² would read 102, and 1½ 11/2
        text = unicodedata.normalize("NFKC", text).translate(_ONE_WAY)
    return " ".join(text.casefold().split())


def digits(text: str) -> str:
    """A plain text with its number words as digits; what does not add up stays apart.

    >>> digits("twenty-one dogs"), digits("two hundred and five"), digits("half a dozen"), digits("two and three")
    ('21 dogs', '205', '6', '2 and 3')
    """
    return _RUN.sub(_add_up, re.sub(r"\bhalf[ -](?:a )?dozen\b", "6", text))


def _add_up(run: re.Match) -> str:
    """Digits for a run of number words: `part` of a number below a thousand, after its `thousands`."""
    texts, thousands, part, joined = [], 0, None, False
    for word in re.split("[ -]", run[0]):
        if word == "and":
            joined = True
            continue
        value, left = SCALES.get(word) or UNITS.get(word, word), (part or 0) % 100
        if word in SCALES:
            fits = part is None or part < 100 or value > 100
        else:
            value, tens = int(value), left in TENS.values()
            fits = part is None or (part and not left) or (tens and 0 < value < 10 and not joined)
        if not fits:
            texts += [str(thousands + (part or 0)), *["and"][: int(joined)]]
            thousands, part = 0, None
        if word not in SCALES:
            part = (part or 0) + value
        elif value > 100:
            thousands, part = thousands + (1 if part is None else part) * value, None
        else:
            part = (1 if part is None else part) * value
        joined = False
    return " ".join([*texts, str(thousands + (part or 0))])


def normalise(text: str) -> str:
    """The usual normal form of VQA: case, articles and punctuation go, number words become digits.

    A full stop between digits stays, and so do signs and units ("-3", "50%", "$5", "C++") and plurals: "bus" and
    "buses" are two answers.

    >>> normalise("The Three."), normalise("A red bus"), normalise("T-shirts"), normalise("1,000"), normalise("A")
    ('3', 'red bus', 't shirts', '1000', 'a')
    >>> normalise("-3"), normalise("fifty percent"), normalise("A, C"), normalise("women's")
    ('-3', '50 %', 'a c', 'womens')
    """
    text = re.sub(r"(?<=\w)'(?=[^\W\d_])", "", plain(text))
    text = re.sub(r"\bper ?cent\b", "%", digits(_ARTICLE.sub("", text)))
    text = re.sub(r"(?<![\w.])\.(?=\d)", "0.", re.sub(r"(?<=\d) ?/ ?(?=\d)", "/", text))
    text = _SIGN.sub(lambda found: found[0].translate({45: "−", 43: "＋", 35: "＃"}), text)
    text = re.sub(r"(?<!\d)[.:/]|[.:/](?!\d)", " ", text)
    return " ".join(text.translate(_AS_WORDS).split())


def clauses(text: str) -> list[str]:
    """The clauses of a plain text, each negation as `not`: what stands in one clause negates nothing in another.

    >>> clauses("it isn't red, but it cannot be blue")
    ['it not red', 'it not be blue']
    """
    return [part for part in map(str.strip, _CLAUSE.split(_NOT.sub("not", text))) if part]
