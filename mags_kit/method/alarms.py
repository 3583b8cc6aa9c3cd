"""Alarms in training: what its log says is going wrong, and what helps. Pure functions of the trainer's log.

A row is what TRL logs for an optimisation step; other rows say nothing here. The shipped runs raise no alarm.
"""

import math
from dataclasses import asdict, dataclass
from statistics import fmean, median

WINDOW = 5  # steps that an alarm looks back on: one step of few groups says little
FLAT = 0.9  # share of the groups without spread: the gradient comes from fewer than one group in ten
CUT_OFF = 0.5  # share of the replies that end at the limit: for most, what is rewarded is the limit
FEW_CALLS = 0.1  # calls a trajectory: below it, most groups of eight hold no look to compare
NO_CALLS = 10  # steps without any call: nothing is left that could be rewarded
FAR = 1.0  # nats a token away from the stage's start; the shipped runs stay below 0.1, and language is lost above 1
JUMP = 20  # times the median gradient norm so far; the shipped runs stay within 3
KNOWN = 10  # steps before a median is known


@dataclass(frozen=True)
class Alarm:
    """Something wrong after a step: its name, and a sentence on what is seen and what helps."""

    name: str
    said: str
    stop: bool = False  # going on is pointless


class Pointless(ValueError):
    """Training was stopped, as an alarm asked for."""


def alarms(log: list[dict]) -> list[Alarm]:
    """What is wrong after the last step of a log."""
    rows = [row for row in log if "reward" in row]
    return [alarm for check in CHECKS if (alarm := check(rows))] if rows else []


def summary(log: list[dict]) -> list[dict]:
    """Each alarm of a whole log: the step that first raised it, the number of steps that did, its last sentence."""
    rows, raised = [row for row in log if "reward" in row], {}
    for end in range(1, len(rows) + 1):
        for alarm in alarms(rows[:end]):
            first = raised.get(alarm.name, {"first": rows[end - 1]["step"], "steps": 0})
            raised[alarm.name] = asdict(alarm) | {"first": first["first"], "steps": first["steps"] + 1}
    return list(raised.values())


def finite(row: dict) -> dict:
    """A row as JSON can hold it: what is no number is None."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}


def _recent(rows: list[dict], key: str, count: int = WINDOW) -> list[float]:
    """The last values of a key, none at all where there are fewer than `count`."""
    values = [row[key] for row in rows[-count:] if key in row]
    return values if len(values) == count else []


def _not_a_number(rows):
    for key in ("loss", "grad_norm", "kl", "reward"):
        if not math.isfinite(rows[-1].get(key) or 0.0):
            return Alarm(
                "not a number",
                f"{key} is {rows[-1][key]}, and no later step can mend the adapter: train again with a smaller "
                "learning_rate, or with a larger beta",
                stop=True,
            )


def _no_calls(rows):
    rates = _recent(rows, "tools/call_frequency", NO_CALLS)
    if rates and max(rates) == 0:
        return Alarm(
            "no calls",
            f"no reply of the last {NO_CALLS} steps called the tool, so there is no look that could be rewarded: train "
            "again with a larger weight of `format`, a larger beta, or a smaller learning_rate",
            stop=True,
        )


def _few_calls(rows):
    rates = _recent(rows, "tools/call_frequency")
    if rates and fmean(rates) < FEW_CALLS:
        return Alarm(
            "few calls",
            f"{fmean(rates):.0%} of the replies of the last {WINDOW} steps call the tool; a larger weight of `format`, "
            "or a model that knows the tool, helps",
        )


def _flat(rows):
    shares = _recent(rows, "frac_reward_zero_std")
    if shares and fmean(shares) >= FLAT:
        return Alarm(
            "no spread",
            f"in {fmean(shares):.0%} of the groups of the last {WINDOW} steps all rewards are equal, which teaches "
            "nothing; more num_generations, a higher temperature, or questions that are solved sometimes help",
        )


def _cut_off(rows):
    shares = _recent(rows, "completions/clipped_ratio")
    if shares and fmean(shares) >= CUT_OFF:
        return Alarm(
            "cut off",
            f"{fmean(shares):.0%} of the replies of the last {WINDOW} steps end at the limit of tokens; more "
            "round_tokens, or a model that comes to an end, helps",
        )


def _far(rows):
    distances = _recent(rows, "kl")
    if distances and fmean(distances) > FAR:
        return Alarm(
            "far away",
            f"the policy is {fmean(distances):.1f} nats a token away from where the stage began; a larger beta, or a "
            "smaller learning_rate, helps",
        )


def _jump(rows):
    norms = [row["grad_norm"] for row in rows if "grad_norm" in row]
    if len(norms) > KNOWN and norms[-1] > JUMP * median(norms[:-1]) > 0:
        return Alarm(
            "gradient jumps",
            f"the gradient's norm is {norms[-1]:.3g}, where {median(norms[:-1]):.3g} was usual; a smaller "
            "learning_rate, or more samples_per_step, helps",
        )


CHECKS = (_not_a_number, _no_calls, _few_calls, _flat, _cut_off, _far, _jump)
