"""The policy: a Qwen-VL model with its processor, in NF4 if asked, with a LoRA adapter, sampled in batches."""

import re
import shutil
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from mags_kit import compat, hub, memory
from mags_kit.config import Config, model_path
from mags_kit.images import MAX_ASPECT
from mags_kit.method import processes, protocol
from mags_kit.method.families import Family, family_of
from mags_kit.method.features import Features
from mags_kit.method.weights import check_filled, check_folder
from mags_kit.records import read_json, write_json
from mags_kit.run import mend_modes


@dataclass
class Policy:
    """A model with its processor, its conventions, and its sampling."""

    model: Any
    processor: Any
    family: Family
    prompts: dict[str, str]  # by name, as `protocol.PROMPTS` has them for a style
    limits: tuple[int, int]  # pixels of an image, least and most, as its processor was published
    plain: str | None = None  # the chat template for a round without the tool; None: that of the processor
    copied: bool = False  # whether it samples from a full copy of its 4-bit weights, see `full_weights`
    opening: tuple[dict, ...] = ()  # the system message of the model's own template, as Qwen2.5-VL has one

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
        """Image and video tokens, which are never sampled: one without an image breaks the position ids."""
        return self.processor.tokenizer.convert_tokens_to_ids(list(protocol.VISION_TOKENS))

    @cached_property
    def stops(self) -> list[int]:
        """Tokens that end a reply: the end mark, and the end of a tool call."""
        tokenizer = self.processor.tokenizer
        calls = [i for token, i in tokenizer.get_vocab().items() if token.endswith(protocol.CALL[1])]
        return [tokenizer.eos_token_id, *sorted(calls)]

    def text(self, ids: list[int]) -> str:
        """A reply as text, its end mark and other special tokens left out."""
        return self.processor.tokenizer.decode(ids, skip_special_tokens=True)

    def ids(self, text: str) -> list[int]:
        """The token ids of a reply, up to and with what ends it, from its text as `text` gives it."""
        # split: an "<|image_pad|>" that the policy wrote as text must not become an image token
        ids = self.processor.tokenizer.encode(text, split_special_tokens=True)
        return ids if ids and ids[-1] in self.stops else [*ids, self.processor.tokenizer.eos_token_id]

    def first_view(self, image, pixels: int):
        """The whole image resized to at most `pixels` and within the model's limits, by its processor's rule."""
        from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

        least, most = (min(limit, pixels) for limit in self.limits)
        size = smart_resize(image.height, image.width, self.factor, least, most)
        while size[0] * size[1] > most and (less := smart_resize(*size, self.factor, self.factor**2, most)) != size:
            size = less  # a very long image needs the rule several times
        height, width = (min(side, MAX_ASPECT * min(size)) for side in size)  # rounding can exceed the largest aspect
        return image.convert("RGB").resize((width, height), Image.BICUBIC)

    def generate(self, prompts: list[list[int]], images: list[list], max_tokens: int, temperature: float = 0.0):
        """One reply per prompt as token ids, up to and with its end mark or its tool call; greedy at temperature 0.

        `prompts` are token ids with image tokens already expanded, `images` the PIL images of each, in order.
        """
        import torch
        from transformers import GenerationConfig

        tokenizer, device = self.processor.tokenizer, self.model.device
        sampling = {"do_sample": True, "temperature": temperature, "top_p": 1.0, "top_k": 0} if temperature else {}
        config = GenerationConfig(
            max_new_tokens=max_tokens, eos_token_id=self.stops, pad_token_id=tokenizer.pad_token_id,
            suppress_tokens=self.vision_ids, **({"do_sample": False} | sampling),
        )  # fmt: skip
        inputs, was_training = self.inputs(prompts, images), self.model.training
        self.model.eval()
        with torch.no_grad(), self.sampling():
            out = self.model.generate(**{k: v.to(device) for k, v in inputs.items()}, generation_config=config)
        self.model.train(was_training)
        replies = []
        for row in out[:, inputs["input_ids"].shape[1] :].tolist():
            end = next((at for at, token in enumerate(row, 1) if token in self.stops), len(row))
            replies.append(row[:end])
        return replies

    def sampling(self):
        """What replies are sampled in: the context of `full_weights`, or none."""
        return full_weights(self.model) if self.copied else nullcontext()

    def inputs(self, prompts: list[list[int]], images: list[list]) -> dict:
        """A batch padded on the left, `(B, T)`, and the pixels of all its images."""
        processor, images = self.processor, [image for group in images for image in group]
        texts = processor.tokenizer.pad({"input_ids": prompts}, return_tensors="pt")
        pixels = processor.image_processor(images, return_tensors="pt")
        patch = processor.image_processor.patch_size
        seen = [(patch * int(w), patch * int(h)) for _, h, w in pixels["image_grid_thw"]]
        if seen != (sizes := [image.size for image in images]):
            raise RuntimeError(f"the processor resized images of {sizes} to {seen}; expected them unchanged")
        kinds = (texts["input_ids"] == processor.image_token_id).long()
        return {**texts, "mm_token_type_ids": kinds, **pixels}


