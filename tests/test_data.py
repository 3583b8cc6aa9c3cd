import json
from collections import Counter

import pytest
from PIL import Image

from mags_kit.data import sets
from mags_kit.data.own import read_own
from mags_kit.images import open_image
from mags_kit.tiny import scenes


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
