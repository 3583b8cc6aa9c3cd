"""The benchmarks from fixtures with the hub's exact columns, and pictures from a server that misbehaves."""

import io
import json
import zipfile
from collections import Counter
from dataclasses import replace

import pytest
from PIL import Image
from tiny_benchmarks import TEST_COCO, TEST_VG, jpeg, photo_server, write_mirror

from mags_kit import hub
from mags_kit.config import PROFILES
from mags_kit.data import benchmarks, pictures, sets
from mags_kit.images import open_image
from mags_kit.records import read_json
from mags_kit.run import open_run


@pytest.fixture
def web(monkeypatch, tmp_path):
    """The server of photos under the addresses of COCO and Visual Genome."""
    monkeypatch.setenv("MAGS_CACHE", str(tmp_path / "cache"))
    with photo_server() as server:
        monkeypatch.setattr(pictures, "COCO", server.url)
        monkeypatch.setattr(pictures, "VISUAL_GENOME", server.url)
        monkeypatch.setattr(hub, "RETRY", hub.RETRY.new(backoff_factor=0.01))
        yield server


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A mirror of every file, and a cache of its own."""
    monkeypatch.setenv("MAGS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    monkeypatch.delenv("OFFLINE", raising=False)
    return write_mirror(tmp_path / "mirror")


@pytest.fixture
def make(mirror, tmp_path):
    """`make(setting=…)`: a run of the benchmarks with its data, small."""

    def run(name="r", **settings):
        settings = {"data": "benchmarks", "mirror": str(mirror), "test": 99, "pool": 12, "validation": 6} | settings
        run = open_run("smoke", name, settings, root=tmp_path / "runs")
        return run, sets.prepare(run), read_json(run.manifest)["steps"]["benchmarks"]

    return run


def numbers(samples) -> set[int]:
    return {int(s.image.rsplit("-", 1)[-1].removesuffix(".jpg")) for s in samples}


def test_every_set_becomes_samples_and_no_photo_of_the_test_is_in_another(web, make):
    run, samples, facts = make()
    kinds = {name: Counter((s.dataset, s.family) for s in each) for name, each in samples.items()}
    families = ("VSR", "VSR"), ("TallyQA", "TallyQA"), ("GQA", "GQA")
    assert kinds["pool"] == dict.fromkeys(families, 4) and kinds["validation"] == dict.fromkeys(families, 2)
    assert kinds["test"] == dict(zip(families, (4, 6, 3), strict=True))  # all of GRIT's
    images = {name: {s.image for s in each} for name, each in samples.items()}
    assert not images["test"] & (images["pool"] | images["validation"]) and not images["pool"] & images["validation"]
    assert numbers(samples["test"]) == {*TEST_VG, *TEST_COCO}
    assert not (numbers(samples["pool"]) | numbers(samples["validation"])) & {*TEST_VG, *TEST_COCO}
    assert len(images["pool"]) == 12 and facts["skipped"] == [] and facts["used"] == 31
    for s in samples["test"]:
        assert s.boxes == ((0, 2, 16, 20),)  # halved with the picture, inside it, the empty one gone
        assert open_image(run.data / s.image).size == (64, 48)
    for s in samples["pool"]:
        number = int(s.image.rsplit("-", 1)[-1].removesuffix(".jpg"))
        expected = {"VSR": ("no", "yes")[number % 2], "TallyQA": str(number % 4), "GQA": "red"}
        assert s.answer == expected[s.dataset] and ", row " in s.meta["source"]
    assert any("The cat is on it." in s.question for s in samples["pool"])


def test_the_full_test_sets(web, make):
    _, samples, _ = make(test_sets="full", vsr="zeroshot", test=0)
    assert Counter(s.dataset for s in samples["test"]) == {"VSR": 6, "TallyQA": 8, "GQA": 5}
    assert {s.answer for s in samples["test"]} == {"yes", "no", "2", "red"}
    kinds = {name: Counter((s.dataset, s.meta.get("kind")) for s in each) for name, each in samples.items()}
    assert [kinds["test"]["TallyQA", kind] for kind in ("simple", "complex")] == [4, 4] and kinds["test"]["VSR", None]
    assert kinds["pool"]["TallyQA", "simple"] + kinds["pool"]["TallyQA", "complex"] == 4
    assert len({s.id for group in samples.values() for s in group}) == sum(map(len, samples.values()))


def test_high_resolution_benchmarks_are_test_sets(web, make):
    """V*Bench's boxes are x, y, width, height beside its pictures; HR-Bench's pictures are base64, four turns each."""
    run, samples, _ = make(test_sets="highres")
    test = samples["test"]
    assert Counter(s.dataset for s in test) == {"V*Bench": 4, "HR-Bench 4k": 4}
    vstar, hrbench = ([s for s in test if s.dataset.startswith(name)] for name in ("V*", "HR"))
    assert vstar[0].question == "What is the color of the dustpan?\n(A) red\n(B) blue\n(C) green\n(D) white"
    assert {s.answer for s in vstar} == {"B"} and {s.boxes for s in vstar} == {((10, 20, 40, 35),)}
    assert hrbench[0].question == "What number is on the door?\n(A) 11\n(B) 12\n(C) 13\n(D) 14"
    assert sorted(s.answer for s in hrbench) == ["A", "B", "C", "D"] and len({s.image for s in hrbench}) == 1
    assert all(open_image(run.data / s.image).size == (64, 48) for s in test)
    assert Counter(s.meta["kind"] for s in test) == {"direct attributes": 4, "FSP": 2, "FCP": 2}
    _, samples, _ = make("b", test_sets="highres-8k")
    assert Counter(s.dataset for s in samples["test"]) == {"V*Bench": 4, "HR-Bench 8k": 2}


def test_named_candidates_are_the_pool_in_their_order_and_all_others_keep_off_their_photos(web, make, tmp_path):
    _, first, _ = make("a")
    wanted = [s.id for s in reversed(first["pool"])][:5] + ["tallyqa-pool-000001-0"]
    tmp_path.joinpath("ids.txt").write_text("\n".join([*wanted, "", wanted[0]]))
    ids = {"curated_ids": str(tmp_path / "ids.txt")}
    _, samples, facts = make("b", **ids, seed=1, pool=6, curated=6)  # another seed, and fewer than the first had
    assert [s.id for s in samples["pool"]] == wanted and facts["skipped"] == []
    images = [{s.image for s in each} for each in samples.values()]
    assert len(samples["validation"]) == 6 and sum(map(len, images)) == len(set.union(*images))
    tmp_path.joinpath("ids.txt").write_text(f"gqa-pool-1\n{wanted[0]}\nvsr-pool-000023-0\n")  # the last: a test photo
    with pytest.raises(ValueError, match="ids.txt: 2 of its 3 ids are of no candidate, the first is 'gqa-pool-1'; exp"):
        make("c", **ids)


def test_the_seed_chooses_and_the_size_balances(web, make):
    _, first, _ = make("a", test=7)
    _, again, _ = make("b", test=7)
    _, other, _ = make("c", test=7, seed=1)
    assert first == again and first["pool"] != other["pool"]
    assert Counter(s.dataset for s in first["test"]) == {"VSR": 3, "TallyQA": 2, "GQA": 2}


def test_what_can_not_be_had_is_named_and_what_was_had_is_not_fetched_again(web, make, tmp_path):
    web.how = {800: "gone", 802: "drop once", 900: "cut", 901: "text", 902: "busy once", 904: "text"}
    _, samples, facts = make("a")
    reasons = {int(s["image"].rsplit("-", 1)[-1].removesuffix(".jpg")): s["reason"] for s in facts["skipped"]}
    expected = {800: "status 404", 904: "not a picture", 900: "not a whole picture", 901: "not a picture"}
    assert {number: text in reasons[number] for number, text in expected.items()} == dict.fromkeys(reasons, True)
    assert numbers(samples["test"]) == {801, 802, 803, 902, 903, 905}
    assert facts["used"] == sum(map(len, samples.values()))
    assert not list(tmp_path.rglob("*.part")) and len(list((tmp_path / "cache/images").iterdir())) == 24

    web.how, web.asked = {}, Counter()
    _, samples, facts = make("b")  # another run, the same cache: only what was missing
    assert facts["skipped"] == [] and set(web.asked) == {800, 900, 901, 904}
    kept = tmp_path / "cache/images/vg-905.jpg"
    kept.write_bytes(kept.read_bytes()[:500])
    web.asked = Counter()
    make("c")
    assert set(web.asked) == {905}  # a file that was harmed since


def test_offline_uses_the_cache_and_the_mirror_and_says_what_is_missing(web, make, mirror, monkeypatch, capsys):
    make("a")
    monkeypatch.setenv("OFFLINE", "1")
    (hub.cache() / "images" / "vg-900.jpg").unlink()
    (hub.cache() / "images" / "vg-901.jpg").unlink()
    mirror.joinpath("images/VG_100K").mkdir(parents=True)
    mirror.joinpath("images/VG_100K/900.jpg").write_bytes(jpeg(900))
    web.asked.clear()
    _, samples, facts = make("b")
    assert not web.asked and 900 in numbers(samples["test"]) and 901 not in numbers(samples["test"])
    assert {s["reason"] for s in facts["skipped"]} == {"OFFLINE=1, and no whole picture in the cache or the mirror"}
    assert capsys.readouterr().out.startswith(
        "2 rows were left out; the first, yfan1997/GRIT_data/tallyqa_val.jsonl, row "
    )
    mirror.joinpath("cambridgeltl/vsr_random/dev.jsonl").unlink()
    with pytest.raises(ValueError, match="^not in the mirror .*: cambridgeltl/vsr_random/dev.jsonl$"):
        make("c")


def test_a_copy_of_a_test_photo_under_another_name_stays_out(web, make, mirror):
    mirror.joinpath("images").mkdir()
    for number in (*range(100, 120), *range(400, 430)):  # all pictures of two pools are copies of a test photo
        copy = jpeg(900, quality=40, size=(50, 40))
        mirror.joinpath("images", f"{number:012d}.jpg" if number < 400 else f"{number}.jpg").write_bytes(copy)
    with pytest.raises(ValueError, match="pool: no row of (VSR|GQA) can be used; .*: the photo is in an earlier set"):
        make()


def test_a_wrong_file_is_one_sentence(web, make, mirror):
    cases = ('{"image": "1.jpg", "caption": "x"}\n', "a table with a column 'label'"), ("not json\n", "a table ")
    for content, expected in cases:
        mirror.joinpath("cambridgeltl/vsr_random/train.jsonl").write_text(content)
        with pytest.raises(ValueError, match=f"^[^\n]*train.jsonl: expected {expected}[^\n]*$"):
            make()


def test_a_server_that_dies_half_way_stops_the_run_which_goes_on_when_it_is_back(web, mirror):
    wanted = [pictures.photo(f"VG_100K/{n}.jpg") for n in range(120)]
    web.how = dict.fromkeys(range(40, 120), "drop")
    with pytest.raises(ValueError, match="does not answer .* is kept in .* the same command goes on"):
        pictures.fetch(wanted)
    assert len(web.asked) < 120  # not asked for every picture
    web.how, web.asked = {}, Counter()
    found, missing = pictures.fetch(wanted)
    assert len(found) == 120 and not missing
    assert set(range(40, 120)) <= web.asked.keys() and len(web.asked) < 120  # what was had is not asked for


def test_a_cache_that_can_not_be_written_leaves_no_row_out(web, tmp_path, monkeypatch):
    tmp_path.joinpath("file").write_text("")
    monkeypatch.setenv("MAGS_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(OSError, match="file/cache"):
        pictures.fetch([pictures.photo("VG_100K/1.jpg")])


def test_training_rows_of_tallyqa_come_out_of_their_zip_once(monkeypatch, tmp_path):
    def unpack(content):
        monkeypatch.setattr(hub, "download", lambda url: content)
        return hub.files("manoja328/tallyqa", "train.json", "master", archive="http://there/tallyqa.zip")[0]

    monkeypatch.setenv("MAGS_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ValueError, match="^train.json can't be read from http://there/tallyqa.zip: File is not a zip"):
        unpack(b"<html>")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("train.json", "[]")
    for content in (packed.getvalue(), b"not asked for again"):
        assert unpack(content)[0].read_text() == "[]"


def test_names_of_pictures_stay_in_their_folder():
    for path in ("..", "a/..", "", "/", None, ["a.jpg"]):
        with pytest.raises(ValueError, match="names no file"):
            pictures.photo(path)
    for path in ("../../etc/passwd", "/etc/passwd", "../train2014/../../x.jpg", "a/../../b c.jpg", "~/x"):
        picture = pictures.photo(path)
        assert picture.name not in ("", ".", "..") and "/" not in picture.name
        assert all(url.startswith((f"{pictures.COCO}/", f"{pictures.VISUAL_GENOME}/")) for url in picture.urls)


def test_an_odd_row_of_a_data_set_is_left_out_and_named(web, make, mirror):
    cases = [  # changes of a row of GRIT, and why it is left out, or nothing
        ({"answer": None}, "no answer"),
        ({"question": "<|video_pad|>"}, "its question holds <|video_pad|>"),
        ({"image": "../.."}, "image '../..' names no file"),
        ({"bboxs": [[1.0, 2.0, 3.0]]}, "box [1.0, 2.0, 3.0] is not [x0, y0, x1, y1]"),
        ({"width": None}, ""),
        ({"bboxs": None}, ""),
        ({"bboxs": [], "width": None}, ""),
        ({"answer": 2.0}, ""),
    ]
    path = mirror / "yfan1997/GRIT_data/vsr_val.jsonl"
    good = json.loads(path.read_text().splitlines()[0]) | {"answer": 1}
    path.write_text("".join(json.dumps(good | change) + "\n" for change, _ in cases))
    _, samples, facts = make()
    reasons = {s["row"]: s["reason"] for s in facts["skipped"]}
    name = "yfan1997/GRIT_data/vsr_val.jsonl, row {}".format
    expected = {name(number): reason for number, (_, reason) in enumerate(cases, 1) if reason}
    assert {row: reasons.get(row, "") for row in expected if expected[row] not in reasons.get(row, "")} == {}
    assert reasons.keys() == expected.keys()
    assert sorted(s.answer for s in samples["test"] if s.dataset == "VSR") == ["1", "1", "1", "2"]


def test_boxes_of_another_shape_of_image_go(web, make, mirror):
    """GRIT's fixture: boxes for 128x96, where the photo of 64x48 is shown as 48x64."""
    mirror.joinpath("images").mkdir()
    tag = Image.Exif()
    tag[0x0112] = 6
    with Image.open(io.BytesIO(jpeg(900))) as photo:
        photo.save(mirror / "images/900.jpg", exif=tag)
    run, samples, _ = make()
    turned = [s for s in samples["test"] if s.image == "images/vg-900.jpg"]
    assert turned and {s.boxes for s in turned} == {()}
    assert open_image(run.data / turned[0].image).size == (48, 64)


