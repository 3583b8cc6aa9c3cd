"""The first phase of the tiny VLM: its vision tower learns, with throw-away heads, what each image token shows.

Answers alone teach so small a tower nothing about marks of a few pixels. Dense targets do, with three additions: a
whitened patch embedding (or the colour of a card drowns its marks), losses that weigh the few tokens that hold
something as much as the many that hold nothing, and features of even size, so that the language model sees differences.
"""

import math

import cv2
import numpy as np
from PIL import Image

from mags_kit.method import protocol
from mags_kit.method.magnifier import Magnifier
from mags_kit.data import scenes

VIEW = 192  # side of the first view in pixels: 36 image tokens of 32 pixels
MAGNIFIED = 128 * 128  # pixel budget of a magnified view: 16 image tokens
GRID = 40  # boxes are written in thousandths, in steps of this
CELLS, CLOSE_UPS, SCENES = 36, 48, 24  # tokens of a first view; views of each kind in a batch
WHOLE = (0, 0, scenes.SIZE, scenes.SIZE)
COLOURS, SHAPES, SYMBOLS = tuple(scenes.COLOURS), scenes.SHAPES, ("none", *scenes.SYMBOLS)
PLACES = 1 + 1000 // GRID  # on the grid
READABLE = 0.7  # pixels of a view per pixel of the source, times a mark's zoom, from which on the mark can be read
HEADS = {
    # a first view's token: its card, whether that can be read, its place
    "view": (1 + len(COLOURS), len(SHAPES), 3, 2, CELLS, 4 * PLACES),
    # any token: white and black dots, symbol; the way to the white dot; on which card they are
    "mark": (4, 4, len(SYMBOLS), 2, len(COLOURS), len(SHAPES)),
    "whole": (7, 7, len(SYMBOLS)),  # of a whole close-up: white and black dots, 0 to 6 each; symbol
}
MAGNIFIER = Magnifier("bicubic", MAGNIFIED, 32)  # for its crop boxes and the sizes of its views


def glance(rng, scene):
    """A first view: the whole scene, drawn at twice the size and blurred, which is faster than by way of its source."""
    pixels = np.asarray(scene.close_up(WHOLE, (2 * VIEW, 2 * VIEW)))
    pixels = cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.15, 0.95))
    return Image.fromarray(pixels).resize((VIEW, VIEW), Image.BICUBIC)


def near(scene, box, enlarged: bool = False):
    """What a magnifier would show of `box` (source pixels) if the source were sharp at any size, or, `enlarged`, by
    bicubic interpolation of the source; and its crop box."""
    if enlarged:
        view, record = MAGNIFIER.view(scene.image, box)
        return view, record.box
    cut = MAGNIFIER.crop_box(box, (scenes.SIZE, scenes.SIZE))
    return scene.close_up(cut, MAGNIFIER.view_size(cut[2] - cut[0], cut[3] - cut[1])), cut


def grid_box(box) -> tuple[int, int, int, int]:
    """A box in source pixels -> thousandths, widened to the grid that the vocabulary has."""
    x0, y0, x1, y1 = (v * 1000 / scenes.SIZE / GRID for v in box)
    cells = math.floor(x0 + 0.25), math.floor(y0 + 0.25), math.ceil(x1 - 0.25), math.ceil(y1 - 0.25)
    return tuple(min(1000, max(0, GRID * v)) for v in cells)


def loose_box(box) -> tuple[int, int, int, int]:
    """One of nine overlapping windows, each a quarter of the image, in thousandths: too large for small marks."""
    x, y = ((0, 240, 520)[min(2, int(3 * (box[i] + box[i + 2]) / 2 / scenes.SIZE))] for i in (0, 1))
    return x, y, x + 480, y + 480


def written(box) -> tuple[int, ...]:
    """A box in thousandths, as the model writes it, in source pixels."""
    return tuple(round(v) for v in protocol.to_source(box, "thousand", (VIEW, VIEW), (scenes.SIZE, scenes.SIZE)))


