import doctest

import pytest

from mags_kit.method import readings

YES = """
    I couldn't agree more | Yes, it is the only one. | It is correct, the only dog is black | I would say yes
    yes | Yes. | YES!!! | yes? | yeah | yep | **Yes** | `yes` | "yes" | (yes) | <b>yes</b> | ＹＥＳ | y\u200bes
    yes yes | Yes 👍 | True | correct | Right. | That's right | You are right | It is right | I agree
    The caption is accurate
    Indeed | Of course | Absolutely | I think so | Probably yes | I'd say yes | Answer: yes | answer=yes
    so yes | not no
    It is true that the cat is not on the car | It's true that both cats are there | True the cat is on the car
    Yes both cats are there | Yes, if you look closely | The cat is on the car, so yes | I'm not sure, but yes
    not false | not untrue | It's not incorrect | That isn't wrong | I don't think it is false | True, not false
    I don't doubt it | I don't doubt it's true | without a doubt true | There is no doubt that it is true
    Is it true? Yes. | True or false? True. | yes or no: yes | The true answer is yes | This is a correct description
    Yes, that's not false | Yes it is not false
"""
NO = """
    no | No. | NOPE | nah | False | incorrect | wrong | untrue | inaccurate | I disagree | That's wrong
    “No” | No way
    That doesn't seem correct. | It cannot be true. | I don't think that's correct. | I don’t think that’s correct.
    It can't be true | It can not be true | It couldn't be true | It needn't be true | It isnt true | It ain't true
    does n't seem correct | That's not right | That can't be right | I do not agree | I wouldn't call it correct
    That is hardly true | It's barely true | It was never true | unlikely to be true | It fails to be true
    I doubt it | I doubt that's correct | It is doubtful that it is correct | I deny that it is true | no longer true
    Neither is true | none of this is true | nothing is true here | far from true | anything but true
    in no way true
    the reverse of true | It is the contrary of true | I dispute that it's true | I contest that this is correct
    the opposite of correct | by no means true | It would be wrong to say yes | The answer isn't yes | not yes
    Of course not | Absolutely not! | Probably not | I think not | I don't think so | not really
    not at all | It isn't
    The statement isn't entirely accurate | It does not appear to be true | It can't be considered true
    Is it true? No. | "Is this statement true?" No | The statement "it is true" is false | "Yes" is wrong
    nobody would call it true | it's a lie that it is true | neither it nor that is true
    The correct answer is no | Correct answer: no | The correct answer is not yes | The answer is not "yes"
    The cat is not on the car so the statement is false | The cat isn't on the car, so it's false.
    There is no cat on the car | There are no dogs. | No, it is false that it is true | No it is false | no no no
"""
NOTHING = """
    maybe | perhaps | unknown | It depends | It might be true | It may not be true | It could be true | partly true
    half true | almost true | Maybe yes | Yes if you look closely | not necessarily true | not always true
    not sure | I'm not sure | unsure | I'm not sure it is true | I am not certain that is correct | I can't say
    I can't say that it is true | I cannot determine if it's true | hard to say yes or no | It is impossible to say
    No idea | I have no idea | no clue | There's no way to know | no doubt | There is no error in the statement
    both | Both. | Neither. | Neither true nor false | not true and not false | yes or no | yes/no | True or False
    Yes. No. | Yes, no | no yes | yes no yes | Yes, wait, no | either yes or no | true or not | yes\\nno
    Yes is wrong | Yes is not the answer | It does not follow that the statement is true | I refuse to say yes or no
    I'm not convinced it is true | That doesn't make it true | less than accurate | too good to be true
    mistakenly called true | nowhere near true | It is false that it is true | The claim that it is true is wrong
    The cat is on the right | the wrong side | The cat is on the correct side | Is the cat on the car?
    It would be true only if it were red | It used to be true | I wish it were true | That would have been true
    it is | It is
    👍 | ✅ | ❌ | ok | sí | Y | N | 1 | 0 | none | nothing | nobody | yesterday | ye s | ... | !? | \u200b
"""


def table(text: str) -> list[str]:
    return [entry.strip().replace("\\n", "\n") for line in text.strip().splitlines() for entry in line.split("|")]


