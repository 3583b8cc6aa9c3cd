"""Procedural scenes and their questions: marks on coloured cards, among clutter.

A scene is a source image of 768x768 pixels. Cards, each of another colour, carry marks of four sizes: `huge` and
`large` ones can be read in a first view of 192x192, `small` and `tiny` ones close up alone. Three question families
mirror the benchmarks: `relation` (a direction, as VSR), `count` (of dots, and their tone, as TallyQA) and `attribute`
(open, as GQA; about two cards). Answers are hard to guess: one in 4, 12 and 16.
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
DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "above": (0, -1), "below": (0, 1)}
TONES = {"white": (250, 250, 250), "black": (10, 10, 10)}
RELATION, COUNT, ATTRIBUTE = FAMILIES = "relation", "count", "attribute"
SHOWN = {  # what a card of each family can show
    RELATION: tuple(DIRECTIONS),
    COUNT: tuple(f"{n} {tone}" for n in range(1, 7) for tone in TONES),
    ATTRIBUTE: SYMBOLS,
}
DICE = {  # places of dots as on dice, in steps from the centre
    "1": [(0, 0)], "2": [(-1, -1), (1, 1)], "3": [(-1, -1), (0, 0), (1, 1)],
    "4": [(-1, -1), (1, -1), (-1, 1), (1, 1)], "5": [(-1, -1), (1, -1), (0, 0), (-1, 1), (1, 1)],
    "6": [(-1, -1), (1, -1), (-1, 0), (1, 0), (-1, 1), (1, 1)],
}  # fmt: skip
ANSWERS = SHOWN | {ATTRIBUTE: tuple(f"{one} {other}" for one in SYMBOLS for other in SYMBOLS)}
# Of marks, in units of 13 px, the side of a symbol; of cards, in pixels; of questions in a run, in sixths
ZOOM = {"tiny": 1.2, "small": 2.0, "large": 3.8, "huge": 5.2}
RADII = {"tiny": (27, 33), "small": (44, 50), "large": (78, 86), "huge": (106, 114)}
SHARES = {"tiny": 1, "small": 1, "large": 2, "huge": 2}
MIXED = 0.25, 0.25, 0.3, 0.2  # the same in lessons, and of cards that are not asked for
SIZES, FINE, BIG = tuple(ZOOM), ("tiny", "small"), ("large", "huge")  # FINE ones cannot be read in a first view
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
    shown: str  # what its marks show, one of SHOWN
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


@dataclass(frozen=True)
class Question:
    """About one card, or two whose answers it joins."""

    cards: tuple[Card, ...]
    text: str

    @property
    def answer(self) -> str:
        return " ".join(card.shown for card in self.cards)


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

    def question(self, card: Card, alone: bool = False) -> Question:
        """The question about a card, and unless `alone` the next one with a symbol where it has one too."""
        signed = [other for other in self.cards if other.family == ATTRIBUTE]
        if card.family == RELATION:
            return Question((card,), f"Where is the white dot from the black dot on the {card.name}?")
        if card.family == COUNT:
            return Question((card,), f"How many dots are on the {card.name}?")
        if alone or len(signed) == 1:
            return Question((card,), f"What symbol is on the {card.name}?")
        other = signed[(signed.index(card) + 1) % len(signed)]
        return Question((card, other), f"What symbols are on the {card.name} and the {other.name}?")

    def close_up(self, box, size: tuple[int, int]) -> Image.Image:
        """The part of the scene in `box` (source pixels), drawn sharp at `size` instead of cropped."""
        return drawing.draw(self.ground, self.things, box, size)


def make_scene(
    seed: int, split: str, family: str | None = None, answer: str | None = None, *, size: str | None = None,
    quality: str | None = None, density: str | None = None, count: int = 0,
) -> Scene:  # fmt: skip
    """The scene of a seed. `family`, `answer` and `size` fix those of the first card's question, `quality`, `density`
    and `count` (of cards) the scene's. In the train split any card may be asked for; else only the first question's
    cards, which are held out."""
    rng = np.random.default_rng([sorted(CLASSES).index(split), seed])
    drawn = list(QUALITIES)[rng.integers(3)], list(DENSITIES)[rng.integers(2)]  # drawn even where they are given
    quality, density = quality or drawn[0], density or drawn[1]
    cards, others = (int(rng.integers(low, high + 1)) for low, high in DENSITIES[density])
    asked = 2 if family == ATTRIBUTE else 1
    sizes = [str(each) for each in rng.choice(SIZES, max(count, asked) if count else cards, p=MIXED)]
    sizes[:asked] = [size or sizes[0]] * asked
    for big in range(len(sizes) - 1, 0, -1):  # there is room for three
        if sum(each in BIG for each in sizes) > 3 and sizes[big] in BIG:
            sizes[big] = "tiny"
    radii = [rng.uniform(*RADII[each]) for each in sizes] + [rng.uniform(10, 34) for _ in range(others)]
    around = [1.26 * r if i < len(sizes) else r for i, r in enumerate(radii)]
    while None in (places := _places(rng, around))[: len(sizes)]:
        pass
    names = [(c, s) for c in COLOURS for s in SHAPES]
    names = [names[i] for i in rng.permutation(len(names))]
    shown = answer.split() if answer and asked == 2 else [answer]
    made = []
    for i, each in enumerate(zip(sizes, places, radii, strict=False)):
        allowed = CLASSES[split] if i < asked or split == "train" else range(5)
        made.append(_card(rng, names, each, allowed, *((family, shown[i % len(shown)]) if i < asked else ())))
    clutter = zip(places[len(made) :], radii[len(made) :], strict=True)
    things = [drawing.clutter(rng, place, radius) for place, radius in clutter if place]
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


def _card(rng, names, drawn, allowed, family=None, shown=None) -> Card:
    size, centre, radius = drawn
    zoom, family = ZOOM[size], family or FAMILIES[rng.integers(3)]
    shown = shown or SHOWN[family][rng.integers(len(SHOWN[family]))]
    colour, shape = next((c, s) for c, s in names if _combination(c, s, family) in allowed)
    names[:] = [other for other in names if other[0] != colour]  # what differs only in shape is hard to tell from afar
    if family == ATTRIBUTE:
        dx, dy = rng.uniform(-5, 5, 2) * min(zoom, 1.5)
        marks = [(shown, rng.choice(list(TONES)), dx, dy)]
    elif family == COUNT:
        number, tone = shown.split()
        marks = [("dot", tone, *(7.5 * zoom * (np.array(place) + rng.uniform(-0.1, 0.1, 2)))) for place in DICE[number]]
    else:
        ux, uy = DIRECTIONS[shown]
        along, across = rng.uniform(9, 12) * zoom**0.8, rng.uniform(-3, 3) * zoom**0.8
        dx, dy = ux * along + uy * across, uy * along + ux * across
        marks = [("dot", "white", dx, dy), ("dot", "black", -dx, -dy)]
    low = drawing.MIDDLE[shape] * radius
    marks = tuple((kind, tone, dx, dy + low) for kind, tone, dx, dy in marks)
    return Card(colour, shape, size, centre, radius, family, shown, marks)


def _combination(colour: str, shape: str, family: str) -> int:
    return (list(COLOURS).index(colour) + 2 * SHAPES.index(shape) + FAMILIES.index(family)) % 5
