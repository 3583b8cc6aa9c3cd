import doctest
import json
from dataclasses import replace
from functools import partial

import pytest
from PIL import Image
from test_records import make_trajectory
from timing import fastest

from mags_kit.data.own import read_own
from mags_kit.method import metrics as measures, readings, rewards, scoring

VSR = [  # truths are yes or no
    ("yes", "yes"), ("Yes.", "yes"), ("True", "yes"), ("TRUE!", "yes"), ("correct", "yes"), ("Right.", "yes"),
    ("That's right", "yes"), ("The statement is true.", "yes"), ("Yes, the cat is on the car", "yes"),
    ("It is true that the cat is left of the car", "yes"), ("not false", "yes"), ("yeah", "yes"), ("**Yes**", "yes"),
    ("no", "no"), ("No.", "no"), ("False", "no"), ("false, it is behind", "no"), ("incorrect", "no"),
    ("wrong", "no"),
    ("The statement is not true", "no"), ("That isn't correct.", "no"), ("untrue", "no"),
    ("No, it is not true", "no"),
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
    ("women's", "womens", True), ("Answer: red", "red", True),
    ("left", "left", True), ("right", "right", True), ("two", "2", True), ("tennis  racket", "tennis racket", True),
    ("red, white", "red white", True), ("'cell phone'", "cell phone", True), ("café", "café", True),
    ("buses", "bus", False), ("bus", "buses", False), ("men", "man", False), ("dark red", "red", False),
    ("red and blue", "red", False), ("blue", "red", False), ("", "red", False), ("left", "right", False),
    ("on the left", "left", False), ("tv", "television", False), ("the", "a", False), ("yes", "red", False),
    ("not red", "red", False), ("red or blue", "red", False), ("It is red", "red", False), ("\u200b", "red", False),
]  # fmt: skip
SIGNS = [  # signs and units belong to both sides
    ("3", "-3", False), ("-3", "3", False), ("minus three", "-3", True), ("−3", "-3", True), ("- 3", "3", True),
    ("50", "50%", False), ("50%", "50", False), ("50 %", "50%", True), ("fifty percent", "50%", True),
    ("$5", "5", False), ("5", "$5", False), ("$5.", "$5", True), ("€5", "$5", False), ("5°", "5", False),
    ("90 degrees", "90", True), ("3.50", "3.5", True), (".5", "0.5", True), (".5", "5", False), ("3.0", "3", True),
    ("C", "C++", False), ("c#", "C", False), ("A+", "A", False), ("A-", "A", False), ("1/2", "1 2", False),
    ("½", "1/2", True), ("10²", "102", False), ("10.30", "10:30", False), ("7", "007", True), ("7", "seven", True),
    ("99999999999999999999", "99999999999999999998", False), ("twelve", "a dozen", True), ("0", "none", True),
    ("no dogs", "none", True), ("There are no dogs.", "0", True), ("There are no dogs but 2 cats", "2", False),
]  # fmt: skip
LETTERS = [  # the options are not known
    *[(answer, "B", True) for answer in (
        "B", "b", "(B)", "B.", "b)", "[B]", "**B**", '"B"', "Answer: B", "Answer: (B)", "The answer is B.",
        "Option B",
        "the correct answer is (B)", "I choose B", "B is correct", "B) the red one", "(B) the red one", "B: red",
        "B. the red one", "B - the red one", "**B.** the red one", "B, because it is red", "B) Vitamin C.",
    )],
    *[(answer, "B", False) for answer in (
        "A", "A or B", "B or A", "A and B", "A/B", "A, B", "B, A", "AB", "(A) (B)", "(B) or (A)", "not B",
        "It isn't B",
        "B) the red one or C) the blue one", "A) the B one", "Bob", "bee", "Not A. B", "both", "B the red one", "8",
    )],
    ("a", "A", True), ("A) a car", "A", True), ("A red car", "A", False), ("I", "I", True),
    ("I think so", "I", False),
    ("C", "A, C", False), ("A", "A, C", False), ("a, c.", "A, C", True), ("IV", "IV", True), ("4", "IV", False),
    ("vitamin", "vitamin A", False), ("b", "a b", False),
]  # fmt: skip
QUESTION = "What colour is the car? (A) dark red (B) blue (C) 3 (D) yes"
OPTIONS = [  # the options are in the question
    ("A", "A", True), ("(a)", "A", True), ("dark red", "A", True), ("A) dark red", "A", True),
    ("A dark red", "A", True), ("A) blue", "A", False), ("blue", "A", False), ("B", "A", False), ("red", "A", False),
    ("E", "A", False), ("A", "dark red", True), ("(A) Dark red.", "dark red", True),
    ("B", "dark red", False), ("A", "(A) dark red", True),
    ("three", "C", True), ("There are 3", "C", True), ("C", "3", True), ("D", "yes", True),
    ("Yes, it is.", "D", True),
    ("No", "D", False), ("A or B", "A", False), ("green", "green", True), ("The green", "green", True),
]  # fmt: skip
ANYTHING = (
    "A", "I", "a b", "the", "The a", ".", "?!", "50%", "-3", "−3", "$5", "C++", "no", "yes or no", "maybe", "2 or 3",
    "1/2", "½", "10²", "2-3", "1.000", "1,5", "3rd", "at least 3", "IV", "👍", "👍🏽", "❤️", "红色", "किताब", "أحمر",
    "café", "\u200fאדום", "A, C", "(B) or (A)", "Both", "not red", "Is it?", "x" * 5000, "Ünï-cödé",
    "\ud800", "None", "_",
    "a\u0301", "It is it",
)  # fmt: skip


