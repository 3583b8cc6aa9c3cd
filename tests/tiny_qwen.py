"""A tiny random Qwen that has learned one dialogue."""

import torch

from mags_kit.config import load_config
from mags_kit.method import protocol
from mags_kit.method.look import Agent, Look
from mags_kit.method.magnifier import Magnifier
from mags_kit.method.policy import load_policy
from mags_kit.method.rollout import prompt_ids, suffix_ids
from mags_kit.records import Sample


def teach(folder, image, steps: int = 100):
    """Overfit a checkpoint on one dialogue in two rounds, about `image`, so that its sampled replies vary around it."""
    settings = (folder / "generation_config.json").read_text()
    config = load_config("paper", {"model": str(folder), "four_bit": False})
    policy = load_policy(config)
    tokenizer, model = policy.processor.tokenizer, policy.model
    agent = Agent(policy, Magnifier("bicubic", 64 * 64, policy.factor), config, image.parent)
    look = Look(agent, Sample("1", image.name, "How many dots?", "2"))
    content = look.prompt()
    box = protocol.to_model((10, 8, 40, 44), policy.frame, look.first_view.size, look.image.size)
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
