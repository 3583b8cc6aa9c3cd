"""Monitoring of a training: validation and the best adapter, answers stored for replay, and alarms."""

import math
from dataclasses import replace
from statistics import fmean

from tqdm import tqdm

from mags_kit import compat
from mags_kit.config import COSTS
from mags_kit.method import processes
from mags_kit.method.curriculum import Stage
from mags_kit.method.episode import Agent
from mags_kit.method.metrics import right, step_metrics
from mags_kit.method.policy import save_adapter
from mags_kit.method.rewards import scores
from mags_kit.method.rollout import rollout
from mags_kit.records import Sample, Trajectory, read_json, read_trajectories, write_json, write_jsonl
from mags_kit.run import Run, mend_modes

REPLAYED = 30  # validation samples whose trajectories are stored at every validation


class Validation(compat.transformers().TrainerCallback):
    """Answers the validation set before the first step and at every checkpoint, and keeps the best adapter.

    `rows` holds one row per validation of this stage, `earlier` those of the stages before; steps count over all
    stages. The questions are also asked in one round, the tool withheld, to tell what the tool adds from what the
    policy learns without it (MED, arXiv 2602.01334). `raised` holds each alarm once. A progress bar shows reward and
    alarms.
    """

    def __init__(self, run: Run, agent: Agent, samples: list[Sample], stage: Stage, earlier: list[dict]):
        self.agent, self.samples, self.stage, self.earlier = agent, samples, stage, earlier
        self.best, self.folder = run.best, run.stage(stage.name)
        self.must_look = run.config.must_look
        # what the best adapter is chosen by
        self.earns = {"answer": 1.0} | {name: run.config.rewards.get(name, 0.0) for name in COSTS}
        self.file = self.folder / "validation.json"  # the rows, for a training that is resumed
        self.rows: list[dict] = []
        self.raised: dict[str, dict] = {}  # alarms by name
        self.bar = None

    def validate(self, step: int) -> None:
        """Answer the validation set, keep the adapter if none was better, and store the row.

        The checkpoint of the same step comes first: a training killed in between validates when it is resumed.
        """
        now = self.stage.before + step
        trajectories = rollout(self.agent, self.samples, condition="validation", progress=False)
        withheld = rollout(self.agent, self.samples, rounds=1, condition="validation, no tool", progress=False)
        best = max((row["return"] for row in self.earlier + self.rows), default=-math.inf)
        used, alone = right(trajectories), right(withheld)
        shares = {"accuracy": used, "withheld": alone, "gain": used & ~alone, "harm": alone & ~used}
        row = {"step": now, **{name: float(each.mean()) for name, each in shares.items()}, "samples": len(trajectories)}
        row |= step_metrics(trajectories) | {"return": fmean(scores(t, self.earns)["total"] for t in trajectories)}
        self.rows.append(row | {"right": used.astype(int).tolist()})
        if row["return"] > best:
            save_adapter(self.agent.policy, self.best, note=row)
        if processes.here().is_main_process:
            file = self.folder / "looks.jsonl"
            stored = read_trajectories(file) if file.exists() else []
            shown = [replace(t, condition=f"validation, step {now}") for t in trajectories[:REPLAYED]]
            write_jsonl(file, [t for t in stored if step_of(t) < now] + shown)  # a killed training may have later ones
            write_json(self.file, self.rows)

    def on_train_begin(self, args, state, control, **_):
        now = self.stage.before + state.global_step
        stored = read_json(self.file) if self.file.exists() else []
        self.rows = [row for row in stored if row["step"] <= now]
        continued = self.stage.before and not state.global_step  # with the adapter that was validated last
        if not continued and now not in [row["step"] for row in self.rows]:
            self.validate(state.global_step)
        hidden, total = not processes.here().is_main_process, self.stage.steps
        self.bar = tqdm(total=total, initial=state.global_step, desc=self.stage.name, mininterval=5, disable=hidden)

    def on_log(self, args, state, control, logs, **_):
        if "reward" not in logs:
            return
        found = alarms(state.log_history, self.must_look) + tool_alarms(self.earlier + self.rows)
        names = {"alarms": ", ".join(alarm["name"] for alarm in found)} if found else {}
        self.bar.set_postfix(reward=f"{logs['reward']:.2f}", **names)
        self._raise(found, state.global_step)

    def _raise(self, found: list[dict], step: int) -> None:
        for alarm in found:
            name, text = alarm["name"], f"{self.stage.name}, step {step}: {alarm['said']}"
            if name not in self.raised and not alarm["stop"] and processes.here().is_main_process:
                self.bar.write(text)
            self.raised.setdefault(name, {"stage": self.stage.name, "step": step, **alarm})
            if alarm["stop"]:
                raise TrainingStopped(text)

    def on_step_end(self, args, state, control, **_):
        self.bar.update(1)

    def on_save(self, args, state, control, **_):  # every `validate_every` steps, and at the end
        if processes.here().is_main_process:
            mend_modes(self.folder)
        self.validate(state.global_step)
        self._raise(tool_alarms(self.earlier + self.rows), state.global_step)

    def on_train_end(self, args, state, control, **_):
        self.bar.close()


