"""Procedural scenes and their questions: marks on coloured cards, among clutter.

A scene is a source image of 768x768 pixels. Cards, each of another colour, carry marks: large ones can be read in a
first view of 192x192, small ones are specks of one to three pixels there. Three question families mirror the
benchmarks: `relation` (true/false, as VSR), `count` (as TallyQA) and `attribute` (open, as GQA).
"""

import io
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image

from mags_kit.data import drawing
from mags_kit.data.drawing import EXTENT, QUALITIES, SIZE

COLOURS = {
    "red": (205, 35, 40), "orange": (235, 130, 20), "green": (35, 145, 55), "teal": (20, 160, 170),
    "blue": (45, 75, 210), "purple": (125, 45, 165), "pink": (235, 110, 175), "brown": (115, 70, 35),
}  # fmt: skip
SHAPES = tuple(EXTENT)
SYMBOLS = ("plus", "ring", "slash", "vee")
RELATIONS = {"left of": (-1, 0), "right of": (1, 0), "above": (0, -1), "below": (0, 1)}
OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
TONES = {"white": (250, 250, 250), "black": (10, 10, 10)}
RELATION, COUNT, ATTRIBUTE = FAMILIES = "relation", "count", "attribute"
ANSWERS = {RELATION: ("yes", "no"), COUNT: ("1", "2", "3", "4"), ATTRIBUTE: SYMBOLS}
SMALL, LARGE = SIZES = "small", "large"
RADII, ZOOM = {SMALL: (25, 31), LARGE: (76, 84)}, {SMALL: 1.0, LARGE: 3.4}  # of a card; of its marks
DENSITIES = {"sparse": ((3, 4), (4, 9)), "dense": ((6, 8), (16, 26))}  # cards, and things among them, from and to
# Combinations of colour, shape and family fall into five classes; one is kept for test, one for validation. The answer
# is not part of them: else a card's name would tell which answers training never saw, and a policy would learn that.
CLASSES = {"train": (2, 3, 4), "validation": (1,), "test": (0,)}


@dataclass(frozen=True)
class Card:
    colour: str
    shape: str
    size: str  # of its marks, one of SIZES
    centre: tuple[float, float]
    radius: float
    family: str
    question: str
    answer: str
    shown: str  # what a close-up shows that answers the question, in words
    marks: tuple  # ((kind, tone, dx, dy), …), offsets in source pixels from the centre

    @property
    def name(self) -> str:
        return f"{self.colour} {self.shape}"

    @property
    def box(self) -> tuple[int, int, int, int]:
        """`(x0, y0, x1, y1)` in source pixels, half-open."""
        (x, y), r = self.centre, self.radius
        left, up, right, down = EXTENT[self.shape]
        return math.floor(x - left * r), math.floor(y - up * r), math.ceil(x + right * r), math.ceil(y + down * r)


@dataclass(frozen=True, eq=False)
class Scene:
    cards: tuple[Card, ...]
    quality: str
    density: str
    ground: np.ndarray
    things: tuple  # clutter, cards and marks, as `drawing` draws them
    camera: tuple[int, ...]  # seed of blur, noise and compression

    @cached_property
    def jpeg(self) -> bytes:
        """The source image, as a camera delivers it."""
        sharp = self.close_up((0, 0, SIZE, SIZE), (SIZE, SIZE))
        return drawing.photograph(np.random.default_rng(self.camera), sharp, self.quality)

    @cached_property
    def image(self) -> Image.Image:
        return Image.open(io.BytesIO(self.jpeg)).convert("RGB")

    def close_up(self, box, size: tuple[int, int]) -> Image.Image:
        """The part of the scene in `box` (source pixels), drawn sharp at `size` instead of cropped."""
        return drawing.draw(self.ground, self.things, box, size)


def make_scene(
    seed: int, split: str, family: str | None = None, answer: str | None = None, *, size: str | None = None,
    quality: str | None = None, density: str | None = None, count: int = 0,
) -> Scene:  # fmt: skip
    """The scene of a seed. `family`, `answer` and `size` fix those of the first card, `quality`, `density` and `count`
    (of cards) the scene's. In the train split any card may be asked for; else only the first, which is held out."""
    rng = np.random.default_rng([sorted(CLASSES).index(split), seed])
    drawn = list(QUALITIES)[rng.integers(3)], list(DENSITIES)[rng.integers(2)]  # drawn even where they are given
    quality, density = quality or drawn[0], density or drawn[1]
    cards, others = (int(rng.integers(low, high + 1)) for low, high in DENSITIES[density])
    sizes = [LARGE if rng.uniform() < 1 / 3 else SMALL for _ in range(count or cards)]
    sizes[0] = size or sizes[0]
    while sizes.count(LARGE) > 3:  # there is room for three
        sizes[len(sizes) - 1 - sizes[::-1].index(LARGE)] = SMALL
    radii = [rng.uniform(*RADII[each]) for each in sizes] + [rng.uniform(10, 34) for _ in range(others)]
    places = _places(rng, [1.26 * r if i < len(sizes) else r for i, r in enumerate(radii)])
    names = [(c, s) for c in COLOURS for s in SHAPES]
    names = [names[i] for i in rng.permutation(len(names))]
    first, *rest = zip(sizes, places, radii, strict=False)
    made = [_card(rng, names, first, CLASSES[split], family, answer)]
    made += [_card(rng, names, each, CLASSES[split] if split == "train" else range(5)) for each in rest]
    around = zip(places[len(made) :], radii[len(made) :], strict=True)
    things = [drawing.clutter(rng, place, radius) for place, radius in around if place]
    for card in made:
        outline = drawing.outline(card.shape, card.centre, card.radius)
        things.append((drawing.jitter(rng, COLOURS[card.colour]), [outline]))
        for kind, tone, dx, dy in card.marks:
            colour = drawing.jitter(rng, TONES[tone], 6)
            strokes = drawing.mark(kind, (card.centre[0] + dx, card.centre[1] + dy), ZOOM[card.size])
            things += [(colour, stroke) for stroke in strokes]
    camera = (sorted(CLASSES).index(split), seed, 1)
    return Scene(tuple(made), quality, density, drawing.grounds(rng), tuple(things), camera)


