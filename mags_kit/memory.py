"""Memory that a run of a model needs, by part.

The sizes were counted once, layer by layer from the published shapes at the settings of each model's profile
(`mags_kit/method/memory.py` of commit 9b28e92), and that count was tested against training steps on the CPU.
"""

from dataclasses import dataclass

from mags_kit.config import OPTIMIZERS, Config


@dataclass(frozen=True)
class Size:
    """What a model takes. A trajectory's tokens are its images, its prompt and both replies."""

    parameters: float  # billions
    quantised: float  # billions of them that NF4 takes: the language model's matrices
    adapter: float  # millions of LoRA weights, per rank
    side: int  # pixels per side of the image that one image token covers
    sampling: float  # kB per token of the trajectories sampled at once: the cache, and reading the prompt
    update: float  # kB per token of those in one forward and backward pass, with gradient checkpointing
    update_plain: float  # the same without gradient checkpointing


MODELS = {
    "Qwen/Qwen2.5-VL-3B-Instruct": Size(3.755, 2.775, 1.871, 28, 142, 357, 4884),
    "Qwen/Qwen2.5-VL-7B-Instruct": Size(8.292, 6.525, 2.523, 28, 173, 560, 6592),
    "Qwen/Qwen3-VL-2B-Instruct": Size(2.128, 1.409, 1.090, 32, 190, 254, 2695),
    "Qwen/Qwen3-VL-4B-Instruct": Size(4.438, 3.633, 2.064, 32, 223, 402, 5466),
    "Qwen/Qwen3-VL-8B-Instruct": Size(8.767, 6.946, 2.728, 32, 234, 570, 6885),
    # transformers' own linear-attention layers, in float32: flash-linear-attention is not installed
    "Qwen/Qwen3.5-0.8B": Size(0.853, 0.498, 0.639, 32, 134, 369, 5642),
    "Qwen/Qwen3.5-2B": Size(2.213, 1.373, 0.977, 32, 134, 466, 6444),
    "Qwen/Qwen3.5-4B": Size(4.539, 3.569, 1.905, 32, 263, 781, 14560),
    "Qwen/Qwen3.5-9B": Size(9.410, 6.919, 2.507, 32, 263, 947, 15960),
    "embedded": Size(0.0027, 0.0012, 0.012, 32, 8.5, 28.4, 48.8),
}
GB = 1e9
NF4 = (4 + 8 / 64 + 32 / (64 * 256)) / 8  # bytes per weight: 4 bits, and each block's scale, itself held in 8 bits
TEXT = 450  # tokens of the prompt beside the image: the tool's description, the instructions, the question
# GB of CUDA's context and libraries; what the allocator holds, as a multiple of what is counted. On an H100 the 3B
# profile took 14.0 GB where the tensors count 10.1 (results/gpu/).
CONTEXT, HELD = 0.7, 4 / 3


def size_of(model: str) -> Size | None:
    """The row whose name is part of a hub id or of a folder's path; None where there is none."""
    names = {name.split("/")[-1].removesuffix("-Instruct").lower(): size for name, size in MODELS.items()}
    return next((size for name, size in names.items() if name in model.lower()), None)


def parts(config: Config, on_gpu: bool = True) -> dict[str, float]:
    """GB by part, for full replies and all views of each trajectory. A CPU holds numbers of 4 bytes, not 2."""
    size, width = size_of(config.model), 2 if on_gpu else 4
    quantised = size.quantised if config.four_bit else 0
    sampled, trained = config.step_batches if sum(config.stage_steps) else (0, 0)
    pixels = config.first_view_pixels + config.max_regions * config.view_pixels
    tokens = config.first_view_pixels // size.side**2 + TEXT + config.completion_budget(size.side)
    adapter = 4 * (2 if config.beta else 1) + 2 + 4 + OPTIMIZERS[config.optimizer]  # bytes; the KL penalty keeps a copy
    update = size.update if config.gradient_checkpointing else size.update_plain
    return {
        "weights": quantised * NF4 + (size.parameters - quantised) * width,
        "a full copy to sample from": quantised * width if config.sample_in == "full" else 0,
        "adapter, its gradients and optimizer": config.lora_rank * size.adapter * adapter / 1000 if trained else 0,
        "images": sampled * pixels * 24 / GB,  # 3 colours, 2 frames, 4 bytes
        "sampling": max(sampled, config.batch_size) * tokens * size.sampling * width / 2 / 1e6,
        "update": trained * tokens * update / 1e6,
    }


def need_gb(config: Config, on_gpu: bool = True) -> float:
    """GB of memory at the peak: `parts` with the larger of sampling and update, and what the allocator holds beside."""
    gb = parts(config, on_gpu)
    return CONTEXT + HELD * (sum(gb.values()) - min(gb["sampling"], gb["update"]))
