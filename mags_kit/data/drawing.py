"""Drawing scenes at any scale, as filled outlines on a soft ground, and degrading them as a camera does.

A thing is `(colour, outlines)`: each `(points, 2)` in source pixels; a second outline is a hole in the first.
"""

import io
import math
from functools import cache

import cv2
import numpy as np
from PIL import Image

SIZE = 768  # source pixels, both sides
EXTENT = {"disc": (1, 1, 1, 1), "square": (0.9, 0.9, 0.9, 0.9), "triangle": (1.15, 1.25, 1.15, 0.8)}  # radii
MIDDLE = {"disc": 0, "square": 0, "triangle": 0.127}  # how far below its centre a card has most room, in radii
# A source's quality: blur (its deviation in pixels), noise (grey levels) and JPEG quality, from and to.
QUALITIES = {
    "sharp": ((0.3, 0.6), (2, 3), (85, 95)),
    "soft": ((1.0, 1.4), (3, 4), (60, 75)),
    "poor": ((1.5, 1.9), (4, 5), (45, 60)),
}
ROUND = np.linspace(0, 2 * np.pi, 40, endpoint=False)
CIRCLE = np.stack([np.cos(ROUND), np.sin(ROUND)], 1)


def draw(ground: np.ndarray, things, box, size: tuple[int, int]) -> Image.Image:
    """The part of a scene in `box` (source pixels), drawn sharp at `size`; see `grounds` for `ground` `(7, 7, 3)`."""
    origin, scale = np.asarray(box[:2], float), np.divide(size, (box[2] - box[0], box[3] - box[1]))
    step = 7 / SIZE
    to_ground = np.array([[step / scale[0], 0, 0], [0, step / scale[1], 0]])
    to_ground[:, 2] = (origin + 0.5 / scale) * step - 0.5
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    pixels = cv2.warpAffine(ground.astype(np.float32), to_ground, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    pixels = np.ascontiguousarray(pixels.round().clip(0, 255).astype(np.uint8))
    for colour, contours in things:
        placed = [np.round(((points - origin) * scale - 0.5) * 16).astype(np.int32) for points in contours]
        cv2.fillPoly(pixels, placed, colour, cv2.LINE_AA, 4)
    return Image.fromarray(pixels)


def photograph(rng, image: Image.Image, quality: str) -> bytes:
    """A sharp image as a camera delivers it: blurred, noisy, as JPEG. See `QUALITIES`."""
    blur, noise, jpeg = QUALITIES[quality]
    pixels = _blurred(rng, np.asarray(image), rng.uniform(*blur)).astype(np.int16)
    grain = _grain(int(rng.integers(noise[0], noise[1] + 1)))
    i, j = rng.integers(0, 256, 2)
    flips = [1 - 2 * int(rng.integers(2)) for _ in "yx"]
    pixels += grain[i : i + SIZE, j : j + SIZE][:: flips[0], :: flips[1]]
    out = io.BytesIO()
    pixels = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    pixels.save(out, "JPEG", quality=int(rng.integers(jpeg[0], jpeg[1] + 1)))
    return out.getvalue()


def _blurred(rng, pixels: np.ndarray, deviation: float) -> np.ndarray:
    """Blur of a defocus, or, one time in three, of a motion along a line."""
    if rng.uniform() > 1 / 3:
        return cv2.GaussianBlur(pixels, (0, 0), deviation)
    phi, along, across = rng.uniform(0, np.pi), 1.3 * deviation, 0.55 * deviation
    reach = round(2 * along)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    far, near = x * math.cos(phi) + y * math.sin(phi), y * math.cos(phi) - x * math.sin(phi)
    kernel = np.exp(-((far / along) ** 2 + (near / across) ** 2) / 2)
    return cv2.filter2D(pixels, -1, kernel / kernel.sum())


@cache
def _grain(level: int) -> np.ndarray:
    """Sensor noise with a standard deviation of `level` grey levels, of which scenes take windows."""
    sheet = np.random.default_rng(level).standard_normal((SIZE + 256, SIZE + 256, 3), dtype=np.float32)
    return (sheet * level).astype(np.int16)


def grounds(rng) -> np.ndarray:
    """A soft grey ground of slightly changing light, `(7, 7, 3)`."""
    return rng.uniform(150, 215) + rng.normal(0, 14, (7, 7, 1)) + rng.normal(0, 4, (7, 7, 3)) + rng.normal(0, 6, 3)


def jitter(rng, colour, spread: float = 14) -> tuple[int, int, int]:
    return tuple(int(v) for v in np.clip(np.asarray(colour) + rng.normal(0, spread, 3), 0, 255))


def clutter(rng, centre, r: float) -> tuple:
    """A pebble, stick, ring or leaf of radius `r`, grey-brown, so that colour marks the cards."""
    tone = jitter(rng, np.full(3, rng.uniform(60, 235)), 9)
    kind, phi, centre = rng.integers(4), rng.uniform(0, np.pi), np.asarray(centre)
    if kind == 0:
        outline = [centre + CIRCLE * (r, 0.7 * r)]
    elif kind == 1:
        way = r * np.array((math.cos(phi), math.sin(phi)))
        outline = [stroke(centre - way, centre + way, rng.uniform(3, 8))]
    elif kind == 2:
        outline = [centre + CIRCLE * r, centre + CIRCLE * (r - rng.uniform(3, 6))]
    else:
        angles = np.sort(rng.uniform(0, 2 * np.pi, 5))
        outline = [centre + r * np.stack([np.cos(angles), np.sin(angles)], 1)]
    return tone, outline


def outline(shape: str, centre, r: float) -> np.ndarray:
    """The outline of a card."""
    left, up, right, down = (r * extent for extent in EXTENT[shape])
    corners = {
        "disc": CIRCLE * r,
        "square": ((-left, -up), (right, -up), (right, down), (-left, down)),
        "triangle": ((0, -up), (right, down), (-left, down)),
    }
    return np.add(centre, corners[shape])


def mark(kind: str, centre, zoom: float) -> list[list[np.ndarray]]:
    """Outlines of a dot of radius 2.8 px, or of each stroke of a symbol in a box of 13 px, times `zoom`."""
    s, centre = 6.5 * zoom, np.asarray(centre)
    if kind == "dot":
        return [[centre + CIRCLE * 2.8 * zoom]]
    if kind == "ring":
        return [[centre + CIRCLE * s, centre + CIRCLE * (s - 3 * zoom)]]
    strokes = {
        "plus": (((-s, 0), (s, 0)), ((0, -s), (0, s))),
        "slash": (((-s, s), (s, -s)),),
        "vee": (((-s, -s), (0, s)), ((0, s), (s, -s))),
    }
    return [[stroke(centre + a, centre + b, 3 * zoom)] for a, b in strokes[kind]]


def stroke(a, b, width: float) -> np.ndarray:
    """A rectangle from `a` to `b`."""
    way = np.subtract(b, a)
    side = np.array((-way[1], way[0])) / np.hypot(*way) * width / 2
    return np.stack([a + side, b + side, b - side, a - side])
