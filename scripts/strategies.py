"""What a policy's constant strategies earn, by the size of what is asked for: the baseline that RL has to beat.

    python scripts/strategies.py --model runs/base/base --count 300
    python scripts/strategies.py --run when-0 --adapter best --count 300

On fresh validation scenes, greedy; a look costs `--cost`. With `--adapter` also what the trained policy does by itself.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from mags_kit import Agent, load_policy, open_run, reopen, rollout, scene_samples, strategy, write_json
from mags_kit.data.scenes import SIZES
from mags_kit.evaluation import strategies
from mags_kit.method.rewards import form


def row(trajectories, returns, looks=None) -> dict:
    """Accuracy, looks, return with half of its 95% interval, well-formed replies, and by size accuracy and looks."""
    looks = np.array([len(t.looks) for t in trajectories]) if looks is None else looks
    right = np.array([strategies.rewards.answer(t) for t in trajectories]) if trajectories else None
    sizes = np.array([t.sample.meta["size"] for t in trajectories]) if trajectories else None
    found = {"return": returns.mean(), "±": 1.96 * returns.std(ddof=1) / len(returns) ** 0.5, "looks": looks.mean()}
    if trajectories:
        found |= {"accuracy": right.mean(), "well-formed": np.mean([form(t) == 1 for t in trajectories])}
        by = {"right": right, "looks": looks}
        found |= {f"{what} {size}": by[what][sizes == size].mean() for size in SIZES for what in by}
    return {name: round(float(value), 3) for name, value in found.items()}


def measure(agent: Agent, samples, cost: float, own: dict[str, Agent] | None = None) -> dict:
    """The table of all strategies of `agent`, of its best rule, and of what the policies `own` do by themselves."""
    played = strategies.constants(agent, samples)
    table = {name: row(each, strategies.returns(each, cost)) for name, each in played.items()}
    table["best rule"] = row([], *strategies.best_rule(played, cost))
    for name, each in ({"by itself": agent} | (own or {})).items():
        replies = rollout(each, samples, condition=name)
        table[name] = row(replies, strategies.returns(replies, cost))
        said = [strategy(t.replies[0]) for t in replies]
        table[name]["strategies"] = {each: said.count(each) for each in strategies.STRATEGIES}
    best = table["best constant"] = strategies.best_constant(played, cost)
    table["its returns"] = strategies.returns(played[best], cost).tolist()
    families = sorted({s.family for s in samples})
    table["right by family"] = {
        name: {f: round(float(np.mean([strategies.rewards.answer(t) for t in each if t.sample.family == f])), 3)
               for f in families} for name, each in played.items()}  # fmt: skip
    return table


def show(table: dict) -> None:
    for name, found in table.items():
        if name == "its returns":
            continue
        print(f"{name:>16}", json.dumps(found) if isinstance(found, dict) else found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--run", default="")
    parser.add_argument("--adapter", default="", help="a folder; the strategies are those of the base")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--first", type=int, default=60_000, help="seed of the first scene")
    parser.add_argument("--cost", type=float, default=0.2)
    parser.add_argument("--must-look", action="store_true")
    parser.add_argument("--out", default="")
    options = parser.parse_args()
    settings = {"model": options.model, "must_look": options.must_look}
    run = reopen(options.run) if options.run else open_run("cpu", "strategies", {"must_look": options.must_look})
    config = run.config if options.run else replace(run.config, **settings)
    samples = scene_samples("validation", options.count, run.data, options.first)
    agents = [replace(Agent.of(run, load_policy(config, a)), config=config) for a in ("", options.adapter)]
    table = measure(agents[0], samples, options.cost, {"adapter": agents[1]} if options.adapter else {})
    show(table)
    if options.out:
        write_json(Path(options.out), table)
