"""The steps of a run: what each leaves, what that was made from, and whether it still is what it would be made from.

A step's fingerprints are noted in `made-from/` before its output is begun, and an output that no longer fits is moved
to `old/` before that; so an output beside a note was made from what the note says, whenever a run was killed. What is
counted is the content of the files before it, the settings that matter to it, weights, and code. So a step that is
made again and comes out the same makes nothing behind it stale.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from pathlib import Path

from mags_kit import fingerprints, holder
from mags_kit.config import Config
from mags_kit.dials import DIALS, VLLM_DIALS
from mags_kit.records import read_json, write_json
from mags_kit.run import Run, versions

# Settings by what they matter to; `other_seeds`, `sizes` and `orders` only say which branches there are, `grid` which
# answers, `tracker` who is told.
POLICY = ("model", "revisions", "thinking", "prompt_style", "four_bit")
LOOKING = "first_view_pixels view_pixels magnifier margin max_regions round_tokens batch_size".split()
DATA = "data benchmarks mirror test_sets vsr revisions own pool validation test seed".split()
POOL = (*POLICY, *LOOKING, "solve_rollouts", "temperature", "seed")
CURATED = ("curated", "selection", "seed")
TRAINING = (
    *POLICY, *LOOKING, "adapter", "lora_rank", "lora_alpha", "curriculum", "stage_steps", "samples_per_step",
    "num_generations", "rollout_batch", "micro_batch", "optimizer", "learning_rate", "temperature", "vllm",
    "gradient_checkpointing", "beta", "rewards", "validate_every", "keep_rollouts", "seed", *DIALS, *VLLM_DIALS,
)  # fmt: skip
ANSWERS = (*POLICY, *LOOKING, "adapter", "rewards")
DRAWN = ("temperature", "seed")  # where an answer is not greedy, or a region is random
BASE = ("base_steps", "seed")


class State(StrEnum):
    DONE = "done"
    OLDER = "done, by an older kit"  # which noted no fingerprints; taken as it is
    STALE = "stale"  # made from something else than what there is now
    BEHIND = "behind"  # as it was made, but a step before it is to be made first, and may come out another
    UNFINISHED = "unfinished"
    MISSING = "missing"


SETTLED = (State.DONE, State.OLDER)


@dataclass(frozen=True)
class Step:
    """One thing that a run makes. `outputs` are what is moved away when it is made again."""

    name: str
    run: Run
    outputs: tuple[Path, ...]
    made_from: Callable[[], dict]
    after: tuple["Step", ...] = ()
    finished: Callable[[], bool] | None = None  # else: when all outputs are there
    gives: tuple[Path, ...] = ()  # the files that steps behind it read, if not the outputs

    @property
    def note(self) -> Path:
        return self.run.path / "made-from" / f"{self.name.replace(', ', '-').replace(' ', '_')}.json"

    def state(self, known: dict | None = None) -> tuple[State, str]:
        """Where the step stands, and why, in words. `known` holds what one look at many steps has found."""
        known = {} if known is None else known
        if self.note not in known:
            known[self.note] = self._state(known)
        return known[self.note]

    def _state(self, known: dict) -> tuple[State, str]:
        there = [path for path in self.outputs if path.exists()]
        finished = self.finished() if self.finished else len(there) == len(self.outputs)
        noted = read_json(self.note) if self.note.exists() else None
        if not there:
            return (State.DONE, "nothing to do") if finished else (State.MISSING, "")
        if noted is None and not finished:
            return State.MISSING, "what an older kit began is begun again"
        waits = [step.name for step in self.after if step.state(known)[0] not in SETTLED]
        changes = fingerprints.differences(noted["from"], self.now()) if noted else []
        if changes:
            return State.STALE, "; ".join(changes)
        if not finished:
            return State.UNFINISHED, ""
        if waits:
            return State.BEHIND, f"waits for: {', '.join(waits)}"
        if noted is None:
            return State.OLDER, "what it was made from is unknown"
        now = versions()
        other = [f"{name} {v} (now {now[name]})" for name, v in noted["versions"].items() if now.get(name, v) != v]
        return State.DONE, f"made with {', '.join(other)}" if other else ""

    def now(self) -> dict:
        """What it would be made from now, as JSON gives it back."""
        return json.loads(json.dumps(self.made_from()))

    def begin(self) -> None:
        """Hold the run, and clear the way: what does not fit is moved to `old/`, and the fingerprints are noted."""
        state, why = self.state()
        holder.make((self.run.parent or self.run).path)
        self.clear(state, why)
        if state is not State.UNFINISHED:
            self.stamp()

    def clear(self, state: State, why: str) -> None:
        """Move outputs that are not to be gone on with, and what they were made from, to `old/`."""
        there = [path for path in self.outputs if path.exists()]
        if state is State.UNFINISHED or not there:
            return
        moved = [*there, *([self.note] if self.note.exists() else [])]
        places = [path.relative_to(self.run.path) for path in moved]
        olds = (self.run.path / "old" / str(number) for number in count(1))
        old = next(old for old in olds if not any((old / place).exists() for place in places))
        print(f"{self.name} is made again ({why}); what was there lies in {old}", flush=True)
        for path, place in zip(moved, places, strict=True):
            (old / place).parent.mkdir(parents=True, exist_ok=True)
            path.rename(old / place)

    def stamp(self) -> None:
        write_json(self.note, {"from": self.now(), "versions": versions()})


def ready(step: Step) -> bool:
    """Whether a step's output is there and fits; if not, the way is cleared to make it or to go on with it.

    ValueError where a step before it is to be made again first. Of several processes the main one alone may ask.
    """
    mine = step.state(known := {})[0]
    if mine in SETTLED:
        return True
    for before in _all_before(step):
        state, why = before.state(known)
        if state in (State.STALE, State.UNFINISHED):
            said = f"{state} ({why})" if why else state
            raise ValueError(f"{step.name}: {before.name} comes first, and is {said}; run its notebook or part again")
    if mine is State.BEHIND:  # what it was made from is gone, as to save space
        return True
    step.begin()
    return False


def _all_before(step: Step) -> list[Step]:
    return [one for before in step.after for one in (*_all_before(before), before)]


def settings(config: Config, names: tuple[str, ...]) -> dict:
    return {f"setting {name}": getattr(config, name) for name in names}


def content(run: Run, path: Path) -> dict[str, str]:
    """The fingerprint of a file or folder of a run or of its parent; of a list of samples with its images."""
    lists = [run.samples(name) for name in ("pool", "validation", "test", "curated")]
    inside = run.path if path.is_relative_to(run.path) else run.parent.path
    mark = fingerprints.listed(path, run.data) if path in lists else fingerprints.path(path)
    return {path.relative_to(inside).as_posix(): mark}


def data(run: Run) -> Step:
    """The lists of candidates, validation and test questions, and their images; of a model alone the test's only."""
    run = run.parent or run
    lists = tuple(run.samples(name) for name in ("pool", "validation", "test") if getattr(run.config, name))

    def made_from():
        config, alone = run.config, ("data.sets:prepare",)
        roots = ["data.benchmarks"] if config.data == "benchmarks" else ["tiny.scenes"]
        alone += () if config.data == "benchmarks" else ("data.sets:scene_samples",)
        own = {"own data": fingerprints.listed(Path(config.own), Path(config.own).parent)} if config.own else {}
        roots += ["data.own"] if config.own else []
        return settings(config, DATA) | fingerprints.code(*roots, alone=alone) | own

    return Step("data", run, (run.data,), made_from, finished=lambda: all(p.exists() for p in lists), gives=lists)


