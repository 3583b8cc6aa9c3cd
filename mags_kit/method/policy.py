"""The policy: a Qwen-VL model with its processor, in NF4 if asked, with a LoRA adapter, sampled in batches."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from mags_kit import compat, hub
from mags_kit.config import Config, model_path
from mags_kit.method import processes, protocol
from mags_kit.records import write_json

LANGUAGE_LAYERS = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"


@dataclass
class Policy:
    """A model that can be sampled, and what the rest of the kit must know of it."""

    model: Any
    processor: Any
    frame: str  # in which it writes boxes, see protocol.frame_of
    style: str  # of its prompts

    @property
    def factor(self) -> int:
        """Pixels per side of the image that one image token covers."""
        return self.processor.image_processor.patch_size * self.processor.image_processor.merge_size

    @property
    def box_step(self) -> int:
        """Boxes are written in multiples of this; the embedded model's vocabulary has no other numbers."""
        return getattr(self.model.config, "box_step", 1)

    @property
    def vision_ids(self) -> list[int]:
        """Tokens that only images may bring; a policy that samples one breaks its own position ids."""
        return self.processor.tokenizer.convert_tokens_to_ids(list(protocol.VISION_TOKENS))

    def first_view(self, image, pixels: int):
        """The whole image within a budget of `pixels`, by the processor's own resize rule, so that it is kept."""
        from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

        height, width = smart_resize(image.height, image.width, self.factor, self.factor**2, pixels)
        return image.convert("RGB").resize((width, height), Image.BICUBIC)

    def generate(self, prompts: list[list[int]], images: list[list], max_tokens: int, temperature: float = 0.0):
        """Sample one continuation per prompt, up to and with its end mark; greedy at temperature 0.

        `prompts` are token ids with image tokens already expanded, `images` the PIL images of each, in order.
        """
        import torch
        from transformers import GenerationConfig

        tokenizer, device = self.processor.tokenizer, self.model.device
        sampling = {"do_sample": True, "temperature": temperature, "top_p": 1.0, "top_k": 0} if temperature else {}
        config = GenerationConfig(
            max_new_tokens=max_tokens, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
            suppress_tokens=self.vision_ids, **({"do_sample": False} | sampling),
        )  # fmt: skip
        inputs = self._inputs(prompts, images)
        was_training = self.model.training
        self.model.eval()
        with torch.no_grad():
            out = self.model.generate(**{k: v.to(device) for k, v in inputs.items()}, generation_config=config)
        self.model.train(was_training)
        replies = []
        for row in out[:, inputs["input_ids"].shape[1] :].tolist():
            end = row.index(tokenizer.eos_token_id) + 1 if tokenizer.eos_token_id in row else len(row)
            replies.append(row[:end])
        return replies

    def _inputs(self, prompts: list[list[int]], images: list[list]) -> dict:
        """A batch padded on the left, `(B, T)`, and the pixels of all its images."""
        import torch

        processor, width = self.processor, max(map(len, prompts))
        ids = torch.full((len(prompts), width), processor.tokenizer.pad_token_id)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) :] = torch.tensor(prompt)
            mask[row, width - len(prompt) :] = 1
        pixels = processor.image_processor([i for group in images for i in group], return_tensors="pt")
        kinds = (ids == processor.image_token_id).long()
        needed = int(pixels["image_grid_thw"].prod(-1).sum()) // processor.image_processor.merge_size**2
        if int(kinds.sum()) != needed:
            raise RuntimeError("the prompts hold another number of image tokens than their images need")
        return {"input_ids": ids, "attention_mask": mask, "mm_token_type_ids": kinds, **pixels}