def load_policy(config: Config, adapter: str | Path = "", trainable: bool = False) -> Policy:
    """The model and processor of a config. `adapter` is a PEFT folder; `trainable` gives it, or a new one, gradients.
    ValueError where the model cannot be found or is not supported."""
    found = published(config)
    if adapter:
        check_adapter(adapter)
    family = family_of(found.model_type)
    with _one_sentence(f"model {config.model!r}"):
        processor = _load_processor(config, found)
    tokenizer = processor.tokenizer
    tokenizer.padding_side = "left"
    plain, opening = processor.chat_template, _opening(processor)
    if getattr(tokenizer, "response_template", None) is None:  # the embedded model's tokenizer has its own formats
        from trl import chat_template_utils

        processor.chat_template = getattr(chat_template_utils, family.template)
        tokenizer.response_template = getattr(chat_template_utils, family.replies)
        plain = None if family.reasons else plain
    images = processor.image_processor
    limits = images.size.shortest_edge or images.size.min_pixels, images.size.longest_edge or images.size.max_pixels
    token = protocol.VISION_TOKENS[0]
    if None in limits or tokenizer.convert_tokens_to_ids(token) != found.image_token_id:
        wrong = f"its processor has no least and most pixels, or its tokenizer no {token} that config.json knows"
        raise ValueError(f"model {config.model!r}: {wrong}; copy or download its folder again")
    # It would enlarge small crops, so that the condition "plain crop" would be another magnifier
    images.size = {"shortest_edge": (images.patch_size * images.merge_size) ** 2, "longest_edge": limits[1]}
    model = _load_model(config, tokenizer)
    tower = model.model.visual
    tower.forward = Features(tower.forward)
    if adapter or trainable:
        model = with_adapter(model, config, family, adapter, trainable)
    prompts = protocol.PROMPTS[config.prompt_style] | config.prompts
    wanted = config.sample_in == "full" or (config.sample_in == "auto" and room_for_a_copy(config))
    copied = config.four_bit and wanted
    policy = Policy(model.eval(), processor, family, prompts, limits, plain, copied, opening)
    model.generation_config.eos_token_id = policy.stops  # where TRL looks for them
    return policy


def room_for_a_copy(config: Config) -> bool:
    """Whether the memory of this machine holds a full copy of the 4-bit weights beside all else."""
    import psutil
    import torch

    if memory.size_of(config.model) is None:
        return False
    on_gpu = torch.cuda.is_available()
    total = torch.cuda.get_device_properties().total_memory if on_gpu else psutil.virtual_memory().total / 2
    return memory.need_gb(replace(config, sample_in="full"), on_gpu) <= total / memory.GB