def _places(rng, radii: list[float]) -> list:
    """A centre for each thing of these radii, clear of the others and the border; None where there is no room."""
    taken, places = np.zeros((0, 3)), [None] * len(radii)
    for i in sorted(range(len(radii)), key=lambda i: -radii[i]):
        darts = rng.uniform(radii[i] + 4, SIZE - radii[i] - 4, (60, 2))
        gaps = np.hypot(*(darts[:, None] - taken[None, :, :2]).transpose(2, 0, 1)) - taken[:, 2]
        clear = np.flatnonzero((gaps > radii[i] + 5).all(1))
        if len(clear):
            x, y = map(float, darts[clear[0]])
            places[i], taken = (x, y), np.vstack([taken, (x, y, radii[i])])
    return places


def _card(rng, names, drawn, allowed, family=None, answer=None) -> Card:
    size, centre, radius = drawn
    zoom, family = ZOOM[size], family or FAMILIES[rng.integers(3)]
    answer = answer or ANSWERS[family][rng.integers(len(ANSWERS[family]))]
    colour, shape = next((c, s) for c, s in names if _combination(c, s, family) in allowed)
    names[:] = [other for other in names if other[0] != colour]  # what differs only in shape is hard to tell from afar
    name = f"{colour} {shape}"
    if family == ATTRIBUTE:
        question = f"What symbol is on the {name}?"
        dx, dy = rng.uniform(-5, 5, 2) * min(zoom, 1.5)
        marks, shown = [(answer, rng.choice(list(TONES)), dx, dy)], answer
    elif family == COUNT:
        tone, other = rng.permutation(list(TONES))
        distractors = int(rng.integers(0, 3))  # 0: the simple question, otherwise the complex one
        question = f"How many {tone + ' ' if distractors else ''}dots are on the {name}?"
        tones = [tone] * int(answer) + [other] * distractors
        places = _dots(rng, len(tones), zoom)
        marks = [("dot", t, *p) for t, p in zip(tones, places, strict=True)]
        shown = " ".join(f"{tones.count(t)} {t}" for t in TONES if t in tones)
    else:
        words = list(RELATIONS)[rng.integers(4)]
        ux, uy = RELATIONS[words]
        sign = 1 if answer == "yes" else -1
        along, across = rng.uniform(9, 12) * zoom**0.8, rng.uniform(-3, 3) * zoom**0.8
        dx, dy = sign * (ux * along + uy * across), sign * (uy * along + ux * across)
        question = f"The white dot is {words} the black dot on the {name}. True?"
        marks = [("dot", "white", dx, dy), ("dot", "black", -dx, -dy)]
        shown = f"white {words if answer == 'yes' else OPPOSITE[words]} black"
    low = drawing.MIDDLE[shape] * radius
    marks = tuple((kind, tone, dx, dy + low) for kind, tone, dx, dy in marks)
    return Card(colour, shape, size, centre, radius, family, question, answer, shown, marks)


def _combination(colour: str, shape: str, family: str) -> int:
    return (list(COLOURS).index(colour) + 2 * SHAPES.index(shape) + FAMILIES.index(family)) % 5


def _dots(rng, n: int, zoom: float) -> list[tuple[float, float]]:
    """`n` places around a card's centre for dots of radius 2.8 px, none overlapping; all times `zoom`."""
    while True:
        rho, phi = 12 * np.sqrt(rng.uniform(0, 1, (64, n))), rng.uniform(0, 2 * np.pi, (64, n))
        tries = np.stack([rho * np.cos(phi), rho * np.sin(phi)], 2)
        gaps = np.linalg.norm(tries[:, :, None] - tries[:, None], axis=-1) + 99 * np.eye(n)
        apart = np.flatnonzero(gaps.min((1, 2)) > 7.2)
        if len(apart):
            return [tuple(map(float, place * zoom)) for place in tries[apart[0]]]
