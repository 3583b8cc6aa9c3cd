"""Checkpoints of Qwen2.5-VL, Qwen3-VL and Qwen3.5 with random weights, tiny or in the shape of a real one.

Model classes, special tokens, image processors, chat templates and files are those of the real ones.
"""

import json

from mags_kit import compat

IMAGE = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}
SPECIAL = (
    "<|endoftext|> <|im_start|> <|im_end|> <|object_ref_start|> <|object_ref_end|> <|box_start|> <|box_end|> "
    "<|quad_start|> <|quad_end|> <|vision_start|> <|vision_end|> <|vision_pad|> <|image_pad|> <|video_pad|>"
).split()
MARKS = "<tool_call> </tool_call> <|fim_prefix|> <|fim_middle|> <|fim_suffix|> <|fim_pad|>".split()  # plain tokens
LATER = "<tool_response> </tool_response> <think> </think>".split()  # since Qwen3; before, plain text
LINES = [
    "How many dots are on the red disc? Work in two rounds, look at the magnified regions, give the final answer.",
    "<think>the red disc stands left of the star</think><draft>2</draft>",
    '{"name": "magnify", "arguments": {"regions": [[10, 20, 345, 678], [12, 9, 100, 250]]}}',
    "<rethink>the view shows 3, so the draft was wrong</rethink><answer>3</answer> yes no true false",
] * 8  # what the tokenizer's merges are learnt from
# The two image processors: side of a patch, least and most pixels, mean and deviation.
OLD = (14, 56 * 56, 12845056, IMAGE)
NEW = (16, 256 * 256, 4096 * 4096, {"image_mean": [0.5] * 3, "image_std": [0.5] * 3})
TEMPLATE = (  # in place of Qwen2.5-VL's, which knows no tools either
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}<|im_start|>system\n"
    "You are a helpful assistant.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n{% for content in message['content'] %}"
    "{{ '<|vision_start|><|image_pad|><|vision_end|>' if content['type'] == 'image' else content['text'] }}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
OWN_TEMPLATES = {"qwen3_vl": "qwen3_vl_chat_template", "qwen3_5": "qwen3_5_think_chat_template"}  # TRL has copies


def _delta(hidden: int) -> dict:
    """Qwen3.5's own settings: every second layer is a linear-attention one, so that two layers have both kinds."""
    return {
        "head_dim": hidden // 2, "full_attention_interval": 2, "linear_num_key_heads": 2, "linear_num_value_heads": 4,
        "linear_key_head_dim": hidden // 4, "linear_value_head_dim": hidden // 4, "rope_parameters": {
            "rope_type": "default", "rope_theta": 1e7, "partial_rotary_factor": 0.25, "mrope_interleaved": True,
            "mrope_section": [hidden // 32 - 1, 1, 0] if hidden < 128 else [hidden // 32 - 2, 1, 1],
        },
    }  # fmt: skip


