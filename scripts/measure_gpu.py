"""Measure a training step of the paper profiles on this machine's GPU, beside what `make plan` expects.

    python scripts/measure_gpu.py --profile paper --steps 2
    python scripts/measure_gpu.py --shape tiny --steps 1          # the code path alone, on a CPU too

It writes a checkpoint of random weights in the published shape to a temporary folder (7.5 GB for the 3B model, 17 GB
for the 7B), loads and trains it as any run does (NF4, LoRA, TRL), and makes every rollout as long as it can get: full
replies, all views. So memory is near the worst case, and so are the seconds. The texts mean nothing.

This script has run on a CPU with a tiny shape only, and on no GPU yet.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from tiny_qwen import save_tiny  # noqa: E402

from mags_kit import data, memory, plan, protocol, training  # noqa: E402
from mags_kit.config import load_config  # noqa: E402
from mags_kit.curriculum import Stage  # noqa: E402
from mags_kit.policy import load_policy  # noqa: E402
from mags_kit.rollout import magnifier_for  # noqa: E402
from mags_kit.runs import open_run  # noqa: E402

SMALL = {"pool": 8, "curated": 8, "validation": 1, "test": 1, "data": "scenes", "validate_every": 10**6}
TINY = memory._qwen(64, 128, 2, 4, 2, 2000, True)
TINY["text_config"]["rope_parameters"]["mrope_section"] = [4, 2, 2]
TINY["vision_config"] = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 64}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure a training step on random weights of a published shape.")
    parser.add_argument("--profile", default="paper", choices=("paper", "paper-7b"))
    parser.add_argument("--shape", default="published", choices=("published", "tiny"))
    parser.add_argument("--steps", type=int, default=2, help="optimisation steps; the first is left out of the seconds")
    parser.add_argument("--set", default="{}", help="settings as JSON, e.g. '{\"micro_batch\": 2}'")
    parser.add_argument("--folder", default="", help="where to write; empty: a temporary folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder or None) as folder:
        print(json.dumps(measure(arguments, Path(folder)), indent=2))


def measure(arguments, folder: Path) -> dict:
    import torch

    settings = SMALL | json.loads(arguments.set) | {"stage_steps": [arguments.steps]}
    published = memory.PUBLISHED[load_config(arguments.profile, settings).model]
    shape = published if arguments.shape == "published" else TINY
    save_tiny("qwen2_5_vl", folder / "model", shard="4GB", shape=shape)
    run = open_run(arguments.profile, "measure", settings | {"model": str(folder / "model")}, root=folder / "runs")
    config, gpu = run.config, torch.cuda.is_available()
    samples = data.prepare(run)["pool"]
    if gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    policy = load_policy(config, trainable=True)
    made = memory.shape_of(config.model)
    parts = memory.memory(config, made)
    loaded = torch.cuda.memory_allocated() if gpu else 0
    stage = Stage("measure", tuple(samples), arguments.steps)
    trainer = training.build_trainer(run, policy, stage, 1, {"validation": []}, samples[:1])
    sampled = _full_replies(policy, config)
    ends = [time.perf_counter()]
    trainer.training_step = _timed(trainer, trainer.training_step, ends)
    trainer.train()
    each = (len(ends) - 1) // arguments.steps
    whole = [ends[(i + 1) * each] - ends[i * each] for i in range(arguments.steps)]
    return {
        "device": plan.machine()["gpu"] or "CPU",
        "parameters": made.parameters,
        "trajectories a step": config.samples_per_step * config.num_generations,
        "GB after loading": loaded / memory.GB if gpu else None,
        "GB at the peak, in tensors": torch.cuda.max_memory_allocated() / memory.GB if gpu else None,
        "GB at the peak, held by the allocator": torch.cuda.max_memory_reserved() / memory.GB if gpu else None,
        "GB expected": memory.peak(parts) / memory.GB,
        "GB expected by part": {k: {n: v / memory.GB for n, v in p.items()} for k, p in parts.items()},
        "seconds a step": whole[1:] or whole,
        "tokens sampled a second": sum(n for n, _ in sampled) / sum(s for _, s in sampled),
        "ms to enlarge a region of 96 x 96": _enlarging(run, policy, samples),
    }


def _timed(trainer, step, ends: list[float]):
    """Note when each micro-batch ends; the sampling before it counts as its own."""

    def run(*args, **options):
        loss = step(*args, **options)
        loss.item()  # waits for the GPU
        ends.append(time.perf_counter())
        return loss

    return run


def _full_replies(policy, config) -> list[tuple[int, float]]:
    """Make each first reply a full one that ends in a call with all regions; note (tokens, seconds) of each batch."""
    import torch

    sample, tokenizer, noted = policy.model.generate, policy.processor.tokenizer, []
    boxes = [(8 * i, 8, 8 * i + 96, 104) for i in range(config.max_regions)]
    call = [*tokenizer.encode(protocol.tool_call_text(boxes)), tokenizer.eos_token_id]
    filler = tokenizer.encode(" the") * config.round_tokens

    def generate(input_ids, generation_config, **rest):
        width, start = input_ids.shape[1], time.perf_counter()
        generation_config.min_new_tokens = config.round_tokens
        out = sample(input_ids=input_ids, generation_config=generation_config, **rest)
        new = out[:, width:]
        noted.append((new.numel(), time.perf_counter() - start))
        if "<tool_response>" not in tokenizer.decode(input_ids[0]):  # round 1
            reply = filler[: max(0, new.shape[1] - len(call))] + call
            out = torch.cat([input_ids, torch.tensor([reply] * len(out), device=out.device)], 1)
        return out

    policy.model.generate = generate
    return noted


def _enlarging(run, policy, samples) -> float:
    """Milliseconds to cut out and enlarge one region of 96 x 96 pixels, the mean of five after one to warm up."""
    images = [data.load_image(run.file("data", s.image)) for s in samples[:6]]
    magnifier = magnifier_for(replace(run.config, margin=0.0), policy)
    times = []
    for image in images:
        start = time.perf_counter()
        magnifier.view(image, (100, 100, 196, 196))
        times.append(time.perf_counter() - start)
    return 1000 * sum(times[1:]) / len(times[1:])


if __name__ == "__main__":
    main()
