"""Folders of models, processors and adapters as people have them: whole, or refused in a sentence."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mags_kit import plan
from mags_kit.config import load_config, model_path
from mags_kit.method.policy import load_policy
from mags_kit.records import read_json, write_json

BASE = Path(model_path("embedded"))
MODEL, INDEX, ADAPTER = "model.safetensors", "model.safetensors.index.json", "adapter_model.safetensors"
FIRST, SECOND = (f"model-0000{i}-of-00002.safetensors" for i in (1, 2))
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 5421512\n"
UP = "model.language_model.layers.1.mlp.up_proj.weight"
IMAGES = read_json(BASE / "processor_config.json")["image_processor"]
FRAGMENT = b'{"model_type": "qwen3_vl",'


def write(name: str, content: bytes):
    return lambda folder: folder.joinpath(name).write_bytes(content)


def cut(name: str):
    return lambda folder: write(name, (folder / name).read_bytes()[:9999])(folder)


def without(*names: str):
    return lambda folder: [path.unlink() for name in names for path in folder.glob(name)]


def tensors(change, name: str = MODEL):
    """`change` takes the weights by name and returns others."""
    return lambda folder: save_file(change(load_file(folder / name)), folder / name, metadata={"format": "pt"})


def settings(name: str, **changes):
    return lambda folder: write_json(folder / name, read_json(folder / name) | changes)


def both(first, second):
    return lambda folder: (first(folder), second(folder))


def less(name: str):
    return lambda weights: {n: w for n, w in weights.items() if n != name}


def holding(value: float):
    """The first number of some matrix becomes `value`."""

    def change(weights):
        name = next(n for n, w in weights.items() if w.ndim > 1 and "layers" in n)
        changed = weights[name].clone()
        changed[0, 0] = value
        return weights | {name: changed}

    return change


def in_shards(*changes):
    def change(folder):
        weights = load_file(folder / MODEL)
        shard = {name: (FIRST, SECOND)[i % 2] for i, name in enumerate(sorted(weights))}
        for file in (FIRST, SECOND):
            save_file({n: w for n, w in weights.items() if shard[n] == file}, folder / file, metadata={"format": "pt"})
        write_json(folder / INDEX, {"metadata": {}, "weight_map": shard})
        for each in (without(MODEL), *changes):
            each(folder)

    return change


def preprocessor(**changes):
    """The image processor's settings as older versions of transformers wrote them; None deletes one."""

    def change(folder):
        without("processor_config.json")(folder)
        kept = {"processor_class": "Qwen3VLProcessor"} | IMAGES | changes
        write_json(folder / "preprocessor_config.json", {n: v for n, v in kept.items() if v is not None})

    return change


def found(check, cases: dict, start: Path, tmp_path: Path) -> list:
    """The cases for which `check(folder)` does not say, in one sentence, what is expected (None: nothing)."""
    wrong = []
    for name, (change, said) in cases.items():
        folder = tmp_path / name.replace(" ", "-").replace("/", "-")
        shutil.copytree(start, folder)
        change(folder)
        try:
            text = check(folder)
        except Exception as error:
            text = f"{'' if isinstance(error, ValueError) else type(error).__name__}{error}"
        if (said or "") not in (text or "") or "\n" in (text or "") or bool(text) != bool(said):
            wrong.append((name, text))
    return wrong


def load(folder: Path):
    load_policy(load_config("smoke", {"model": str(folder)}))


def checked(folder: Path):
    """What a run does before it begins."""
    plan.check(load_config("smoke", {"model": str(folder)}))


def test_a_model_folder_that_is_not_whole_is_refused_before_a_run_begins(tmp_path):
    pointer, broken = "a Git LFS pointer stands in its place", "expected a whole safetensors file"
    number, unknown = "holds NaN or infinity", "expected a folder or a reachable hub id of a Qwen-VL"
    none = "expected weights, found no such file"
    cases = {
        "in shards": (in_shards(), None),
        "a pointer": (write(MODEL, POINTER), f"{MODEL}: {pointer}"),
        "a shard is a pointer": (in_shards(write(SECOND, POINTER)), f"{SECOND}: {pointer}"),
        "the index is a pointer": (in_shards(write(INDEX, POINTER)), f"{INDEX}: {pointer}"),
        "the tokenizer is a pointer": (write("tokenizer.json", POINTER), f"tokenizer.json: {pointer}"),
        "the config is a pointer": (write("config.json", POINTER), "config.json' is not a valid JSON file"),
        "a bin is a pointer": (both(without(MODEL), write("pytorch_model.bin", POINTER)), f".bin: {pointer}"),
        "a shard is missing": (in_shards(without(SECOND)), f"{SECOND}: {none}"),
        "shards without an index": (in_shards(without(INDEX)), f"{MODEL}: {none}"),
        "a config alone": (without(MODEL), f"{MODEL}: {none}"),
        "cut short": (cut(MODEL), broken), "a shard is cut short": (in_shards(cut(SECOND)), broken),
        "empty": (write(MODEL, b""), broken), "a web page": (write(MODEL, b"<!DOCTYPE html>" * 9), broken),
        "NaN": (tensors(holding(float("nan"))), number), "infinity": (tensors(holding(float("-inf"))), number),
        "the config is cut short": (write("config.json", FRAGMENT), "config.json' is not a valid JSON file"),
        "an empty folder": (without("*"), unknown),
        "an adapter": (lambda f: (f / "config.json").rename(f / "adapter_config.json"), unknown),
    }  # fmt: skip
    assert found(checked, cases, BASE, tmp_path) == []


