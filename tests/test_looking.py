import itertools
import os

import pytest
from PIL import Image

from mags_kit import experiments, load_agent, look, looking, show
from mags_kit.__main__ import main
from mags_kit.config import load_config
from mags_kit.data.pictures import photo
from mags_kit.records import file_name, read_samples, write_bytes
from mags_kit.viz.playground import Playground

QUESTION = "How many dots are on the red disc?"


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("MAGS_RUNS", str(tmp_path / "runs"))
    Image.new("RGB", (300, 200), "teal").save(tmp_path / "a.png")
    (tmp_path / "text.jpg").write_text("hello")
    return tmp_path


def test_a_look_is_printed_and_drawn_and_a_second_one_has_a_file_of_its_own(runs, smoke_run, capsys):
    sample = read_samples(smoke_run.samples("test"))[0]
    arguments = ["look", "--image", str(smoke_run.data / sample.image), "--question", sample.question]
    for count in (1, 2):
        main([*arguments, "--set", "{magnifier: bicubic}"])
        rows = dict(line.split(":", 1) for line in capsys.readouterr().out.splitlines())
        assert {"regions", "draft", "verification", "verdict", "answer", "picture", "note"} <= set(rows)
        assert rows["answer"].strip() and "knows no photos" in rows["note"]
        picture = runs / "runs" / "looks" / f"{sample.image.split('/')[-1].split('.')[0]}-{count}.png"
        assert rows["picture"].endswith(picture.name) and picture.read_bytes().startswith(b"\x89PNG")


LONG = {  # names that differ at their end
    "245 letters": ("a" * 244 + "b", "a" * 244 + "c"),
    "300 letters": ("a" * 299 + "b", "a" * 299 + "c"),
    "200 equal letters": ("a" * 200 + "b", "a" * 200 + "c"),
    "letters of three bytes": ("図" * 80 + "一", "図" * 80 + "二"),
    "letters of four bytes": ("🔍" * 61 + "🔍", "🔍" * 61 + "🔎"),
    "bytes that are no UTF-8": ("\udcff" * 240, "\udcff" * 239 + "\udcfe"),
    "digits": ("1" * 249 + "2", "1" * 249 + "3"),
    "a long suffix": ("a." + "b" * 240, "a." + "b" * 239 + "c"),
}


def test_what_is_written_for_a_long_name_has_a_shorter_one(runs, smoke_run):
    content, playground = (runs / "a.png").read_bytes(), Playground(smoke_run)

    def upload(name: str) -> str:
        playground.upload(f"{name}.png", content)
        return os.path.basename(playground.sample.image)

    writers = {
        "an upload": upload,
        "a picture of a data set": lambda name: photo(f"train/{name}.jpg").name,
        "a run of own questions": lambda name: experiments.alone("embedded", f"{name[-240:]}.jsonl")[1],
    }
    wrong = {}
    for (what, write), (kind, pair) in itertools.product(writers.items(), LONG.items()):
        try:
            one, other = (write(name) for name in pair)
            write_bytes(runs / what / one / "a file inside", b"")
            write_bytes(runs / f"{what} again" / f"{one}.with more", b"")
            if one == other:
                raise ValueError("both have one name")
        except (OSError, ValueError) as error:
            wrong[what, kind] = str(error)
    for name in ("a" * 240, "図" * 80):  # of an image that a look is at
        (runs / f"{name}.png").write_bytes(content)
        arguments = ["look", "--image", str(runs / f"{name}.png"), "--question", QUESTION]
        try:
            main([*arguments, "--set", "{magnifier: bicubic}"])
        except (OSError, SystemExit) as error:
            wrong["a look", name] = str(error)
    assert wrong == {}
    assert [file_name(name) for name in ("a" * 200, "é" * 100, "a.b c.jpg")] == ["a" * 200, "é" * 100, "a.b c.jpg"]
    assert file_name("a" * 300 + ".jpg").endswith(".jpg")


def test_what_cannot_be_looked_at_is_one_sentence_before_a_model_is_loaded(runs, monkeypatch):
    monkeypatch.chdir(runs)
    cases = {
        ("nowhere.jpg", QUESTION): "nowhere.jpg: no such image", ("text.jpg", QUESTION): "text.jpg: not a picture",
        (".", QUESTION): "not a file", ("", QUESTION): "no image is named; expected the file of a picture: IMAGE=",
        ("a.png", " "): "the question has 0 characters; expected 1 to", ("a.png", "x" * 3000): "has 3000 characters",
    }  # fmt: skip
    wrong = []
    for (image, question), said in cases.items():
        with pytest.raises(SystemExit) as ended:
            main(["look", "--image", image, "--question", question, "--model", "no/such-model"])
        text = str(ended.value)
        if not (text.startswith("mags_kit: ") and said in text and "\n" not in text):
            wrong.append(text)
    assert wrong == [] and not (runs / "runs").exists()


def test_a_model_that_does_not_fit_is_refused_with_what_it_needs_and_what_is_there(runs, monkeypatch):
    monkeypatch.setattr("mags_kit.plan.machine", lambda *_: {"GPU": "no GPU", "GPU memory": 0, "memory": 2})
    with pytest.raises(ValueError, match=r"needs [\d.]+ GB of memory, found 2\.0 GB \(no GPU\)"):
        looking.agent_with(load_config("paper-7b"))


def test_the_readmes_five_lines(runs, smoke_run):
    sample = read_samples(smoke_run.samples("test"))[0]
    agent = load_agent("smoke")
    trajectory = look(agent, smoke_run.data / sample.image, sample.question)
    assert len(trajectory.replies) == 2 and sample.question in show(trajectory).data
