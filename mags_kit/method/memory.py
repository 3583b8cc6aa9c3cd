"""GPU memory of a training run by part, from the shapes of its model alone; no weight is made or downloaded.

It is the worst case: every reply as long as `round_tokens`, every rollout with all its views. The counts of a training
step are tested against measured ones on the CPU. Sizes are in bytes, GB are 10^9 of them.
"""

import re
from dataclasses import dataclass, replace
from functools import lru_cache

from mags_kit import compat
from mags_kit.config import OPTIMIZERS, Config
from mags_kit.method.families import Family, family_of
from mags_kit.method.features import ROOM
from mags_kit.method.magnifier import PACKAGED
from mags_kit.method.policy import check_stored, model_path, not_a_model

GB = 1e9
NF4 = (4 + 8 / 64 + 32 / (64 * 256)) / 8  # bytes a weight: 4 bits, and its block's scale, itself held in 8 bits
TEXT = 450  # tokens of the prompt beside the image: the tool's description, the instructions, the question
# CUDA's context and libraries; and, as a share of what is counted, what the allocator cannot use again and what is not
# counted. Measured: the 3B profile took 14.1 GB of an H100 where 10.1 GB are counted; tensors held 1.5 of the rest, the
# allocator 2.4 (results/gpu/).
CONTEXT, SLACK = 0.7 * GB, 1 / 3
TILE = (4096, 32768)  # tokens by words of the vocabulary that TRL's language model head holds at a time


def _config(kind: str, sizes: tuple, tied: bool, vision: dict, words: int, rope: dict, **rest) -> dict:
    """The config.json of a model; `sizes` are hidden, inner, layers, heads, heads of keys and values."""
    names = "hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads".split()
    text = dict(zip(names, sizes, strict=True), vocab_size=words, tie_word_embeddings=tied, **rest)
    text["rope_parameters"] = {"rope_type": "default", **rope}
    vision = vision | {"out_hidden_size": sizes[0]}
    return {"model_type": kind, "text_config": text, "vision_config": vision, "tie_word_embeddings": tied}


def _tower(depth: int, hidden: int, inner: int, heads: int, deep: tuple = ()) -> dict:
    sizes = {"depth": depth, "hidden_size": hidden, "intermediate_size": inner, "num_heads": heads}
    return sizes | ({"deepstack_visual_indexes": deep} if deep else {})


def _qwen2_5_vl(*sizes: int, tied: bool) -> dict:
    rope = {"rope_theta": 1e6, "mrope_section": [16, 24, 24]}
    words = 151936 if tied else 152064
    return _config("qwen2_5_vl", sizes, tied, _tower(32, 1280, 3420, 16), words, rope)


def _qwen3_vl(*sizes: int, tied: bool = True) -> dict:
    tower = _tower(24, 1024, 4096, 16, (5, 11, 17)) if tied else _tower(27, 1152, 4304, 16, (8, 16, 24))
    rope = {"rope_theta": 5e6, "mrope_section": [24, 20, 20], "mrope_interleaved": True}
    return _config("qwen3_vl", sizes, tied, tower, 151936, rope, head_dim=128)


def _qwen3_5(*sizes: int, tower: dict, values: int, tied: bool = True) -> dict:
    """`values` is the number of value heads of a linear-attention layer."""
    rope = {"rope_theta": 1e7, "mrope_section": [11, 11, 10], "mrope_interleaved": True, "partial_rotary_factor": 0.25}
    return _config("qwen3_5", sizes, tied, tower, 248320, rope, head_dim=256, linear_num_value_heads=values)


# From huggingface.co/NAME/blob/main/config.json, so that a plan needs no network; those of Qwen3-VL and Qwen3.5 by
# copies in public code (kohya-ss/musubi-tuner, NVIDIA/TensorRT-LLM, THUDM/slime and others), which agree. They give the
# model cards' numbers of parameters, Qwen3.5's with a layer that transformers leaves out (9B: 19,306,216,416 bytes).
PUBLISHED = {
    "Qwen/Qwen2.5-VL-3B-Instruct": _qwen2_5_vl(2048, 11008, 36, 16, 2, tied=True),
    "Qwen/Qwen2.5-VL-7B-Instruct": _qwen2_5_vl(3584, 18944, 28, 28, 4, tied=False),
    "Qwen/Qwen3-VL-2B-Instruct": _qwen3_vl(2048, 6144, 28, 16, 8),
    "Qwen/Qwen3-VL-4B-Instruct": _qwen3_vl(2560, 9728, 36, 32, 8),
    "Qwen/Qwen3-VL-8B-Instruct": _qwen3_vl(4096, 12288, 36, 32, 8, tied=False),
    "Qwen/Qwen3.5-0.8B": _qwen3_5(1024, 3584, 24, 8, 2, tower=_tower(12, 768, 3072, 12), values=16),
    "Qwen/Qwen3.5-2B": _qwen3_5(2048, 6144, 24, 8, 2, tower=_tower(24, 1024, 4096, 16), values=16),
    "Qwen/Qwen3.5-4B": _qwen3_5(2560, 9216, 32, 16, 4, tower=_tower(24, 1024, 4096, 16), values=32),
    "Qwen/Qwen3.5-9B": _qwen3_5(4096, 12288, 32, 16, 4, tower=_tower(27, 1152, 4304, 16), values=32, tied=False),
}


