"""Right and wrong answers, in tables. Each is one test that lists every entry that fails."""

import doctest
import json
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from PIL import Image
from test_records import make_trajectory
from timing import fastest

from mags_kit.data.own import read_own
from mags_kit.method import metrics, rewards, scoring

SAYS = {  # what a text says to a yes-or-no question
    "yes": """
        yes | YES!!! | yes? | yeah | **Yes** | ＹＥＳ | y\u200bes | Yes 👍 | True | Right. | That's right | I agree
        The caption is accurate | Answer: yes | answer=yes | Yes, the cat is on the car | Yes both cats are there
        It is true that the cat is left of the car | The cat is on the car, so yes | Is it true? Yes. | not no
        The correct answer is yes | Yes, if you look closely | It's not incorrect | I don't think it is false
    """,
    "no": """
        no | NOPE | False | incorrect | wrong | I disagree | “No” | it is false | anything but true | I don't think so
        The statement is not true | It isnt true | It cannot be true | It can't be true | It isn't | I doubt it is true
        I don’t think that’s correct. | That doesn't seem correct. | The statement isn't entirely accurate | no no no
        No, it is not. | no, it is correct that it is left | No it is false | There is no cat on the car
        The cat isn't on the car, so it's false. | The answer is not "yes" | No, it is false that it is true
    """,
    "": """
        yes or no | yes/no | yes and no | Yes. No. | no yes | Yes, wait, no | yes\\nno | maybe | It might be true | both
        partly true | Maybe yes | not always true | I'm not sure it is true | No idea | no doubt | not sure | it is
        Yes is wrong | Yes is not the answer | Yes if you look closely | It is false that it is true | none | 1
        It does not follow that the statement is true | I'm not convinced it is true | It is true. I doubt it.
        The cat is on the right | The cat is on the correct side | Is the cat on the car? | the opposite is true
        It would be true only if it were red | 👍 | Y | yesterday | \u200b |
    """,
}
NUMBERS = {  # the one number that a text names
    "0": "0 | No dogs | There are no dogs. | I see no dogs | There aren't any | I don't see any dogs. | None of them",
    "1": "one | the red one", "12": "twelve", "21": "twenty-one | twenty one", "1000": "1,000", "-3": "-3 | −3 | –3",
    "3": """
        3 | three | Three. | 3. | 3! | (3) | 3 (three) | **3** | \\boxed{3} | <b>3</b> | Answer:3 | #3 | No. 3 | 3.0
        ٣ | 3️⃣ | 3\u00a0dogs | about 3 | ~3 | only three dogs | No, there are 3 | No there are 3 | There are 3 cats
        There are 3.\\nThere are three. | the first three | 3 dogs that are not lying | 3, not sure
    """,
    "": """
        many | dozens | a dog | no | No. | no idea | there is no way to count them | no more | No it is | no others
        2 or 3 | 2-3 | 2 to 3 | 1 2 3 | three, maybe four | no dogs but 2 cats | 2 dogs and 1 cat | 2\\n3 | 4, not 3
        at least 3 | no more than two | more than 3 | up to 3 | almost 3 | half of 3 | 3 or more | 3+ | >3 | ≥ 3 | ±3
        There aren't three | I don't think there are 3 | not sure there are any | 1/2 | 3 / 4 | ½ | 3½ | three quarters
        two-thirds | 3 and a half | 3rd | twenty-first | III | 10² | 3² | 1e3 | nan | x3 | 50% | fifty percent | $5
        5° | 3:30 | 1.2.3 | 1.000 | 1,5 | 10,00 | 1 000 | one hundred | 3 dozen | a pair | minus three | 5 minus 2 | 👍 |
    """,
}
RIGHT = {  # texts that say a truth in words or by a letter
    "red": "Red. | the red | Answer: red | The answer is red. | It is red | **red** | 'red' | r\u200bed | ｒｅｄ",
    "red bus": "a red bus | The red, bus | red  bus | RED\u00a0BUS", "t shirt": "T-shirt | a t‐shirt",
    "womens": "women's | women’s", "2": "two", "café": "cafe\u0301", "50%": "50 %", "½": "1/2",
    "A, C": "a, c.", "IV": "IV", "0": "none", "A": "a | A) a car", "I": "I",
    "B": """
        B | b | (B) | B. | b) | [B] | **B** | "B" | Answer: B | Answer: (B) | The answer is B. | Option B
        I choose B | the correct answer is (B) | B is correct | B: red | B. the red one | B - red | B) Vitamin C.
    """,
}
WRONG = {
    "red": "dark red | red and blue | red or blue | not red | It is not red | blue | yes | reddish | \u200b |",
    "red bus": "bus | red buses", "bus": "buses", "man": "men", "left": "right | on the left", "television": "tv",
    "3": "-3 | 3.5 | 13 | thirteen | three or four |", "-3": "3", "50%": "50", "50": "50%", "$5": "5 | €5", "5": "$5",
    "C++": "C", "C": "c# | A, C", "A+": "A", "1 2": "1/2", "102": "10²", "10:30": "10.30", "किताब": "कताब", "👍": "👎",
    "vitamin A": "vitamin", "a b": "b", "IV": "4", "a": "the", "A": "A red car | A- | A, C", "I": "I think so | I'm",
    "B": """
        A | A or B | B or A | A and B | A/B | A, B | B, A | AB | (A) (B) | (B) or (A) | not B | It isn't B | Bob
        bee | 8 | B) the red one or C) the blue one | A) the B one | Not A. B | both | B the red one
    """,
}
QUESTION = "What colour is the car? (A) dark red (B) blue (C) 3 (D) yes"
CHOSEN = {  # truth: (right, wrong), where the question lists its options
    "A": ("A | (a) | dark red | A) dark red | A dark red", "A) blue | blue | B | red | E | A or B"),
    "dark red": ("A | (A) Dark red.", "B"), "(A) dark red": ("A", "B"), "green": ("green | The green", "A"),
    "C": ("three | There are 3", "3 or 4"), "3": ("C", "A"), "yes": ("D", "B"), "D": ("Yes, it is.", "No"),
}
COLOURS = [  # "A red" and "B blue" as people list them
    "What? Choices: A. red, B. blue", "What? Options: A: red; B: blue", "What? A. red B. blue. Answer with the letter.",
    "What?\na) red\nb) blue", "What? (a) red, (b) blue", "What? (A)red (B)blue", "What? [A] red [B] blue",
    "What?\n**A.** red\n**B.** blue", "What?\n- A. red\n- B. blue", "What?\nA - red\nB - blue",
    "What?\nA、red\nB、blue", "What? （A）red （B）blue", "Is it (A) red, or (B) blue?", "Choose:\nA.red\nB.blue",
]  # fmt: skip
PETS = "Which are there?\nA. dog\nB. cat\nC. bird"
CAR, HELD = "What colour is the car?", "What is the man holding?"
ODD = {  # kind: question, truth, what is right, what is wrong
    "options that are letters": [
        ("(A) B (B) A", "B", "Answer: B | B | (B) | (B) A | B. A", "Answer: A | A | (A) B | C"),
        ("(A) B (B) A", "A", "Answer: A | A | (A) B", "Answer: B | B | (B) A | A, B | B or A | (A) (B)"),
        ("What?\nA. C\nB. A\nC. B", "C", "C | C. B | The answer is C.", "B | A. C | (A) C | A"),
        ("(A) A (B) I", "A", "A | (A) A", "I | B"), ("(A) a (B) b", "B", "(B) b", "a | (A) a"),
        ("(A) X (B) A", "B", "B | (B) A", "X | (A) X | A"), ("(A) B+ (B) A-", "B", "(B) A- | A-", "A | B+"),
    ],
    "lists of options": [
        (question, *rest)
        for question in COLOURS
        for rest in (("B", "B | blue | B. blue | It is blue.", "A | red | green"), ("red", "A | red", "B | blue"))
    ],
    "several letters": [
        ("", "A, C", "AC | CA | A,C | A and C | (A), (C) | A & C | ['A', 'C'] | Answer: AC", "A, B | A | ABC | AB"),
        ("", "A, C", "A C | (A)(C)", "A or C | A/C | A-C | not A, C | A, C or D"),
        ("", "A, B, and D", "ABD | D, A, B", "A, B"),
        (PETS, "AC", "A, C | dog, bird | A. dog\\nC. bird | bird and dog", "A, B | dog | dog, cat | dog or bird | ABC"),
        (PETS, "dog, bird", "AC | A and C | bird, dog", "B | A, B | dog, bird, cat"), ("", "A and C", "C, A", "C"),
    ],
    "units and numbers": [
        ("", "5 cm", "5cm | 5.0 cm | five cm | 5 centimetres | It is 5cm long. | about 5 cm", "5 mm | 50 cm | 5"),
        ("", "5 cm", "5 CM.", "-5 cm | 5 to 6 cm | 5 or 6 cm | not 5 cm | at least 5 cm | 5.5 cm | 5 cm² | 15cm"),
        ("How tall is it?", "6 ft", "6ft | six feet | It is 6 feet tall.", "6 in | 6 m | 60 ft"),
        ("", "60 km/h", "60km/h | 60 kph | 60 km per hour", "60 mph | 60 km"),
        ("", "$5", "$5.00 | 5 dollars", "5 | $50 | €5"),
        ("", "2:50 pm", "2:50pm | 2:50 p.m.", "2:50 am | 2:05 pm"), ("", "50%", "50 percent | 50.0 %", "50 | 5% | 50°"),
        ("", "20°C", "20 °C | 20 degrees Celsius", "20°F | 20 | 2°C"), ("", "10 years", "10 years old", "10 days"),
        ("", "version 3.1", "Version 3.1", "version 3.10"),
        ("", "1,200 kg", "1200kg | 1200 kilograms", "1.2 kg | 200 kg"),
    ],
    "LaTeX": [
        ("", "red", r"\boxed{red} | $\boxed{\text{red}}$ | \textbf{Red} | so it is \boxed{red}",
         r"\boxed{blue} | \boxed{not red}"),
        ("", "3", r"$3$ | $$3$$ | \(3\) | two and one, so \boxed{3} | 3\,\text{dogs}",
         r"$3^2$ | \sqrt{3} | 3\times 2 | $3"),
        ("", "3", r"\boxed{\mathrm{three}} | $\mathbf{3}$",
         r"\boxed{2} or \boxed{3} | more than \boxed{3} | not \boxed{3} | 2 or \boxed{3} | \frac{3}{2} | -$3$"),
        (QUESTION, "B", r"\boxed{B} | \boxed{\text{(B)}} | $\boxed{\text{B. blue}}$ | \boxed{blue}",
         r"\boxed{A} | \boxed{A}, \boxed{B}"),
        ("", "5 cm", r"$5\text{ cm}$ | $5\,\mathrm{cm}$ | 5~cm", r"$5\,\mathrm{mm}$ | $5$"),
        ("", "50%", r"50\% | \boxed{50\%}", r"$50$"),
        ("", "1/2", r"\frac{1}{2} | $\frac12$ | \dfrac{1}{2}", r"\frac{2}{1} | $1\frac{1}{2}$ | -\frac{1}{2}"),
        ("", "90°", r"90^\circ | $90^{\circ}$", "90 | 9°"), ("", "yes", r"\boxed{\text{Yes}}", r"\boxed{no}"),
        ("", "$5", r"\$5 | $5 | \boxed{\$5}", r"$50 | 5 | $5$"), ("", "$5 and $6", r"$5 and \$6", "5 and 6"),
    ],
    "sentences": [
        (CAR, "red", "The car is red. | The car's colour is red. | I think it is red | The car appears to be red.",
         "The car is not red. | The car by the red bus is blue | The bus is red | The car is red and white"),
        (CAR, "red", "This car looks red. | In this image, the car is red.",
         "Is the car red? | The car isn't red | The car is dark red | It is blue, it is red | The car is by the red"),
        ("Is the car red or blue?", "red", "The car is red.",
         "The car is red or blue | The car is blue, it is red | The red car is blue"),
        (HELD, "umbrella", "The man is holding an umbrella. | He is holding an umbrella",
         "The man is not holding an umbrella | The man is under an umbrella | The woman is holding an umbrella"),
        ("What is the dog chasing?", "cat", "The dog is chasing a cat.", "The cat is chasing the dog"),
        ("What is chased by the dog?", "cat", "I think it is a cat.", "The dog is a cat | The dog is chasing the cat"),
        ("Is the car to the left of the bus or the right?", "left", "I think the car is left.", "The bus is left"),
        ("What colour is the car next to the bus?", "red", "The car is red.", "The bus is red | What colour is red"),
        ("Which room is this?", "kitchen", "This is a kitchen. | The room is the kitchen", "It is next to the kitchen"),
        ("Which? (A) red (B) blue", "B", "It is blue. | I think it is blue", "It is red. | It is red, not blue"),
    ],
}  # fmt: skip
NORMAL = {
    "A": "a", "The 'big' bus": "big bus", "A T-shirt": "t shirt", "vitamin A": "vitamin a", "The U.S.": "u s",
    "-3": "-3", "- 3": "3", "x-3": "x 3", "50 %": "50%", "$5": "$5", "C++": "c++", "A-": "a-", "3.5": "3.5", "5.": "5",
    "2:50 pm": "2:50 pm", "and/or": "and or", "_red_": "red", "हिन्दी": "हिन्दी", "None": "0", "twenty one": "21",
}
ANYTHING = "I | a b | The a | . | 50% | −3 | yes or no | 2 or 3 | ½ | 👍🏽 | 红色 | किताब | \u200fאדום | (B) or (A)"
LISTS = {
    "Which?\nA. red\nB. blue": ["red", "blue"], "A) 1 B) 2 C) both (A) and (B)": ["1", "2", "both (A) and (B)"],
    "Who is taller, A. Smith or B. Jones?": [], "(B) red (A) blue": [],
}