@pytest.mark.parametrize("answer, says", VSR)
def test_relations(answer, says):
    for truth in ("yes", "no", "True", "False"):
        means = {"yes": "yes", "no": "no", "True": "yes", "False": "no"}[truth]
        assert scoring.is_right(answer, truth) == (says == means)


@pytest.mark.parametrize("answer, truth, right", TALLYQA + GQA + SIGNS + LETTERS)
def test_counts_open_answers_signs_and_letters(answer, truth, right):
    assert scoring.is_right(answer, truth) == right


@pytest.mark.parametrize("answer, truth, right", OPTIONS)
def test_options_of_the_question(answer, truth, right):
    assert scoring.is_right(answer, truth, QUESTION) == right


@pytest.mark.parametrize("text", ANYTHING)
def test_a_text_equal_to_the_truth_is_right_and_others_are_not(text):
    assert scoring.is_right(text, text) and scoring.is_right(text, text, QUESTION)
    assert scoring.is_right(f" {text.upper()}\n", text) == (len(text) < scoring.LONGEST)
    assert not scoring.is_right("purple", text)


@pytest.mark.parametrize("nothing", [None, "", " \n", "\u200b", "\ufeff"])
def test_no_answer_is_never_right(nothing):
    assert not any(scoring.is_right(nothing, truth) for truth in ("yes", "3", "0", "red", "B", "", " "))


def test_any_accepted_answer_counts_from_the_row_to_the_reward(tmp_path):
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    row = {"image": "a.png", "question": "What is this?", "answer": ["sofa", "couch", 3]}
    tmp_path.joinpath("own.jsonl").write_text(json.dumps(row))
    [sample], skipped = read_own(tmp_path / "own.jsonl", tmp_path)
    assert (sample.answer, sample.answers, sample.truth) == ("sofa", ("couch", "3"), "sofa or couch or 3")
    for said, right in (("sofa", 1), ("A couch.", 1), ("three", 1), ("sofa or couch", 0), ("bed", 0), ("", 0)):
        t = make_trajectory(sample=sample, draft="bed", answer=said)
        assert (rewards.answer(t), rewards.draft(t), measures.change(t)) == (
            right, 0, measures.REPAIRED if right else measures.KEPT_WRONG,
        )  # fmt: skip
    assert not scoring.fits("couch", replace(sample, answers=()))


HOSTILE = (
    "a ", "yes ", "not ", "3 ", "1,", "1'", "twenty one and ", "hundred ", "(", "(a) ", "a)", '"', "yes? ", ".", "-",
    "٣", "½", "1½", "👍", "\u200b", "\n", "is ", "the ", "a b ", "don't ", "isn't true ", "no dogs ", "not any ",
    "half ", "at least ", ">3 ", "1/", "1:", "$", "+", "true or ", "correct answer ", "x", "9", "A. ",
    "\x00", "\ud800", "ﷺ",
    "\u0301",
)  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
def test_long_texts_take_little_time(piece):
    """At most 50 ms for 100 kB, however it is made, and for the longest text that is read."""
    whole = piece * (100_000 // len(piece.encode("utf-8", "surrogatepass")))
    for text in (whole, whole[: scoring.LONGEST]):
        for truth, question in (("yes", ""), ("3", ""), ("red", ""), ("B", ""), ("B", QUESTION)):
            assert scoring.is_right(text, truth, question) in (True, False)
            assert fastest(partial(scoring.is_right, text, truth, question)) < 0.05


@pytest.mark.parametrize("piece", sorted(set(HOSTILE) - {"ﷺ"}))  # one character that is eighteen
def test_reading_takes_time_in_proportion(piece):
    """What is read ten times as long takes no more than thirty times as long: nothing is quadratic."""

    def seconds(length: int) -> float:
        text = piece * (length // len(piece))
        read = (readings.yes_or_no, readings.number, lambda text: readings.choice(text, {}), readings.options)
        return fastest(lambda: [each(text) for each in read])

    assert seconds(10_000) < 30 * max(seconds(1_000), 0.001)


def test_docstring_examples():
    assert doctest.testmod(scoring).failed == 0 < doctest.testmod(scoring).attempted
