"""Procedural scenes and their questions: small marks on small cards, among clutter.

A scene is a 768x768 source image. Cards of a known colour and shape lie among muted clutter; each card
carries marks of a few pixels. A first view of 192x192 shows where the cards are and what colour they have,
and of their marks specks of one to three pixels. Three question families mirror the benchmarks: `relation`
(true/false, as VSR), `count` (as TallyQA, simple and complex) and `attribute` (open, as GQA).
"""

import io
import math
from dataclasses import dataclass
from functools import cache, cached_property

import cv2
import numpy as np
from PIL import Image, ImageDraw

SIZE = 768  # source pixels, both sides
COLOURS = {
    "red": (205, 35, 40), "orange": (235, 130, 20), "green": (35, 145, 55), "teal": (20, 160, 170),
    "blue": (45, 75, 210), "purple": (125, 45, 165), "pink": (235, 110, 175), "brown": (115, 70, 35),
}  # fmt: skip
SHAPES = ("disc", "square", "triangle")
EXTENT = {"disc": (1, 1, 1, 1), "square": (0.9, 0.9, 0.9, 0.9), "triangle": (1.15, 1.25, 1.15, 0.8)}  # radii
SYMBOLS = ("plus", "ring", "slash", "vee")
RELATIONS = {"left of": (-1, 0), "right of": (1, 0), "above": (0, -1), "below": (0, 1)}
OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
TONES = {"white": (250, 250, 250), "black": (10, 10, 10)}
RELATION, COUNT, ATTRIBUTE = FAMILIES = "relation", "count", "attribute"
ANSWERS = {RELATION: ("yes", "no"), COUNT: ("1", "2", "3", "4"), ATTRIBUTE: SYMBOLS}
# Combinations of colour, shape and family fall into five classes; one is kept for test, one for validation. The answer
# is no part of them: a card's name would tell which answers training never saw, and a policy would learn that instead.
CLASSES = {"train": (2, 3, 4), "validation": (1,), "test": (0,)}


@dataclass(frozen=True)
class Card:
    """A card, the question about it, and its marks."""

    colour: str
    shape: str
    centre: tuple[float, float]
    radius: float
    family: str
    question: str
    answer: str
    shown: str  # what a close-up shows, in words, as far as the question needs it
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
class Scene:
    cards: tuple[Card, ...]
    clutter: int  # number of muted things around the cards
    jpeg: bytes  # the degraded source image, as a camera would hand it over

    @cached_property
    def image(self) -> Image.Image:
        return Image.open(io.BytesIO(self.jpeg)).convert("RGB")


def make_scene(seed: int, split: str, family: str | None = None, answer: str | None = None, count: int = 0) -> Scene:
    """The scene of a seed. `family` and `answer` fix those of the first card, so that a set can be balanced.
    `count` is the number of cards; 0 leaves it to the seed, 5 to 9.

    In the train split any card may be asked for; in the others only the first, whose combination is held out.
    """
    rng = np.random.default_rng([sorted(CLASSES).index(split), seed])
    spots = _spots(rng)
    names = [(c, s) for c in COLOURS for s in SHAPES]
    names = [names[i] for i in rng.permutation(len(names))]
    cards = []
    for i, (x, y) in enumerate(spots[: count or rng.integers(5, 10)]):
        asked = i == 0 or split == "train"  # the other cards of a held-out scene may be of any combination
        fixed = (family, answer) if i == 0 else (None, None)
        cards.append(_card(rng, names, (x, y), CLASSES[split] if asked else range(5), *fixed))
    clutter = spots[len(cards) : len(cards) + rng.integers(8, 26)]
    return Scene(tuple(cards), len(clutter), _render(rng, cards, clutter))


def _spots(rng) -> list[tuple[float, float]]:
    """Centres at least 82 px apart and 40 px from the border, by dart throwing."""
    darts = rng.uniform(40, SIZE - 40, (300, 2))
    spots = []
    while len(darts):
        spots.append((float(darts[0, 0]), float(darts[0, 1])))
        darts = darts[np.hypot(*(darts - darts[0]).T) > 82]
    return spots


def _card(rng, names, centre, allowed, family=None, answer=None) -> Card:
    radius = rng.uniform(25, 31)
    family = family or FAMILIES[rng.integers(3)]
    answer = answer or ANSWERS[family][rng.integers(len(ANSWERS[family]))]
    pick = next(i for i, (c, s) in enumerate(names) if _combination(c, s, family) in allowed)
    colour, shape = names.pop(pick)
    name = f"{colour} {shape}"
    if family == ATTRIBUTE:
        question = f"What symbol is on the {name}?"
        dx, dy = rng.uniform(-0.2, 0.2, 2) * radius
        marks, shown = ((answer, rng.choice(list(TONES)), dx, dy),), answer
    elif family == COUNT:
        tone, other = rng.permutation(list(TONES))
        distractors = int(rng.integers(0, 3))  # 0: the simple question, otherwise the complex one
        question = f"How many {tone + ' ' if distractors else ''}dots are on the {name}?"
        tones = [tone] * int(answer) + [other] * distractors
        places = _dots(rng, len(tones), radius)
        marks = tuple(("dot", t, *p) for t, p in zip(tones, places, strict=True))
        shown = " ".join(f"{tones.count(t)} {t}" for t in TONES if t in tones)
    else:
        words = list(RELATIONS)[rng.integers(4)]
        ux, uy = RELATIONS[words]
        sign = 1 if answer == "yes" else -1
        along, across = rng.uniform(9, 12), rng.uniform(-3, 3)
        dx, dy = sign * (ux * along + uy * across), sign * (uy * along + ux * across)
        question = f"The white dot is {words} the black dot on the {name}. True?"
        marks = (("dot", "white", dx, dy), ("dot", "black", -dx, -dy))
        shown = f"white {words if answer == 'yes' else OPPOSITE[words]} black"
    return Card(colour, shape, centre, radius, family, question, answer, shown, marks)


