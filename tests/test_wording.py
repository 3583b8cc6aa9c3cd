import doctest

import pytest

from mags_kit.method import wording

SAME = [  # two ways to write one thing
    ("red", "RED"), ("red bus", "  red\n\tbus "), ("red bus", "red\u00a0bus"), ("red", "r\u200be\u200bd"),
    ("red", "\ufeffred"), ("red", "\u202ered\u202c"), ("red", "ｒｅｄ"), ("café", "cafe\u0301"), ("straße", "STRASSE"),
    ("don't", "don’t"), ("don't", "donʼt"), ("t-shirt", "t‐shirt"), ("-3", "−3"), ("-3", "–3"), ("☀", "☀\ufe0f"),
    ("2", "２"), ("1000", "1,000"), ("1000", "1'000"), ("1000", "1\u202f000"), ("1000", "1\u00a0000"),
    ("100000", "1,00,000"), ("1234567", "1,234,567"), ("1/2", "½"), ("1 1/2", "1½"), ("10 2", "10²"), ("h2o", "H₂O"),
]  # fmt: skip
NOT_SAME = [
    ("1000", "1.000"), ("1000", "10,00"), ("123", "0,123"), ("102", "10²"), ("111/2", "1½"), ("cafe", "café"),
    ("किताब", "कताब"), ("👍", "👎"), ("15", "1,5"), ("1200", "1, 200"), ("510", "5'10"),
]  # fmt: skip
DIGITS = [
    ("one", "1"), ("twenty one", "21"), ("twenty-one", "21"), ("a hundred", "a 100"), ("one hundred", "100"),
    ("two hundred and five", "205"), ("three thousand and twelve", "3012"), ("2 thousand three hundred", "2300"),
    ("one million two hundred thousand", "1200000"), ("3 hundred", "300"), ("two dozen", "24"), ("half a dozen", "6"),
    ("none", "0"), ("two three", "2 3"), ("two and three", "2 and 3"), ("twenty and one", "20 and 1"),
    ("nineteen ninety-eight", "19 98"), ("zero zero", "0 0"), ("someone", "someone"), ("tone", "tone"),
    ("dozens", "dozens"), ("hundreds", "hundreds"),
]  # fmt: skip
NORMAL = [
    ("A", "a"), ("A.", "a"), ("a red bus", "red bus"), ("The 'big' bus", "big bus"), ("A T-shirt", "t shirt"),
    ("vitamin A", "vitamin a"), ("a b", "a b"), ("A, C", "a c"), ("the", "the"), ("The U.S.", "u s"),
    ("-3", "-3"), ("- 3", "3"), ("x-3", "x 3"), ("50%", "50 %"), ("50 per cent", "50 %"), ("$5", "$ 5"), ("5°", "5 °"),
    ("C++", "c++"), ("C#", "c#"), ("A+", "a+"), ("A-", "a-"), ("red + blue", "red blue"), ("#3", "3"),
    ("3.5", "3.5"), (".5", "0.5"), ("5.", "5"), ("2:50 pm", "2:50 pm"), ("1 / 2", "1/2"), ("and/or", "and or"),
    ("5'10\"", "5 10"), ("women's", "womens"), ("90's", "90s"), ("_red_", "red"), ("**red**", "red"),
    ("हिन्दी", "हिन्दी"), ("👍", ""), ("?!", ""), ("", ""), ("\u200b", ""),
]  # fmt: skip
CLAUSES = [
    ("it isn't red", ["it not red"]), ("it cannot be", ["it not be"]), ("it can not be", ["it not be"]),
    ("it needn't be", ["it not be"]), ("dont know", ["not know"]), ("i want", ["i want"]), ("the plant", ["the plant"]),
    ("2.5 m. so red, or (blue)", ["2.5 m", "red", "or", "blue"]), ("", []), ("...", []),
]  # fmt: skip


@pytest.mark.parametrize("one, other", SAME)
def test_ways_of_writing_are_made_alike(one, other):
    assert wording.plain(one) == wording.plain(other) == one.casefold()


@pytest.mark.parametrize("one, other", NOT_SAME)
def test_what_differs_in_more_than_writing_stays_apart(one, other):
    assert wording.plain(one) != wording.plain(other)


@pytest.mark.parametrize("text, made", DIGITS)
def test_number_words(text, made):
    assert wording.digits(text) == made


@pytest.mark.parametrize("text, form", NORMAL)
def test_normal_form(text, form):
    assert wording.normalise(text) == form == wording.normalise(form)


@pytest.mark.parametrize("text, parts", CLAUSES)
def test_clauses(text, parts):
    assert wording.clauses(text) == parts


def test_docstring_examples():
    assert doctest.testmod(wording).failed == 0 < doctest.testmod(wording).attempted
