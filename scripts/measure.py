"""A paper profile on this machine's GPU, measured beside what `plan` expects, on random weights of the published shape.

It writes a checkpoint of random weights to a temporary folder (7.5 GB for the 3B model, 17 GB for the 7B), loads and
trains it as any run does (NF4, LoRA, TRL), and makes every rollout as long as it can get: full replies, all views. So
memory is near the worst case, and so are the seconds. The texts mean nothing.

`quick` fits into minutes: steps of two groups, and of round 1 all but `SHORT` tokens are given instead of sampled, so
that memory stays what it is. The seconds of a whole step are then worked out from those of its parts.
"""

import re
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from mags_kit.config import load_config, parse_settings
from mags_kit.data import sets
from mags_kit import plan
from forcing import full_replies
from random_model import save_random
from mags_kit.images import open_image
from mags_kit.method import fit, memory, training
from mags_kit.method.adapters import save_adapter
from mags_kit.method.curriculum import Stage
from mags_kit.method.magnifier import Magnifier
from mags_kit.method.policy import Policy, load_policy
from mags_kit.records import read_samples, write_json
from mags_kit.report import export
from mags_kit.run import PROJECT, Run, environment, open_run

SMALL = {"pool": 8, "curated": 8, "validation": 1, "test": 1, "data": "scenes", "validate_every": 1}
SHORT = 32  # tokens sampled where a measurement needs no more


def measure(profile: str = "paper", settings: str = "", tiny: bool = False, quick: bool = False) -> dict:
    """What `Measurement` finds, on a GPU also as `results/gpu/CARD-PROFILE.json`."""
    changes = SMALL | parse_settings(settings) | ({"samples_per_step": 2} if quick else {})
    published = load_config(profile, changes).model
    if published not in memory.PUBLISHED:
        raise ValueError(
            f"profile {profile!r}: expected one whose model has a published shape, as paper or qwen3-vl-4b"
        )
    with tempfile.TemporaryDirectory() as folder:
        shape = memory.PUBLISHED[published]
        kind = shape["model_type"]
        model = save_random(kind, Path(folder, "model"), shard="4GB", shape=None if tiny else shape)
        changes |= {"model": str(model), "stage_steps": [1]}
        run = open_run(profile, "measure", changes, root=Path(folder, "runs"))
        sets.prepare(run)
        result = {"model": f"{published}, random weights", "quick": quick} | Measurement(run, quick).result()
    if plan.machine()["gpu"] and not tiny:
        name = re.sub(r"\W+", "-", f"{plan.machine()['gpu']} {profile}").lower()
        write_json(PROJECT / "results" / "gpu" / f"{name}.json", result)
    return result


class Measurement:
    """Loading, a training step, its resumption, a view and a merge, one after the other."""

    def __init__(self, run: Run, quick: bool):
        self.run, self.quick, self.seconds = replace(run, config=fit.fitted(run.config)), quick, {}
        self.turns: list[tuple[int, float]] = []  # (tokens sampled in all rows, seconds) of each turn

    def result(self) -> dict:
        import torch

        config, gpu = self.run.config, torch.cuda.is_available()
        shape = memory.shape_of(config.model)
        expected = memory.by_part(config, shape)
        with self.timed("load"):
            policy = load_policy(config, trainable=True)
        loaded = torch.cuda.memory_allocated() if gpu else 0
        full_replies(policy, config, SHORT if self.quick else 0, lambda *turn: self.turns.append(turn))
        phases = self._step(policy)
        save_adapter(policy, self.run.best)
        result = {
            "device": plan.machine()["gpu"] or "CPU",
            "parameters": shape.parameters,
            "trajectories a step": config.samples_per_step * config.num_generations,
            "GB after loading": loaded / memory.GB if gpu else None,
            "GB at the peak": {name: {k: v / memory.GB for k, v in sizes.items()} for name, sizes in phases.items()},
            "GB expected": memory.peak(expected) / memory.GB,
            "GB expected by part": {p: {k: v / memory.GB for k, v in part.items()} for p, part in expected.items()},
            "ms to enlarge a region of 96 x 96": self._enlarging(policy),
        }
        self._resume()
        del policy
        training.free_memory()
        with self.timed("merge"):
            export.merge(self.run)
        tokens, sampled = (sum(column) for column in zip(*self.turns, strict=True))
        return result | {
            "tokens sampled a second": tokens / sampled,
            "seconds a token, all rows": [seconds * config.step_batches[0] / n for n, seconds in self.turns],
            "seconds": self.seconds,
            "made with": environment(),
        }

    @contextmanager
    def timed(self, name: str):
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start
        print(f"{name}: {self.seconds[name]:.1f} s", file=sys.stderr, flush=True)

    def _stage(self, steps: int) -> Stage:
        return Stage("measure", tuple(read_samples(self.run.samples("pool"))), steps)

    def _step(self, policy: Policy) -> dict[str, dict[str, float]]:
        """One optimisation step: bytes at the peak of its sampling and of its update, in tensors and as held."""
        trainer = training.build_trainer(self.run, policy, self._stage(1))
        phases, sample = {}, trainer._generate_and_score_completions

        def sampled(rows):
            with self.timed("sampling, with rewards"):
                batch = sample(rows)
            phases["sampling"] = _peak()
            return batch

        trainer._generate_and_score_completions = sampled
        _peak()
        with self.timed("step"):
            trainer.train()
        phases["update"] = _peak()
        return phases

    def _resume(self) -> None:
        """A second step from the first one's checkpoint, by a policy loaded anew; its replies are short."""
        policy = load_policy(self.run.config, trainable=True)
        full_replies(policy, replace(self.run.config, round_tokens=SHORT))
        trainer = training.build_trainer(self.run, policy, self._stage(2))
        with self.timed("resume and a short step"):
            trainer.train(resume_from_checkpoint=str(self.run.stage("measure") / "checkpoint-1"))
        if trainer.state.global_step != 2:
            raise RuntimeError(f"resumed training ended at step {trainer.state.global_step}; expected 2")

    def _enlarging(self, policy: Policy) -> float:
        """Milliseconds to cut out and enlarge one region of 96 x 96 pixels, the mean of five after one to warm up."""
        config = self.run.config
        magnifier, times = Magnifier(config.magnifier, config.view_pixels, policy.factor, margin=0.0), []
        for sample in read_samples(self.run.samples("pool"))[:6]:
            image = open_image(self.run.data / sample.image)
            start = time.perf_counter()
            magnifier.view(image, (100, 100, 196, 196))
            times.append(time.perf_counter() - start)
        return 1000 * sum(times[1:]) / len(times[1:])


def _peak() -> dict[str, float]:
    """Bytes at the peak since the last call, in tensors and as held by the allocator; nothing without a GPU."""
    import torch

    if not torch.cuda.is_available():
        return {}
    sizes = {"in tensors": torch.cuda.max_memory_allocated(), "held": torch.cuda.max_memory_reserved()}
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    return sizes
