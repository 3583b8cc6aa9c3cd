"""The sets of a run, and the user's own JSONL: what of a row is read, left out or refused."""

import json
import os
from dataclasses import replace
from unicodedata import normalize

import pytest
from PIL import Image

from mags_kit import steps
from mags_kit.data import pictures, sets
from mags_kit.data.own import EXPECTED, read_own
from mags_kit.images import open_image
from mags_kit.records import read_json, read_samples, sample_from, to_json, write_jsonl
from mags_kit.run import branch, open_run
from tiny_benchmarks import jpeg


def test_prepared_data_is_not_made_again(smoke_run):
    listing = smoke_run.samples("test")
    before = listing.stat().st_mtime_ns
    samples = sets.prepare(smoke_run)
    assert listing.stat().st_mtime_ns == before and len(samples["test"]) == smoke_run.config.test


@pytest.fixture
def own(tmp_path):
    """Writes rows to a JSONL beside a good image and a cut-off one."""
    Image.effect_noise((64, 48), 50).convert("RGB").save(tmp_path / "good.jpg")
    tmp_path.joinpath("cut.jpg").write_bytes(tmp_path.joinpath("good.jpg").read_bytes()[:900])

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
        return str(error)
    return "read"


NAN = float("nan")
GOOD = {"image": "good.jpg", "question": "How many?", "answer": "2"}
READ = {  # what a row says -> what its sample holds
    "the number 0": ({"answer": 0}, {"answer": "0"}),
    "false": ({"answer": False}, {"answer": "no"}),
    "true": ({"answer": True}, {"answer": "yes"}),
    "accepted answers": (
        {"answer": ["sofa", "couch", "sofa", None, 3.0]}, {"answer": "sofa", "answers": ("couch", "3")},
    ),
    "gaps": (
        {"id": None, "family": None, "dataset": None, "boxes": None},
        {"id": "1", "family": "open", "dataset": "own", "boxes": ()},
    ),
    "gaps of pandas": ({"id": NAN, "family": NAN, "boxes": NAN}, {"id": "1", "family": "open", "boxes": ()}),
    "blanks": ({"id": " ", "family": "", "boxes": ""}, {"id": "1", "family": "open", "boxes": ()}),
    "an id beside a gap": ({"id": 12.0, "family": 3}, {"id": "12", "family": "3"}),
    "more columns": ({"meta": 1, "answers": ["x"]}, {"answers": (), "meta": {"source": "own.jsonl, row 1"}}),
    "a box": ({"boxes": [[1, 2, 30, 40]]}, {"boxes": ((1, 2, 30, 40),)}),
    "a box over the border": ({"boxes": [[-3.5, 2, 70, 48.4]]}, {"boxes": ((0, 2, 64, 48),)}),
}  # fmt: skip


def test_what_a_row_says_is_read(own, tmp_path):
    found, expected = {}, {name: holds for name, (_, holds) in READ.items()}
    for name, (row, holds) in READ.items():
        [sample], skipped, _ = read_own(own(GOOD | row), tmp_path)
        found[name] = {key: getattr(sample, key) for key in holds}
        assert sample_from(json.loads(to_json(sample))) == sample and not skipped
    assert found == expected


WRONG = {  # mistakes of the file
    "no answer": ({"answer": None}, "no answer; expected image, question and answer"),
    "an empty question": ({"question": " \n"}, "no question"),
    "an answer that is an object": ({"answer": {"text": "2"}}, "answer is {'text': '2'}; expected text"),
    "a question in a list": ({"question": ["How many?"]}, "question is ['How many?']"),
    "an image in a list": ({"image": ["good.jpg"]}, "image is ['good.jpg']; expected the path"),
    "an address": ({"image": "https://there/a.jpg"}, "image is 'https://there/a.jpg'; expected the path"),
    "x, y, width, height": ({"boxes": [[40, 20, 20, 10]]}, "box [40, 20, 20, 10] ends before it begins; expected [x0"),
    "shares of the image": ({"boxes": [[0.1, 0.1, 0.5, 0.5]]}, "is in shares of the image; expected pixels"),
    "a box outside": ({"boxes": [[1, 2, 3, 4], [70, 0, 90, 20]]}, "box [70, 0, 90, 20] lies outside its image"),
    "a box of three": ({"boxes": [[1, 2, 3]]}, "box [1, 2, 3] is not"),
    "boxes as text": ({"boxes": "[[1, 2, 3, 4]]"}, "boxes is '[["),
}  # fmt: skip


def test_a_mistake_in_a_row_is_one_sentence_with_file_and_row(own, tmp_path):
    path = own(GOOD)
    said = {name: refusal(own(GOOD, GOOD | row), tmp_path) for name, (row, _) in WRONG.items()}
    wrong = {name: text for name, text in said.items() if WRONG[name][1] not in text or "\n" in text}
    assert not wrong and all(text.startswith(f"{path}, row 2: ") and len(text) < 300 for text in said.values())


