"""The validation set during training: greedy accuracy every so many steps; the adapter that did best is kept."""

from dataclasses import replace

import numpy as np
from tqdm import tqdm

from mags_kit import compat
from mags_kit.method import alarms, processes, rewards
from mags_kit.method.adapters import save_adapter
from mags_kit.method.curriculum import Stage
from mags_kit.method.episode import Agent
from mags_kit.method.metrics import step_metrics
from mags_kit.method.rollout import rollout
from mags_kit.records import Sample, Trajectory, read_json, read_trajectories, write_json, write_jsonl
from mags_kit.run import Run, mend_modes

REPLAYED = 30  # of the validation samples, how many have their trajectories stored at every look


def step_of(t: Trajectory) -> int:
    """The step, counted over all stages, of a trajectory that training has stored."""
    return int(t.condition.rsplit(" ", 1)[1])


class Validation(compat.transformers().TrainerCallback):
    """`rows` holds a row per look of this stage: the step, counted over all stages, accuracy, and what was looked at.

    `earlier` are the rows of the stages before. It also shows the one progress bar, with the reward and the alarms;
    one that says that going on is pointless ends the training.
    """

    def __init__(self, run: Run, agent: Agent, samples: list[Sample], stage: Stage, number: int, earlier: list[dict]):
        self.run, self.agent, self.samples, self.stage, self.earlier = run, agent, samples, stage, earlier
        self.offset = sum(run.config.stage_steps[:number])  # steps before this stage
        self.file = run.stage(stage.name) / "validation.json"  # the rows, for a training that is resumed
        self.replay = run.stage(stage.name) / "looks.jsonl"  # what some samples' looks were, step by step
        self.rows: list[dict] = []
        self.told: set[str] = set()  # names of alarms
        self.bar = None

    def look(self, step: int) -> None:
        """Answer the validation set, keep the adapter if it never did better, and note the row.

        Only after the checkpoint of the same step: what was looked at can always be gone on from, and what was not
        looked at before a training died is looked at when it is resumed.
        """
        trajectories = rollout(self.agent, self.samples, condition="validation", progress=False)
        self._store(step, trajectories[:REPLAYED])
        accuracy = float(np.mean([rewards.reward("answer", t) for t in trajectories]))
        best = max((row["accuracy"] for row in self.earlier + self.rows), default=-1)
        seen = {"accuracy": accuracy, "samples": len(trajectories), **step_metrics(trajectories)}
        self.rows.append({"step": self.offset + step, **seen})
        if accuracy > best:
            save_adapter(self.agent.policy, self.run.best, note=self.rows[-1])
        if processes.here().is_main_process:
            write_json(self.file, self.rows)

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
        begun = state.global_step or not self.offset  # a later stage begins with what the one before was looked at
        if begun and self.offset + state.global_step not in [row["step"] for row in self.rows]:
            self.look(state.global_step)
        self.bar = self.new_bar(state.global_step)

    def new_bar(self, step: int) -> tqdm:
        hidden = not processes.here().is_main_process
        return tqdm(total=self.stage.steps, initial=step, desc=self.stage.name, mininterval=5, disable=hidden)

    def on_log(self, args, state, control, logs, **_):
        if "reward" not in logs:
            return
        raised = alarms.alarms(state.log_history)
        named = {"alarms": ", ".join(alarm.name for alarm in raised)} if raised else {}
        self.bar.set_postfix(reward=f"{logs['reward']:.2f}", **named)
        for alarm in raised:
            said = f"{self.stage.name}, step {state.global_step}: {alarm.said}"
            if alarm.stop:
                raise alarms.Pointless(said)
            if alarm.name not in self.told and processes.here().is_main_process:
                self.bar.write(said)
            self.told.add(alarm.name)

    def on_step_end(self, args, state, control, **_):
        self.bar.update(1)

    def on_save(self, args, state, control, **_):  # every `validate_every` steps, and at the end
        if processes.here().is_main_process:
            mend_modes(self.file.parent)
        self.look(state.global_step)

    def on_train_end(self, args, state, control, **_):
        self.bar.close()
