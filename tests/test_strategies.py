import numpy as np
import pytest

from mags_kit.evaluation import strategies
from mags_kit.method import protocol
from mags_kit.records import Outcome, Sample, Trajectory


def played(right: str, looks: str, sizes: str = "") -> list[Trajectory]:
    """Trajectories that are right or wrong (1 or 0) after some looks, of questions about what is `l`arge or `s`mall."""
    made = []
    for i, (good, count) in enumerate(zip(right, looks, strict=True)):
        sample = Sample(str(i), "x.jpg", "?", "ring", meta={"size": (sizes or "l" * len(right))[i]})
        answer = "ring" if good == "1" else "plus"
        reply = (f"<answer>{answer}</answer>",), (1,), (), ()
        found = {"looks": (1,) * int(count), "answer": answer, "outcome": Outcome.ANSWERED}
        made.append(Trajectory(sample, (9, 9), "", *reply, **found))
    return made


def test_the_best_rule_looks_where_looking_pays():
    sizes = "llllssss"
    both = {"at once": played("11110000", "0" * 8, sizes), "closely": played("11111110", "1" * 8, sizes)}
    assert strategies.returns(both["closely"], 0.2).mean() == pytest.approx(7 / 8 - 0.2)
    assert strategies.best_constant(both, 0.2) == "closely" and strategies.best_constant(both, 0.5) == "at once"
    returns, looks = strategies.best_rule(both, 0.2)
    assert looks.tolist() == [0] * 4 + [1] * 4 and returns.mean() == pytest.approx((4 + 3 - 4 * 0.2) / 8)


def test_a_rule_is_not_chosen_on_what_it_is_measured_on():
    """Two strategies of coin tosses: the better one of each sample would earn three quarters."""
    rng = np.random.default_rng(0)
    tosses = ["".join(map(str, rng.integers(0, 2, 400))) for _ in range(2)]
    both = {name: played(toss, "0" * 400) for name, toss in zip(("at once", "closely"), tosses, strict=True)}
    assert strategies.best_rule(both, 0.2)[0].mean() < 0.58


def test_a_strategy_is_how_a_rationale_ends():
    for name, word in protocol.STRATEGIES.items():
        reply = f"<think>the red disc, it shows 4 white{word}</think>"
        assert protocol.strategy(reply) == name and protocol.looking(reply, name) == reply
        assert protocol.looking(f"{reply}<draft>2 black</draft>", "closely").endswith("it shows 4 white Point</think>")
