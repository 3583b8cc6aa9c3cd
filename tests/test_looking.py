import pytest
from PIL import Image

from mags_kit import load_agent, look, looking, show
from mags_kit.__main__ import main
from mags_kit.config import load_config
from mags_kit.records import read_samples

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