def readable(card, cut=WHOLE, side: int = VIEW) -> bool:
    """Whether a card's marks can be read where `cut` (source pixels) is shown with `side` pixels across."""
    there = cut[0] <= card.centre[0] < cut[2] and cut[1] <= card.centre[1] < cut[3]
    return there and scenes.ZOOM[card.size] * side / (cut[2] - cut[0]) >= READABLE


def lesson(rng, draw_scene, processor) -> dict:
    """First views and close-ups of the same scenes in one batch, with their dense targets.

    `targets` (SCENES, 36, 10): colour (0: none), shape, offset, size, whether it can be read, and box (in steps of the
    grid) of the card nearest to the token's centre;
    `marks` (tokens of all views, first ones first, 7) and `whole` (CLOSE_UPS, 3) as `HEADS` says.
    """
    import torch

    drawn = [draw_scene(rng) for _ in range(SCENES)]
    cards = [(scene, card) for scene in drawn for card in scene.cards]
    cards = [cards[i] for i in rng.permutation(len(cards))[:CLOSE_UPS]]
    views = [glance(rng, scene) for scene in drawn]
    first, close = [_mark_targets(scene, WHOLE, (VIEW, VIEW)) for scene in drawn], []
    for scene, card in cards:
        view, cut = close_up(rng, scene, card, 0.92)
        views.append(view)
        close.append(_mark_targets(scene, cut, view.size))
    numbers = {
        "targets": np.stack([_view_targets(scene) for scene in drawn]),
        "marks": np.concatenate(first + close),
        "whole": np.stack([(*tokens[:, :2].sum(0).clip(max=6), tokens[:, 2].max()) for tokens in close]).astype(int),
    }
    pixels = processor.image_processor(views, return_tensors="pt")
    return {**pixels, **{name: torch.from_numpy(values) for name, values in numbers.items()}}


def close_up(rng, scene, card, tight: float, enlarged: bool = False):
    """A view of a card as it lies, as the model would write its box, or of the window around it; and its crop box."""
    how = rng.uniform()
    box = card.box if how < 0.2 else written(grid_box(card.box) if how < tight else loose_box(card.box))
    return near(scene, box, enlarged)


