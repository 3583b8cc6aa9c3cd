"""The validation set during training: greedy accuracy every so many steps; the adapter that did best is kept."""

from dataclasses import replace

import numpy as np
from tqdm import tqdm

from mags_kit import compat
from mags_kit.method import processes, rewards
from mags_kit.method.curriculum import Stage
from mags_kit.method.look import Agent
from mags_kit.method.measures import behaviour
from mags_kit.method.policy import save_adapter
from mags_kit.method.rollout import rollout
from mags_kit.records import Sample, Trajectory, read_json, read_trajectories, write_json, write_jsonl
from mags_kit.runs import Run

REPLAYED = 30  # of the validation samples, how many have their trajectories stored at every look


def step_of(t: Trajectory) -> int:
    """The step, counted over all stages, of a look that a `Validation` has stored."""
    return int(t.condition.rsplit(" ", 1)[1])


class Validation(compat.transformers().TrainerCallback):
    """`rows` holds a row per look of this stage: the step, counted over all stages, accuracy, and what was looked at.

    `earlier` are the rows of the stages before. It also shows the one progress bar, with the reward.
    """

    def __init__(self, run: Run, agent: Agent, samples: list[Sample], stage: Stage, number: int, earlier: list[dict]):
        self.run, self.agent, self.samples, self.stage, self.earlier = run, agent, samples, stage, earlier
        self.offset = sum(run.config.stage_steps[:number])  # steps before this stage
        self.file = run.stage(stage.name) / "validation.json"  # the rows, for a training that is resumed
        self.replay = run.stage(stage.name) / "looks.jsonl"  # what some samples' looks were, step by step
        self.rows: list[dict] = []
        self.bar = None

    def look(self, step: int) -> None:
        """Answer the validation set, and keep the adapter if it never did better."""
        trajectories = rollout(self.agent, self.samples, condition="validation", progress=False)
        self._store(step, trajectories[:REPLAYED])
        accuracy = float(np.mean([rewards.answer(t) for t in trajectories]))
        best = max((row["accuracy"] for row in self.earlier + self.rows), default=-1)
        seen = {"accuracy": accuracy, "samples": len(trajectories), **behaviour(trajectories)}
        self.rows.append({"step": self.offset + step, **seen})
        if accuracy > best:
            save_adapter(self.agent.policy, self.run.best, note=self.rows[-1])

    def _store(self, step: int, trajectories: list[Trajectory]) -> None:
        """Add a look's trajectories to those of this stage; a look that is taken again takes the place of the first."""
        if not processes.here().is_main_process:
            return
        now = self.offset + step
        kept = read_trajectories(self.replay) if self.replay.exists() else []
        looked = [replace(t, condition=f"validation, step {now}") for t in trajectories]
        write_jsonl(self.replay, [t for t in kept if step_of(t) < now] + looked)

    def on_train_begin(self, args, state, control, **_):
        stored = read_json(self.file) if self.file.exists() else []
        self.rows = [row for row in stored if row["step"] <= self.offset + state.global_step]
        if not self.offset and not self.rows:
            self.look(0)
        self.bar = tqdm(
            total=self.stage.steps, initial=state.global_step, desc=self.stage.name, mininterval=5,
            disable=not processes.here().is_main_process,
        )  # fmt: skip

    def on_log(self, args, state, control, logs, **_):
        if "reward" in logs:
            self.bar.set_postfix(reward=f"{logs['reward']:.2f}")

    def on_step_end(self, args, state, control, **_):
        self.bar.update(1)
        if state.global_step % self.run.config.validate_every == 0 or state.global_step == self.stage.steps:
            self.look(state.global_step)
            if processes.here().is_main_process:
                write_json(self.file, self.rows)

    def on_train_end(self, args, state, control, **_):
        self.bar.close()