@contextmanager
def full_weights(model):
    """Compute with 4-bit weights dequantised and the active adapter merged in, within this context.

    Equal to the model's own forward up to rounding. NF4 is dequantised again for each token of a reply, which keeps a
    GPU waiting for the processor; a copy is made once for a whole batch of replies. Without gradients.
    """
    import bitsandbytes
    import torch
    from bitsandbytes.functional import dequantize_4bit
    from peft.tuners.lora import LoraLayer

    layers = {id(m.get_base_layer()): m for m in model.modules() if isinstance(m, LoraLayer)}
    bases = [m for m in model.modules() if isinstance(m, bitsandbytes.nn.Linear4bit)]
    for base in bases:
        layer = layers.setdefault(id(base), base)
        with torch.no_grad():
            weight = dequantize_4bit(base.weight.data, base.weight.quant_state).float()
            for name in getattr(layer, "active_adapters", ()) if layer is not base else ():
                weight += layer.get_delta_weight(name)
        weight = weight.to(base.compute_dtype)
        layer.forward = lambda x, *_, weight=weight, bias=base.bias, **__: torch.nn.functional.linear(x, weight, bias)
    try:
        yield
    finally:
        for base in bases:
            del layers[id(base)].forward


def _opening(processor) -> tuple[dict, ...]:
    """The system message that a model's own chat template writes where a conversation has none; mostly nothing."""
    talk = [{"role": "user", "content": [{"type": "text", "text": "-"}]}]
    text = processor.apply_chat_template(talk, add_generation_prompt=True)
    found = re.match(r"(?s)<\|im_start\|>system\n(.*?)<\|im_end\|>", text)
    return ({"role": "system", "content": found[1]},) if found else ()


def published(config: Config):
    """The `config.json` of a model; a ValueError of one sentence where it cannot be found or is not supported."""
    folder = Path(model_path(config.model))
    if not folder.is_dir():
        if config.model.count("/") != 1:
            expected = "expected `embedded`, a folder that exists, or a hub id like Qwen/Qwen2.5-VL-3B-Instruct"
            raise ValueError(f"model {config.model!r}: no such folder; {expected}")
        hub.require([config.model])  # fails within seconds, transformers after many tries
    with _one_sentence(f"model {config.model!r}"):
        found = compat.transformers().AutoConfig.from_pretrained(**_source(config))
    family_of(found.model_type)
    if getattr(found, "quantization_config", None):  # merged into quantised weights, an adapter would be rounded away
        raise ValueError(f"model {config.model!r} is stored quantised; name the model in full weights")
    if folder.is_dir():
        check_folder(folder)
    return found


def _source(config: Config) -> dict:
    """Where transformers finds a model's files."""
    path = model_path(config.model)
    place = {"pretrained_model_name_or_path": path, "revision": config.revisions.get(path, "main")}
    return place | {"local_files_only": hub.offline()}


@contextmanager
def _one_sentence(name: str, expected: str = "a folder or a reachable hub id of a Qwen-VL"):
    """Turn errors of transformers and PEFT on files, of many lines, into a ValueError of one."""
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "size mismatch" not in str(error):
            raise  # out of memory
        said = str(error).strip().split(":\n\t")[-1].splitlines()[0]
        raise ValueError(f"{name}: expected {expected}; {said}") from None


def _load_processor(config: Config, found):
    """The processor of the model type: its files often name it, and its parts, as other versions of transformers do."""
    transformers, place = compat.transformers(), _source(config)
    kinds, videos = transformers.models.auto.processing_auto, transformers.models.auto.video_processing_auto
    tokenizer = transformers.AutoTokenizer.from_pretrained(**place)
    images = transformers.Qwen2VLImageProcessor.from_pretrained(**place)
    video = videos.VIDEO_PROCESSOR_MAPPING[type(found)]["torchvision"].from_pretrained(**place)
    return kinds.PROCESSOR_MAPPING[type(found)](images, tokenizer, video, chat_template=tokenizer.chat_template)


def save_processor(policy: Policy, folder: Path) -> None:
    """Write the processor with the limits that it was published with."""
    images, ours = policy.processor.image_processor, policy.processor.image_processor.size
    images.size = {**ours, "shortest_edge": policy.limits[0]}
    policy.processor.save_pretrained(folder)
    images.size = ours


