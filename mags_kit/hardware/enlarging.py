"""Views a second: by network, side of the crop, and whether a network is given one crop at a time or several."""

import shutil
from collections.abc import Iterator
from functools import partial

from PIL import Image

from mags_kit.config import BLANK
from mags_kit.hardware.clock import Row
from mags_kit.hardware.ground import Ground
from mags_kit.images import open_image
from mags_kit.method import networks
from mags_kit.method.magnifier import Magnifier

PART = "views"
SIDES = {  # of the crops in pixels; the large network takes seconds for one, so it has few
    "realesr-animevideov3": (32, 48, 64, 96),
    "realesrgan-x4plus": (32, 48),
    "bicubic": (32, 48, 64, 96),
}
MANY = {"realesrgan-x4plus": 2}  # crops in a row
CROPS = 8  # in a row, of any other network


def crops_of(image: Image.Image, side: int, count: int) -> list[tuple[int, int, int, int]]:
    """`count` boxes of `side` pixels in an image, as far apart as they can be along its diagonal."""
    room = min(image.size) - side
    places = [round(room * i / max(1, count - 1)) for i in range(count)]
    return [(at, at, at + side, at + side) for at in places]


def together(image: Image.Image, boxes: list, network: str, size: tuple[int, int]) -> list[Image.Image]:
    """Views of crops that are equally large, by one call of the network with all of them."""
    import numpy as np
    import torch

    model = networks.load_network(network)
    parameter = next(model.parameters())
    crops = np.stack([np.asarray(image.crop(box).convert("RGB")) for box in boxes])
    pixels = torch.from_numpy(crops).to(parameter.device, parameter.dtype)
    with torch.inference_mode():
        out = model(pixels.permute(0, 3, 1, 2) / 255).clamp(0, 1)
    drawn = (out.permute(0, 2, 3, 1) * 255).round().byte().cpu().numpy()
    return [Image.fromarray(each).resize(size, Image.BICUBIC) for each in drawn]


def rows(ground: Ground) -> Iterator[Row]:
    """Views a second by each network, one call a crop and one call for all, and views that the cache holds."""
    image = open_image(ground.run.data / ground.samples[0].image)
    made, counts = {}, {}
    for network, sides in SIDES.items():
        count = MANY.get(network, CROPS)
        for side in ground.some(sides):
            glass, boxes = _glass(ground, network), crops_of(image, side, count)
            name = f"{network}, {side}x{side} px"
            made[f"{name}, one call a crop"] = partial(_each, glass, image, boxes)
            if network != "bicubic":
                size = glass.view_size(side, side)
                made[f"{name}, {count} in one call"] = partial(together, image, boxes, network, size)
    counts = {name: MANY.get(name.split(",")[0], CROPS) for name in made}
    timed, _ = ground.timed(PART, made, counts, "views/s")
    yield from timed
    yield from _cached(ground, image)


def _cached(ground: Ground, image: Image.Image) -> Iterator[Row]:
    """Milliseconds of a view that lies in the cache, and of one that shows nothing, which any other view takes too."""
    folder = ground.run.path.parent / "views-kept"
    made = {
        "a view from the cache": partial(_each, _glass(ground, "realesr-animevideov3", folder), image),
        "a blank view": partial(_each, _glass(ground, BLANK), image),
    }
    boxes = crops_of(image, 48, CROPS)
    made = {name: partial(task, boxes) for name, task in made.items()}
    for fill in made.values():
        fill()
    timed, _ = ground.timed(PART, made, dict.fromkeys(made, CROPS), "ms", fresh=False)
    yield from timed
    shutil.rmtree(folder)


def _glass(ground: Ground, network: str, cache=None) -> Magnifier:
    return Magnifier(network, ground.run.config.view_pixels, ground.policy.factor, margin=0.0, cache_dir=cache)


def _each(glass: Magnifier, image: Image.Image, boxes: list) -> list[Image.Image]:
    return [glass.view(image, box)[0] for box in boxes]
