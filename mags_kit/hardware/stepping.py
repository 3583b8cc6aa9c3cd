"""A training step by part: seconds of each, without what is timed inside it, measured around TRL's own methods.

The trainer is the one of any run; its methods and the kit's are timed from outside, and stay as they are.
"""

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import numpy as np

from mags_kit.hardware.clock import Row, now, say
from mags_kit.hardware.floor import Products, Rates
from mags_kit.hardware.ground import Ground
from mags_kit.method import magnifier, networks, training
from mags_kit.method.curriculum import Stage
from mags_kit.method.look import FIRST_VIEWS, Look
from mags_kit.method.policy import load_policy
from mags_kit.records import Sample
from mags_kit.runs import Run

PART = "training step"
# What is timed -> whether it is a model's compute, the magnifier's network included.
KINDS = {
    "sampling: the model": True,
    "super-resolution": True,
    "sampling: prompts, parsing, tool loop": False,
    "opening images, first views": False,
    "cutting and storing views": False,
    "rewards": False,
    "log-probabilities: reference": True,
    "log-probabilities: policy": True,
    "loss": True,
    "backward": True,
    "optimiser": True,
    "rest": False,
}
SAMPLING = "sampling: prompts, parsing, tool loop"


class Parts:
    """Seconds by what is done; what is timed inside something counts for itself alone."""

    def __init__(self):
        self.seconds: Counter[str] = Counter()
        self.going: list[list] = []  # what, since when, seconds of what was timed inside it

    @contextmanager
    def timed(self, name: str):
        self.begin(name)
        try:
            yield
        finally:
            self.end()

    def begin(self, name: str) -> None:
        self.going.append([name, now(), 0.0])

    def end(self) -> None:
        name, start, inside = self.going.pop()
        whole = now() - start
        self.seconds[name] += whole - inside
        if self.going:
            self.going[-1][2] += whole

    def within(self, name: str) -> bool:
        return any(each[0] == name for each in self.going)

    @contextmanager
    def around(self, owner, method: str, name):
        """While open, `owner.method` is timed, as `name` or as what `name()` says then."""
        real, own = getattr(owner, method), method in vars(owner)

        def timed(*arguments, **options):
            with self.timed(name() if callable(name) else name):
                return real(*arguments, **options)

        setattr(owner, method, timed)
        try:
            yield
        finally:
            setattr(owner, method, real) if own else delattr(owner, method)


def steps(
    run: Run, samples: list[Sample], count: int, rates: Rates | None = None
) -> tuple[list[dict[str, float]], float]:
    """Seconds by part of `count` optimisation steps, after one to warm up; with `rates`, the floor under that one.

    No view and no image's features are stored when a step begins, and none is validated.
    """
    from transformers import TrainerCallback

    config = replace(run.config, validate_every=10**6)
    policy, parts = load_policy(config, trainable=True), Parts()
    stage = Stage("bench", tuple(samples), count + 1)
    done, products, run = [], Products(), replace(run, config=config)

    class Watch(TrainerCallback):
        def on_step_begin(self, *_, **__):
            shutil.rmtree(run.views, ignore_errors=True)
            policy.tower.forward.forget()
            FIRST_VIEWS.forget()
            parts.seconds.clear()
            if rates and not done:
                products.__enter__()
            parts.begin("rest")

        def on_pre_optimizer_step(self, *_, **__):
            parts.begin("optimiser")

        def on_optimizer_step(self, *_, **__):
            parts.end()

        def on_step_end(self, *_, **__):
            parts.end()
            if rates and not done:
                products.__exit__(None, None, None)
            done.append(dict(parts.seconds))
            say(f"{PART}: {len(done)} of {count + 1}")

    trainer = training.build_trainer(run, policy, stage, 0, [Watch()])

    def whose() -> str:
        return f"log-probabilities: {'reference' if parts.within(SAMPLING) else 'policy'}"

    with ExitStack() as timers:
        for owner, method, name in (
            (trainer, "_generate_and_score_completions", SAMPLING),
            (trainer, "_calculate_rewards", "rewards"),
            (trainer, "_get_per_token_logps_and_entropies", whose),
            (trainer, "compute_loss", "loss"),
            (trainer.accelerator, "backward", "backward"),
            (trainer.accelerator, "clip_grad_norm_", "optimiser"),
            (policy.model, "generate", "sampling: the model"),
            (Look, "__init__", "opening images, first views"),
            (magnifier.Magnifier, "view", "cutting and storing views"),
            (networks, "super_resolve", "super-resolution"),
        ):
            timers.enter_context(parts.around(owner, method, name))
        trainer.train()
    return done[1:], rates.seconds(products) if rates else 0.0


def rows(ground: Ground) -> Iterator[Row]:
    """Seconds of a step and of each part of it, the share that is no model's compute, and the floor."""
    done, floor = steps(ground.run, ground.samples, ground.repeats, ground.rates)
    whole = [sum(step.values()) for step in done]
    config = ground.run.config
    note = f"{config.samples_per_step} groups of {config.num_generations}"
    yield Row.timed(PART, "whole step", whole, floor=floor, note=note)
    for name, computes in KINDS.items():
        seconds = [step.get(name, 0.0) for step in done]
        share = np.median([part / total for part, total in zip(seconds, whole, strict=True)])
        kind = "a model's compute" if computes else "no model's compute"
        yield Row.timed(PART, name, seconds, note=f"{share:.1%}, {kind}")
    idle = [sum(seconds for name, seconds in step.items() if not KINDS[name]) for step in done]
    shares = tuple(100 * part / total for part, total in zip(idle, whole, strict=True))
    yield Row(PART, "not a model's compute", "%", shares)