def precision() -> str:
    """The number type of computation: bfloat16 where the GPU has it, float16 on older ones (T4, V100), else float32."""
    import torch

    if not torch.cuda.is_available():
        return "float32"  # with float16 the trainer scales the loss; emulated, bfloat16 would be slow
    return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"


def _load_model(config: Config, tokenizer):
    import torch
    from transformers import AutoModelForImageTextToText, BitsAndBytesConfig, GenerationConfig
    from transformers.utils import cached_file

    dtype, options = getattr(torch, precision()), {}
    if config.four_bit:
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype,
            llm_int8_skip_modules=["model.visual", "lm_head"],
        )  # fmt: skip
    device = processes.here().local_process_index if torch.cuda.is_available() else "cpu"
    place = {"device_map": {"": device}, **_source(config)}
    options |= {"output_loading_info": True, "ignore_mismatched_sizes": True}  # `check_filled` refuses these
    with _one_sentence(f"model {config.model!r}"):
        model, filled = AutoModelForImageTextToText.from_pretrained(**place, dtype=dtype, **options)
        check_filled(model, filled)
        file = cached_file(model_path(config.model), "config.json", revision=place["revision"], local_files_only=True)
        check_folder(Path(file).parent)
    compat.keep_nf4_as_stored(model, dtype)
    # Qwen's own generation settings (a repetition penalty, a temperature, a second end mark) would be the defaults
    # of every call, and different ones here and in TRL.
    model.generation_config = GenerationConfig(pad_token_id=tokenizer.pad_token_id)
    return model


def check_adapter(folder: str | Path) -> None:
    """Raise a ValueError of one sentence unless a folder holds a whole LoRA adapter; it may be of another model."""
    file = Path(folder, "adapter_config.json")
    if not file.is_file():
        raise ValueError(f"adapter {str(folder)!r}: expected a folder with adapter_config.json, as PEFT saves it")
    check_folder(file.parent, "adapter_model")
    kind = read_json(file)
    if not isinstance(kind, dict) or kind.get("peft_type") != "LORA":
        raise ValueError(f"{file}: expected the settings of a LoRA adapter, with peft_type: LORA; name another folder")


def with_adapter(model, config: Config, family: Family, adapter, trainable: bool):
    """The model with the adapter of the folder `adapter`, or with a new one where that is empty."""
    from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, load_peft_weights

    if adapter:
        with _one_sentence(f"adapter {str(adapter)!r}", "an adapter of this model"):
            model = PeftModel.from_pretrained(model, adapter, is_trainable=trainable)
        stored = set(load_peft_weights(str(adapter), device="cpu"))
        lost = sorted(stored ^ set(get_peft_model_state_dict(model, save_embedding_layers=False)))
        if lost:  # PEFT itself leaves out weights that match no layer
            wrong = f"{len(lost)} weights fit nowhere in this model or are missing, as {lost[0]}"
            raise ValueError(f"adapter {str(adapter)!r}: {wrong}; expected an adapter of this model")
        return model
    sizes, layers = {"r": config.lora_rank, "lora_alpha": config.lora_alpha}, "|".join(family.layers)
    names = rf".*language_model.*\.({layers})"
    return get_peft_model(model, LoraConfig(**sizes, target_modules=names, task_type="CAUSAL_LM"))


def save_adapter(policy, folder: Path, note: dict | None = None) -> None:
    """Write the adapter, whole or not at all, with a `note` on why it was chosen; every process has to call this."""
    if processes.here().is_main_process:
        new = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(new, ignore_errors=True)
        # not TRL's copy of its start, "ref"
        policy.model.save_pretrained(new, selected_adapters=["default"])
        mend_modes(new)
        if note:
            write_json(new / "chosen.json", note)
        shutil.rmtree(folder, ignore_errors=True)
        new.rename(folder)
    processes.here().wait_for_everyone()
