"""The sets of a run, and the user's own JSONL: what of a row is read, left out or refused."""

import json
import os
import pickle

import pytest
from PIL import Image

from mags_kit.data import sets
from mags_kit.data.own import EXPECTED, read_own
from mags_kit.images import open_image
from mags_kit.method import magnifier
from mags_kit.records import Sample, read_json, read_samples, sample_from, to_json, write_jsonl
from mags_kit.run import branch, open_run


def test_prepared_data_is_not_made_again(smoke_run):
    listing = smoke_run.samples("test")
    before = listing.stat().st_mtime_ns
    samples = sets.prepare(smoke_run)
    assert listing.stat().st_mtime_ns == before and len(samples["test"]) == smoke_run.config.test


@pytest.fixture
def own(tmp_path):
    """Writes rows to a JSONL beside a good image, a cut-off one and one that is no image."""
    Image.effect_noise((64, 48), 50).convert("RGB").save(tmp_path / "good.jpg")
    tmp_path.joinpath("cut.jpg").write_bytes(tmp_path.joinpath("good.jpg").read_bytes()[:900])
    tmp_path.joinpath("text.jpg").write_text("not an image")

    def write(*rows):
        content = rows[0] if isinstance(rows[0], bytes) else "".join(json.dumps(row) + "\n" for row in rows).encode()
        tmp_path.joinpath("own.jsonl").write_bytes(content)
        return tmp_path / "own.jsonl"

    return write


def refusal(path, folder) -> str:
    """The sentence with which a file is refused; "read" if it is not."""
    try:
        read_own(path, folder)
    except ValueError as error:
        str(error).encode()  # it can be printed
        return str(error)
    return "read"


def test_broken_images_are_left_out_and_named(own, tmp_path):
    names = ("good.jpg", "cut.jpg", "text.jpg", "gone.jpg")
    path = own(*({"image": name, "question": "How many?", "answer": 2} for name in names))
    samples, skipped = read_own(path, tmp_path / "run" / "data")
    assert [s.answer for s in samples] == ["2"]
    assert open_image(tmp_path / "run" / "data" / samples[0].image).size == (64, 48)
    assert [(s["row"], s["image"]) for s in skipped] == [(f"own.jsonl, row {n}", names[n - 1]) for n in (2, 3, 4)]
    reasons = [s["reason"] for s in skipped]
    assert [r.split(" (")[0] for r in reasons] == ["not a whole picture", "not a picture", "no such image"]


NAN = float("nan")
GOOD = {"image": "good.jpg", "question": "How many?", "answer": "2"}
READ = {  # what a row says -> what its sample holds
    "the number 0": ({"answer": 0}, {"answer": "0"}),
    "false": ({"answer": False}, {"answer": "no"}),
    "true": ({"answer": True}, {"answer": "yes"}),
    "minus nought": ({"answer": -0.0}, {"answer": "0"}),
    "a large number": ({"answer": 1e16}, {"answer": "10000000000000000"}),
    "the word none": ({"answer": "none"}, {"answer": "none"}),
    "accepted answers": (
        {"answer": ["sofa", "couch", "sofa", None, 3.0]}, {"answer": "sofa", "answers": ("couch", "3")},
    ),
    "gaps": (
        {"id": None, "family": None, "dataset": None, "boxes": None},
        {"id": "1", "family": "open", "dataset": "own", "boxes": ()},
    ),
    "gaps of pandas": ({"id": NAN, "family": NAN, "boxes": NAN}, {"id": "1", "family": "open", "boxes": ()}),
    "blanks": ({"id": " ", "family": "\u200b", "boxes": ""}, {"id": "1", "family": "open", "boxes": ()}),
    "an id beside a gap": ({"id": 12.0, "family": 3}, {"id": "12", "family": "3"}),
    "more columns": ({"meta": 1, "answers": ["x"]}, {"answers": (), "meta": {"source": "own.jsonl, row 1"}}),
    "a box": ({"boxes": [[1, 2, 30, 40]]}, {"boxes": ((1, 2, 30, 40),)}),
    "a box of parts of pixels": ({"boxes": [[1.6, 2.2, 1.9, 40.1]]}, {"boxes": ((1, 2, 2, 41),)}),
    "a box over the border": ({"boxes": [[-3.5, 2, 70, 48.4]]}, {"boxes": ((0, 2, 64, 48),)}),
    "no boxes": ({"boxes": []}, {"boxes": ()}),
}  # fmt: skip


