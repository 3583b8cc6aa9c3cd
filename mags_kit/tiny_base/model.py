"""The embedded tiny VLM before training: a Qwen3-VL of about 3 million parameters, and its processor."""

import math
from pathlib import Path

from mags_kit import compat
from mags_kit.config import model_path
from mags_kit.data import scenes
from mags_kit.method import protocol
from mags_kit.records import read_json
from mags_kit.tiny_base.vision import GRID, VIEW

WORDS = (
    "What symbol symbols is on the and the? How many dots are on the? Where is the dot from left right above below "
    "Point Compare Look at twice. Look if needed. Choose first. Answer now. 1 2 3 4 5 6 the draft was right wrong view "
    "shows no too small , : it "
)


def build_processor():
    """A processor with a word-level tokenizer: the words and numbers of the scenes, and the protocol's tags."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

    transformers = compat.transformers()
    pattern = r", \d+| ?[A-Za-z]+| ?\d+|[^\sA-Za-z0-9]|\s"
    special = ["<|pad|>", "<|unk|>", "<|im_start|>", "<|im_end|>", *protocol.VISION_TOKENS]
    head, tail = protocol.tool_call_text([["#"]]).split("#")
    marks = [f"<{slash}{tag}>" for tag in (*protocol.TAGS, "tool_response") for slash in ("", "/")]
    chunks = [*marks, "user\n", "assistant\n", head, tail, "], [", protocol.NO_VIEW]
    words = [*WORDS.split(), *scenes.COLOURS, *scenes.SHAPES, *scenes.SYMBOLS, *scenes.TONES]
    splitter = pre_tokenizers.Split(Regex(pattern), "isolated")
    pieces = [p for w in words for text in (w, " " + w) for p, _ in splitter.pre_tokenize_str(text)]
    numbers = [f"{lead}{n}" for lead in ("", ", ") for n in range(0, 1001, GRID)]
    vocabulary = list(dict.fromkeys([*special, *chunks, *pieces, *numbers]))
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(vocabulary)}, unk_token="<|unk|>"))
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_tokens([AddedToken(c, special=False, normalized=False) for c in chunks])
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<|pad|>", unk_token="<|unk|>", eos_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>", *protocol.VISION_TOKENS], padding_side="left",
    )  # fmt: skip
    # The formats of prompts and replies stand in the shipped base. TRL asks that the chat template renders tool calls
    # and tool messages and keeps a prefix a prefix; its generation marks tell training which tokens are the policy's.
    base = Path(model_path("embedded"))
    tokenizer.response_template = read_json(base / "tokenizer_config.json")["response_template"]
    sizes = {"size": {"shortest_edge": 32 * 32, "longest_edge": VIEW * VIEW}, "patch_size": 16}
    halves = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    images, video = transformers.Qwen2VLImageProcessor(**sizes, **halves), transformers.Qwen3VLVideoProcessor(**halves)
    return transformers.Qwen3VLProcessor(images, tokenizer, video, (base / "chat_template.jinja").read_text())


def build_model(processor, seed: int = 0):
    """The untrained model, float32. Matrices have a deviation of 1/sqrt(fan_in): the usual 0.02 is too small here."""
    import torch
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    tokenizer = processor.tokenizer
    text = {  # widths are multiples of 64: with AVX-512 bitsandbytes 0.50 misreads NF4 of other ones
        "vocab_size": len(tokenizer), "hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 4,
        "num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 48, "max_position_embeddings": 2048,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [8, 8, 8]},
        "pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None,
    }  # fmt: skip
    vision = {
        "depth": 3, "hidden_size": 128, "intermediate_size": 384, "num_heads": 4, "patch_size": 16,
        "out_hidden_size": 192, "num_position_embeddings": (VIEW // 16) ** 2, "deepstack_visual_indexes": [1],
    }  # fmt: skip
    ids = dict(zip(("image", "video", "vision_start", "vision_end"), protocol.VISION_TOKENS, strict=True))
    ids = {f"{name}_token_id": tokenizer.convert_tokens_to_ids(token) for name, token in ids.items()}
    torch.manual_seed(seed)
    model = Qwen3VLForConditionalGeneration(Qwen3VLConfig(text_config=text, vision_config=vision, box_step=GRID, **ids))
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim >= 2 and "embed" not in name.replace("patch_embed", ""):
                parameter.normal_(0, 1 / math.sqrt(parameter[0].numel()))
        model.model.language_model.embed_tokens.weight.normal_(0, 1)  # of the size of what attention adds to it
        _order_numbers(model, tokenizer)
        model.model.visual.pos_embed.weight.normal_(0, 0.5)  # pointing needs each token to know its place
    return model


def _order_numbers(model, tokenizer) -> None:
    """Initialise the tokens of numbers as points on a curve of sine waves, so that near numbers are alike."""
    import torch

    numbers = {i: token.strip(", ") for token, i in tokenizer.get_vocab().items()}
    numbers = {i: int(number) for i, number in numbers.items() if number.isdigit() and int(number) % GRID == 0}
    ids, values = list(numbers), torch.tensor([number / 1000 for number in numbers.values()])
    width = model.config.text_config.hidden_size
    frequency = torch.rand(width) * 6
    waves = 1.4 * torch.sin(2 * math.pi * (values[:, None] * frequency + torch.rand(width)))  # (numbers, hidden)
    model.model.language_model.embed_tokens.weight[ids] = waves
    model.lm_head.weight[ids] = waves / math.sqrt(width)
