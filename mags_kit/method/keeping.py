"""What training's own rollouts were: those of some samples are kept, step by step, so that training can be replayed."""

from dataclasses import replace

from mags_kit.method import processes, rewards
from mags_kit.method.curriculum import Stage
from mags_kit.method.validation import step_of
from mags_kit.records import Trajectory, read_trajectories, to_json, write_text
from mags_kit.run import Run


class Kept:
    """The rollouts of every n-th sample of a stage (n: `keep_rollouts`), whole groups, in `rollouts.jsonl`.

    A later stage begins with the samples of the one before it, so the same samples are kept in both.
    """

    def __init__(self, run: Run, stage: Stage, number: int):
        self.config, self.file = run.config, run.stage(stage.name) / "rollouts.jsonl"
        self.offset = sum(run.config.stage_steps[:number])  # steps before this stage
        every = run.config.keep_rollouts
        self.samples = {sample.id for sample in stage.samples[::every]} if every else set()
        self.text: str | None = None  # of the file, once this process has begun it or gone on with it

    def add(self, steps: int, trajectories: list[Trajectory]) -> None:
        """Store what was sampled after so many steps of this stage; every process calls this, the main one writes.

        What a training that was killed had stored of this step and of later ones is sampled again, so it is dropped.
        """
        if not self.samples:
            return
        now = self.offset + steps + 1
        new = processes.gathered([self._scored(t, now) for t in trajectories if t.sample.id in self.samples])
        if not processes.here().is_main_process or (self.text is not None and not new):
            return
        if self.text is None:
            stored = read_trajectories(self.file) if self.file.exists() else []
            self.text = _lines([t for t in stored if step_of(t) < now])
        self.text += _lines(new)
        write_text(self.file, self.text)

    def _scored(self, t: Trajectory, step: int) -> Trajectory:
        return replace(t, condition=f"training, step {step}", rewards=rewards.scores(t, self.config.rewards))


def _lines(trajectories: list[Trajectory]) -> str:
    return "".join(to_json(t) + "\n" for t in trajectories)