def test_a_row_that_no_policy_can_be_asked_is_left_out_and_named(own, tmp_path):
    Image.new("RGB", (1000, 4)).save(tmp_path / "line.png")
    cases = (
        ({"question": "Is <|image_pad|> red?"}, "holds <|image_pad|>, a special token"),
        ({"question": "why " * 2000}, "over 4000 characters"),
        ({"image": "."}, "not a file"),
        ({"image": "gone.jpg"}, "no such image"),
        ({"image": "cut.jpg"}, "not a whole picture"),
        ({"image": "line.png"}, "1000x4 pixels"),
    )
    for row, reason in cases:
        samples, [skipped], _ = read_own(own(GOOD, GOOD | row, GOOD), tmp_path)
        assert [s.meta["source"] for s in samples] == ["own.jsonl, row 1", "own.jsonl, row 3"]
        assert skipped["row"] == "own.jsonl, row 2" and reason in skipped["reason"]


LINE = json.dumps(GOOD | {"question": "Où?"}, ensure_ascii=False)


def test_files_are_read_as_other_programs_write_them(own, tmp_path):
    contents = {
        "with a byte order mark": b"\xef\xbb\xbf" + LINE.encode(),
        "of Windows": b"\r\n" + LINE.encode() + b"\r\n\r\n",
        "with blank lines": b"\n  \n" + LINE.encode() + b"\n\t\n",
        "with a line separator": LINE.replace("}", ', "x": "\u2028"}').encode(),
    }
    found = {name: [s.question for s in read_own(own(content), tmp_path)[0]] for name, content in contents.items()}
    assert found == dict.fromkeys(contents, ["Où?"])


