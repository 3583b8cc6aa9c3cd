"""The tiny VLM's first phase: its vision tower learns, with throw-away heads, what each image token shows.

Answers alone teach a tower this small nothing about marks of a few pixels. Dense targets do, given four things:
patches that start whitened (or the colour of a card drowns its marks), losses that weigh the few tokens that hold
something as much as the many that hold nothing, even features, so that the language model sees what differs, and one
token that knows all of a card, its marks too: the language model can find one token, and cannot add up several.
"""

from mags_kit.tiny import scenes
from mags_kit.tiny.vision import CELLS, GRID, SCENES

COLOUR_CLASSES, SHAPE_CLASSES, SYMBOL_CLASSES = 1 + len(scenes.COLOURS), len(scenes.SHAPES), 1 + len(scenes.SYMBOLS)
DOT_CLASSES, PLACES = 7, 1 + 1000 // GRID  # 0 to 6 of one tone; places on the grid
HEADS = {
    # any view's token: the card whose centre it holds: colour, shape, place and size; whether its marks can be read,
    # and what they are: white and black dots, the symbol, the way from the black dot to the white one
    "card": (COLOUR_CLASSES, SHAPE_CLASSES, 3, 2, DOT_CLASSES, DOT_CLASSES, SYMBOL_CLASSES, 2),
    "place": (CELLS, 4 * PLACES),  # a first view's token: where it lies, and its card's box
    "mark": (4, 4, SYMBOL_CLASSES, 2),  # any token: the marks in it: white and black dots, symbol; the way as above
    "whole": (DOT_CLASSES, DOT_CLASSES, SYMBOL_CLASSES),  # of a whole close-up: white and black dots, symbol
}


def whiten(tower, pixels) -> None:
    """Start the patch embedding as the principal components of `pixels` (patches, values), of deviation 1."""
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


def hasten(tower) -> None:
    """Embed patches by a matrix product: a convolution of one place each is the same, and takes far longer to train."""
    from torch.nn.functional import linear

    proj = tower.patch_embed.proj
    tower.patch_embed.forward = lambda pixels: linear(pixels, proj.weight.flatten(1), proj.bias)


def build_heads(width: int):
    import torch

    return torch.nn.ModuleDict({name: torch.nn.Linear(width, sum(parts)) for name, parts in HEADS.items()})


def name_words(model, heads, tokenizer) -> None:
    """Start the words for what the heads tell apart as the directions by which they do, so that a name finds its token.

    So do the tokens that a box begins with, as far as they are written: they are left edges. Else it takes the language
    model hundreds of steps until it attends to the card that is meant, if it ever does.
    """
    import torch

    colours, shapes, *_, symbols, _ = heads["card"].weight.detach().split(HEADS["card"])
    lefts = heads["place"].weight.detach()[CELLS : CELLS + PLACES]
    kinds = [(scenes.COLOURS, colours[1:]), (scenes.SHAPES, shapes), (scenes.SYMBOLS, symbols[1:])]
    words, head = model.model.language_model.embed_tokens.weight, model.lm_head.weight
    with torch.no_grad():
        for names, rows in [*kinds, ([str(GRID * i) for i in range(PLACES)], lefts)]:
            directions = torch.nn.functional.normalize(rows - rows.mean(0), dim=-1)
            for name, direction in zip(names, directions, strict=True):
                ids = [i for i in map(tokenizer.get_vocab().get, (name, f" {name}")) if i is not None]
                head[ids] = direction
                if rows is not lefts:  # numbers are points on a curve already
                    words[ids] = direction * len(direction) ** 0.5  # of the size of the other words


