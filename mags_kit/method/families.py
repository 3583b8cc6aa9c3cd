"""The supported model types; a new one needs a row in FAMILIES and a kind of checkpoint in `tests/test_qwen.py`."""

from dataclasses import dataclass

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
DELTA = ("in_proj_qkv", "in_proj_z", "out_proj")  # the large matrices of a linear-attention layer (Gated DeltaNet)


@dataclass(frozen=True)
class Family:
    """A model type's conventions. Templates are names in `trl.chat_template_utils` that know tool calls."""

    frame: str  # of its boxes, as Qwen documents it: `pixels` of the view that it sees, or `thousand`ths
    template: str
    reasons: bool = False  # by its own template, at length and in its own way before each reply: it is not used
    replies: str = "qwen3_template"  # the format of its replies
    xml: bool = False  # tool calls are XML, else JSON
    layers: tuple[str, ...] = ATTENTION  # those of the language model that LoRA trains


FAMILIES = {
    # Qwen2.5-VL's own template knows no tools; TRL's for Qwen3-VL has the tool format that both learned.
    "qwen2_5_vl": Family("pixels", "qwen3_vl_chat_template"),
    "qwen3_vl": Family("thousand", "qwen3_vl_chat_template"),
    # TRL's training templates are the model's own, but keep earlier turns as they were. Unsloth advises against 4 bits
    # (unsloth.ai/docs/models/qwen3.5/fine-tune); from 9B on Qwen3.5 would need a GPU of over 24 GB without.
    "qwen3_5": Family(
        "thousand", "qwen3_5_nothink_training_chat_template", reasons=True, replies="qwen3_5_template", xml=True,
        layers=ATTENTION + DELTA,
    ),
}  # fmt: skip
# Not Gemma, InternVL, SmolVLM, Mistral and the like: TRL 1.16 passes a tool's images on with token types, which their
# `generate` refuses, so they would never see a view. Not Qwen2-VL: it has no token that ends a tool call.


def family_of(model_type: str) -> Family:
    """The conventions of a model type; ValueError for one that is not supported."""
    if model_type not in FAMILIES:
        raise ValueError(f"model type {model_type!r} is not supported; expected one of {', '.join(FAMILIES)}")
    return FAMILIES[model_type]
