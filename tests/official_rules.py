"""How the benchmarks themselves decide whether an answer is right: a reading of their rules, written anew.

VQA: the page "Evaluation" of visualqa.org and `PythonEvaluationTools/vqaEvaluation/vqaEval.py` of GT-Vision-Lab/VQA at
c4e6a0e. GQA: `gqa/evaluation/eval.py` of dorarad/gqa at 18cc072. TallyQA: `eval_extra.py` of manoja328/tallyqacode at
1efda74, and VQA's rules for what is not a number yet.
"""

import re

MARKS = ';/[]"{}()=+\\_-><@`,?!'  # the apostrophe, the colon, % and $ are not among them
NUMBERS = {word: str(i) for i, word in enumerate("zero one two three four five six seven eight nine ten".split())}
NUMBERS["none"] = "0"
ENDINGS = {  # where VQA gives a word its apostrophe back: an ending, and the words it takes it after
    "n't": "ai are ca could did does do had has have is might must need ought sha should was were wo would",
    "'ve": "could might must not should they we what where who would you",
    "'s": "he how that there what when where who why somebody someone",
    "'d": "he how it someone something there they where who you",
    "'ll": "how it somebody someone something they what who why you",
    "'re": "there they what why you",
}
CONTRACTIONS = {"maam": "ma'am", "oclock": "o'clock", "twas": "'twas", "yall": "y'all"}
CONTRACTIONS |= {word + end.replace("'", ""): word + end for end, words in ENDINGS.items() for word in words.split()}


def vqa_form(text: str) -> str:
    """The form in which VQA compares answers.

    A mark that touches a space anywhere in the text goes, any other becomes a space; where a comma stands between two
    digits, all marks go. Every full stop goes that no digit follows (the first 32 of them: a flag of `re.sub` stands in
    the place of its count). Then case, number words up to ten, articles, and contractions, here without double ones
    like couldn't've.
    """
    text = text.replace("\n", " ").replace("\t", " ").strip()
    grouped, made = re.search(r"\d,\d", text), text
    for mark in MARKS:
        made = made.replace(mark, "" if grouped or f"{mark} " in text or f" {mark}" in text else " ")
    made = re.sub(r"\.(?!\d)", "", made, count=32)
    words = [NUMBERS.get(word, word) for word in made.lower().split()]
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in ("a", "an", "the"))


def vqa(answer: str, truth: str) -> bool:
    """Right in VQA where all ten annotators say the truth. Their answers lie in its data in the compared form."""
    return vqa_form(answer) == vqa_form(truth)


def gqa(answer: str, truth: str) -> bool:
    """Right in GQA: the very text."""
    return answer == truth


def tallyqa(answer: str, truth: str) -> bool:
    """Right in TallyQA: the very number; its models give whole numbers, so a text must be one in VQA's form."""
    form = vqa_form(answer)
    return form.isdecimal() and int(form) == int(truth)
