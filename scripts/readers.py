"""Does super-resolution pay by what a reader learned from? Readers of drawn, of half enlarged, of enlarged close-ups.

    python scripts/readers.py

Each is the shipped base, taught to `look` for some more steps that differ only in the close-ups: drawn sharp, or cut
from the source and enlarged by bicubic interpolation. Then each reads the true regions of fresh validation scenes,
small marks only, as bicubic interpolation and as super-resolution show them. Writes results/readers.json.
"""

import argparse
import io
from dataclasses import replace
from pathlib import Path

import torch

from mags_kit import QUALITIES, Agent, Magnifier, compat, load_policy, make_scene, open_run, rollout, write_json
from mags_kit.config import model_path
from mags_kit.data.scenes import FAMILIES, FINE
from mags_kit.evaluation.statistics import accuracy, paired_difference
from mags_kit.images import png
from mags_kit.records import Sample, write_bytes
from mags_kit.run import PROJECT
from mags_kit.tiny_base import pretraining, vision

SHARES = {"drawn": 0.0, "half enlarged": 0.5, "enlarged": 1.0}
FIRST = 80_000  # seed of the first scene


def reader(folder: Path, enlarged: float, steps: int) -> Path:
    """The shipped base after `steps` more of `look`."""
    if not folder.joinpath("model.safetensors").exists():
        if not folder.joinpath("checkpoint.pt").exists():
            kind = compat.transformers().Qwen3VLForConditionalGeneration
            model = kind.from_pretrained(model_path("embedded"), dtype=torch.float32)
            heads = vision.build_heads(model.config.text_config.hidden_size)
            state = {"model": model.state_dict(), "heads": heads.state_dict(), "done": {}, "log": []}
            torch.save(state, saved := io.BytesIO())
            write_bytes(folder / "checkpoint.pt", saved.getvalue())
        pretraining.train(folder, {"look": steps}, enlarged=enlarged)
    return folder


def views(count: int, network: str, folder: Path, cache: Path) -> list[Sample]:
    """`count` small cards of each quality, as the network shows their true region, each with the question about it."""
    magnifier, samples = Magnifier(network, vision.MAGNIFIED, 32, cache_dir=cache), []
    for number, quality in enumerate(QUALITIES):
        for i in range(count):
            kind = {"size": FINE[i // 3 % 2], "quality": quality}
            scene = make_scene(FIRST + 1000 * number + i, "validation", FAMILIES[i % 3], **kind)
            card, image = scene.cards[0], f"{network}/{quality}-{i:04d}.png"
            view, _ = magnifier.view(scene.image, vision.written(vision.grid_box(card.box)))
            write_bytes(folder / image, png(view))
            question = scene.question(card, alone=True)
            samples.append(Sample(f"{quality}-{i}", image, question.text, question.answer, card.family, meta=kind))
    return samples


def measure(model: str, run, samples: dict[str, list[Sample]]) -> dict:
    """By quality: accuracy on each network's views, and super-resolution less bicubic."""
    policy, found = load_policy(replace(run.config, model=model, four_bit=False)), {}
    agent = replace(Agent.of(run, policy), folder=run.path / "views")
    read = {network: rollout(agent, each, rounds=1, condition=network) for network, each in samples.items()}
    for quality in ("all", *QUALITIES):
        of = {name: [t for t in each if quality in ("all", t.sample.meta["quality"])] for name, each in read.items()}
        ours, theirs = of[run.config.magnifier], of["bicubic"]
        found[quality] = {name: accuracy(each) for name, each in of.items()}
        found[quality]["super-resolution less bicubic"] = paired_difference(ours, theirs)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--count", type=int, default=150, help="cards of each quality")
    options = parser.parse_args()
    run, found = open_run("cpu", "readers"), {}
    networks = (run.config.magnifier, "bicubic")
    samples = {name: views(options.count, name, run.path / "views", run.views) for name in networks}
    found["the base"] = measure("embedded", run, samples)
    for name, share in SHARES.items():
        folder = run.path / f"{name.replace(' ', '-')}-{options.steps}"
        found[name] = measure(str(reader(folder, share, options.steps)), run, samples)
        less = found[name]["all"]["super-resolution less bicubic"]
        print(name, {key: round(less[key], 3) for key in ("difference", "low", "high", "n")}, flush=True)
    write_json(PROJECT / "results" / "readers.json", found)