def table(text: str) -> list[str]:
    return [entry.strip().replace("\\n", "\n") for line in text.strip().splitlines() for entry in line.split("|")]


def test_yes_and_no():
    texts = [(text, says) for says, texts in SAYS.items() for text in table(texts)]
    assert not [(text, says) for text, says in texts if scoring.yes_or_no(text) != says]
    truths = {"yes": "yes", "True": "yes", "no": "no", "False": "no"}
    assert not [(a, t) for a, says in texts for t, meant in truths.items() if scoring.is_right(a, t) != (says == meant)]


def test_numbers():
    texts = [(text, value) for value, texts in NUMBERS.items() for text in table(texts)]
    found = {text: scoring.number(text) for text, _ in texts}
    assert not [(text, found[text]) for text, value in texts if found[text] != (float(value) if value else None)]


def test_words_letters_and_options():
    rows = [(text, truth, "", True) for truth, texts in RIGHT.items() for text in table(texts)]
    rows += [(text, truth, "", False) for truth, texts in WRONG.items() for text in table(texts)]
    for truth, both in CHOSEN.items():
        rows += [(text, truth, QUESTION, texts == both[0]) for texts in both for text in table(texts)]
    assert not [row for row in rows if scoring.is_right(*row[:3]) != row[3]]


@pytest.mark.parametrize("kind", ODD)
def test_odd_forms_of_an_answer(kind):
    rows = []
    for question, truth, *both in ODD[kind]:
        for texts, right in zip(both, (True, False), strict=True):
            rows += [(text, truth, question, right) for text in table(texts)]
    assert not [row for row in rows if scoring.is_right(*row[:3]) != row[3]]