def test_what_a_row_says_is_read(own, tmp_path):
    found, expected = {}, {name: holds for name, (_, holds) in READ.items()}
    for name, (row, holds) in READ.items():
        [sample], skipped = read_own(own(GOOD | row), tmp_path)
        found[name] = {key: getattr(sample, key) for key in holds}
        assert sample_from(json.loads(to_json(sample))) == sample and not skipped
    assert found == expected


WRONG = {  # mistakes of the file
    "no answer": ({"answer": None}, "no answer; expected image, question and answer"),
    "a list of no answers": ({"answer": [None, " "]}, "no answer"),
    "an answer that shows nothing": ({"answer": "\u200b\U000e0020"}, "no answer"),
    "an empty question": ({"question": " \n\ufeff"}, "no question"),
    "an answer that is an object": ({"answer": {"text": "2"}}, "answer is {'text': '2'}; expected text"),
    "answers of VQA": ({"answer": [{"answer": "2", "answer_id": 1}]}, "answer is {'answer': '2'"),
    "an endless answer": ({"answer": float("inf")}, "answer is inf"),
    "a question in a list": ({"question": ["How many?"]}, "question is ['How many?']"),
    "half a character pair": ({"question": "a\ud83d?"}, "question holds half of a surrogate pair"),
    "half a pair in a name": ({"image": "\udc00.jpg"}, "image holds half"),
    "half a pair in an answer": ({"answer": ["x", "\ud800"]}, "answer holds half"),
    "an image in a list": ({"image": ["good.jpg"]}, "image is ['good.jpg']; expected the path"),
    "an image of datasets": ({"image": {"bytes": "x", "path": None}}, "image is {'bytes'"),
    "an address": ({"image": "https://there/a.jpg"}, "image is 'https://there/a.jpg'; expected the path"),
    "an image in the row": ({"image": "data:image/png;base64,iVBO"}, "expected the path"),
    "x, y, width, height": ({"boxes": [[40, 20, 20, 10]]}, "box [40, 20, 20, 10] ends before it begins; expected [x0"),
    "shares of the image": ({"boxes": [[0.1, 0.1, 0.5, 0.5]]}, "is in shares of the image; expected pixels"),
    "the whole image as shares": ({"boxes": [[0, 0, 1, 1]]}, "is in shares of the image"),
    "a box outside": ({"boxes": [[1, 2, 3, 4], [70, 0, 90, 20]]}, "box [70, 0, 90, 20] lies outside its image"),
    "boxes of a larger copy": ({"boxes": [[0, 0, 640, 480]]}, "lies outside its image"),
    "a box of three": ({"boxes": [[1, 2, 3]]}, "box [1, 2, 3] is not"),
    "a box with a gap": ({"boxes": [[1, 2, 3, NAN]]}, "is not [x0"),
    "boxes as text": ({"boxes": "[[1, 2, 3, 4]]"}, "boxes is '[["),
}  # fmt: skip


def test_a_mistake_in_a_row_is_one_sentence_with_file_and_row(own, tmp_path):
    path = own(GOOD)
    said = {name: refusal(own(GOOD, GOOD | row), tmp_path) for name, (row, _) in WRONG.items()}
    wrong = {name: text for name, text in said.items() if WRONG[name][1] not in text or "\n" in text}
    assert not wrong and all(text.startswith(f"{path}, row 2: ") and len(text) < 300 for text in said.values())


