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
        for seed in range(4):
            scene = make_scene(seed, "train", family, answer)
            question = scene.question(scene.cards[0])
            assert question.answer == answer and all(card.name in question.text for card in question.cards)
            for card in question.cards:
                tones = Counter(tone for kind, tone, *_ in card.marks)
                if family == "attribute":
                    assert [kind for kind, *_ in card.marks] == [card.shown]
                elif family == "count":
                    assert card.shown == " ".join(f"{n} {tone}" for tone, n in tones.items())
                else:
                    place = {t: np.array(p) for _, t, *p in card.marks}
                    way = place["white"] - place["black"]
                    assert max(scenes.DIRECTIONS, key=lambda word: way @ scenes.DIRECTIONS[word]) == card.shown


def test_answers_are_hard_to_guess():
    """Chance, over the families: 25% of directions, 8% of counts, 6% of pairs of symbols."""
    assert np.mean([1 / len(answers) for answers in ANSWERS.values()]) < 0.15


def test_a_question_about_two_cards_holds_out_both_of_one_size():
    for split in scenes.CLASSES:
        for seed in range(20):
            scene = make_scene(seed, split, "attribute")
            one, other = scene.question(scene.cards[0]).cards
            assert one.size == other.size and one != other
            for card in (one, other):
                assert scenes._combination(card.colour, card.shape, "attribute") in scenes.CLASSES[split]


def test_marks_can_be_read_at_first_in_a_large_window_or_close_up():
    """A dot covers 1.7, 2.8, 5.3 and 7.3 pixels of a first view of a quarter of the width."""
    for size, at_first, roughly in (("tiny", 0, 0), ("small", 0, 0), ("large", 1, 1), ("huge", 1, 1)):
        card = next(c for seed in range(60) for c in make_scene(seed, "train").cards if c.size == size)
        window = vision.MAGNIFIER.crop_box(vision.written(vision.loose_box(card.box)), (scenes.SIZE, scenes.SIZE))
        assert vision.readable(card) == at_first and vision.readable(card, window, 128) == roughly
        assert vision.readable(card, card.box, 128)


@pytest.mark.parametrize("kind", [*scenes.SYMBOLS, "dot"])
def test_marks_lie_on_their_cards(kind):
    family = "attribute" if kind in scenes.SYMBOLS else "count"
    for seed in range(20):
        for size in scenes.SIZES:
            answer = f"{kind} ring" if family == "attribute" else "6 white"
            card = make_scene(seed, "train", family, answer, size=size).cards[0]
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
    samples = scene_samples("test", 432, tmp_path)
    for family in FAMILIES:
        those = [s for s in samples if s.family == family]
        assert len(those) == 144
        answers, sizes = (Counter(values) for values in zip(*((s.answer, s.meta["size"]) for s in those), strict=True))
        assert set(answers.values()) == {144 // len(ANSWERS[family])}
        if len(ANSWERS[family]) == 4:  # every combination once for each sixth
            assert sizes == {size: 24 * share for size, share in scenes.SHARES.items()}
        assert abs(sizes["large"] + sizes["huge"] - 96) < 10
    assert {len(s.boxes) for s in samples if s.family == "attribute"} == {2}
    assert open_image(tmp_path / samples[0].image).size == (768, 768)