def test_a_text_equal_to_the_truth_is_right_and_others_are_not():
    for text in table(ANYTHING):
        assert scoring.is_right(text, text) and scoring.is_right(text, text, QUESTION), text
        assert scoring.is_right(f" {text.upper()}\n", text) and not scoring.is_right("purple", text), text
    assert scoring.is_right("x" * 5000, "x" * 5000) and not scoring.is_right("X" * 5000, "x" * 5000)
    nothing = (None, "", " \n", "\u200b", "\ufeff")
    assert not [(n, t) for n in nothing for t in ("yes", "3", "0", "red", "B", "", " ") if scoring.is_right(n, t)]


def test_normal_form_and_lists_of_options():
    assert {text: scoring.normalise(text) for text in NORMAL} == NORMAL
    assert all(scoring.normalise(form) == form for form in NORMAL.values())
    assert {question: list(scoring.options(question).values()) for question in LISTS} == LISTS


def test_replies_are_judged_as_a_careful_person_judges_them():
    """200 replies, half of them wrong. The rules may come closer to that judgement, not fall behind."""
    judged = Counter()
    for row in json.loads(Path(__file__).with_name("data").joinpath("replies.json").read_text("utf-8")):
        for right in (True, False):
            for reply in row["right" if right else "wrong"]:
                judged[right, scoring.is_right(reply, row["gold"], row["question"])] += 1
    assert judged.total() == 200 and judged[True, True] + judged[True, False] == 100
    assert judged[False, True] <= 1 and judged[True, False] <= 13, judged  # false hits, false misses


