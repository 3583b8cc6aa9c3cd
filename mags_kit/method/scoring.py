"""Whether an answer says what the truth says, by the rules of the benchmarks.

Signs and units belong to what is said: 50 is not 50%, nor 3 what -3 is. GQA, TallyQA and VSR have neither in their
answers, and VQA's own rules keep the units, too.
"""

import re
from decimal import Decimal
from functools import lru_cache

from mags_kit.method.readings import YES_NO, choice, number, options, yes_or_no
from mags_kit.method.wording import normalise, plain
from mags_kit.records import Sample

LONGEST = 1000  # characters; an answer is asked to be as short as possible, and a longer text is none


def is_right(answer: str | None, truth: str, question: str = "") -> bool:
    """Whether an answer says what the truth says, to a question that may list options.

    A text equal to the truth is right. Else the truth decides the rule: an option, yes or no, a number, or words.

    >>> is_right("the red one", "B", "Which? (A) the blue one (B) the red one"), is_right("50", "50%")
    (True, False)
    """
    if answer is None or len(answer) > LONGEST:
        return answer == truth
    said, (same, listed, letter, meant) = plain(answer), _asked(truth, question)
    if said == same:
        return said != ""
    if letter and (chosen := choice(answer, listed)):
        return chosen == letter
    if meant in ("yes", "no", "true", "false"):
        return yes_or_no(answer) == YES_NO[meant]
    if re.fullmatch(r"-?\d+(\.\d+)?", meant):
        return number(answer) == Decimal(meant)
    return normalise(re.sub(r"^\W*(?:the )?(?:final )?answer ?[:=]", "", said)) == meant != ""


@lru_cache(maxsize=1024)  # many answers are held against one truth
def _asked(truth: str, question: str) -> tuple[str, dict[str, str], str, str]:
    """A truth in plain writing; the options of its question; the letter of that which is true; what the truth means."""
    listed, meant = options(question), normalise(truth)
    letter = choice(truth, listed) if listed else meant if re.fullmatch("[a-z]", meant) else ""
    return plain(truth), listed, letter, normalise(listed.get(letter, truth))


def fits(text: str | None, sample: Sample) -> bool:
    """Whether a text is a right answer to a sample: it says what any of the accepted answers says."""
    return any(is_right(text, truth, sample.question) for truth in sample.accepted)
