import doctest

import pytest

from mags_kit.method import scoring

VSR = [  # truths are yes or no
    ("yes", "yes"), ("Yes.", "yes"), ("True", "yes"), ("TRUE!", "yes"), ("correct", "yes"), ("Right.", "yes"),
    ("That's right", "yes"), ("The statement is true.", "yes"), ("Yes, the cat is on the car", "yes"),
    ("It is true that the cat is left of the car", "yes"), ("not false", "yes"), ("yeah", "yes"), ("**Yes**", "yes"),
    ("no", "no"), ("No.", "no"), ("False", "no"), ("false, it is behind", "no"), ("incorrect", "no"), ("wrong", "no"),
    ("The statement is not true", "no"), ("That isn't correct.", "no"), ("untrue", "no"), ("No, it is not true", "no"),
    ("no, it is correct that it is left", "no"), ("There is no cat on the car", "no"), ("Nope", "no"),
    ("yes or no", ""), ("True or False", ""), ("yes/no", ""), ("yes and no", ""), ("", ""), ("maybe", ""),
    ("The cat is on the right", ""), ("the wrong side", ""), ("no yes", ""), ("unknown", ""), ("it is", ""),
]  # fmt: skip
TALLYQA = [  # truths are whole numbers
    ("3", "3", True), ("three", "3", True), ("Three.", "3", True), ("3.", "3", True), ("3.0", "3", True),
    ("There are 3 cats", "3", True), ("about three", "3", True), ("3 (three)", "3", True), ("**3**", "3", True),
    ("none", "0", True), ("zero", "0", True), ("No one", "0", True), ("twelve", "12", True), ("fifteen", "15", True),
    ("twenty-one", "21", True), ("twenty one", "21", True), ("1,000", "1000", True), ("２", "2", True),
    ("4", "3", False), ("13", "3", False), ("3.5", "3", False), ("-3", "3", False), ("3 or 4", "3", False),
    ("2-3", "3", False), ("three or four", "3", False), ("2 dogs and 1 cat", "2", False), ("3rd", "3", False),
    ("30%", "30", False), ("many", "3", False), ("", "0", False), ("no", "0", False), ("thirteen", "3", False),
    ("x3", "3", False), ("1 2 3", "3", False), ("Infinity", "3", False), ("1e3", "1000", False),
]  # fmt: skip
GQA = [
    ("red", "red", True), ("Red.", "red", True), ("a red bus", "red bus", True), ("The bus", "bus", True),
    ("an apple", "apple", True), ("t-shirt", "t shirt", True), ("T-shirt", "t-shirt", True),
    ("women's", "womens", True),
    ("left", "left", True), ("right", "right", True), ("two", "2", True), ("tennis  racket", "tennis racket", True),
    ("red, white", "red white", True), ("'cell phone'", "cell phone", True), ("café", "café", True),
    ("buses", "bus", False), ("bus", "buses", False), ("men", "man", False), ("dark red", "red", False),
    ("red and blue", "red", False), ("blue", "red", False), ("", "red", False), ("left", "right", False),
    ("on the left", "left", False), ("tv", "television", False), ("the", "a", False), ("yes", "red", False),
]  # fmt: skip


@pytest.mark.parametrize("answer, says", VSR)
def test_relations(answer, says):
    for truth in ("yes", "no", "True", "False"):
        means = {"yes": "yes", "no": "no", "True": "yes", "False": "no"}[truth]
        assert scoring.is_right(answer, truth) == (says == means)


@pytest.mark.parametrize("answer, truth, right", TALLYQA + GQA)
def test_counts_and_open_answers(answer, truth, right):
    assert scoring.is_right(answer, truth) == right


def test_no_answer_is_never_right():
    assert not any(scoring.is_right(None, truth) for truth in ("yes", "3", "red", ""))


def test_docstring_examples():
    assert doctest.testmod(scoring).failed == 0 < doctest.testmod(scoring).attempted