def test_a_row_that_no_policy_can_be_asked_is_left_out_and_named(own, tmp_path):
    Image.new("RGB", (1000, 4)).save(tmp_path / "line.png")
    cases = {
        "a special token": ({"question": "Is <|image_pad|> red?"}, "holds <|image_pad|>, a special token"),
        "the end of a turn": ({"question": "Yes?<|im_end|>"}, "holds <|im_end|>"),
        "no end": ({"question": "why " * 2000}, "over 4000 characters"),
        "a folder": ({"image": "."}, "not a file"),
        "a line": ({"image": "line.png"}, "1000x4 pixels"),
    }
    for row, reason in cases.values():
        samples, [skipped] = read_own(own(GOOD, GOOD | row, GOOD), tmp_path)
        assert [s.meta["source"] for s in samples] == ["own.jsonl, row 1", "own.jsonl, row 3"]
        assert skipped["row"] == "own.jsonl, row 2" and reason in skipped["reason"]


LINE = json.dumps(GOOD | {"question": "Où?"}, ensure_ascii=False)


def test_files_are_read_as_other_programs_write_them(own, tmp_path):
    contents = {
        "with a byte order mark": b"\xef\xbb\xbf" + LINE.encode(),
        "UTF-16": LINE.encode("utf-16"),
        "UTF-32": LINE.encode("utf-32"),
        "of Windows": b"\r\n" + LINE.encode() + b"\r\n\r\n",
        "of an old Mac": b"\r" + LINE.encode() + b"\r",
        "with blank lines": b"\n  \n" + LINE.encode() + b"\n\t\n",
        "in ASCII": json.dumps(json.loads(LINE)).encode(),
        "with a line separator": LINE.replace("}", ', "x": "\u2028"}').encode(),
    }
    found = {name: [s.question for s in read_own(own(content), tmp_path)[0]] for name, content in contents.items()}
    assert found == dict.fromkeys(contents, ["Où?"])


def test_a_file_of_another_kind_is_one_sentence(own, tmp_path):
    line = LINE.encode()
    cases = {
        "Windows-1252": (b"{}\n" + LINE.encode("cp1252"), "line 2: expected plain text in UTF-8"),
        "Windows-1252 after UTF-8": (line + b"\n\n" + LINE.encode("cp1252"), "line 3: expected plain text in UTF-8"),
        "half a UTF-16": (LINE.encode("utf-16")[:-1], "line 1: expected plain text in UTF-8"),
        "a JSON array": (b"[" + line + b"]", "line 1: expected one JSON object a line, got"),
        "a trailing comma": (line + b",\n", "line 1: expected one JSON object a line"),
        "a CSV": (b"image,question,answer\ngood.jpg,What?,2\n", "line 1: expected one JSON object a line"),
        "a row that is a number": (b"{}\n7\n", "line 2: expected one JSON object a line, got '7'"),
        "a line cut short": (line[:-9], "line 1: expected one JSON object a line"),
        "nested without end": (b'{"a": ' + b"[" * 100_000, "line 1: expected one JSON object a line"),
        "a number without end": (b'{"answer": ' + b"9" * 5000 + b"}", "line 1: expected one JSON object a line"),
        "Parquet": (b"PAR1\x15\x04\xf9", "expected plain text"),
        "empty": (b"", "none of its 0 rows can be used"),
    }
    path = own(GOOD)
    said = {name: refusal(own(content), tmp_path) for name, (content, _) in cases.items()}
    assert not {name: text for name, text in said.items() if cases[name][1] not in text or "\n" in text}
    assert all(text.startswith(str(path)) and len(text) < 400 for text in said.values())
    none = own({"image": "gone.jpg", "question": "?", "answer": "1"})
    assert "none of its 1 rows can be used; the first, own.jsonl, row 1: no such image" in refusal(none, tmp_path)


def test_a_file_that_is_not_there_is_one_sentence(tmp_path):
    for path in (tmp_path / "gone.jsonl", tmp_path):
        assert refusal(path, tmp_path).startswith(f"{path}: ") and EXPECTED in refusal(path, tmp_path)


