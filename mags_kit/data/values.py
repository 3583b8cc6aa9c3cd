"""What is written in a row of data, whoever wrote it -> what a sample holds. `docs/input.md` is the table of it."""

import math
import re

import numpy as np

from mags_kit.images import upright
from mags_kit.method.scoring import plain
from mags_kit.records import Box, area

KINDS = {dict: "an object", list: "a list", bool: "true or false", str: "text", type(None): "null", bytes: "bytes"}
MARKS = re.compile(r"<\|[^<>|]*\|>")  # how chat models write their own; `<|image_pad|>` stops a processor
LONGEST = 4000  # characters of a question: about 1,000 tokens, as many as all the images of a look take


def absent(value) -> bool:
    """Whether a value says that there is none: null, NaN (pandas writes it for a gap), or text that shows nothing."""
    return (
        value is None
        or (isinstance(value, float) and math.isnan(value))
        or (isinstance(value, str) and not plain(value))
    )


def kind(value) -> str:
    """What a value is, in the words of JSON."""
    return KINDS.get(type(value), "a number")


def text(value, name: str) -> str:
    """A text or number as text: 3.0 is 3, as pandas writes whole numbers beside a gap; true and false are yes and no,
    which is how questions are asked here and judged."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, (str, int, float)) or value in (math.inf, -math.inf):
        raise ValueError(f"{name} is {kind(value)} ({value!r:.60}); expected text, a number, true or false")
    value = str(value)
    if not value.isascii() and re.search("[\ud800-\udfff]", value):
        raise ValueError(f"{name} holds half of a character pair, which is no text: {value!a:.60}")
    return value


def answers(value) -> tuple[str, ...]:
    """The accepted answers, the first of which stands for all: of one value, or of a list of them."""
    values = value if isinstance(value, (list, tuple)) else [value]
    return tuple(dict.fromkeys(text(v, "answer") for v in values if not absent(v)))


def unaskable(question: str) -> str:
    """Why a question can't be put to a policy, or nothing."""
    if found := MARKS.search(question):
        return f"its question holds {found[0]}, a mark that models keep for themselves"
    return f"its question is over {LONGEST} characters long" if len(question) > LONGEST else ""


def boxes(value) -> tuple[tuple[float, ...], ...]:
    """A list of boxes of four numbers each, or none."""
    if absent(value):
        return ()
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"boxes is {kind(value)} ({value!r:.60}); expected a list of [x0, y0, x1, y1]")
    for box in value:
        if not (isinstance(box, (list, tuple)) and len(box) == 4 and all(_is_finite(v) for v in box)):
            raise ValueError(f"box {box!r:.60} is not [x0, y0, x1, y1] in pixels; expected a list of such")
    return tuple(tuple(box) for box in value)


def _is_finite(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e9  # NaN compares False


def check_box(box: tuple[float, ...]) -> None:
    """Raise ValueError for a box that can't be [x0, y0, x1, y1] in pixels, whatever its image."""
    if all(0 <= v <= 1 for v in box):
        raise ValueError(f"box {list(box)} is in shares of the image; expected pixels: times its width and height")
    if box[0] >= box[2] or box[1] >= box[3]:
        raise ValueError(f"box {list(box)} ends before it begins; expected [x0, y0, x1, y1], not x, y, width, height")


def check_inside(box: tuple[float, ...], size: tuple[int, int]) -> None:
    """Raise ValueError for a box that lies outside an image of `size`, or more than half of it."""
    inside = area((max(0, box[0]), max(0, box[1]), min(size[0], box[2]), min(size[1], box[3])))
    if inside < area(box) / 2:
        raise ValueError(f"box {list(box)} lies outside its image of {size[0]}x{size[1]} pixels; expected it inside")


def fit(found: tuple[tuple[float, ...], ...], size: tuple[int, int]) -> tuple[Box, ...]:
    """Boxes in whole pixels that hold the given ones, inside an image of `size`; those of which nothing is left go."""
    (width, height), floor, ceil = size, math.floor, math.ceil
    whole = [(max(0, floor(a)), max(0, floor(b)), min(width, ceil(c)), min(height, ceil(d))) for a, b, c, d in found]
    return tuple(box for box in whole if box[0] < box[2] and box[1] < box[3])


def shown(found: tuple, frame: tuple[float, float], stored: tuple[int, int], orientation: int) -> tuple[Box, ...]:
    """Boxes that a data set gives in an image of size `frame`, fitted to the image as it is shown.

    Data sets seldom say whether they mean the pixels as `stored`, or the image turned by its EXIF `orientation`. Their
    `frame` tells, where it has the sides of the one and not of the other; else it is the stored pixels. Chosen here:
    tools that draw boxes do either (detectron2's issue 5366 and supervision's pull request 2577 tell of both).
    """
    size = upright((0, 0, *stored), stored, orientation)[2:]

    def off(other) -> float:
        return abs(math.log(frame[0] / frame[1]) - math.log(other[0] / other[1]))

    if off(size) < off(stored):
        stored, orientation = size, 1
    scale = np.array(stored * 2) / np.array(tuple(frame) * 2)
    return fit(tuple(upright(box, stored, orientation) for box in np.array(found, float) * scale), size)
