"""The magnifier (the paper's super-resolution agent): crop regions from the original pixels and upscale them."""

import hashlib
import math
from pathlib import Path

from PIL import Image

from mags_kit.config import BLANK, check_network
from mags_kit.images import png
from mags_kit.method import networks
from mags_kit.records import Box, View, write_bytes

MAX_ASPECT = 4  # a crop longer than this is widened, so that a view is never a sliver


class Magnifier:
    """Cuts regions out of an image and enlarges them to views that a processor takes without resizing.

    `view_pixels` is the pixel budget of one view, `factor` the side in pixels that one image token covers
    (views have sides that are its multiples), `margin` is added on each side as a share of the region's side.
    `network` is a name in `config.NETWORKS`, the path of a `.pth`, `bicubic`, `none` (the crop as it is, not
    enlarged), or `blank` (plain grey of the view's size, a control).
    """

    def __init__(self, network: str, view_pixels: int, factor: int, margin: float = 0.1, cache_dir=None):
        check_network(network)
        self.network, self.view_pixels, self.factor, self.margin = network, view_pixels, factor, margin
        self.cache_dir = cache_dir

    def crop_box(self, box: Box, size: tuple[int, int]) -> Box:
        """The region with its margin, at least half a token's side wide and high, inside an image of `size`."""
        (x0, y0, x1, y1), (width, height) = box, size
        w, h = (x1 - x0) * (1 + 2 * self.margin), (y1 - y0) * (1 + 2 * self.margin)
        w, h = max(w, h / MAX_ASPECT, self.factor / 2), max(h, w / MAX_ASPECT, self.factor / 2)
        w, h = min(w, width), min(h, height)
        left = min(max(0, (x0 + x1 - w) / 2), width - w)
        top = min(max(0, (y0 + y1 - h) / 2), height - h)
        return math.floor(left), math.floor(top), math.ceil(left + w), math.ceil(top + h)

    def view_size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of the view of a crop, in multiples of `factor`, within `view_pixels`."""
        scale = math.sqrt(self.view_pixels / (width * height))
        if self.network == "none":
            scale = min(1.0, scale)

        def snap(side):
            return max(1, round(side * scale / self.factor)) * self.factor

        w, h = snap(width), snap(height)
        while w * h > self.view_pixels and max(w, h) > self.factor:
            w, h = (w - self.factor, h) if w >= h else (w, h - self.factor)
        return w, h

    def view(self, image: Image.Image, box: Box) -> tuple[Image.Image, View]:
        """The view of a region, and its record."""
        cut = self.crop_box(box, image.size)
        record = View(cut, self.view_size(cut[2] - cut[0], cut[3] - cut[1]))
        return draw_view(image, record, self.network, self.cache_dir), record


def draw_view(image: Image.Image, view: View, network: str, cache_dir=None) -> Image.Image:
    """The pixels of a view. What a network makes is kept under `cache_dir` by content, network and size."""
    if network == BLANK:
        return Image.new("RGB", view.size, (128, 128, 128))
    crop = image.crop(view.box).convert("RGB")
    enlarged = view.size[0] * view.size[1] > crop.width * crop.height
    if not enlarged or network in ("bicubic", "none"):
        return crop.resize(view.size, Image.BICUBIC)
    path = _cached(crop, view.size, network, cache_dir) if cache_dir else None
    if path and path.exists():
        with Image.open(path) as stored:
            return stored.convert("RGB")
    drawn = networks.super_resolve(crop, network).resize(view.size, Image.BICUBIC)
    if path:
        write_bytes(path, png(drawn))
    return drawn


def _cached(crop: Image.Image, size, network: str, cache_dir) -> Path:
    key = hashlib.sha256(crop.tobytes() + repr((crop.size, size, networks.fingerprint(network))).encode()).hexdigest()
    return Path(cache_dir) / key[:2] / f"{key[2:34]}.png"