@pytest.mark.parametrize(
    "text, says", [(t, "yes") for t in table(YES)] + [(t, "no") for t in table(NO)] + [(t, "") for t in table(NOTHING)]
)
def test_yes_and_no(text, says):
    assert readings.yes_or_no(text) == says


NUMBERS = {
    "0": """
        No dogs | There are no dogs. | no dogs at all | I see no dogs | There aren't any | I don't see any dogs. | -0
        not a single dog | There is not a dog | without any dogs | None of them | neither | nobody | no-one | zero
    """,
    "1": "a single dog | one | the red one | ①",
    "2": "a pair | a couple of dogs | ２",
    "3": """
        3 | three | 3. | 3! | 3... | (3) | 3 (three) | **3** | \\boxed{3} | <b>3</b> | Answer:3 | #3 | No. 3 | 3.0
        +3 | - 3 | 3-3 | ٣ | 3️⃣ | 3\u200b | \u200f3\u200f | 3\u00a0dogs | about 3 | ~3 | exactly three | maybe 3
        only three dogs | No, there are 3 | No there are 3 | I'm not sure, 3 | the first three | 3 cm
        There are 3.\\nThere are three.
    """,
    "4": "not 3 but 4 | There are 4 dogs, not 3",
    "6": "half a dozen",
    "12": "a dozen | twelve",
    "21": "twenty-one | twenty one",
    "36": "3 dozen",
    "100": "one hundred | a hundred",
    "205": "two hundred and five",
    "1000": "1,000 | 1'000 | 1\u202f000 | one thousand",
    "-3": "-3 | −3 | –3 | minus three | negative 3",
    "0.5": ".5 | 0.5",
}
NO_NUMBER = """
    | many | a few | dozens | a dog | no | No. | no idea | I have no idea | there is no way to count them | no more
    2 or 3 | 2-3 | 2 to 3 | between 2 and 3 | 1 2 3 | 1. 3 | three, maybe four | no dogs but 2 cats
    5 minus 2 | 2\\n3
    at least 3 | at most 3 | no more than two | no fewer than 3 | more than 3 | less than three | up to 3 | almost 3
    3 or more | 3+ | >3 | ≥ 3 | <3 | ±3 | over 3 | not quite 3 | not 3 | There aren't three
    I don't think there are 3
    I'm not sure there are any | 1/2 | 3/3 | 3 / 4 | ½ | 3½ | one half | three quarters | two-thirds | half of 3
    3 and a half | 3rd | third | twenty-first | III | IV | 三 | 10² | 3² | 1e3 | Infinity | nan | x3 | 3D | 3k
    two pairs | 50% | 50 % | fifty percent | 50 per cent | $5 | €5 | 5° | 5 ° | 3:30 | 10/3 | 1.2.3
    1.000 | 1,5 | 10,00
    1 000 | 1.5 million | 1_000 | 0,123 | ?! | 👍
"""


@pytest.mark.parametrize("text, value", [(text, value) for value, texts in NUMBERS.items() for text in table(texts)])
def test_numbers(text, value):
    assert str(readings.number(text).normalize() + 0) == value


@pytest.mark.parametrize("text", table(NO_NUMBER))
def test_what_names_no_one_number(text):
    assert readings.number(text) is None


LISTS = [
    ("Which? (A) red (B) blue", ["red", "blue"]), ("Which?\nA. red\nB. blue\nC. green", ["red", "blue", "green"]),
    ("Which?\n(A) The car is red.\n(B) It is blue.\nAnswer with the letter.", ["The car is red.", "It is blue."]),
    ("A) red B) blue C) red", ["red", "blue", "red"]), ("A: red\nB: blue", ["red", "blue"]),
    ("Is it (A) red?", []), ("Who is taller, A. Smith or B. Jones?", []), ("(B) red (A) blue", []), ("", []),
    ("How many (a lot) are there?", []), ("(1) red (2) blue", []),
]  # fmt: skip


@pytest.mark.parametrize("question, texts", LISTS)
def test_options_of_a_question(question, texts):
    assert readings.options(question) == dict(zip("abc", texts, strict=False))


def test_docstring_examples():
    assert doctest.testmod(readings).failed == 0 < doctest.testmod(readings).attempted