def test_a_file_of_another_kind_is_one_sentence(own, tmp_path):
    line = LINE.encode()
    cases = {
        "Windows-1252": (b"{}\n" + LINE.encode("cp1252"), "line 2: expected one JSON object a line, in UTF-8"),
        "a JSON array": (b"[" + line + b"]", "line 1: expected one JSON object a line"),
        "a CSV": (b"image,question,answer\ngood.jpg,What?,2\n", "line 1: expected one JSON object a line"),
        "a row that is a number": (b"{}\n7\n", "a line, in UTF-8; got '7' (not a int)"),
        "a line cut short": (line[:-9], "line 1: expected one JSON object a line"),
        "Parquet": (b"PAR1\x15\x04\xf9", "line 1: expected one JSON object a line"),
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
    monkeypatch.setenv("HOME", str(deep))
    names = [str(deep / "a.jpg"), "~/a.jpg", r"disk\deep\a.jpg", "link/a.jpg", "./disk//deep/../deep/a.jpg"]
    folder = tmp_path / "runs" / "r" / "data"
    samples, skipped, _ = read_own(own(*(GOOD | {"image": name} for name in names)), folder)
    assert not skipped and len(samples) == len(names)
    assert {open_image(folder / sample.image).size for sample in samples} == {(64, 48)}


def test_names_are_found_in_every_form_of_unicode(own, tmp_path, monkeypatch):
    composed, decomposed = (normalize(form, "Café/Übung für Ngữ 한글 塚") for form in ("NFC", "NFD"))
    mixed = decomposed.partition("/")[0] + "/" + composed.partition("/")[2]
    cases = {  # the file on the disk, what the row says
        "composed in the row": (f"a/{decomposed}.png", f"a/{composed}.png"),
        "decomposed in the row": (f"b/{composed}.png", f"b/{decomposed}.png"),
        "a file and its folder in two forms": (f"c/{mixed}.png", f"c/{composed}.png"),
        "two forms in one name": ("d/é" + normalize("NFD", "é.png"), "d/éé.png"),
        "a letter that has no form of its own": ("e/\u212b \ufa10.png", "e/Å 塚.png"),
        "a folder alone": (normalize("NFD", "é/1.png"), "é/1.png"),
        "the very name": ("f/é.png", "f/é.png"),
    }
    for file, _ in cases.values():
        (tmp_path / file).parent.mkdir(parents=True)
        Image.new("RGB", (20, 10)).save(tmp_path / file)
    Image.new("RGB", (30, 10)).save(tmp_path / normalize("NFD", "f/é.png"))  # beside the very name, another picture
    found, reasons = {}, {}
    for name, (file, said) in cases.items():
        try:
            [sample], *_ = read_own(own(GOOD | {"image": said}), tmp_path)
            found[name] = (sample.image, open_image(tmp_path / said).size)
        except ValueError as error:
            reasons[name] = str(error)
    assert reasons == {} and found == {name: (file, (20, 10)) for name, (file, _) in cases.items()}
    monkeypatch.setenv("MAGS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "images").mkdir()
    for form, name in (("NFD", "c é.png"), ("NFC", "d é.png")):  # of a data set, in a mirror
        Image.new("RGB", (20, 10)).save(tmp_path / "images" / normalize(form, name))
    asked = [pictures.photo("train/c é.png"), pictures.photo(normalize("NFD", "train/d é.png"))]
    had, missing = pictures.fetch(asked, str(tmp_path))
    assert missing == {} and len(had) == 2


@pytest.mark.parametrize("where", ["runs", "linked/a b"])
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
    samples, *_ = read_own(own(*rows), tmp_path)
    assert [s.id for s in samples] == ["a", "a-2", "a-2-3", "b", "a-5", "3", "3-7", "8"]


def test_boxes_of_own_images_are_for_the_image_as_it_is_shown(own, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (640, 480)).save(tmp_path / "turned.jpg", exif=exif)
    [sample], *_ = read_own(own(GOOD | {"image": "turned.jpg", "boxes": [[400, 500, 480, 640]]}), tmp_path)
    assert sample.boxes == ((400, 500, 480, 640),)


def test_boxes_for_another_frame_are_doubted_once(own, tmp_path, capsys):
    thousandths = [(17 * n, 23 * n, 50 * n, 50 * n) for n in range(1, 21)]
    halves = [(10 * n, 8 * n, 16 * n, 12 * n) for n in range(1, 21)]  # of 640x480, for a copy of half its size
    large, middling, small = (4000, 3000), (1280, 960), (640, 480)
    cases = {
        "thousandths of 4000x3000": ([large] * 20, thousandths, "boxes of all 20 images end"),
        "of upright photos": ([(3000, 4000)] * 20, thousandths, "boxes of all 20 images end"),
        "beside small images": ([small, large] * 10, thousandths[:10] * 2, "10 images of 2000 pixels a side or more"),
        "percent of 640x480": ([small] * 20, [(n, n, 4 * n, 5 * n) for n in range(1, 21)], "boxes of all 20 images"),
        "of a copy of half the size": ([small] * 20, halves, "boxes of all 20 images"),
        "a box elsewhere": ([large] * 20, [*thousandths[1:], (2000, 1000, 3000, 2000)], ""),
        "few images": ([large] * 9, thousandths, ""),
        "one image, many questions": ([large], thousandths, ""),
        "pixels": ([small] * 20, [(10 * n, 8 * n, 31 * n, 23 * n) for n in range(1, 21)], ""),
        "thousandths of 1280x960": ([middling] * 20, thousandths[:19], ""),  # not to be told from pixels
    }  # fmt: skip
    wrong = {}
    for name, (sizes, boxes, expected) in cases.items():
        for n, size in enumerate(sizes):
            Image.new("1", size).save(tmp_path / f"{n}.png")
        rows = [GOOD | {"image": f"{n % len(sizes)}.png", "boxes": [box]} for n, box in enumerate(boxes)]
        *_, told = read_own(own(*rows), tmp_path)
        if len(told) != bool(expected) or expected not in "".join(told):
            wrong[name] = told
    assert wrong == {}
    boxes = [[n, n, 20 + n, 15 + n] for n in range(12)]
    for n in range(12):
        Image.new("1", (640, 480)).save(tmp_path / f"{n}.png")
    path = own(*(GOOD | {"image": f"{n}.png", "boxes": [box]} for n, box in enumerate(boxes)))
    run = open_run("smoke", "r", {"own": str(path), "pool": 6, "validation": 3}, root=tmp_path / "runs")
    sets.prepare(run)
    [doubt] = read_json(run.manifest)["steps"]["own data"]["doubts"]
    assert capsys.readouterr().out.count(doubt) == 1 and doubt.startswith(f"{path}: the boxes of all 12 images")


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


@pytest.fixture
def training(tmp_path):
    """`make(**settings)`: a run on rows of one's own about 20 pictures, two rows each; it returns run and sets.

    Of the test's three pictures one is a training picture by a link, one a smaller copy. Pictures 10 and 11 are copies.
    """
    for number in range(30):
        tmp_path.joinpath(f"{number}.jpg").write_bytes(jpeg(number))
    tmp_path.joinpath("11.jpg").write_bytes(jpeg(10, quality=50))
    tmp_path.joinpath("21.jpg").write_bytes(jpeg(1, 40, (50, 40)))
    tmp_path.joinpath("20.jpg").unlink()
    tmp_path.joinpath("20.jpg").symlink_to(tmp_path / "0.jpg")

    def row(i, **more):
        return json.dumps({"image": f"{i}.jpg", "question": "How many dots?", "answer": 2} | more) + "\n"

    tmp_path.joinpath("test.jsonl").write_text("".join(row(i) for i in (20, 21, 22)))
    tmp_path.joinpath("train.jsonl").write_text("".join(row(i, id=f"{i}{turn}") for i in range(20) for turn in "ab"))

    def make(name, rows=40, **settings):
        lines = tmp_path.joinpath("train.jsonl").read_text().splitlines(keepends=True)
        tmp_path.joinpath(f"{name}.jsonl").write_text("".join(lines[:rows]))
        files = {"own": str(tmp_path / "test.jsonl"), "train": str(tmp_path / f"{name}.jsonl")}
        run = open_run("smoke", name, files | settings, root=tmp_path / "runs")
        return run, sets.prepare(run)

    return make


def shown(samples) -> set[int]:
    """The pictures of samples; a copy counts as what it was made from."""
    return {{20: 0, 21: 1, 11: 10}.get(n := int(os.path.basename(s.image)[:-4]), n) for s in samples}


def test_training_rows_of_ones_own_share_no_picture_between_the_sets(training):
    run, made = training("r", pool=90, validation=90)
    assert list(map(len, made.values())) == [24, 12, 3]  # 36 rows can be used: a third for validation
    pictures = [shown(each) for each in made.values()]
    assert sum(map(len, pictures)) == len(set.union(*pictures)) == 17 + 3  # of the test's, 2 are in the training rows
    facts = read_json(run.manifest)["steps"]["own training data"]
    assert facts["used"] == 36 and sorted({row["image"] for row in facts["skipped"]}) == ["0.jpg", "1.jpg"]
    assert len(facts["skipped"]) == 4 and facts["skipped"][0]["row"].startswith("r.jsonl, row ")
    assert {row["reason"] for row in facts["skipped"]} == {"its picture is in the test set, or looks like one there"}
    knows_none = "knows no photos, only drawn scenes: what it answers about photos means nothing. Its training samples"
    assert knows_none in run.caution == run.scope and run.scope.endswith("validation questions come from r.jsonl.")
    large = replace(run, config=replace(run.config, model="Qwen/Qwen3-VL-2B-Instruct"))
    assert not large.caution and large.scope.startswith("The policy is Qwen/Qwen3-VL-2B-Instruct. Its training samples")

    before = run.samples("pool").read_bytes()
    run.samples("pool").unlink()  # a killed run: what is missing is made again, and the same
    sets.prepare(run)
    assert run.samples("pool").read_bytes() == before
    smaller, other = (training(name, seed=seed)[1] for name, seed in (("b", 0), ("c", 1)))
    assert [len(smaller[name]) for name in ("pool", "validation")] == [12, 6] and len(shown(smaller["pool"])) == 12
    assert shown(smaller["validation"]) != shown(other["validation"])


def test_named_training_rows_are_the_pool(training, tmp_path):
    names = ["7b", "10a", "7a", "15b"]
    tmp_path.joinpath("ids.txt").write_text("\ufeff" + "\r\n".join(names))
    ids = {"curated_ids": str(tmp_path / "ids.txt")}
    run, made = training("r", **ids)
    assert [s.id for s in made["pool"]] == names and len(made["validation"]) == 6
    assert not shown(made["validation"]) & ({7, 10, 15} | shown(made["test"]))
    tmp_path.joinpath("ids.txt").write_text("7b")
    assert steps.data(run).state() == (steps.STALE, "changed: ids.txt")


def test_too_little_of_ones_own_to_train_on_is_one_sentence(training, tmp_path):
    ids = {"curated_ids": str(tmp_path / "ids.txt")}
    cases = {
        "one row left": (5, {}, None, "1 rows about 1 different pictures can be used; expected 3 and 2 at least, "),
        "of the test alone": (4, {}, None, "; the first left out, r1.jsonl, row "),
        "no picture for validation": (10, ids, "2a\n3a\n4a\n", "and a picture for validation that CURATED does not"),
        "ids of a test picture": (40, ids, "7a\n0a\n1b\n", "2 of its 3 ids are of no candidate, the first is '0a'"),
        "no ids": (40, ids, " \n", "ids.txt: no id in it; expected ids of candidates, one a line"),
    }
    failures = []
    for number, (case, (rows, settings, named, said)) in enumerate(cases.items()):
        tmp_path.joinpath("ids.txt").write_text(named or "")
        with pytest.raises(ValueError) as error:
            training(f"r{number}", rows, **settings)
        if said not in str(error.value) or "\n" in str(error.value):
            failures.append((case, str(error.value)))
    assert not failures


def test_named_scenes_are_the_pool(tmp_path):
    tmp_path.joinpath("ids.txt").write_text("train-00007\ntrain-00002\n")
    ids = {"curated_ids": str(tmp_path / "ids.txt"), "test": 3, "validation": 3}
    made = sets.prepare(open_run("smoke", "r", ids, root=tmp_path / "runs"))
    assert [s.id for s in made["pool"]] == ["train-00007", "train-00002"] and len(made["validation"]) == 3
