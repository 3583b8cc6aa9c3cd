from collections import Counter

import numpy as np
import pytest

from mags_kit.data import drawing, scenes
from mags_kit.data.scenes import ANSWERS, FAMILIES, make_scene
from mags_kit.data.sets import scene_samples
from mags_kit.images import open_image
from mags_kit.tiny_base import vision


def test_a_seed_is_a_scene_of_its_split():
    one, two, other = (make_scene(seed, "train") for seed in (7, 7, 8))
    assert one.jpeg == two.jpeg != other.jpeg and one.cards == two.cards
    assert len({make_scene(7, split).jpeg for split in scenes.CLASSES}) == 3


def test_asked_combinations_belong_to_the_split():
    for split in scenes.CLASSES:
        for seed in range(40):
            cards = make_scene(seed, split).cards
            for card in cards if split == "train" else cards[:1]:
                assert scenes._combination(card.colour, card.shape, card.family) in scenes.CLASSES[split]


def test_cards_are_as_many_as_the_density_says_whole_and_of_different_colours():
    for seed in range(20):
        scene = make_scene(seed, "test", density=("sparse", "dense")[seed % 2])
        (fewest, most), _ = scenes.DENSITIES[scene.density]
        assert fewest <= len(scene.cards) <= most
        assert len({card.colour for card in scene.cards}) == len(scene.cards)
        for x0, y0, x1, y1 in (card.box for card in scene.cards):
            assert 0 <= x0 < x1 <= scenes.SIZE and 0 <= y0 < y1 <= scenes.SIZE


@pytest.mark.parametrize("family", FAMILIES)
def test_marks_agree_with_the_answer(family):
    for answer in ANSWERS[family]:
        for seed in range(8):
            card = make_scene(seed, "train", family, answer).cards[0]
            tones = Counter(tone for kind, tone, *_ in card.marks)
            if family == "attribute":
                assert [kind for kind, *_ in card.marks] == [answer] == [card.shown]
            elif family == "count":
                asked = [tone for tone in scenes.TONES if f" {tone} dots" in card.question]
                assert sum(tones[t] for t in asked or scenes.TONES) == int(answer)
                assert card.shown == " ".join(f"{tones[t]} {t}" for t in scenes.TONES if tones[t])
            else:
                words = next(w for w in scenes.RELATIONS if f" is {w} " in card.question)
                place = {t: np.array(p) for _, t, *p in card.marks}
                holds = (place["white"] - place["black"]) @ np.array(scenes.RELATIONS[words]) > 0
                assert holds == (answer == "yes") == (card.shown == f"white {words} black")


def test_small_marks_are_specks_of_a_first_view_and_large_ones_are_not():
    """A dot of 5.6 source pixels covers 1.4 in a first view of a quarter of the width; a large one nearly five."""
    for size, low, high in ((scenes.SMALL, 1, 2), (scenes.LARGE, 4, 6)):
        [[dot]] = drawing.mark("dot", (0, 0), scenes.ZOOM[size])
        assert low < (dot.max() - dot.min()) * vision.VIEW / scenes.SIZE < high
        card = next(c for seed in range(30) for c in make_scene(seed, "train").cards if c.size == size)
        assert vision.readable(card) == (size == scenes.LARGE)
        assert vision.readable(card, card.box, 128)


@pytest.mark.parametrize("kind", [*scenes.SYMBOLS, "dot"])
def test_marks_lie_on_their_cards(kind):
    family = "attribute" if kind in scenes.SYMBOLS else "count"
    for seed in range(20):
        for size in scenes.SIZES:
            card = make_scene(seed, "train", family, kind if family == "attribute" else "4", size=size).cards[0]
            alone = [((255, 255, 255), [drawing.outline(card.shape, (200, 200), card.radius)])]
            frame = drawing.draw(np.zeros((7, 7, 3)), alone, vision.WHOLE, (scenes.SIZE, scenes.SIZE))
            inside = np.asarray(frame)[..., 0] > 0
            for name, _, dx, dy in card.marks:
                for filling in drawing.mark(name, (200 + dx, 200 + dy), scenes.ZOOM[size]):
                    x, y = np.round(np.concatenate(filling)).astype(int).T
                    assert inside[y, x].mean() > 0.95


def sharpness(image) -> float:
    return np.abs(np.diff(np.asarray(image.convert("L"), float), axis=1)).max()


def test_a_close_up_is_sharper_than_what_is_cut_from_a_poor_source():
    for seed in range(5):
        scene = make_scene(seed, "train", quality="poor")
        drawn, cut = vision.near(scene, scene.cards[0].box)
        assert sharpness(drawn) > 1.5 * sharpness(scene.image.crop(cut).resize(drawn.size))


def test_a_set_is_balanced_over_family_answer_quality_density_and_size(tmp_path):
    samples = scene_samples("test", 216, tmp_path)
    for family in FAMILIES:
        those = [s for s in samples if s.family == family]
        assert len(those) == 72
        for answer in ANSWERS[family]:
            of = [s.meta for s in those if s.answer == answer]
            if len(ANSWERS[family]) == 4:  # every combination once, small ones twice
                counts = Counter((m["quality"], m["density"], m["size"]) for m in of)
                assert len(counts) == 12 and {n for (*_, size), n in counts.items() if size == "small"} == {2}
        for key, share in (("quality", 24), ("density", 36)):
            assert set(Counter(s.meta[key] for s in those).values()) == {share}
    assert open_image(tmp_path / samples[0].image).size == (768, 768)
