"""A cold start without boxes: before RL the adapter is finetuned on the base's own good trajectories of the pool.

RL rewards only what the policy samples. Where few sampled replies call the tool in the required form, the adapter first
learns from those that do and answer rightly: rejection sampling, as in STaR (Zelikman et al. 2022, arXiv 2203.14465).
"""

from collections import defaultdict

from mags_kit.config import COLD_START
from mags_kit.method import rewards
from mags_kit.method.curriculum import Stage
from mags_kit.method.episode import Agent, Episode
from mags_kit.method.rollout import answered, images_of, prompt_ids, suffix_ids
from mags_kit.records import Trajectory, read_trajectories
from mags_kit.run import Run

MOST = 2  # trajectories of one question: with all of them, easy questions would outweigh the others
BATCH = 16  # trajectories in a step: where few are kept, a larger one would show each too often
RATE = 1e-4  # least step size, a usual one of LoRA finetuning: RL's 1e-5 hardly moves anything in so few steps
FEW = 0.3  # share of well-formed trajectories below which a cold start is advised


def stage(run: Run) -> Stage:
    """The stage before those of RL; ValueError where the measured pool has nothing to imitate."""
    sampled = read_trajectories((run.parent or run).trajectories("pool"))
    if not (kept := keep(sampled)):
        helps = "a larger pool, more solve_rollouts or another model may give some"
        raise ValueError(f"cold_start: {summary(sampled)}, none of them with a right answer to imitate; {helps}")
    return Stage(COLD_START, (), run.config.cold_start, imitated=tuple(kept))


def well_formed(t: Trajectory) -> bool:
    """Whether a trajectory has every part that was asked for and looked at a region."""
    return rewards.form(t) == 1 and any(region.usable for region in t.regions)


def keep(sampled: list[Trajectory]) -> list[Trajectory]:
    """The well-formed and right trajectories, at most `MOST` of a question. No box of the data plays a part."""
    kept = defaultdict(list)
    for t in sampled:
        if well_formed(t) and rewards.answer(t) == 1 and len(kept[t.sample.id]) < MOST:
            kept[t.sample.id].append(t)
    return [t for of_one in kept.values() for t in of_one]


def summary(sampled: list[Trajectory]) -> str:
    """How many of the base's trajectories are well-formed."""
    count = sum(map(well_formed, sampled))
    return f"{count} of {len(sampled)} sampled trajectories call the tool and are well-formed"


def advice(sampled: list[Trajectory]) -> str:
    """The summary, and what helps where they are few."""
    few = sum(map(well_formed, sampled)) < FEW * len(sampled)
    helps = ", so RL has little to reward; a run with SET='{cold_start: 20}' imitates the right ones of them first"
    return summary(sampled) + helps * few


def batch(agent: Agent, trajectories: list[Trajectory]) -> dict:
    """Trajectories as inputs of the model, padded on the left, `(B, T)`."""
    from torch import tensor
    from torch.nn.utils.rnn import pad_sequence

    ids, labels, images = zip(*(tokens(agent, t) for t in trajectories), strict=True)
    padded = pad_sequence([*map(tensor, labels)], batch_first=True, padding_value=-100, padding_side="left")
    return agent.policy.inputs(list(ids), list(images)) | {"labels": padded}


def tokens(agent: Agent, t: Trajectory) -> tuple[list[int], list[int], list]:
    """The tokens of a stored trajectory, as in RL; their labels, -100 for those that the policy did not write; and its
    images, the views magnified again."""
    policy, episode = agent.policy, Episode(agent, t.sample)
    ids, labels, images = [], [], []
    for i, reply in enumerate(t.replies):
        content = answered(policy, episode, own) if i else episode.prompt()
        given, own = suffix_ids(policy, [content]) if i else prompt_ids(policy, content), policy.ids(reply)
        ids, labels, images = ids + given + own, labels + [-100] * len(given) + own, images + images_of(content)
    return ids, labels, images