@dataclass(frozen=True)
class Shape:
    """What the estimate needs to know of a model."""

    model: object  # its transformers config
    family: Family
    four_bit: bool  # whether its weights are stored in 4 bits, whatever the settings say
    parameters: int
    quantised: int  # of these, weights that NF4 takes
    largest: int  # the largest of those matrices, which is held in full while it is used
    lora: int  # weights of an adapter of rank 1

    @property
    def layers(self) -> tuple[int, int]:
        """(layers whose attention keeps keys and values, linear-attention layers, which keep a state instead)."""
        text = self.model.text_config
        linear = list(getattr(text, "layer_types", None) or []).count("linear_attention")
        return text.num_hidden_layers - linear, linear


@lru_cache
def shape_of(model: str) -> Shape:
    """The shape of a model, counted on one without storage. ValueError where its config.json cannot be had, or where
    the kit cannot work with such a model."""
    import torch

    transformers = compat.transformers()
    if model in PUBLISHED:
        config = transformers.AutoConfig.for_model(**PUBLISHED[model])
    else:
        try:
            config = transformers.AutoConfig.from_pretrained(model_path(model))
        except (OSError, ValueError) as error:
            raise ValueError(not_a_model(model, error)) from None
    family, stored = family_of(config.model_type), check_stored(model, config)
    with torch.device("meta"):
        empty = transformers.AutoModelForImageTextToText.from_config(config)
    linear = {n: m for n, m in empty.named_modules() if isinstance(m, torch.nn.Linear)}
    nf4 = [m.weight.numel() for n, m in linear.items() if "visual" not in n and "lm_head" not in n]
    lora = sum(m.in_features + m.out_features for n, m in linear.items() if re.fullmatch(family.lora, n))
    return Shape(config, family, stored, sum(p.numel() for p in empty.parameters()), sum(nf4), max(nf4), lora)


