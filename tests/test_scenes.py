from collections import Counter

import numpy as np
import pytest
from PIL import Image, ImageDraw

from mags_kit.tiny import scenes
from mags_kit.tiny.scenes import ANSWERS, FAMILIES, make_scene


def test_a_seed_is_a_scene():
    one, two, other = (make_scene(seed, "train") for seed in (7, 7, 8))
    assert one == two and one.jpeg != other.jpeg


def test_splits_share_no_scene_even_at_the_same_seed():
    assert len({make_scene(7, split).jpeg for split in scenes.CLASSES}) == 3


@pytest.mark.parametrize("split", scenes.CLASSES)
def test_asked_combinations_belong_to_the_split(split):
    for seed in range(40):
        cards = make_scene(seed, split).cards
        for card in cards if split == "train" else cards[:1]:
            assert scenes._combination(card.colour, card.shape, card.family) in scenes.CLASSES[split]


def test_a_cards_name_does_not_tell_its_answer():
    """For each name and family, training scenes hold every answer about equally often."""
    seen = Counter()
    for seed in range(1500):
        spots, names = np.random.default_rng(seed), [(c, s) for c in scenes.COLOURS for s in scenes.SHAPES]
        card = scenes._card(spots, names, (100, 100), scenes.CLASSES["train"], "count", None)
        seen[card.name, card.answer] += 1
    counts = [[seen[name, answer] for answer in ANSWERS["count"]] for name, _ in seen]
    assert all(min(row) > 0.5 * max(row) for row in counts if sum(row) > 100)


def test_scenes_are_dense_and_names_unique():
    for seed in range(20):
        scene = make_scene(seed, "test")
        assert 10 <= len(scene.cards) + scene.clutter <= 40
        assert len({card.name for card in scene.cards}) == len(scene.cards)
        assert all(
            0 <= c.box[0] < c.box[2] <= scenes.SIZE and 0 <= c.box[1] < c.box[3] <= scenes.SIZE for c in scene.cards
        )


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


def test_a_dot_is_under_two_pixels_of_the_first_view():
    """Drawn on a plain card, a dot is some six source pixels wide, and the first view has a quarter of its width."""
    image = Image.new("L", (40, 40))
    scenes._mark(ImageDraw.Draw(image), "dot", (20, 20), 255)
    box = image.getbbox()
    assert 5 <= box[2] - box[0] <= 2 * scenes.SIZE // 192 and 5 <= box[3] - box[1] <= 2 * scenes.SIZE // 192