def pool(run: Run) -> Step:
    """The answers that measure the candidates."""
    run = run.parent or run

    def made_from():
        code = fingerprints.code("method.rollout", alone=("experiments:measure_pool",))
        weights = fingerprints.weights(run.config)
        return settings(run.config, POOL) | weights | code | content(run, run.samples("pool"))

    return Step("pool", run, (run.trajectories("pool"),), made_from, (data(run),))


def curated(run: Run) -> Step:
    """The list of the training samples."""

    def made_from():
        code = fingerprints.code("method.curriculum", alone=("experiments:curate",))
        whole = run.parent or run
        files = content(run, run.samples("pool")) | content(run, whole.trajectories("pool"))
        return settings(run.config, CURATED) | code | files

    return Step("curated", run, (run.samples("curated"),), made_from, (data(run), pool(run)))


def training(run: Run) -> Step:
    """All stages, as one: the best adapter is chosen over them, and one half of a training fits no other's."""
    wanted = {f"stage {i + 1}" for i, steps in enumerate(run.config.stage_steps) if steps}

    def finished():
        return wanted <= set(read_json(run.training_log)["stages"] if run.training_log.exists() else ())

    def made_from():
        config = run.config
        code = fingerprints.code("method.training", alone=("experiments:train",))
        files = content(run, run.samples("curated")) | content(run, run.samples("validation"))
        first = {"weights of the adapter": fingerprints.path(Path(config.adapter))} if config.adapter else {}
        return settings(config, TRAINING) | fingerprints.weights(config) | first | code | files

    before, gives = (data(run), curated(run)), (run.training_log, run.best)
    return Step("training", run, (run.path / "training",), made_from, before, finished, gives)


def answers(
    run: Run, checkpoint: str, condition: str, how: dict, drawn: bool = False, rests_on: tuple[Step, ...] = ()
) -> Step:
    """The test set's answers under one condition, `before` or `after` RL, or of a model `alone`. `how` is what is asked
    and shown; `rests_on` are other answers that it is made from; `drawn` says that chance has a part in it."""

    def made_from():
        config, rooms = run.config, ("evaluate", "scored", "_Answering", "_direct")
        alone = tuple(f"report.evaluation:{name}" for name in rooms)
        code = fingerprints.code("method.rollout", "method.rewards", "report.conditions", alone=alone)
        adapter = run.best if checkpoint == "after" else Path(config.adapter) if config.adapter else None
        weights = fingerprints.weights(config)
        weights |= {"weights of the adapter": fingerprints.path(adapter)} if adapter else {}
        files = content(run, run.samples("test"))
        for step in rests_on:
            files |= content(run, step.outputs[0])
        chosen = settings(config, (*ANSWERS, *(DRAWN if drawn else ())))
        return chosen | weights | code | {"condition": how} | files

    before = (data(run), training(run)) if checkpoint == "after" else (data(run),)
    outputs = (run.trajectories(checkpoint, condition),)
    return Step(f"{checkpoint}, {condition}", run, outputs, made_from, (*before, *rests_on))


def base(run: Run) -> Step:
    """The embedded base model, trained from nothing."""

    def made_from():
        return settings(run.config, BASE) | fingerprints.code("tiny.pretraining")

    folder = run.path / "base"
    return Step("base", run, (folder,), made_from, finished=lambda: folder.joinpath("model.safetensors").exists())
