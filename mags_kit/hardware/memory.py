"""GPU memory of a training run by part, from the shapes of its model alone; no weight is made or downloaded.

It is the worst case: every reply as long as `round_tokens`, every rollout with all its views. The counts of a training
step are tested against measured ones on the CPU. Sizes are in bytes, GB are 10^9 of them.
"""

import re
from dataclasses import dataclass, replace

from mags_kit import compat
from mags_kit.config import OPTIMIZERS, Config
from mags_kit.method.networks import PACKAGED
from mags_kit.method.policy import LANGUAGE_LAYERS, model_path, not_a_model

GB = 1e9
NF4 = (4 + 8 / 64 + 32 / (64 * 256)) / 8  # bytes a weight: 4 bits, and its block's scale, itself held in 8 bits
TEXT = 450  # tokens of the prompt beside the image: the tool's description, the instructions, the question
# CUDA's context, library workspaces, what the allocator cannot use again, and what is not counted here. Measured: the
# 3B profile took 14.1 GB of an H100 where 10.1 GB are counted; tensors held 1.5 of the rest, the allocator 2.4.
RESERVE = 4 * GB
TILE = (4096, 32768)  # tokens by words of the vocabulary that TRL's language model head holds at a time


def qwen2_5_vl(hidden: int, inner: int, layers: int, heads: int, shared: int, words: int, tied: bool) -> dict:
    """The config.json of a Qwen2.5-VL; `shared` is the number of heads of keys and values."""
    text = {
        "hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": shared, "vocab_size": words, "tie_word_embeddings": tied,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
    }  # fmt: skip
    vision = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "out_hidden_size": hidden}
    return {"text_config": text, "vision_config": vision, "tie_word_embeddings": tied}


# From huggingface.co/NAME/blob/main/config.json, so that a plan needs no network.
PUBLISHED = {
    "Qwen/Qwen2.5-VL-3B-Instruct": qwen2_5_vl(2048, 11008, 36, 16, 2, 151936, True),
    "Qwen/Qwen2.5-VL-7B-Instruct": qwen2_5_vl(3584, 18944, 28, 28, 4, 152064, False),
}


@dataclass(frozen=True)
class Shape:
    """What the estimate needs to know of a model."""

    model: object  # its transformers config
    parameters: int
    quantised: int  # of these, weights that NF4 takes
    largest: int  # the largest of those matrices, which is held in full while it is used
    lora: int  # weights of an adapter of rank 1


def shape_of(model: str) -> Shape:
    """The shape of a model, counted on one without storage. ValueError where its config.json cannot be had."""
    import torch

    transformers = compat.transformers()
    if model in PUBLISHED:
        config = transformers.Qwen2_5_VLConfig(**PUBLISHED[model])
    else:
        try:
            config = transformers.AutoConfig.from_pretrained(model_path(model))
        except (OSError, ValueError) as error:
            raise ValueError(not_a_model(model, error)) from None
    with torch.device("meta"):
        empty = transformers.AutoModelForImageTextToText.from_config(config)
    linear = {n: m for n, m in empty.named_modules() if isinstance(m, torch.nn.Linear)}
    nf4 = [m.weight.numel() for n, m in linear.items() if "visual" not in n and "lm_head" not in n]
    lora = sum(m.in_features + m.out_features for n, m in linear.items() if re.fullmatch(LANGUAGE_LAYERS, n))
    return Shape(config, sum(p.numel() for p in empty.parameters()), sum(nf4), max(nf4), lora)


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
    kept = shape.parameters - shape.quantised if config.four_bit else shape.parameters
    copies = 2 if config.beta else 1  # with a KL penalty TRL keeps the adapter's start as a second one
    return {
        "weights, NF4": shape.quantised * NF4 if config.four_bit else 0,
        "weights, kept": kept * width,
        "adapter": lora * (4 * copies + (width if width < 4 else 0)),  # autocast keeps a half-precision copy
        "gradients": lora * 4,
        "optimizer": lora * OPTIMIZERS[config.optimizer],
    }


def update(config: Config, shape: Shape, prompt: int, completion: int, patches: int, width: int = 2) -> dict:
    """Bytes beside `standing` in a forward and backward pass of one micro-batch.

    A decoder layer keeps for backward: both norms' inputs in float32 and outputs, queries, keys and values (repeated
    for all heads), attention before and after its reshape, and four tensors of the MLP. TRL folds the logits into
    log-probabilities tile by tile; they never exist as a whole.
    """
    text, rows = shape.model.text_config, config.step_batches[1]
    hidden, inner, layers = text.hidden_size, text.intermediate_size, text.num_hidden_layers
    length = prompt + completion
    tokens, scored = rows * length, rows * completion
    heads = text.num_attention_heads * _head(text)
    layer = tokens * (width * (2 * hidden + 5 * heads + 4 * inner + 7 * config.lora_rank) + 4 * 2 * hidden)
    kept = layers * tokens * hidden * width + layer if config.gradient_checkpointing else layers * layer
    backward = tokens * 3 * inner * width + (shape.largest * width if config.four_bit else 0)
    head = scored * hidden * (width + 4) + min(scored, TILE[0]) * TILE[1] * width
    return {
        "activations": kept,
        "backward": max(backward, head),
        "mask": rows * length**2 * (1 + width),
        "images": _images(config, shape, patches),
    }


def sampling(config: Config, shape: Shape, prompt: int, completion: int, patches: int, width: int = 2) -> dict:
    """Bytes beside the weights while replies are sampled; the second round reads its prompt anew, views included."""
    text, rows = shape.model.text_config, max(config.step_batches[0], config.batch_size)
    read = rows * (prompt + completion - config.round_tokens)
    cached = (text.num_hidden_layers + 1) * 2 * text.num_key_value_heads * _head(text) * width
    tower = rows * patches * 26 * shape.model.vision_config.hidden_size * width  # rotary halves in float32 the most
    reading = read * width * 3 * (text.hidden_size + text.intermediate_size)
    return {
        "cache of keys and values": rows * (prompt + completion) * cached,
        "reading the prompt": max(reading, tower),
        "mask": rows * (prompt + completion) ** 2 * (1 + width),
        "images": _images(config, shape, patches),
    }


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
        "standing": standing(config, shape),
        "sampling": sampling(config, shape, *sizes),
        "update": update(config, shape, *sizes),
        "enlarging": {"network": enlarging if config.magnifier not in ("bicubic", "none") else 0},
    }


def peak(parts: dict[str, dict[str, float]]) -> float:
    """Bytes that a GPU must have: what stands, the largest phase, and a reserve."""
    totals = {name: sum(part.values()) for name, part in parts.items()}
    return totals.pop("standing") + max(totals.values()) + RESERVE


def to_look(config: Config, shape: Shape, width: int) -> float:
    """Bytes that one look at one image takes: weights, the cache of one reply, its views; none of what training adds.

    `width` is that of a number in the model's own precision: 2 bytes on a GPU, 4 without one.
    """
    one = replace(config, batch_size=1, rollout_batch=config.num_generations, samples_per_step=1, micro_batch=0)
    prompt, completion, patches = lengths(config, shape)
    kept = shape.parameters - shape.quantised if config.four_bit else shape.parameters
    weights = (shape.quantised * NF4 if config.four_bit else 0) + kept * width
    sampled = sampling(one, shape, prompt, completion, patches, width)
    return weights + shape.largest * width + sum(sampled.values()) / config.num_generations + RESERVE / 2
