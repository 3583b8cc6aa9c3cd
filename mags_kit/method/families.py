"""What a family of models is, a row a model type. The next one is a row here and a fixture in `tests/test_qwen.py`.

A processor's limits, the patch size and which layers keep a cache are in each checkpoint's own files, and read there.
"""

from dataclasses import dataclass

from mags_kit.method import protocol

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
DELTA = ("in_proj_qkv", "in_proj_z", "out_proj")  # the large matrices of a linear-attention layer (Gated DeltaNet)

# Qwen3.5 calls a tool in XML. Numbers and lists come as text, and are read by the tool's own schema.
XML_RESPONSE_TEMPLATE = {
    **protocol.RESPONSE_TEMPLATE,
    "fields": {
        **protocol.RESPONSE_TEMPLATE["fields"],
        "tool_calls": {
            # a call that is cut off is none, as in JSON
            "open_pattern": protocol.CALL[0] + r"\s*<function=(?P<name>[^\n>]+)>(?=(?s:.)*?</tool_call>)",
            "close_pattern": r"</tool_call>\s*",
            "repeats": True,
            "content": "xml-inline",
            "content_args": {
                "tag_pattern": r"<parameter=(?P<key>[^>\n]+)>\s*(?P<value>.*?)\s*</parameter>",
                "value_parser": {"name": "text"},
            },
            "transform": {"type": "function", "function": {"name": "{name}", "arguments": "{content}"}},
        },
    },
}


@dataclass(frozen=True)
class Family:
    """A model type's conventions. Templates are names in `trl.chat_template_utils`, all of them fit for tool calls."""

    frame: str  # of its boxes: `pixels` of the view that it sees, or `thousand`ths; Qwen's documentation says which
    template: str
    thinking: str = ""  # the template that lets it reason in its own way before each reply; empty: it has none
    xml: bool = False  # tool calls are XML, else JSON
    layers: tuple[str, ...] = ATTENTION  # those of the language model that LoRA trains
    four_bit_from: float = 0  # parameters from which on NF4 is the default

    @property
    def lora(self) -> str:
        """A regular expression of the layers that LoRA trains."""
        return rf".*language_model.*\.({'|'.join(self.layers)})"

    @property
    def response_template(self) -> dict:
        """Where the parts of its reply stand, for `tokenizer.parse_response`."""
        return XML_RESPONSE_TEMPLATE if self.xml else protocol.RESPONSE_TEMPLATE


FAMILIES = {
    "qwen2_vl": Family("thousand", "qwen3_vl_chat_template"),
    # Qwen2.5-VL's own template knows no tools; TRL's for Qwen3-VL has the format that both read.
    "qwen2_5_vl": Family("pixels", "qwen3_vl_chat_template"),
    "qwen3_vl": Family("thousand", "qwen3_vl_chat_template"),
    # TRL's training templates are the model's own, but the turns before stay what they were (a prefix stays a prefix).
    # Unsloth's guide advises against 4 bits for Qwen3.5, large or small (unsloth.ai/docs/models/qwen3.5/fine-tune):
    # what quantisation changes is larger than usual; 9B and more would need a card of over 24 GB without.
    "qwen3_5": Family(
        "thousand", "qwen3_5_nothink_training_chat_template", "qwen3_5_think_training_chat_template", True,
        ATTENTION + DELTA, 5e9,
    ),
}  # fmt: skip
# TRL 1.16 passes token types to `generate` with the views, and these models' `generate` refuses them.
UNFED = ("gemma4", "internvl", "smolvlm", "lfm2_vl", "minicpmv4_7", "molmo2", "mistral3")


def family_of(model_type: str) -> Family:
    """The row of a model type; ValueError for one that has none, or that TRL cannot show a view."""
    if model_type in UNFED:
        raise ValueError(
            f"model type {model_type!r}: TRL 1.16 hands on a tool's images with token types, which this type's "
            f"`generate` refuses, so it would never see a view; expected one of {', '.join(FAMILIES)}"
        )
    if model_type not in FAMILIES:
        raise ValueError(f"model type {model_type!r} is not supported; expected one of {', '.join(FAMILIES)}")
    return FAMILIES[model_type]