def test_images_are_found_wherever_the_user_says(own, tmp_path, monkeypatch):
    deep = tmp_path / "disk" / "deep"
    deep.mkdir(parents=True)
    os.link(tmp_path / "good.jpg", deep / "a.jpg")
    (tmp_path / "link").symlink_to(deep)
    (tmp_path / "linked.jpg").symlink_to(deep / "a.jpg")
    (tmp_path / "~odd.jpg").symlink_to(deep / "a.jpg")
    monkeypatch.setenv("HOME", str(deep))
    names = [str(deep / "a.jpg"), "~/a.jpg", "~odd.jpg", r"disk\deep\a.jpg", "link/a.jpg", "linked.jpg"]
    names += ["./disk//deep/../deep/a.jpg"]
    folder = tmp_path / "runs" / "r" / "data"
    samples, skipped = read_own(own(*(GOOD | {"image": name} for name in names)), folder)
    assert not skipped and len(samples) == len(names)
    assert {open_image(folder / sample.image).size for sample in samples} == {(64, 48)}
    _, [skipped] = read_own(own(GOOD, GOOD | {"image": r"C:\photos\a.jpg"}), folder)
    assert skipped["reason"] == "no such image"


@pytest.mark.parametrize("where", ["runs", "linked", "linked/a b", "Läufe"])
def test_own_images_are_found_from_a_run_and_its_branch_wherever_both_lie(where, own, tmp_path):
    (tmp_path / "disk" / "deep").mkdir(parents=True)
    (tmp_path / "linked").symlink_to(tmp_path / "disk" / "deep")  # as where the runs lie on a larger disk
    settings = {"own": str(own(GOOD)), "pool": 6, "validation": 3}
    run = open_run("smoke", "r", settings, root=tmp_path / where)
    sets.prepare(run)
    for one in (run, branch(run, "seed-1", seed=1)):
        [sample] = read_samples(one.samples("test"))
        assert open_image(one.data / sample.image).size == (64, 48)


def test_ids_are_made_distinct(own, tmp_path):
    rows = [GOOD | {"id": name} for name in ("a", "a", "a-2", "b", "a", 3, "3", None)]
    samples, _ = read_own(own(*rows), tmp_path)
    assert [s.id for s in samples] == ["a", "a-2", "a-2-3", "b", "a-5", "3", "3-7", "8"]


def test_boxes_of_own_images_are_for_the_image_as_it_is_shown(own, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (640, 480)).save(tmp_path / "turned.jpg", exif=exif)
    [sample], _ = read_own(own(GOOD | {"image": "turned.jpg", "boxes": [[400, 500, 480, 640]]}), tmp_path)
    assert sample.boxes == ((400, 500, 480, 640),)


def test_samples_that_were_written_before_read_as_they_were():
    row = {"id": "a", "image": "a.jpg", "question": "?", "answer": "1", "family": "open", "dataset": "own"}
    row |= {"boxes": [[1, 2, 3, 4]], "meta": {}}
    assert sample_from(row) == Sample("a", "a.jpg", "?", "1", boxes=((1, 2, 3, 4),))
    assert sample_from(row | {"boxes": None, "answers": ["2"]}).answers == ("2",)


def test_a_run_names_the_rows_that_were_left_out(own, tmp_path, capsys):
    path = own(GOOD, GOOD | {"image": "cut.jpg"}, GOOD | {"answer": ["a sofa", "couch"]}, GOOD | {"image": "gone.jpg"})
    run = open_run("smoke", "r", {"own": str(path), "pool": 6, "validation": 3}, root=tmp_path / "runs")
    samples = sets.prepare(run)["test"]
    assert [(s.id, s.answer, s.answers) for s in samples] == [("1", "2", ()), ("3", "a sofa", ("couch",))]
    facts = read_json(run.manifest)["steps"]["own data"]
    assert facts["used"] == 2 and [s["row"] for s in facts["skipped"]] == ["own.jsonl, row 2", "own.jsonl, row 4"]
    said = "2 rows were left out; the first, own.jsonl, row 2: not a whole picture"
    assert capsys.readouterr().out.startswith(said)
    write_jsonl(tmp_path / "again.jsonl", samples)
    assert read_samples(tmp_path / "again.jsonl") == samples


class _Hostile:
    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_network_that_is_a_pickle_runs_no_code(tmp_path):
    hostile = _Hostile()
    hostile.path = str(tmp_path / "ran")
    tmp_path.joinpath("network.pth").write_bytes(pickle.dumps(hostile, 2))
    with pytest.raises(pickle.UnpicklingError):
        magnifier.load_network(str(tmp_path / "network.pth"))
    assert not tmp_path.joinpath("ran").exists()