def lengths(config: Config, shape: Shape) -> tuple[int, int, int]:
    """(prompt tokens, completion tokens, image patches) of one trajectory, at most."""
    vision = shape.model.vision_config
    factor = vision.patch_size * vision.spatial_merge_size
    tokens = config.first_view_pixels // factor**2
    patches = (tokens + config.max_regions * (config.view_pixels // factor**2)) * vision.spatial_merge_size**2
    return tokens + TEXT, config.completion_budget(factor), patches


def standing(config: Config, shape: Shape, width: int = 2) -> dict[str, float]:
    """Bytes that stay through training; `width` is the bytes of a number in the model's own precision."""
    lora = shape.lora * config.lora_rank
    four_bit = config.four_bit or shape.four_bit
    kept = shape.parameters - shape.quantised if four_bit else shape.parameters
    copies = 2 if config.beta else 1  # with a KL penalty TRL keeps the adapter's start as a second one
    return {
        "weights, NF4": shape.quantised * NF4 if four_bit else 0,
        "weights, kept": kept * width,
        "adapter": lora * (4 * copies + (width if width < 4 else 0)),  # autocast keeps a half-precision copy
        "gradients": lora * 4,
        "optimizer": lora * OPTIMIZERS[config.optimizer],
    }


def update(config: Config, shape: Shape, prompt: int, completion: int, patches: int, width: int = 2) -> dict:
    """Bytes beside `standing` in a forward and backward pass of one micro-batch.

    A decoder layer keeps for backward: both norms' inputs in float32 and outputs, queries, keys and values (repeated
    for all heads), attention before and after its reshape, and four tensors of the MLP; for a linear-attention layer
    see `_delta`. TRL folds the logits into log-probabilities tile by tile; they never exist as a whole.
    """
    text, rows = shape.model.text_config, config.step_batches[1]
    hidden, inner, (full, linear) = text.hidden_size, text.intermediate_size, shape.layers
    length = prompt + completion
    tokens, scored = rows * length, rows * completion
    heads = text.num_attention_heads * _head(text)
    rest = tokens * (width * (2 * hidden + 4 * inner + 7 * config.lora_rank) + 4 * 2 * hidden)
    layer = rest + tokens * 5 * heads * width
    kinds = [layer, rest + tokens * _delta(text)["kept"]] if linear else [layer]
    kept = full * kinds[0] + linear * kinds[-1]
    if config.gradient_checkpointing:
        kept = (full + linear) * tokens * hidden * width + max(kinds)
    # a linear-attention layer is gone through after its MLP's tensors are given back
    backward = tokens * max(3 * inner * width, _delta(text)["backward"] - 4 * inner * width if linear else 0)
    backward += shape.largest * width if config.four_bit or shape.four_bit else 0
    head = scored * hidden * (width + 4) + min(scored, TILE[0]) * TILE[1] * width
    return {
        "activations": kept,
        "backward": max(backward, head),
        "mask": rows * length**2 * (1 + width),
        "images": _images(config, shape, patches),
    }


def sampling(config: Config, shape: Shape, prompt: int, completion: int, patches: int, width: int = 2) -> dict:
    """Bytes beside the weights while replies are sampled; the second round reads its prompt anew, views included.

    A linear-attention layer has a state for each row, in float32, and the last inputs of its convolution.
    """
    text, (full, linear), rows = shape.model.text_config, shape.layers, max(config.step_batches[0], config.batch_size)
    read = rows * (prompt + completion - config.round_tokens)
    cached = (full + 1) * 2 * text.num_key_value_heads * _head(text) * width
    tower = rows * patches * 26 * shape.model.vision_config.hidden_size * width  # rotary halves in float32 the most
    reading = read * max(
        width * 3 * (text.hidden_size + text.intermediate_size), _delta(text)["reading"] if linear else 0
    )
    states = (linear + 1) * _delta(text)["state"] if linear else 0
    return {
        "cache of keys and values": rows * (prompt + completion) * cached,
        **({"states of linear attention": rows * states} if linear else {}),
        "reading the prompt": max(reading, tower),
        "mask": rows * (prompt + completion) ** 2 * (1 + width),
        "images": _images(config, shape, patches),
    }


def _delta(text) -> dict[str, float]:
    """Bytes a token of a linear-attention layer (Gated DeltaNet): `kept` for backward, more in `backward`, and in
    `reading`; and its `state`, a row.

    Fitted to measured ones of transformers' own implementation, in float32, which runs where flash-linear-attention is
    not installed: keys and values (repeated for all heads), mixed inputs, chunks of 64 tokens with 64, and states.
    """
    key, value, heads = text.linear_key_head_dim, text.linear_value_head_dim, text.linear_num_value_heads
    mixed = 2 * text.linear_num_key_heads * key + heads * value
    sizes = (heads * key, heads * value, mixed, heads * 64, heads * key * value / 64)
    weights = {"kept": (11, 6, 3, 5, 1), "backward": (3, 0.3, 0, 2.5, 0.6), "reading": (6, 6, 1, 3, 0)}
    bytes_of = {name: 4 * sum(w * s for w, s in zip(row, sizes, strict=True)) for name, row in weights.items()}
    return bytes_of | {"state": 4 * heads * key * value + 2 * mixed * text.linear_conv_kernel_dim}


def _head(text) -> int:
    return getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads


def _images(config: Config, shape: Shape, patches: int) -> int:
    """Pixels of all images that were sampled with, float32, as the processor cuts them up: two frames a patch."""
    vision = shape.model.vision_config
    return config.step_batches[0] * patches * 3 * vision.temporal_patch_size * vision.patch_size**2 * 4


def by_part(config: Config, shape: Shape) -> dict[str, dict[str, float]]:
    """GPU bytes: what stands through training, and what each of its phases adds at its peak."""
    sizes = lengths(config, shape)
    # 64 channels in float32 at four times the side, three of them at once; the compact network enlarges last
    enlarging = config.view_pixels * (16 if PACKAGED.get(config.magnifier, (0, 0, 1))[2] else 1) * 64 * 4 * 3
    return {
        "standing": standing(config, shape) | {"features": ROOM},  # it keeps them from step to step
        "sampling": sampling(config, shape, *sizes),
        "update": update(config, shape, *sizes),
        "enlarging": {"network": enlarging if config.magnifier not in ("bicubic", "none") else 0},
    }


def answering(config: Config, shape: Shape, on_gpu: bool) -> float:
    """Bytes to answer questions without training: weights, sampling, the reserve; on a CPU in float32."""
    width = 2 if on_gpu else 4
    one = replace(config, samples_per_step=1, num_generations=2, rollout_batch=0, micro_batch=0)  # no step is sampled
    kept = {name: size for name, size in standing(one, shape, width).items() if name.startswith("weights")}
    kept["features"] = ROOM
    return peak({"standing": kept, "sampling": sampling(one, shape, *lengths(one, shape), width)})


def peak(parts: dict[str, dict[str, float]]) -> float:
    """Bytes that a GPU must have: what stands, the largest phase, and a reserve."""
    totals = {name: sum(part.values()) for name, part in parts.items()}
    return CONTEXT + (1 + SLACK) * (totals.pop("standing") + max(totals.values()))
