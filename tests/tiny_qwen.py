"""Tiny random Qwens: with their settings as the hub has them, and one that has learned one dialogue."""

import torch

from mags_kit.config import load_config
from mags_kit.method import protocol
from mags_kit.method.episode import Agent, Episode
from mags_kit.method.magnifier import Magnifier
from mags_kit.method.policy import load_policy
from mags_kit.method.rollout import prompt_ids, suffix_ids
from mags_kit.records import Sample, read_json, write_json


def as_published(folder):
    """Write a checkpoint's settings as its family has them on the hub, in the form of older transformers."""
    config, settings = read_json(folder / "config.json"), read_json(folder / "processor_config.json")["image_processor"]
    old, number, size = config["model_type"] == "qwen2_5_vl", config.pop("dtype"), settings["size"]
    text, names = config["text_config"], ("patch_size", "temporal_patch_size", "merge_size", "image_mean", "image_std")
    if config["model_type"] != "qwen3_5":
        rope = text.pop("rope_parameters")
        text["rope_theta"], text["rope_scaling"] = rope.pop("rope_theta"), rope
    if old:  # no text_config at all
        config = {k: v for k, v in text.items() if k not in ("dtype", "model_type")} | config | {"torch_dtype": number}
        del config["text_config"]
        size = {"min_pixels": size["shortest_edge"], "max_pixels": size["longest_edge"]}
    else:  # the precision stands in the text's settings alone
        size = {"size": size}
    config["vision_config"].pop("dtype")
    kinds = {"image_processor_type": "Qwen2VLImageProcessor" + ("" if old else "Fast")}
    kinds |= {"processor_class": "Qwen2_5_VLProcessor" if old else "Qwen3VLProcessor"}
    write_json(folder / "config.json", config)
    write_json(folder / "preprocessor_config.json", {name: settings[name] for name in names} | size | kinds)
    (folder / "processor_config.json").unlink()
    return folder


def teach(folder, image, steps: int = 100):
    """Overfit a checkpoint on one dialogue in two rounds, about `image`, so that its sampled replies vary around it."""
    settings = (folder / "generation_config.json").read_text()
    config = load_config("paper", {"model": str(folder), "four_bit": False})
    policy = load_policy(config)
    tokenizer, model = policy.processor.tokenizer, policy.model
    agent = Agent(policy, Magnifier("bicubic", 64 * 64, policy.factor), config, image.parent)
    look = Episode(agent, Sample("1", image.name, "How many dots?", "2"))
    content = look.prompt()
    box = protocol.to_model((10, 8, 40, 44), policy.family.frame, look.first_view.size, look.image.size)
    views = look.magnify([box])
    first = "<think>the red disc</think><draft>2</draft>" + protocol.tool_call_text([box], policy.family.xml)
    replies = first, "<rethink>the view shows 3</rethink><answer>yes</answer>"
    ids, labels = [], []
    for given, reply in zip((prompt_ids(policy, content), suffix_ids(policy, [views])), replies, strict=True):
        written = [*tokenizer.encode(reply), tokenizer.eos_token_id]
        ids, labels = ids + given + written, labels + [-100] * len(given) + written
    ids, labels = torch.tensor([ids]), torch.tensor([labels])
    pixels = policy.processor.image_processor([content[0]["image"], views[0]["image"]], return_tensors="pt")
    kinds = (ids == policy.processor.image_token_id).long()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(steps):
        loss = model(input_ids=ids, labels=labels, mm_token_type_ids=kinds, **pixels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.to(torch.bfloat16).save_pretrained(folder, max_shard_size="200KB")
    (folder / "generation_config.json").write_text(settings)  # the kit loads a model with its own