def test_any_accepted_answer_counts_from_the_row_to_the_reward(tmp_path):
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    row = {"image": "a.png", "question": "What is this?", "answer": ["sofa", "couch", 3]}
    tmp_path.joinpath("own.jsonl").write_text(json.dumps(row))
    [sample], *_ = read_own(tmp_path / "own.jsonl", tmp_path)
    for said, right in (("sofa", 1), ("A couch.", 1), ("three", 1), ("sofa or couch", 0), ("bed", 0), ("", 0)):
        t = make_trajectory(sample=sample, draft="bed", answer=said)
        assert (rewards.answer(t), rewards.draft(t)) == (right, 0), said
        assert metrics.change(t) == (metrics.REPAIRED if right else metrics.KEPT_WRONG)


def test_time_grows_with_the_length_alone():
    """30,000 characters of one piece take hundredths of a second; what is quadratic would take several."""
    pieces = """
        a | yes | not | 3 | 1, | twenty one and | hundred | ( | (a) | a) | " | yes? | . | - | ٣ | ½ | 👍 | is | the
        don't | no dogs | not any | at least | >3 | 1/ | $ | true or | correct answer | A. | \ud800 | \u0301 | \\n
        ? | $a | $$ | \\boxed{ | \\text{a} | \\frac{1} | ^{ | ~ | a: | : a. | 5cm | and a | is
    """
    for piece in (f"{piece} " for piece in table(pieces)):
        text = piece * (30_000 // len(piece))
        for read in (scoring.yes_or_no, scoring.number, scoring.normalise, scoring.options, scoring.measured):
            assert fastest(partial(read, text), 1) < 1, (piece, read)
        for read in (scoring.choice, scoring.several):
            assert fastest(partial(read, text, {}), 1) < 1, (piece, read)
        assert fastest(partial(scoring.is_right, text[: scoring.LONGEST], "red"), 1) < 1, piece


def test_docstring_examples():
    assert doctest.testmod(scoring).failed == 0 < doctest.testmod(scoring).attempted
