"""Speed and memory on this machine: rollouts by batch size, and a training step by part.

`make bench` takes the profile's own model. `make measure` (`--random`) takes the shape of a large model from its
config.json, with random weights and replies as long as they can get: memory near the worst case, beside the plan.
"""

import argparse
import re
import resource
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

from mags_kit import compat, memory
from mags_kit.config import Config, load_config, model_path, parse_settings
from mags_kit.data import sets
from mags_kit.method import protocol, training
from mags_kit.method.curriculum import Stage
from mags_kit.method.episode import Agent
from mags_kit.method.policy import Policy, load_policy
from mags_kit.method.rollout import rollout
from mags_kit.records import read_samples, write_json
from mags_kit.run import PROJECT, Run, environment, open_run, run_folder
from random_model import SHAPES, save_random

SETTINGS = {"data": "scenes", "pool": 48, "curated": 8, "validation": 1, "test": 1, "validate_every": 10**6}
SHORT = 32  # tokens of round 1 that are sampled with random weights; the rest of the reply is given


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="cpu", help="whose model and settings are measured")
    parser.add_argument("--set", default="", help="settings as YAML, e.g. '{rollout_batch: 16}'")
    parser.add_argument("--random", action="store_true", help="random weights in the shape of the profile's model")
    parser.add_argument("--tiny", action="store_true", help="random weights in a tiny shape: a test of this script")
    given = parser.parse_args(arguments)
    is_random = given.random or given.tiny
    settings = SETTINGS | parse_settings(given.set)
    config = load_config(given.profile, settings)
    model = config.model
    with tempfile.TemporaryDirectory() as folder:
        if is_random:
            groups = config.step_batches[0] // config.num_generations  # more would take longer, not more memory
            settings = {"samples_per_step": groups, "batch_size": 1} | settings
            kind, shape = "qwen2_5_vl", None
            if not given.tiny:
                expect_gpu()
                auto = compat.transformers().AutoConfig
                known = auto.for_model(**SHAPES[model]) if model in SHAPES else auto.from_pretrained(model_path(model))
                shape, kind = known.to_dict(), known.model_type
            settings |= {"model": str(save_random(kind, Path(folder, Path(model).name), shard="4GB", shape=shape))}
        run = open_run(given.profile, "measured", settings, root=folder)
        sets.prepare(run)
        result = {"model": model, "random weights": is_random, **measure(run, is_random)}
    card = re.sub(r"\W+", "-", f"{result['device']} {given.profile}").lower()
    on_gpu = given.random and result["device"] != "CPU"
    write_json(PROJECT / "results" / "gpu" / f"{card}.json" if on_gpu else run_folder("bench") / "bench.json", result)
    for title in ("rollouts a second", "seconds", "GB at the peak", "GB expected by part"):
        for name, value in result[title].items():
            print(f"{title + ', ' + name:<60}{value:>8.3g}")
    return result


def expect_gpu() -> None:
    """End with a sentence without a GPU: a step of a large model would take a day and fill the memory."""
    import torch

    if not torch.cuda.is_available():
        hint = "`make plan` counts without one, `make bench` measures the tiny model"
        raise SystemExit(f"make measure needs a GPU, found none; {hint}")


def measure(run: Run, is_random: bool) -> dict:
    """Rollouts a second, seconds of a training step by part, GB at the peak and as planned."""
    import torch

    on_gpu, config, samples = torch.cuda.is_available(), run.config, read_samples(run.samples("pool"))
    start = now()
    policy, sampled = load_policy(config, trainable=True), Counter()
    seconds, rates = {"loading the model": now() - start}, {}
    if is_random:
        full_replies(policy, config, sampled)
    else:
        rates = rollouts(Agent.of(run, policy), samples)
    seconds |= step(run, policy, samples, 1 if is_random else 3)
    sampling, trajectories = seconds["sampling, in TRL's loop"], config.samples_per_step * config.num_generations
    return {
        "device": torch.cuda.get_device_name() if on_gpu else "CPU",
        "parameters": sum(p.numel() for p in policy.model.parameters()),
        "trajectories a step": trajectories,
        "rollouts a second": rates | {"in TRL's loop": trajectories / sampling},
        "tokens sampled a second": sampled["tokens"] / sampling,
        "seconds": seconds,
        "GB at the peak": peak(),
        "GB expected by part": memory.parts(config, on_gpu) | {"at the peak": memory.need_gb(config, on_gpu)},
        "made with": environment(),
    }


