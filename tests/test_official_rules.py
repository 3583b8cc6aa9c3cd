"""The kit's judgement beside the benchmarks' own rules, which are written anew here: where they differ, and why.

VQA: `PythonEvaluationTools/vqaEvaluation/vqaEval.py` of GT-Vision-Lab/VQA at c4e6a0e, without its list of contractions.
GQA: `gqa/evaluation/eval.py` of dorarad/gqa at 18cc072.
"""

import re

from mags_kit.method import scoring

MARKS = ';/[]"{}()=+\\_-><@`,?!'  # the apostrophe, the colon, % and $ are not among them
NUMBERS = {word: str(i) for i, word in enumerate("zero one two three four five six seven eight nine ten".split())}
NUMBERS["none"] = "0"
TRUTHS = {
    "yes or no": ["yes", "no"],
    "number": [str(i) for i in (*range(16), 20, 35, 100, 1998)],
    "word": "red blue left right bus buses dog grass tennis man woman frisbee pizza unknown".split(),
    "phrase": ["tennis racket", "red and white", "stop sign", "on table", "to left", "hot dog", "2 dogs", "3 feet"],
    "sign": ["50%", "$5", "2:50 pm", "5:00", "girl's", "t-shirt", "1/2"],
}
FORMS = {  # ways of saying a text
    "as it is": "{}", "full stop": "{}.", "spaces": "  {}\n", "quotes": '"{}"', "stars": "**{}**", "colon": "{}:",
    "plural": "{}s", "decimal": "{}.0", "announced": "Answer: {}", "sentence": "It is {}.", "minus": "-{}",
    "at least": "at least {}", "denied": "not {}", "either": "{} or another", "nothing": "", "yes before": "Yes, {}",
}  # fmt: skip
ALL = "yes or no, number, word, phrase, sign"
ADDED = "what models add around an answer is no part of it"
READ = "a sentence is read for its one number, or its yes or no"
MARK = "VQA keeps this mark, so that a quoted or starred answer is wrong there"
DIFFERENCES = {  # (form, right here): kinds of truth, why VQA differs
    ("stars", True): (ALL, MARK),
    ("colon", True): (ALL, MARK),
    ("announced", True): (ALL, ADDED),
    ("sentence", True): (ALL, ADDED),
    ("decimal", True): ("yes or no, number, sign", "3.0 is 3, $5.0 is $5; .0 behind a word says nothing"),
    ("minus", False): ("number, phrase, sign", "VQA drops the sign: -3 counts as 3"),
    ("either", True): ("number", READ),
    ("yes before", True): ("yes or no, number", READ),
}


def vqa_form(text: str) -> str:
    """The form in which VQA compares answers.

    A mark that touches a space anywhere in the text goes, any other becomes a space; where a comma stands between two
    digits, all marks go. Every full stop goes that no digit follows. Then case, number words up to ten, and articles.
    """
    text = text.replace("\n", " ").replace("\t", " ").strip()
    grouped, made = re.search(r"\d,\d", text), text
    for mark in MARKS:
        made = made.replace(mark, "" if grouped or f"{mark} " in text or f" {mark}" in text else " ")
    words = [NUMBERS.get(word, word) for word in re.sub(r"\.(?!\d)", "", made).lower().split()]
    return " ".join(word for word in words if word not in ("a", "an", "the"))


def pairs():
    """(form, kind, answer, truth): each truth said in each way, and other truths of its kind said plainly."""
    for kind, truths in TRUTHS.items():
        for truth in truths:
            yield from ((form, kind, say.format(truth), truth) for form, say in FORMS.items())
            yield from (("another", kind, other, truth) for other in truths if other != truth)


def test_every_difference_to_vqa_has_its_reason():
    found = {}
    for form, kind, answer, truth in pairs():
        ours = scoring.is_right(answer, truth)
        if ours != (vqa_form(answer) == vqa_form(truth)):
            found.setdefault((form, ours), set()).add(kind)
    assert found == {key: set(kinds.split(", ")) for key, (kinds, _) in DIFFERENCES.items()}


def test_what_gqa_calls_right_is_right():
    """It asks for the very text."""
    assert all(scoring.is_right(answer, truth) for _, _, answer, truth in pairs() if answer == truth)