def test_own_data_beside_the_benchmarks_keep_their_photos_out_of_the_pool(web, make, tmp_path):
    tmp_path.joinpath("own.jpg").write_bytes(jpeg(403))  # a photo that GQA's training rows ask for
    row = {"image": "own.jpg", "question": "?", "answer": 0}
    tmp_path.joinpath("own.jsonl").write_text(json.dumps(row) + "\n" + json.dumps(row) + "\n")
    _, samples, facts = make(own=str(tmp_path / "own.jsonl"), pool=90)
    assert [s.answer for s in samples["test"]] == ["0", "0"]
    assert [s["reason"] for s in facts["skipped"] if "403" in s["image"]] == [
        "the photo is in an earlier set (test, then validation, then pool)"
    ]


def test_without_the_hub_one_sentence_names_what_is_needed(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.delenv("OFFLINE", raising=False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ValueError, match="does not answer, and this run needs from it Qwen/.*vsr_random.*GRIT_data"):
        benchmarks.check(PROFILES["paper"])
    monkeypatch.setenv("OFFLINE", "1")
    with pytest.raises(ValueError, match=r"^not in the cache \(OFFLINE=1\): yfan1997/GRIT_data/vsr_val.jsonl, "):
        benchmarks.check(PROFILES["paper"])
    with pytest.raises(ValueError, match="OFFLINE=1, and the hub's cache lacks Qwen/"):
        benchmarks.check(replace(PROFILES["paper"], data="scenes"))