def loss_and_scores(model, heads, batch):
    """The loss of a `lesson` batch, and the share that the heads get right, by what they are asked."""
    import torch
    from torch.nn.functional import cross_entropy, mse_loss

    seen = model.model.visual(batch["pixel_values"], grid_thw=batch["image_grid_thw"])
    first = SCENES * CELLS
    sizes = [first, len(batch["marks"]) - first]
    features, close = seen.pooler_output.split(sizes)
    lengths = (batch["image_grid_thw"][SCENES:].prod(-1) // 4).tolist()
    pooled = 4 * torch.stack([tokens.mean(0) for tokens in close.split(lengths)])  # of deviation about 1 again
    target, whole = batch["cards"], batch["whole"]
    colour, shape, place, clear, *marks = heads["card"](seen.pooler_output).split(HEADS["card"], -1)
    cell, box = heads["place"](features).split(HEADS["place"], -1)
    whites, blacks, one = heads["whole"](pooled).split(HEADS["whole"], -1)

    held, read = target[:, 0] > 0, target[:, 5] > 0
    own = torch.arange(CELLS, device=cell.device).repeat(SCENES)
    loss = _balanced(colour, target[:, 0].long(), held) + 2 * cross_entropy(shape[held], target[held, 1].long())
    loss = loss + 2 * mse_loss(place[held], target[held, 2:5]) + cross_entropy(cell, own)
    loss = loss + cross_entropy(clear[held], target[held, 5].long())
    box, truth = box[held[:first]].unflatten(-1, (4, PLACES)).flatten(0, 1), target[:first][held[:first], 11:].long()
    loss = loss + 2 * cross_entropy(box, truth.flatten())
    scores = {"colour": (colour.argmax(-1) == target[:, 0])[held], "shape": (shape.argmax(-1) == target[:, 1])[held]}
    scores |= {"box": box.argmax(-1) == truth.flatten(), "can be read": (clear.argmax(-1) == target[:, 5])[held]}
    for name, part in (("a card's {} at first", slice(None, first)), ("a card's {} close", slice(first, None))):
        costs, right = _card_read([m[part][read[part]] for m in marks], target[part][read[part], 6:11])
        loss, scores = loss + costs, scores | {name.format(what): hits for what, hits in right.items()}
    for name, tokens, truth in zip(("at first", "close"), (features, close), batch["marks"].split(sizes), strict=True):
        costs, right = _marks_read(heads["mark"](tokens).split(HEADS["mark"], -1), truth)
        loss, scores = loss + costs, scores | {f"{what} {name}": hits for what, hits in right.items()}
    for guess, number in ((whites, whole[:, 0]), (blacks, whole[:, 1]), (one, whole[:, 2])):
        loss = loss + 0.3 * cross_entropy(guess, number)
    uneven = sum(
        tokens.mean(0).square().mean() + (tokens.std(0) - 1).square().mean()
        for layer in (seen.pooler_output, *seen.deepstack_features)
        for tokens in layer.split(sizes)
    )
    scores |= {
        "dots in all": whites.argmax(-1) == whole[:, 0],
        "symbol": (one.argmax(-1) == whole[:, 2])[whole[:, 2] > 0],
    }
    scores = {name: round(hits.float().mean().item(), 3) for name, hits in scores.items()}
    scores |= {"offset_px": round(16 * (place[held, :2] - target[held, 2:4]).abs().mean().item(), 2)}
    return loss + 0.2 * uneven, scores | {"uneven": round(uneven.item(), 3)}


def _balanced(guesses, truth, held):
    """Cross entropy in which the few tokens that hold something weigh as much as the many that hold nothing."""
    from torch.nn.functional import cross_entropy

    return cross_entropy(guesses[held], truth[held]) + cross_entropy(guesses[~held], truth[~held])


def _card_read(guesses, truth):
    """The loss of what is read off cards that can be read, and which of them are read right."""
    from torch.nn.functional import cross_entropy, mse_loss

    white, black, symbol, way = guesses
    dots, pair = truth[:, :2].long(), truth[:, 3:].any(-1)
    loss = (
        cross_entropy(white, dots[:, 0]) + cross_entropy(black, dots[:, 1]) + cross_entropy(symbol, truth[:, 2].long())
    )
    right = (white.argmax(-1) == dots[:, 0]) & (black.argmax(-1) == dots[:, 1])
    return loss + 2 * mse_loss(way, truth[:, 3:]), {
        "dots": right[(dots.sum(-1) > 0) & ~pair],
        "symbol": (symbol.argmax(-1) == truth[:, 2])[truth[:, 2] > 0],
        "relation": (way * truth[:, 3:]).sum(-1)[pair] > 0,
    }


def _marks_read(guesses, marks):
    """The loss of what is read off tokens, and which of them are read right: dots, symbols, directions."""
    from torch.nn.functional import mse_loss

    white, black, symbol, way = guesses
    marked, signed, pair = marks[:, :2].sum(-1) > 0, marks[:, 2] > 0, marks[:, 3:].any(-1)
    loss = _balanced(symbol, marks[:, 2].long(), signed)
    for guess, number in ((white, marks[:, 0]), (black, marks[:, 1])):
        loss = loss + _balanced(guess, number.long().clamp(max=3), marked)
    loss = loss + 2 * mse_loss(way[pair], marks[pair, 3:]) + 2 * mse_loss(way[~pair], marks[~pair, 3:])
    return loss, {
        "dots": (white.argmax(-1) == marks[:, 0].clamp(max=3))[marked],
        "symbols": (symbol.argmax(-1) == marks[:, 2])[signed],
        "relation": (way * marks[:, 3:]).sum(-1)[pair] > 0,
    }
