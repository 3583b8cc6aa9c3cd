"""What the tiny VLM is shown of a scene, and what each image token of that should know: targets for `heads`."""

import math

import cv2
import numpy as np
from PIL import Image

from mags_kit.method import protocol
from mags_kit.method.magnifier import Magnifier
from mags_kit.tiny import scenes

VIEW = 192  # side of the first view in pixels: 36 image tokens of 32 pixels
MAGNIFIED = 128 * 128  # pixel budget of a magnified view: 16 image tokens
GRID = 40  # boxes are written in thousandths, in steps of this
CELLS, CLOSE_UPS, SCENES = 36, 48, 24  # tokens of a first view; views of each kind in a batch
WHOLE = (0, 0, scenes.SIZE, scenes.SIZE)
READABLE = 0.7  # pixels of a view to one of the source, times a mark's zoom, from which on the mark can be read
MAGNIFIER = Magnifier("bicubic", MAGNIFIED, 32)  # for what it would cut out, and how large it would show it


def first_view(scene):
    """The whole scene in the pixels of a first view, from its source."""
    return scene.image.resize((VIEW, VIEW), Image.BICUBIC)


def glance(rng, scene):
    """The same without a source: drawn at twice the size and blurred a little. Much faster, and hardly to be told."""
    pixels = np.asarray(scene.close_up(WHOLE, (2 * VIEW, 2 * VIEW)))
    pixels = cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.15, 0.95))
    return Image.fromarray(pixels).resize((VIEW, VIEW), Image.BICUBIC)


def near(scene, box):
    """What a magnifier shows of `box` (source pixels) if the source were sharp at any size, and what it cuts out."""
    cut = MAGNIFIER.crop_box(box, (scenes.SIZE, scenes.SIZE))
    return scene.close_up(cut, MAGNIFIER.view_size(cut[2] - cut[0], cut[3] - cut[1])), cut


def grid_box(box) -> tuple[int, int, int, int]:
    """A box in source pixels -> thousandths, widened to the grid that the vocabulary has."""
    x0, y0, x1, y1 = (v * 1000 / scenes.SIZE / GRID for v in box)
    cells = math.floor(x0 + 0.25), math.floor(y0 + 0.25), math.ceil(x1 - 0.25), math.ceil(y1 - 0.25)
    return tuple(min(1000, max(0, GRID * v)) for v in cells)


def loose_box(box) -> tuple[int, int, int, int]:
    """One of nine overlapping windows, each an eighth of the image, in thousandths: too large for small marks."""
    corner = [min(2, int(3 * (box[i] + box[i + 2]) / 2 / scenes.SIZE)) * 320 for i in (0, 1)]
    return corner[0], corner[1], corner[0] + 360, corner[1] + 360


def written(box) -> tuple[int, ...]:
    """A box in thousandths, as the model writes it, in source pixels."""
    return tuple(round(v) for v in protocol.to_source(box, "thousand", (VIEW, VIEW), (scenes.SIZE, scenes.SIZE)))


def readable(card, cut=WHOLE, side: int = VIEW) -> bool:
    """Whether a card's marks can be read where `cut` (source pixels) is shown with `side` pixels across."""
    return scenes.ZOOM[card.size] * side / (cut[2] - cut[0]) >= READABLE