def rollouts(agent: Agent, samples: list) -> dict[str, float]:
    """Rollouts a second in batches of 48 and 16, and one call per sample."""
    rates = {}
    for batch, count in ((48, 48), (16, 48), (1, 8)):
        sized = replace(agent, config=replace(agent.config, batch_size=batch))
        rollout(sized, samples[:batch], progress=False)  # to warm up
        start = now()
        rollout(sized, samples[:count], progress=False)
        rates[f"in batches of {batch}"] = count / (now() - start)
    return rates


def step(run: Run, policy: Policy, samples: list, count: int) -> dict[str, float]:
    """Seconds of an optimisation step by part, the mean of `count`."""
    trainer = training.build_trainer(run, policy, Stage("measured", tuple(samples), count))
    seconds = Counter()
    for owner, method, name in (
        (trainer, "_generate", "sampling, in TRL's loop"),
        (trainer, "_get_per_token_logps_and_entropies", "log-probabilities"),
        (trainer.accelerator, "backward", "backward"),
        (trainer.create_optimizer(), "step", "optimizer"),
    ):
        time_calls(owner, method, name, seconds)
    start = now()
    trainer.train()
    seconds["a whole step"] = now() - start
    return {name: total / count for name, total in seconds.items()}


def time_calls(owner, method: str, name: str, seconds: Counter) -> None:
    """Let an object of this script add up the seconds of its calls of a method."""
    real = getattr(owner, method)

    def timed(*arguments, **options):
        start = now()
        result = real(*arguments, **options)
        seconds[name] += now() - start
        return result

    setattr(owner, method, timed)


def now() -> float:
    """Seconds, once the GPU has done what it was asked for."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def peak() -> dict[str, float]:
    """GB at the peak: in tensors and as held by the GPU's allocator; without a GPU, of this process."""
    import torch

    if not torch.cuda.is_available():
        return {"of the process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / memory.GB}
    sizes = {"in tensors": torch.cuda.max_memory_allocated(), "held": torch.cuda.max_memory_reserved()}
    return {name: size / memory.GB for name, size in sizes.items()}


def full_replies(policy: Policy, config: Config, sampled: Counter) -> None:
    """Make each reply a full one of `round_tokens`, and round 1 a call for all regions, as random weights never do."""
    import torch

    sample, tokenizer = policy.model.generate, policy.processor.tokenizer
    boxes = [(8 * i, 8, 8 * i + 96, 104) for i in range(config.max_regions)]
    call = [*tokenizer.encode(protocol.tool_call_text(boxes, policy.family.xml)), tokenizer.eos_token_id]
    reply = (tokenizer.encode(" the") * config.round_tokens)[: max(0, config.round_tokens - len(call))] + call

    def generate(input_ids, generation_config, **rest):
        is_first = "<tool_response>" not in tokenizer.decode(input_ids[0])
        length = SHORT if is_first else config.round_tokens
        generation_config.max_new_tokens = generation_config.min_new_tokens = length
        out = sample(input_ids=input_ids, generation_config=generation_config, **rest)
        sampled["tokens"] += length * len(out)
        return torch.cat([input_ids, torch.tensor([reply] * len(out), device=out.device)], 1) if is_first else out

    policy.model.generate = generate


if __name__ == "__main__":
    main()
