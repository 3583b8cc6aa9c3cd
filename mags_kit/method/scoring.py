"""Whether an answer says what the truth says, by the rules of the benchmarks. Text is matched, never evaluated."""

import re
import unicodedata

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
TENS = {word: 10 * i for i, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)}
NUMBERS = {word: i for i, word in enumerate(ONES)} | TENS
NUMBERS |= {f"{ten} {one}": TENS[ten] + i for ten in TENS for i, one in enumerate(ONES[:10]) if i}
NUMBER_WORDS = re.compile(rf"\b({'|'.join(sorted(NUMBERS, key=len, reverse=True))})\b")
VERDICTS = {
    "yes": "yes", "yeah": "yes", "yep": "yes", "true": "yes", "correct": "yes",
    "no": "no", "nope": "no", "false": "no", "incorrect": "no", "untrue": "no",
}  # fmt: skip
# Words that say yes or no only when they stand alone: "right" is a side, too
ALONE = {"right": "yes", "wrong": "no"}


def normalise(text: str) -> str:
    """The usual normal form of VQA: case, articles and punctuation go, number words become digits.

    A full stop between digits stays, and so do plurals: "bus" and "buses" are two answers.

    >>> normalise("The Three."), normalise("A red bus"), normalise("T-shirts"), normalise("1,000")
    ('3', 'red bus', 't shirts', '1000')
    """
    text = unicodedata.normalize("NFKC", text).lower()
    text = re.sub(r"['’`]", "", re.sub(r"(?<=\d),(?=\d{3}\b)", "", text))
    text = re.sub(r"(?<!\d)\.|\.(?!\d)|[^\w\s.]|_", " ", text)
    text = NUMBER_WORDS.sub(lambda found: str(NUMBERS[found[0]]), " ".join(text.split()))
    return " ".join(word for word in text.split() if word not in ("a", "an", "the"))


def verdict(text: str) -> str:
    """`yes` or `no` if a text says so in whatever way, else nothing: both, or neither.

    >>> verdict("True."), verdict("No, it is not."), verdict("The statement is not true"), verdict("yes or no")
    ('yes', 'no', 'no', '')
    """
    words = normalise(text).split()
    if words and set(words) <= {"that", "thats", "is", "it", "its", *ALONE} and words[-1] in ALONE:
        return ALONE[words[-1]]
    said = []
    for before, word in zip(["", *words], words, strict=False):
        if word in VERDICTS:
            said.append({"yes": "no", "no": "yes"}[VERDICTS[word]] if before in ("not", "isnt") else VERDICTS[word])
    hedged = len(words) > 1 and words[1] in ("or", "and", *VERDICTS)
    if len(set(said)) == 1 or (said and words[0] in VERDICTS and not hedged):  # "No, it is correct that …" says no
        return said[0]
    return ""


def number(text: str) -> float | None:
    """The one number that a text names, in digits or words; None if there is none or more than one.

    >>> number("There are three cats."), number("none"), number("2 or 3"), number("3rd")
    (3.0, 0.0, None, None)
    """
    text = re.sub(r"(?<=\d),(?=\d{3}\b)", "", unicodedata.normalize("NFKC", text).lower())
    text = re.sub(r"\b(none|nothing|no one|nobody)\b", "0", re.sub(rf"\b({'|'.join(TENS)})-(?=[a-z])", r"\1 ", text))
    text = NUMBER_WORDS.sub(lambda found: str(NUMBERS[found[0]]), text)
    found = {float(value) for value in re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w%]|\.\d)", text)}
    return found.pop() if len(found) == 1 else None


def is_right(answer: str | None, truth: str) -> bool:
    """Whether an answer says what the truth says. The truth decides the rule: yes or no, a number, or words."""
    if answer is None:
        return False
    if normalise(truth) in ("yes", "no", "true", "false"):
        return verdict(answer) == verdict(truth)
    if re.fullmatch(r"\d+", normalise(truth)):
        return number(answer) == float(normalise(truth))
    return normalise(answer) == normalise(truth) != ""