def step_of(t: Trajectory) -> int:
    """The step, counted over all stages, of a trajectory that training has stored."""
    return int(t.condition.rsplit(" ", 1)[1])


class TrainingStopped(ValueError):
    """An alarm ended the training."""


def alarms(log: list[dict], must_look: bool = True) -> list[dict]:
    """The alarms after the last step of a trainer's log: `name`, `said` (what is seen and what helps), and `stop`.

    Where the policy need not look, a lack of calls may be right: it is a warning only.
    """
    rows, found = [row for row in log if "reward" in row], []  # the others are no optimisation steps
    for key in ("loss", "grad_norm", "kl", "reward"):
        if rows and not found and not math.isfinite(rows[-1].get(key) or 0.0):
            said = f"{key} is {rows[-1][key]}, {BROKEN}"
            found.append({"name": "not a number", "said": said, "stop": True})
    for name, key, steps, wrong, stop, said in RULES:
        values = [row[key] for row in rows[-steps:] if key in row]
        if len(values) == steps and wrong(fmean(values)):
            found.append({"name": name, "said": said.format(fmean(values)), "stop": stop and must_look})
    return found


def tool_alarms(rows: list[dict]) -> list[dict]:
    """The alarm after the last validation: two in a row at which the tool gains no more than it harms, after one
    at which it gained more. On few questions this may be chance, so it only warns.
    """
    net = [row["gain"] - row["harm"] for row in rows]
    if max(net[:-2], default=0) <= 0 or max(net[-2:]) > 0:
        return []
    return [{"name": "no gain", "said": NO_GAIN.format(**rows[-1]), "stop": False}]


NO_GAIN = (
    "{accuracy:.0%} of the validation questions are right with the tool and {withheld:.0%} without it, and for two "
    "validations the tool has gained nothing; questions about smaller details, a smaller first_view_pixels or a larger "
    "beta may help"
)
BROKEN = "and no later step can mend the adapter: train again with a smaller learning_rate, or with a larger beta"
# Name; key of the log; over how many steps which mean is wrong; whether to stop; what to say of it. The shipped runs
# raise none: their KL stays below 0.1 nats a token (above 1 language is lost).
RULES = (
    ("no calls", "tools/call_frequency", 10, lambda rate: rate == 0, True,
     "no reply of the last 10 steps called the tool, so there is no view that could be rewarded: train again with a "
     "larger weight of `format`, a larger beta, or a smaller learning_rate"),
    ("few calls", "tools/call_frequency", 5, lambda rate: rate < 0.1, False,
     "{:.0%} of the replies of the last 5 steps call the tool; `scale_rewards: none`, a prompt that asks what is seen "
     "before the call, or a larger weight of `format` may help"),
    ("no spread", "frac_reward_zero_std", 5, lambda share: share >= 0.9, False,
     "in {:.0%} of the groups of the last 5 steps all rewards are equal, which teaches nothing; more num_generations, "
     "a higher temperature, or questions that are solved sometimes help"),
    ("cut off", "completions/clipped_ratio", 5, lambda share: share >= 0.5, False,
     "{:.0%} of the replies of the last 5 steps end at the limit of tokens; more round_tokens, or a model that comes "
     "to an end, helps"),
    ("far away", "kl", 5, lambda nats: nats > 1, False,
     "the policy is {:.1f} nats a token away from where the stage began; a larger beta, or a smaller learning_rate, "
     "helps"),
)  # fmt: skip