def _view_targets(scene) -> np.ndarray:
    targets = np.zeros((CELLS, 10), np.float32)
    for card in scene.cards:
        x, y = (c * VIEW / scenes.SIZE for c in card.centre)
        cell = int(y // 32) * 6 + int(x // 32)
        offset = x % 32 / 16 - 1, y % 32 / 16 - 1
        if not targets[cell, 0] or np.hypot(*offset) < np.hypot(*targets[cell, 2:4]):
            shown = 1 + COLOURS.index(card.colour), SHAPES.index(card.shape), *offset, card.radius / 50, readable(card)
            targets[cell] = *shown, *(v // GRID for v in grid_box(card.box))
    return targets


def _mark_targets(scene, cut, size) -> np.ndarray:
    """For each token of a view of `cut` with `size` pixels, of marks that can be read in it: white dots, black dots,
    the symbol (0: none), where it holds one of a pair of dots the direction from black to white (x, y), and the colour
    and the shape of their card."""
    columns, rows = (side // 32 for side in size)
    targets = np.zeros((rows, columns, 7), np.float32)
    for card in (card for card in scene.cards if readable(card, cut, size[0])):
        for kind, tone, dx, dy in card.marks:
            x = (card.centre[0] + dx - cut[0]) / (cut[2] - cut[0]) * columns
            y = (card.centre[1] + dy - cut[1]) / (cut[3] - cut[1]) * rows
            if not (0 <= x < columns and 0 <= y < rows):
                continue
            token = targets[int(y), int(x)]
            if kind == "dot":
                token[tuple(scenes.TONES).index(tone)] += 1
            else:
                token[2] = SYMBOLS.index(kind)
            if card.family == scenes.RELATION:
                white, black = (np.array(place) for _, _, *place in card.marks)
                token[3:5] = (white - black) / np.hypot(*(white - black))
            token[5:] = COLOURS.index(card.colour), SHAPES.index(card.shape)
    return targets.reshape(-1, 7)


def whiten(tower, pixels) -> None:
    """Initialise the patch embedding as the principal components of `pixels` (patches, values), at deviation 1."""
    import torch

    weight, bias = tower.patch_embed.proj.weight, tower.patch_embed.proj.bias
    pixels = pixels.double()
    mean = pixels.mean(0)
    variance, components = torch.linalg.eigh((pixels - mean).T @ (pixels - mean) / len(pixels))
    variance, components = variance.flip(0)[: len(weight)], components.flip(1)[:, : len(weight)]
    rows = (components / (variance + 0.01).sqrt()).T
    with torch.no_grad():
        weight.copy_(rows.reshape(weight.shape))
        bias.copy_(-(rows @ mean))


def build_heads(width: int):
    import torch

    return torch.nn.ModuleDict({name: torch.nn.Linear(width, sum(parts)) for name, parts in HEADS.items()})


def loss_and_scores(model, heads, batch):
    """The loss of a `lesson` batch, and the share of right predictions of each kind."""
    import torch
    from torch.nn.functional import cross_entropy, mse_loss

    seen = model.model.visual(batch["pixel_values"], grid_thw=batch["image_grid_thw"])
    sizes = [SCENES * CELLS, len(batch["marks"]) - SCENES * CELLS]
    views, close = seen.pooler_output.split(sizes)
    target = batch["targets"].flatten(0, 1)
    colour, shape, place, clear, cell, box = heads["view"](views).split(HEADS["view"], -1)
    held, every = target[:, 0] > 0, target[:, 0] >= 0
    asked = {  # weight, guesses, truth, of which tokens; and whether all others weigh as much as these few
        "colour": (1, colour, target[:, 0], held, True),
        "shape": (2, shape, target[:, 1], held, False),
        "cell": (1, cell, torch.arange(CELLS, device=cell.device).repeat(SCENES), every, False),
        "can be read": (1, clear, target[:, 5], held, False),
        "box": (2, box.unflatten(-1, (4, PLACES)), target[:, 6:], held, False),
    }
    loss = 2 * mse_loss(place[held], target[held, 2:5])
    for name, tokens, marks in zip(("at first", "close"), (views, close), batch["marks"].split(sizes), strict=True):
        white, black, symbol, way, colour, shape = heads["mark"](tokens).split(HEADS["mark"], -1)
        dots, signed, pair = marks[:, :2].any(-1), marks[:, 2] > 0, marks[:, 3:5].any(-1)
        asked |= {
            f"symbols {name}": (1, symbol, marks[:, 2], signed, True),
            f"white dots {name}": (1, white, marks[:, 0].clamp(max=3), dots, True),
            f"black dots {name}": (1, black, marks[:, 1].clamp(max=3), dots, True),
            f"their card's colour {name}": (1, colour, marks[:, 5], dots | signed, False),
            f"their card's shape {name}": (1, shape, marks[:, 6], dots | signed, False),
        }
        loss = loss + sum(2 * mse_loss(way[which], marks[which, 3:5]) for which in (pair, ~pair))
    lengths = (batch["image_grid_thw"][SCENES:].prod(-1) // 4).tolist()
    pooled = 4 * torch.stack([tokens.mean(0) for tokens in close.split(lengths)])  # of deviation about 1 again
    for i, guesses in enumerate(heads["whole"](pooled).split(HEADS["whole"], -1)):
        truth = batch["whole"][:, i]
        asked[("white dots", "black dots", "symbols")[i] + " in all"] = (0.3, guesses, truth, truth >= 0, False)
    for weight, guesses, truth, which, others in asked.values():
        for some in (which, ~which) if others else (which,):
            loss = loss + weight * cross_entropy(guesses[some].flatten(0, -2), truth[some].long().flatten())
    uneven = sum(
        tokens.mean(0).square().mean() + (tokens.std(0) - 1).square().mean()
        for layer in (seen.pooler_output, *seen.deepstack_features)
        for tokens in layer.split(sizes)
    )
    right = {name: (guesses.argmax(-1) == truth)[which] for name, (_, guesses, truth, which, _) in asked.items()}
    return loss + 0.2 * uneven, {name: round(hits.float().mean().item(), 3) for name, hits in right.items()}