# config.json of the `paper` profile's model (huggingface.co/Qwen/Qwen2.5-VL-3B-Instruct), so that it needs no network
SHAPES = {
    "Qwen/Qwen2.5-VL-3B-Instruct": {
        "model_type": "qwen2_5_vl", "tie_word_embeddings": True,
        "text_config": {
            "hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36, "num_attention_heads": 16,
            "num_key_value_heads": 2, "vocab_size": 151936, "tie_word_embeddings": True,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
        },
        "vision_config": {
            "depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "out_hidden_size": 2048,
        },
    },
}  # fmt: skip
# model type -> its config's class, its image processor, and what is its own of the text's and the vision's settings
KINDS = {
    "qwen2_5_vl": ("Qwen2_5_VLConfig", OLD, lambda hidden: {}, {"fullatt_block_indexes": [1]}),
    "qwen3_vl": (
        "Qwen3VLConfig", NEW, lambda hidden: {"head_dim": hidden // 4},
        {"num_position_embeddings": 256, "deepstack_visual_indexes": [0]},
    ),
    "qwen3_5": ("Qwen3_5Config", NEW, _delta, {"num_position_embeddings": 256}),
}  # fmt: skip


def save_random(kind: str, folder, hidden: int = 64, layers: int = 2, shard: str = "200KB", shape: dict | None = None):
    """Make a checkpoint of model type `kind`, a key of `KINDS`, in `folder`, and return the folder.

    `shape`, a config.json of that type, takes the place of the tiny sizes: then it is as large as it says.
    """
    import torch

    t = compat.transformers()
    processor = _processor(t, kind)
    config = _config(t, kind, processor.tokenizer, hidden, layers, shape)
    torch.manual_seed(0)
    with torch.device("cuda" if shape and torch.cuda.is_available() else "cpu"):
        model = t.AutoModelForImageTextToText.from_config(config, dtype=torch.bfloat16)
    ends = [processor.tokenizer.eos_token_id, processor.tokenizer.pad_token_id]
    model.generation_config = t.GenerationConfig(  # as the real one: two end marks, sampling near greedy
        eos_token_id=ends, pad_token_id=ends[1], do_sample=True, temperature=1e-6, repetition_penalty=1.05
    )
    model.save_pretrained(folder, max_shard_size=shard)
    processor.save_pretrained(folder)
    return folder


def _processor(t, kind: str):
    from trl import chat_template_utils

    patch, least, most, colours = KINDS[kind][1]
    images = t.Qwen2VLImageProcessor(
        size={"shortest_edge": least, "longest_edge": most},
        patch_size=patch, temporal_patch_size=2, merge_size=2, **colours,
    )  # fmt: skip
    own = TEMPLATE if kind == "qwen2_5_vl" else getattr(chat_template_utils, OWN_TEMPLATES[kind])
    if kind == "qwen2_5_vl":
        return t.Qwen2_5_VLProcessor(images, _tokenizer(t, MARKS), t.Qwen2VLVideoProcessor(**colours), own)
    return t.Qwen3VLProcessor(images, _tokenizer(t, MARKS + LATER), t.Qwen3VLVideoProcessor(**colours), own)


def _config(t, kind: str, tokenizer, hidden: int, layers: int, shape: dict | None):
    name, (patch, *_), texts, visions = KINDS[kind]
    sections = [hidden // 16, hidden // 32, hidden // 32]  # half a head, over time, height and width
    tiny = {
        "vocab_size": len(tokenizer), "hidden_size": hidden, "intermediate_size": 2 * hidden, "num_attention_heads": 4,
        "num_hidden_layers": layers, "num_key_value_heads": 2, "tie_word_embeddings": True,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": sections}, **texts(hidden),
    }  # fmt: skip
    vision = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": hidden}
    text, vision = (shape["text_config"], shape["vision_config"]) if shape else (tiny, vision | visions)
    ends = {"max_position_embeddings": 32768, "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None}
    marks = ("image_pad", "video_pad", "vision_start", "vision_end")
    ids = {f"{mark.removesuffix('_pad')}_token_id": tokenizer.convert_tokens_to_ids(f"<|{mark}|>") for mark in marks}
    return getattr(t, name)(
        text_config=text | ends, vision_config=vision | {"patch_size": patch},
        tie_word_embeddings=text["tie_word_embeddings"], **ids,
    )  # fmt: skip


def _tokenizer(t, marks: list[str]):
    """A byte-level BPE as Qwen's, its merges learnt from a few lines."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trained.train_from_iterator(LINES, trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet))
    state = json.loads(trained.to_str())["model"]
    tokenizer = t.Qwen2Tokenizer(
        state["vocab"], [tuple(pair) for pair in state["merges"]], eos_token="<|im_end|>", pad_token="<|endoftext|>",
        additional_special_tokens=SPECIAL[1:], model_max_length=131072,
    )  # fmt: skip
    tokenizer.add_tokens(marks)
    return tokenizer