def lesson(rng, draw_scene, processor) -> dict:
    """First views and close-ups of the same scenes in one batch, with their dense targets.

    For the tokens of all views, first ones first: `cards` (tokens, 15), see `_card_targets`, and `marks` (tokens, 5),
    see `_mark_targets`; and `whole` (CLOSE_UPS, 3) as `HEADS` says.
    """
    import torch

    drawn = [draw_scene(rng) for _ in range(SCENES)]
    cards = [(scene, card) for scene in drawn for card in scene.cards]
    cards = [cards[i] for i in rng.permutation(len(cards))[:CLOSE_UPS]]
    views, shown = [glance(rng, scene) for scene in drawn], [(scene, WHOLE, (VIEW, VIEW)) for scene in drawn]
    for scene, card in cards:
        how = rng.uniform()  # as the model would write it, as the card lies, or the window around it
        box = card.box if how < 0.2 else written(grid_box(card.box) if how < 0.92 else loose_box(card.box))
        view, cut = near(scene, box)
        views.append(view)
        shown.append((scene, cut, view.size))
    marks = [_mark_targets(*each) for each in shown]
    whole = [np.append(np.minimum(6, tokens[:, :2].sum(0)), tokens[:, 2].max()) for tokens in marks[SCENES:]]
    numbers = {"cards": np.concatenate([_card_targets(*each) for each in shown]), "marks": np.concatenate(marks)}
    numbers["whole"] = np.stack(whole).astype(np.int64)
    pixels = processor.image_processor(views, return_tensors="pt")
    return {**pixels, **{name: torch.from_numpy(values) for name, values in numbers.items()}}


def _card_targets(scene, cut, size) -> np.ndarray:
    """For each token of a view of `cut` with `size` pixels, of the card whose centre it holds (of two, the nearer):
    colour (0: none), shape, offset from its own centre (-1 to 1), radius in tokens, whether the marks can be read, then
    how many are white and black dots, the symbol (0: none), the way from black to white (x, y); and its box, in steps
    of the grid."""
    columns, rows = (side // 32 for side in size)
    targets = np.zeros((rows, columns, 15), np.float32)
    for card in scene.cards:
        x = (card.centre[0] - cut[0]) / (cut[2] - cut[0]) * columns
        y = (card.centre[1] - cut[1]) / (cut[3] - cut[1]) * rows
        if not (0 <= x < columns and 0 <= y < rows):
            continue
        token, offset = targets[int(y), int(x)], (2 * (x % 1) - 1, 2 * (y % 1) - 1)
        if token[0] and np.hypot(*offset) >= np.hypot(*token[2:4]):
            continue
        radius = card.radius / (cut[2] - cut[0]) * columns
        token[:5] = list(scenes.COLOURS).index(card.colour) + 1, scenes.SHAPES.index(card.shape), *offset, radius
        token[5:11] = (1, *_read_off(card)) if readable(card, cut, size[0]) else 0
        token[11:] = [v // GRID for v in grid_box(card.box)]
    return targets.reshape(-1, 15)


def _read_off(card) -> tuple[float, ...]:
    """White dots, black dots, symbol (0: none), and for a pair of dots the way from black to white (x, y)."""
    tones = [tone for kind, tone, _, _ in card.marks if kind == "dot"]
    [symbol] = [1 + scenes.SYMBOLS.index(kind) for kind, *_ in card.marks if kind != "dot"] or [0]
    return tones.count("white"), tones.count("black"), symbol, *_way(card)


def _way(card) -> np.ndarray:
    if card.family != scenes.RELATION:
        return np.zeros(2)
    place = {tone: np.array((dx, dy)) for _, tone, dx, dy in card.marks}
    way = place["white"] - place["black"]
    return way / np.hypot(*way)


def _mark_targets(scene, cut, size) -> np.ndarray:
    """For each token of a view of `cut` with `size` pixels, of marks that can be read in it: white dots, black dots,
    the symbol (0: none), and where it holds one of a pair of dots the direction from black to white (x, y)."""
    columns, rows = (side // 32 for side in size)
    targets = np.zeros((rows, columns, 5), np.float32)
    for card in scene.cards:
        if not readable(card, cut, size[0]):
            continue
        for kind, tone, dx, dy in card.marks:
            x = (card.centre[0] + dx - cut[0]) / (cut[2] - cut[0]) * columns
            y = (card.centre[1] + dy - cut[1]) / (cut[3] - cut[1]) * rows
            if not (0 <= x < columns and 0 <= y < rows):
                continue
            token = targets[int(y), int(x)]
            if kind == "dot":
                token[0 if tone == "white" else 1] += 1
            else:
                token[2] = 1 + scenes.SYMBOLS.index(kind)
            token[3:] = _way(card)
    return targets.reshape(-1, 5)
