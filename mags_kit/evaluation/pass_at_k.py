"""pass@k of base and trained policy: the share of questions of which at least one of k sampled answers is right.

Yue et al. (arXiv 2504.13837) ask with it whether RL teaches: where the base reaches the trained policy once both may
try often, RL made likely what the base could do already. Two rounds at the temperature of training.
"""

import math
from collections.abc import Sequence

import numpy as np

from mags_kit import steps
from mags_kit.evaluation.statistics import clusters_of, mean_interval
from mags_kit.method import processes
from mags_kit.method.episode import Agent
from mags_kit.method.metrics import right
from mags_kit.method.policy import load_policy
from mags_kit.method.rollout import rollout
from mags_kit.method.scoring import normalise
from mags_kit.records import Outcome, Trajectory, read_samples, read_trajectories, write_json, write_jsonl
from mags_kit.run import Run

ANY, MAJORITY, LESS = "pass@k", "majority of k", "trained, less base"


def measure(run: Run) -> dict:
    """`pass_at_k.json`, see `estimates`: of the policy that RL began with and of the best adapter, if any."""
    adapters = {"base": run.config.adapter} | ({"trained": run.best} if run.best.exists() else {})
    found = estimates({checkpoint: sampled(run, checkpoint, path) for checkpoint, path in adapters.items()})
    if processes.here().is_main_process:
        write_json(run.path / "pass_at_k.json", found)
    return found


def sampled(run: Run, checkpoint: str, adapter) -> list[list[Trajectory]]:
    """`pass_k` passes over `pass_questions` of the test set, each with a seed of its own, stored when it is made. What
    is sampled after this draws the same random numbers as without it."""
    step, config = steps.draws(run, checkpoint), run.config
    if processes.main_says(steps.start, step):
        import torch

        test, here = read_samples(run.samples("test")), processes.here()
        drawn = np.random.default_rng(config.seed).permutation(len(test))[: config.pass_questions]
        agent, samples = Agent.of(run, load_policy(config, adapter)), [test[i] for i in sorted(drawn)]
        device = agent.policy.model.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            for number, file in enumerate(step.outputs):
                if processes.main_says(file.exists):
                    continue
                torch.manual_seed((config.seed * config.pass_k + number) * here.num_processes + here.process_index)
                label = f"{checkpoint}, answer {number + 1} of {config.pass_k}"
                made = rollout(agent, samples, temperature=config.temperature, condition=label)
                processes.main_does(write_jsonl, file, made)
    return [read_trajectories(file) for file in step.outputs]


def pass_at_k(good: int, n: int, k: int) -> float:
    """The unbiased estimate of pass@k from n sampled answers to a question, `good` of them right (Chen et al. 2021,
    arXiv 2107.03374, eq. 1)."""
    return 1 - math.comb(n - good, k) / math.comb(n, k)


def majority(answers: Sequence[Trajectory], k: int) -> float:
    """Share of the blocks of k answers to a question whose most frequent one is right; of several, each counts in part.

    Right answers count as one, wrong ones by their normal form; a trajectory without an answer has no vote.
    """
    said = [
        None if t.outcome != Outcome.ANSWERED else True if good else normalise(t.answer)
        for t, good in zip(answers, right(answers), strict=True)
    ]
    blocks = [[one for one in said[start : start + k] if one is not None] for start in range(0, len(said) - k + 1, k)]
    winners = [{one for one in block if block.count(one) == max(map(block.count, block))} for block in blocks]
    return float(np.mean([(True in found) / max(1, len(found)) for found in winners]))


def estimates(checkpoints: dict[str, list[list[Trajectory]]]) -> dict:
    """For each checkpoint, ANY and MAJORITY at k = 1, 2, 4, …: lists of means with 95% intervals clustered by image;
    and LESS, the paired differences of trained and base. `k` and the number of `questions` stand beside."""
    values, first = {}, next(iter(checkpoints.values()))
    n, clusters = len(first), clusters_of(first[0])
    ks = [2**i for i in range(n.bit_length())]
    for checkpoint, draws in checkpoints.items():
        good, questions = np.sum([right(each) for each in draws], 0).tolist(), list(zip(*draws, strict=True))
        values[checkpoint] = {
            ANY: np.array([[pass_at_k(count, n, k) for count in good] for k in ks]),  # (k, questions)
            MAJORITY: np.array([[majority(answers, k) for answers in questions] for k in ks]),
        }
    if "trained" in values:
        values[LESS] = {kind: values["trained"][kind] - values["base"][kind] for kind in (ANY, MAJORITY)}

    def intervals(rows: np.ndarray, least: int) -> list[dict[str, float]]:
        found = [mean_interval(row, clusters, least) for row in rows]
        return [{key: each[key] for key in ("mean", "low", "high")} for each in found]

    found = {
        name: {kind: intervals(rows, -1 if name == LESS else 0) for kind, rows in each.items()}
        for name, each in values.items()
    }
    return {"k": ks, "questions": len(clusters), **found}
