import numpy as np
import pytest

from mags_kit.evaluation import strategies
from mags_kit.method import protocol
from mags_kit.records import Outcome, Sample, Trajectory


def played(right: str, looks: str, sizes="") -> list[Trajectory]:
    """Trajectories that are right or wrong (1 or 0) after some looks, of questions about what is `l`arge or `s`mall."""
    made = []
    for i, (good, count) in enumerate(zip(right, looks, strict=True)):
        sample = Sample(str(i), f"{i}.jpg", "?", "ring", meta={"size": (sizes or "l" * len(right))[i]})
        answer = "ring" if good == "1" else "plus"
        reply = (f"<answer>{answer}</answer>",), (1,), (), ()
        found = {"looks": (1,) * int(count), "answer": answer, "outcome": Outcome.ANSWERED}
        made.append(Trajectory(sample, (9, 9), "", *reply, **found))
    return made


def test_the_best_rule_looks_where_looking_pays():
    sizes = "llllssss"
    never, always = played("11110000", "0" * 8, sizes), played("11111110", "1" * 8, sizes)
    both = {"always at once": never, "always closely": always}
    assert strategies.earned(both["always closely"], 0.2).mean() == pytest.approx(7 / 8 - 0.2)
    assert [strategies.best_constant(both, cost) for cost in (0.2, 0.5)] == ["always closely", "always at once"]
    rule = strategies.best_rule(both, 0.2)
    assert strategies.looks(rule).tolist() == [0] * 4 + [1] * 4
    assert strategies.earned(rule, 0.2).mean() == pytest.approx((4 + 3 - 4 * 0.2) / 8)


def test_a_rule_is_not_chosen_on_what_it_is_measured_on():
    """Two strategies of coin tosses: the better one of each sample would earn three quarters."""
    rng = np.random.default_rng(0)
    names = "always at once", "always closely"
    both = {name: played("".join(map(str, rng.integers(0, 2, 400))), "0" * 400) for name in names}
    assert strategies.earned(strategies.best_rule(both, 0.2), 0.2).mean() < 0.58


def test_a_row_says_what_is_earned_by_whom_and_where():
    sizes = ["tiny", "huge"] * 4
    one, other = (played(right, "10101010", sizes) for right in ("11111111", "01111111"))
    never = played("01010101", "0" * 8, sizes)
    row = strategies.row([one, other], 0.2, never)
    assert row["each"] == pytest.approx([1 - 0.1, 7 / 8 - 0.1]) and row["earned"] == pytest.approx(15 / 16 - 0.1)
    assert (row["looks, small"], row["looks, large"]) == (1, 0)
    assert (row["right, small"], row["right, large"]) == (7 / 8, 1)
    assert row["less the best constant"]["difference"] == pytest.approx(15 / 16 - 0.1 - 1 / 2)
    alone = strategies.row([one], 0.2, never)["less the best constant"]
    assert alone["difference"] == pytest.approx(0.4) and -1 < alone["low"] < 0.4 < alone["high"] < 1


def test_a_strategy_is_how_a_rationale_ends():
    for name, word in protocol.STRATEGIES.items():
        reply = f"<think>the red disc, it shows 4 white{word}</think>"
        assert protocol.strategy(reply) == name and protocol.looking(reply, name) == reply
        assert protocol.looking(f"{reply}<draft>2 black</draft>", "closely").endswith("it shows 4 white Point</think>")