def test_weights_that_do_not_fill_the_model_are_refused(tmp_path):
    """transformers would take random numbers in their place; with NF4, bitsandbytes takes any shape."""
    said = "weights are missing or do not fit config.json"
    text = read_json(BASE / "config.json")["text_config"]
    lacks = "lm_head.weight", UP, "model.visual.blocks.0.mlp.linear_fc1.weight"
    token = "its tokenizer no <|image_pad|> that config.json knows"
    cases = {
        **{f"without {name}": (tensors(less(name)), said) for name in lacks},
        "in shards": (in_shards(tensors(less(UP), FIRST), tensors(less(UP), SECOND)), said),
        "twice as wide": (tensors(lambda w: w | {UP: torch.cat([w[UP], w[UP]])}), said),
        "a norm of another width": (tensors(lambda w: w | {"model.language_model.norm.weight": torch.ones(320)}), said),
        "fewer layers in the config": (settings("config.json", text_config=text | {"num_hidden_layers": 3}), said),
        "more layers in the config": (settings("config.json", text_config=text | {"num_hidden_layers": 5}), said),
        "without a tokenizer": (without("tokenizer*"), token),
        "an image token of another model": (settings("config.json", image_token_id=100), token),
        "as it is": (lambda folder: None, None),
    }  # fmt: skip
    assert found(load, cases, BASE, tmp_path) == []


def test_processors_with_older_names_are_read_as_they_are_meant(tmp_path):
    def limits(folder):
        policy = load_policy(load_config("smoke", {"model": str(folder)}))
        made = type(policy.processor).__name__, type(policy.processor.image_processor).__name__, *policy.limits
        return None if made == ("Qwen3VLProcessor", "Qwen2VLImageProcessor", 1024, 36864) else str(made)

    names = [f"Qwen{n}ImageProcessor{fast}" for n in ("2VL", "2_5_VL", "3VL", "3_5") for fast in ("", "Fast")]
    extractors = ["Qwen2VLFeatureExtractor", "Qwen2_5_VLFeatureExtractor", "Qwen2_5_VLImageProcessor"]
    classes = ["Qwen2VLProcessor", "Qwen2_5_VLProcessor", "Qwen3_5Processor", "MyProcessor", None]
    pixels = {"min_pixels": 1024, "max_pixels": 36864}
    kinds = {name: IMAGES | {"image_processor_type": name} for name in names}
    whole = {name: settings("processor_config.json", image_processor=kind) for name, kind in kinds.items()}
    older = {f"older {name}": preprocessor(image_processor_type=name) for name in (*names, None)}
    older |= {f"as {n}": preprocessor(image_processor_type=None, feature_extractor_type=n) for n in extractors}
    older |= {f"of {name}": preprocessor(processor_class=name) for name in classes}
    older |= {"pixels": preprocessor(size=None, **pixels), "pixels as size": preprocessor(size=pixels)}
    cases = {name: (change, None) for name, change in {**whole, **older}.items()}
    unknown = "its processor has no least and most pixels"
    cases["height and width"] = preprocessor(size={"height": 192, "width": 192}), unknown
    cases["no processor"] = without("processor_config.json"), "expected a folder or a reachable hub id of a Qwen-VL"
    assert found(limits, cases, BASE, tmp_path) == []


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapter") / "whole"
    load_policy(load_config("smoke"), trainable=True).model.save_pretrained(folder)
    return folder


def test_an_adapter_that_is_not_whole_or_of_another_model_is_refused(adapter, tmp_path):
    def named(old: str, new: str):
        return tensors(lambda w: {name.replace(old, new): each for name, each in w.items()}, ADAPTER)

    def as_bin(folder):
        torch.save(load_file(folder / ADAPTER), folder / "adapter_model.bin")

    def twice(weights):
        return {name: torch.cat([each, each], -1) for name, each in weights.items()}

    def of(**changes):
        return settings("adapter_config.json", **changes)

    fits, broken, number = "weights fit nowhere in this model", "expected a whole safetensors file", "holds NaN"
    missing, kind = "not found in the base model", "expected the settings of a LoRA adapter"
    cases = {
        "as it is": (of(a_setting_of_a_later_peft=1), None),
        "as a bin": (both(as_bin, without(ADAPTER)), None),
        "twice the width": (tensors(twice, ADAPTER), "size mismatch for"),
        "another rank": (of(r=8), "size mismatch for"),
        "another family": (named("model.language_model.layers", "model.layers"), fits),
        "more layers": (named("layers.1", "layers.7"), fits),
        "of the vision tower": (of(target_modules=["qkv"]), fits),
        "modules of another family": (of(target_modules=["c_attn", "c_proj"]), missing),
        "no matching name": (of(target_modules=r"model\.vision_model.*q_proj"), missing),
        "with a trained head": (of(modules_to_save=["lm_head"]), "expected an adapter of this model"),
        "NaN": (tensors(holding(float("nan")), ADAPTER), number),
        "infinity": (tensors(holding(float("inf")), ADAPTER), number),
        "a pointer": (write(ADAPTER, POINTER), "a Git LFS pointer"), "cut short": (cut(ADAPTER), broken),
        "no weights": (without(ADAPTER), f"{ADAPTER}: expected weights, found"),
        "settings are a pointer": (write("adapter_config.json", POINTER), "a Git LFS pointer"),
        "settings are cut short": (write("adapter_config.json", FRAGMENT), "adapter_config.json: expected JSON"),
        "settings are a list": (write("adapter_config.json", b"[]"), kind),
        "no type": (write("adapter_config.json", b"{}"), kind), "a later type": (of(peft_type="NOVEL"), kind),
        "prompt tuning": (of(peft_type="PROMPT_TUNING"), kind),
    }  # fmt: skip
    assert found(lambda folder: load_policy(load_config("smoke"), folder) and None, cases, adapter, tmp_path) == []