def load_policy(config: Config, adapter: str | Path = "", trainable: bool = False) -> Policy:
    """Model and processor by a config. `adapter` is a PEFT folder; `trainable` gives it, or a new one, gradients.

    Raises ValueError with one sentence where the model cannot be had or is of another kind.
    """
    path = model_path(config.model)
    if not Path(path).is_dir():
        hub.require([path])  # says within seconds what transformers says after many tries
    transformers = compat.transformers()
    source = {"revision": config.revisions.get(path, "main"), "local_files_only": hub.offline()}
    try:
        kind = transformers.AutoConfig.from_pretrained(path, **source).model_type
        processor = transformers.AutoProcessor.from_pretrained(path, **source)
    except (OSError, ValueError) as error:
        raise ValueError(not_a_model(config.model, error)) from None
    frame = protocol.frame_of(kind)
    model, tokenizer = _load_model(path, source, config.four_bit), processor.tokenizer
    tokenizer.padding_side = "left"
    # Qwen's own generation settings (a repetition penalty, a temperature, a second end mark) would fill every setting
    # that a caller leaves open, and differently here and in TRL.
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    model.generation_config = transformers.GenerationConfig(**ends)
    if getattr(tokenizer, "response_template", None) is None:
        # Qwen's own template is not fit for tool calls; TRL's for Qwen3-VL is, and both families read its marks.
        from trl.chat_template_utils import qwen3_vl_chat_template

        processor.chat_template = qwen3_vl_chat_template
        tokenizer.response_template = protocol.RESPONSE_TEMPLATE
    if adapter or trainable:
        model = _with_adapter(model, config, adapter, trainable)
    return Policy(model.eval(), processor, frame, config.prompt_style)


def not_a_model(name: str, error: Exception) -> str:
    """The sentence for a model whose files cannot be had."""
    reason = str(error).strip().splitlines()[0]
    return f"model {name!r}: expected a folder or a reachable hub id of a Qwen-VL; {reason}"


def _load_model(path: str, source: dict, four_bit: bool):
    import torch
    from transformers import AutoModelForImageTextToText, BitsAndBytesConfig

    gpu = torch.cuda.is_available()
    dtype = torch.bfloat16 if gpu else torch.float32
    storage = dtype if os.environ.get("ACCELERATE_USE_FSDP") == "true" else torch.uint8  # FSDP deals out floats only
    quantised = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=["model.visual", "lm_head"], bnb_4bit_quant_storage=storage,
    )  # fmt: skip
    model = AutoModelForImageTextToText.from_pretrained(
        path,
        **source,
        dtype=dtype,
        device_map={"": processes.here().local_process_index if gpu else "cpu"},
        quantization_config=quantised if four_bit else None,
    )
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            # On some CPUs bitsandbytes repacks weights in eval mode: it rounds their scales to bf16, so that sampling
            # and training see different weights, and fails where a layer's width is no multiple of 64.
            module.support_avx512bf16_for_cpu = False
    return model


def _with_adapter(model, config: Config, adapter, trainable: bool):
    from peft import LoraConfig, PeftModel, get_peft_model

    if adapter:
        if not Path(adapter, "adapter_config.json").exists():
            raise ValueError(f"adapter {str(adapter)!r}: expected a folder with adapter_config.json, as PEFT saves it")
        return PeftModel.from_pretrained(model, adapter, is_trainable=trainable)
    lora = LoraConfig(
        r=config.lora_rank, lora_alpha=config.lora_alpha, target_modules=LANGUAGE_LAYERS, task_type="CAUSAL_LM"
    )
    return get_peft_model(model, lora)


def save_adapter(policy: Policy, folder: Path, note: dict | None = None) -> None:
    """Write the adapter as PEFT saves it, whole or not at all, with a `note` on why it was chosen; every process
    calls this.

    TRL keeps a copy of the adapter's start beside it for the KL penalty; that is not saved.
    """
    named = [(name, p.detach()) for name, p in policy.model.named_parameters() if "lora_" in name]
    whole = {name: p.full_tensor() if hasattr(p, "full_tensor") else p for name, p in named}  # FSDP has shares
    if processes.here().is_main_process:
        new = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(new, ignore_errors=True)
        policy.model.save_pretrained(new, state_dict=whole, selected_adapters=["default"])
        if note:
            write_json(new / "chosen.json", note)
        shutil.rmtree(folder, ignore_errors=True)
        new.rename(folder)
    processes.here().wait_for_everyone()
