import json
import os
import pickle
from collections import Counter

import pytest
from PIL import Image
from timing import fastest

from mags_kit import fingerprints
from mags_kit.run import branch
from mags_kit.data import sets, values
from mags_kit.data.own import read_own
from mags_kit.images import open_image
from mags_kit.method import magnifier
from mags_kit.records import Sample, read_json, read_samples, sample_from, to_json, write_jsonl
from mags_kit.run import open_run
from mags_kit.data import scenes


def test_samples_are_balanced_and_their_images_are_there(tmp_path):
    samples = sets.scene_samples("test", 36, tmp_path)
    assert set(Counter(s.family for s in samples).values()) == {12}
    for family, answers in scenes.ANSWERS.items():
        assert set(Counter(s.answer for s in samples if s.family == family).values()) == {12 // len(answers)}
    assert open_image(tmp_path / samples[0].image).size == (768, 768)


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
        tmp_path.joinpath("own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return tmp_path / "own.jsonl"

    return write


def test_broken_images_are_left_out_and_named(own, tmp_path):
    names = ("good.jpg", "cut.jpg", "text.jpg", "gone.jpg")
    path = own(*({"image": name, "question": "How many?", "answer": 2} for name in names))
    samples, skipped = read_own(path, tmp_path / "run" / "data")
    assert [s.answer for s in samples] == ["2"]
    assert open_image(tmp_path / "run" / "data" / samples[0].image).size == (64, 48)
    assert [(s["row"], s["image"]) for s in skipped] == [(f"own.jsonl, row {n}", names[n - 1]) for n in (2, 3, 4)]
    reasons = [s["reason"] for s in skipped]
    assert [r.split(" (")[0] for r in reasons] == ["not a whole picture", "not a picture", "no such image"]


def test_a_missing_column_is_an_error_that_names_row_and_column(own, tmp_path):
    path = own({"image": "good.jpg", "question": "?", "answer": "1"}, {"image": "good.jpg", "answer": "1"})
    with pytest.raises(ValueError, match="row 2: no question; expected image, question and answer"):
        read_own(path, tmp_path)


def test_a_file_without_a_usable_row_is_an_error(own, tmp_path):
    with pytest.raises(ValueError, match="none of its 1 rows"):
        read_own(own({"image": "gone.jpg", "question": "?", "answer": "1"}), tmp_path)


NAN = float("nan")
GOOD = {"image": "good.jpg", "question": "How many?", "answer": "2"}
READ = {  # what a row says -> what its sample holds
    "the number 0": ({"answer": 0}, {"answer": "0"}),
    "false": ({"answer": False}, {"answer": "no"}),
    "true": ({"answer": True}, {"answer": "yes"}),
    "a whole number beside a gap": ({"answer": 3.0}, {"answer": "3"}),
    "minus nought": ({"answer": -0.0}, {"answer": "0"}),
    "a share": ({"answer": 0.5}, {"answer": "0.5"}),
    "a large number": ({"answer": 1e16}, {"answer": "10000000000000000"}),
    "the word none": ({"answer": "none"}, {"answer": "none"}),
    "accepted answers": (
        {"answer": ["sofa", "couch", "sofa", None, 3.0]}, {"answer": "sofa", "answers": ("couch", "3")},
    ),
    "one accepted answer": ({"answer": [False]}, {"answer": "no", "answers": ()}),
    "a question that is a number": ({"question": 7}, {"question": "7"}),
    "gaps": (
        {"id": None, "family": None, "dataset": None, "boxes": None},
        {"id": "1", "family": "open", "dataset": "own", "boxes": ()},
    ),
    "gaps of pandas": ({"id": NAN, "family": NAN, "boxes": NAN}, {"id": "1", "family": "open", "boxes": ()}),
    "blanks": ({"id": " ", "family": "", "boxes": ""}, {"id": "1", "family": "open", "boxes": ()}),
    "marks of no width": ({"id": "\u200b", "family": "\u200e"}, {"id": "1", "family": "open"}),
    "an id beside a gap": ({"id": 12.0, "family": 3}, {"id": "12", "family": "3"}),
    "more columns": ({"meta": 1, "answers": ["x"]}, {"answers": (), "meta": {"source": "own.jsonl, row 1"}}),
    "a box": ({"boxes": [[1, 2, 30, 40]]}, {"boxes": ((1, 2, 30, 40),)}),
    "a box of shares of pixels": ({"boxes": [[1.6, 2.2, 1.9, 40.1]]}, {"boxes": ((1, 2, 2, 41),)}),
    "a box over the border": ({"boxes": [[-3.5, 2, 70, 48.4]]}, {"boxes": ((0, 2, 64, 48),)}),
    "no boxes": ({"boxes": []}, {"boxes": ()}),
}  # fmt: skip


@pytest.mark.parametrize("row, expected", READ.values(), ids=READ)
def test_what_a_row_says_is_read(row, expected, own, tmp_path):
    [sample], skipped = read_own(own(GOOD | row), tmp_path)
    assert {name: getattr(sample, name) for name in expected} == expected and not skipped
    assert sample_from(json.loads(to_json(sample))) == sample


WRONG = {  # mistakes of the file
    "no answer": ({"answer": None}, "no answer; expected image, question and answer"),
    "a gap for an answer": ({"answer": NAN}, "no answer"),
    "a list of no answers": ({"answer": [None, " "]}, "no answer"),
    "an answer that shows nothing": ({"answer": "\u200b\U000e0020"}, "no answer"),
    "a question that shows nothing": ({"question": "\ufeff \u2060"}, "no question"),
    "an empty question": ({"question": " \n"}, "no question"),
    "an answer that is an object": ({"answer": {"text": "2"}}, "answer is an object"),
    "answers of VQA": ({"answer": [{"answer": "2", "answer_id": 1}]}, "answer is an object"),
    "an endless answer": ({"answer": float("inf")}, "answer is a number (inf)"),
    "a question in a list": ({"question": ["How many?"]}, "question is a list (['How many?'])"),
    "an id in a list": ({"id": [1]}, "id is a list"),
    "half a character pair": ({"question": "a\ud83d?"}, "question holds half of a character pair"),
    "half a pair in a name": ({"image": "\udc00.jpg"}, "image holds half"),
    "half a pair in an answer": ({"answer": ["x", "\ud800"]}, "answer holds half"),
    "an image in a list": ({"image": ["good.jpg"]}, "image is a list (['good.jpg']); expected the path"),
    "an image of datasets": ({"image": {"bytes": "x", "path": None}}, "image is an object"),
    "an image that is a number": ({"image": 7}, "image is a number (7)"),
    "an address": ({"image": "https://there/a.jpg"}, "image is an address ('https://there/a.jpg'); expected the path"),
    "an address with half a pair": ({"image": "http://\ud800"}, "image is an address"),
    "a file's address": ({"image": "file:///a.jpg"}, "image is an address"),
    "an image in the row": ({"image": "data:image/png;base64,iVBO"}, "image is an address ('data:image/png;"),
    "x, y, width, height": ({"boxes": [[40, 20, 20, 10]]}, "box [40, 20, 20, 10] ends before it begins; expected [x0"),
    "an empty box": ({"boxes": [[4, 4, 4, 9]]}, "ends before it begins"),
    "shares of the image": ({"boxes": [[0.1, 0.1, 0.5, 0.5]]}, "is in shares of the image; expected pixels"),
    "the whole image as shares": ({"boxes": [[0, 0, 1, 1]]}, "is in shares of the image"),
    "a box outside": ({"boxes": [[1, 2, 3, 4], [70, 0, 90, 20]]}, "box [70, 0, 90, 20] lies outside its image"),
    "boxes of a larger copy": ({"boxes": [[0, 0, 640, 480]]}, "lies outside its image"),
    "a bare box": ({"boxes": [1, 2, 3, 4]}, "box 1 is not [x0, y0, x1, y1]"),
    "a box of three": ({"boxes": [[1, 2, 3]]}, "box [1, 2, 3] is not"),
    "a box of texts": ({"boxes": [["1", "2", "3", "4"]]}, "is not [x0"),
    "a box with a gap": ({"boxes": [[1, 2, 3, NAN]]}, "is not [x0"),
    "boxes as text": ({"boxes": "[[1, 2, 3, 4]]"}, "boxes is text"),
    "boxes as an object": ({"boxes": {"xyxy": []}}, "boxes is an object"),
}  # fmt: skip


@pytest.mark.parametrize("row, said", WRONG.values(), ids=WRONG)
def test_a_mistake_in_a_row_is_one_sentence_with_file_and_row(row, said, own, tmp_path):
    path = own(GOOD, GOOD | row)
    with pytest.raises(ValueError) as error:
        read_own(path, tmp_path)
    assert str(error.value).startswith(f"{path}, row 2: ") and said in str(error.value)
    assert "\n" not in str(error.value) and len(str(error.value)) < 300
    str(error.value).encode()  # it can be printed


UNASKED = {
    "a model's own mark": ({"question": "Is <|image_pad|> red?"}, "holds <|image_pad|>, a mark"),
    "the end of a turn": ({"question": "Yes?<|im_end|>"}, "holds <|im_end|>"),
    "no end": ({"question": "why " * 2000}, "over 4000 characters"),
    "a folder": ({"image": "."}, "not a file"),
    "a line": ({"image": "line.png"}, "1000x4 pixels show nothing"),
}


@pytest.mark.parametrize("row, reason", UNASKED.values(), ids=UNASKED)
def test_a_row_that_no_policy_can_be_asked_is_left_out_and_named(row, reason, own, tmp_path):
    Image.new("RGB", (1000, 4)).save(tmp_path / "line.png")
    samples, [skipped] = read_own(own(GOOD, GOOD | row, GOOD), tmp_path)
    assert [s.meta["source"] for s in samples] == ["own.jsonl, row 1", "own.jsonl, row 3"]
    assert skipped["row"] == "own.jsonl, row 2" and reason in skipped["reason"]


LINE = json.dumps(GOOD | {"question": "Où?"}, ensure_ascii=False)
ENCODED = {
    "with a byte order mark": b"\xef\xbb\xbf" + LINE.encode(),
    "UTF-16": LINE.encode("utf-16"),
    "UTF-16 big-endian": b"\xfe\xff" + LINE.encode("utf-16-be"),
    "UTF-16 without a mark": LINE.encode("utf-16-le"),
    "UTF-32": LINE.encode("utf-32"),
    "of Windows": b"\r\n" + LINE.encode() + b"\r\n\r\n",
    "of an old Mac": b"\r" + LINE.encode() + b"\r",
    "with blank lines": b"\n  \n" + LINE.encode() + b"\n\t\n",
    "in ASCII": json.dumps(json.loads(LINE)).encode(),
    "two files, one behind the other": b"\n\xef\xbb\xbf" + LINE.encode(),
    "with a line separator": LINE.replace("}", ', "x": "\u2028"}').encode(),
}


@pytest.mark.parametrize("content", ENCODED.values(), ids=ENCODED)
def test_files_are_read_as_other_programs_write_them(content, own, tmp_path):
    path = own(GOOD)
    path.write_bytes(content)
    [sample], _ = read_own(path, tmp_path)
    assert sample.question == "Où?" and sample.id == "1"


UNREAD = {
    "Windows-1252": (b"{}\n" + LINE.encode("cp1252"), "line 2: expected UTF-8, got byte 0xf9 (of Windows-1252?)"),
    "Windows-1252 after UTF-8": (LINE.encode() + b"\n\n" + LINE.encode("cp1252"), "line 3: expected UTF-8"),
    "Windows-1252 with a mark": (b"\xef\xbb\xbf" + LINE.encode("cp1252"), "line 1: expected UTF-8, got byte 0xf9"),
    "half a UTF-16": (LINE.encode("utf-16")[:-1], "line 1: expected UTF-8"),
    "a JSON array": (b"[" + LINE.encode() + b"]", "line 1: expected a JSON object, got list; a JSON array? Write one"),
    "an array over lines": (b"[\n" + LINE.encode() + b"\n]", "a JSON array? Write one object a line"),
    "an object over lines": (json.dumps(GOOD, indent=1).encode(), "an object over several lines?"),
    "a trailing comma": (LINE.encode() + b",\n", "line 1: ", "no comma may follow it"),
    "a CSV": (b"image,question,answer\ngood.jpg,What?,2\n", "a CSV? Write one JSON object a line"),
    "a quoted CSV": (b'"image","question"\n', "a CSV?"),
    "a table with tabs": (b"image\tquestion\n", "a CSV?"),
    "Python's own way": (str(GOOD).encode(), "Expecting property name enclosed in double quotes"),
    "a row that is a number": (b"{}\n7\n", "line 2: expected a JSON object, got int"),
    "a line cut short": (LINE.encode()[:-9], "line 1: expected a JSON object"),
    "nested without end": (b'{"a": ' + b"[" * 100_000, "line 1: expected a JSON object"),
    "a number without end": (b'{"answer": ' + b"9" * 5000 + b"}", "line 1: expected a JSON object"),
    "Parquet": (b"PAR1\x15\x04", "expected JSON Lines as plain text, got a Parquet file"),
    "Excel": (b"PK\x03\x04\x14\0", "got a zip or Excel file"),
    "compressed": (b"\x1f\x8b\x08\0", "got a gzip file"),
    "empty": (b"", "none of its 0 rows can be used"),
}


@pytest.mark.parametrize("content, said", [(c, said[-1]) for c, *said in UNREAD.values()], ids=UNREAD)
def test_a_file_of_another_kind_is_one_sentence(content, said, own, tmp_path):
    path = own(GOOD)
    path.write_bytes(content)
    with pytest.raises(ValueError) as error:
        read_own(path, tmp_path)
    assert str(error.value).startswith(str(path)) and said in str(error.value)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


def test_a_file_that_is_not_there_is_one_sentence(tmp_path):
    for path in (tmp_path / "gone.jsonl", tmp_path):
        with pytest.raises(
            ValueError, match=f"^{path}: .*; expected image, question and answer in each row of a JSONL$"
        ):
            read_own(path, tmp_path)


def test_images_are_found_wherever_the_user_says(own, tmp_path, monkeypatch):
    deep = tmp_path / "disk" / "deep"
    deep.mkdir(parents=True)
    os.link(tmp_path / "good.jpg", deep / "a.jpg")
    os.link(tmp_path / "good.jpg", deep.parent / "b.jpg")
    (tmp_path / "link").symlink_to(deep)
    (tmp_path / "linked.jpg").symlink_to(deep / "a.jpg")
    (tmp_path / "~odd.jpg").symlink_to(deep / "a.jpg")
    monkeypatch.setenv("HOME", str(deep))
    names = [
        str(deep / "a.jpg"),
        "~/a.jpg",
        "~odd.jpg",
        r"disk\deep\a.jpg",
        "link/a.jpg",
        "link/../b.jpg",
        "linked.jpg",
    ]
    names += ["./disk//deep/../b.jpg"]
    (tmp_path / "runs" / "r").mkdir(parents=True)
    folder = tmp_path / "runs" / "r" / "data"
    samples, skipped = read_own(own(*(GOOD | {"image": name} for name in names)), folder)
    assert not skipped and len(samples) == len(names)
    for sample in samples:
        assert open_image(folder / sample.image).size == (64, 48)
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
        found = fingerprints.listed(one.samples("test"), one.data)
        assert found != fingerprints.listed(one.samples("test"), tmp_path)  # where there is no such image


def test_ids_are_made_distinct(own, tmp_path):
    rows = [GOOD | {"id": name} for name in ("a", "a", "a-2", "b", "a", 3, "3", None)]
    samples, _ = read_own(own(*rows), tmp_path)
    assert [s.id for s in samples] == ["a", "a-3", "a-2", "b", "a-4", "3", "3-2", "8"]


def test_boxes_of_own_images_are_for_the_image_as_it_is_shown(own, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (640, 480)).save(tmp_path / "turned.jpg", exif=exif)
    [sample], _ = read_own(own(GOOD | {"image": "turned.jpg", "boxes": [[400, 500, 480, 640]]}), tmp_path)
    assert sample.boxes == ((400, 500, 480, 640),)


def test_many_rows_are_read_in_seconds(own, tmp_path):
    path = own(GOOD)
    row = json.dumps(GOOD | {"id": 1, "boxes": [[1, 2, 3, 4]]}) + "\n"
    path.write_text(row * 20_000)
    read = []
    assert fastest(lambda: read.append(read_own(path, tmp_path)), 2) < 5  # 100,000 take about 4 s of one core
    assert len({s.id for s in read[0][0]}) == 20_000


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


@pytest.mark.parametrize(
    "frame, orientation, shown",
    [
        ((100, 50), 1, (10, 20, 30, 40)), ((200, 100), 1, (5, 10, 15, 20)),
        ((100, 50), 6, (10, 10, 30, 30)),  # the frame is that of the stored pixels
        ((50, 100), 6, (10, 20, 30, 40)),  # that of the turned image
        ((100, 50), 3, (70, 10, 90, 30)), ((99, 50), 8, (20, 69, 40, 90)),
    ],
)  # fmt: skip
def test_boxes_of_a_data_set_end_in_the_frame_that_is_shown(frame, orientation, shown):
    assert values.shown(((10, 20, 30, 40),), frame, (100, 50), orientation) == (shown,)


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