def _combination(colour: str, shape: str, family: str) -> int:
    return (list(COLOURS).index(colour) + 2 * SHAPES.index(shape) + FAMILIES.index(family)) % 5


def _dots(rng, n: int, radius: float) -> list[tuple[float, float]]:
    """`n` places inside half the radius, as far apart as the best of a few tries finds."""
    best, best_gap = [], -1.0
    while best_gap < 7.2:  # two dots of radius 2.8 px stay apart
        rho, phi = 0.5 * radius * np.sqrt(rng.uniform(0, 1, n)), rng.uniform(0, 2 * np.pi, n)
        p = np.stack([rho * np.cos(phi), rho * np.sin(phi)], 1)
        gaps = [np.hypot(*(a - b)) for i, a in enumerate(p) for b in p[:i]]
        gap = min(gaps, default=np.inf)
        if gap > best_gap:
            best, best_gap = [tuple(map(float, q)) for q in p], gap
    return best


def _render(rng, cards, clutter) -> bytes:
    ground = rng.uniform(150, 215) + rng.normal(0, 14, (7, 7, 1)) + rng.normal(0, 4, (7, 7, 3)) + rng.normal(0, 6, 3)
    ground = cv2.resize(ground.astype(np.float32), (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
    image = Image.fromarray(ground.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for centre in clutter:
        _clutter(rng, draw, centre)
    for card in cards:
        _outline(draw, card.shape, card.centre, card.radius, _jitter(rng, COLOURS[card.colour]))
        for kind, tone, dx, dy in card.marks:
            _mark(draw, kind, (card.centre[0] + dx, card.centre[1] + dy), _jitter(rng, TONES[tone], 6))
    pixels = cv2.GaussianBlur(np.asarray(image), (0, 0), rng.uniform(0.5, 0.8))
    pixels = pixels.astype(np.int16) + _noise(rng)
    out = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=int(rng.integers(70, 93)))
    return out.getvalue()


def _jitter(rng, colour, spread: float = 14) -> tuple[int, int, int]:
    return tuple(int(v) for v in np.clip(np.asarray(colour) + rng.normal(0, spread, 3), 0, 255))


def _clutter(rng, draw, centre) -> None:
    """A muted pebble, stick, ring or leaf: grey-brown, so that colour marks the cards."""
    (x, y), r = centre, rng.uniform(10, 34)
    tone = _jitter(rng, np.full(3, rng.uniform(60, 235)), 9)
    kind, phi = rng.integers(4), rng.uniform(0, np.pi)
    if kind == 0:
        draw.ellipse((x - r, y - 0.7 * r, x + r, y + 0.7 * r), fill=tone)
    elif kind == 1:
        dx, dy = r * math.cos(phi), r * math.sin(phi)
        draw.line((x - dx, y - dy, x + dx, y + dy), fill=tone, width=int(rng.integers(3, 9)))
    elif kind == 2:
        draw.ellipse((x - r, y - r, x + r, y + r), outline=tone, width=int(rng.integers(3, 7)))
    else:
        angles = np.sort(rng.uniform(0, 2 * np.pi, 5))
        draw.polygon([(x + r * math.cos(a), y + r * math.sin(a)) for a in angles], fill=tone)


def _outline(draw, shape, centre, r, colour) -> None:
    (x, y), (left, up, right, down) = centre, (r * e for e in EXTENT[shape])
    if shape == "disc":
        draw.ellipse((x - left, y - up, x + right, y + down), fill=colour)
    elif shape == "square":
        draw.rectangle((x - left, y - up, x + right, y + down), fill=colour)
    else:
        draw.polygon([(x, y - up), (x + right, y + down), (x - left, y + down)], fill=colour)


def _mark(draw, kind, centre, tone, s: float = 6.5) -> None:
    """A dot of radius 2.8 px, or a symbol of strokes in a box of 13 px."""
    (x, y) = centre
    strokes = {
        "plus": (((-s, 0), (s, 0)), ((0, -s), (0, s))),
        "slash": (((-s, s), (s, -s)),),
        "vee": (((-s, -s), (0, s)), ((0, s), (s, -s))),
    }
    if kind == "dot":
        draw.ellipse((x - 2.8, y - 2.8, x + 2.8, y + 2.8), fill=tone)
    elif kind == "ring":
        draw.ellipse((x - s, y - s, x + s, y + s), outline=tone, width=3)
    else:
        for (ax, ay), (bx, by) in strokes[kind]:
            draw.line((x + ax, y + ay, x + bx, y + by), fill=tone, width=3)


@cache
def _grain(level: int) -> np.ndarray:
    """A sheet of sensor noise with a standard deviation of `level` grey levels; scenes take windows of it."""
    sheet = np.random.default_rng(level).standard_normal((SIZE + 256, SIZE + 256, 3), dtype=np.float32)
    return (sheet * level).astype(np.int16)


def _noise(rng) -> np.ndarray:
    i, j = rng.integers(0, 256, 2)
    window = _grain(int(rng.integers(2, 7)))[i : i + SIZE, j : j + SIZE]
    return window[:: 1 - 2 * int(rng.integers(2)), :: 1 - 2 * int(rng.integers(2))]
