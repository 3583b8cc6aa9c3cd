"""What a batch of rollouts tells TRL's trainer: its rewards, whether every view reached the policy, and what it did."""

import numpy as np

from mags_kit import rewards
from mags_kit.config import Config
from mags_kit.evaluation import grounding
from mags_kit.policy import Policy
from mags_kit.rollout import MagnifyingGlass


def reward_functions(policy: Policy, config: Config) -> list:
    """One function per reward, in TRL's form; the first also checks the batch and logs what the policy looked at."""
    names, batch = list(config.rewards), {}

    def trajectories(environments, completion_ids, completions):
        if batch.get("of") is not completion_ids:  # each reward is called with the same lists
            rows = list(zip(environments, completions, completion_ids, strict=True))
            for glass, completion, ids in rows:
                check_images(policy, glass, completion, ids)
            batch.update(of=completion_ids, made=[_trajectory(policy, glass, ids) for glass, _, ids in rows])
        return batch["made"]

    def make(name):
        def reward(completions, completion_ids, environments, log_metric, **_):
            made = trajectories(environments, completion_ids, completions)
            if name == names[0]:
                for key, value in behaviour(made).items():
                    log_metric(key, value)
            return [rewards.REWARDS[name](t) for t in made]

        reward.__name__ = name
        return reward

    return [make(name) for name in names]


def _trajectory(policy: Policy, glass: MagnifyingGlass, ids: list[int]):
    """The trajectory of one completion: round 1, tool message, header of the next turn, round 2."""
    tokenizer = policy.processor.tokenizer
    header = tokenizer.encode("<|im_start|>assistant\n", add_special_tokens=False)
    end = ids.index(tokenizer.eos_token_id) + 1 if tokenizer.eos_token_id in ids else len(ids)
    starts = [i + len(header) for i in range(end, len(ids)) if ids[i : i + len(header)] == header]
    replies = [ids[:end], ids[starts[0] :]] if glass._called and starts else [ids[:end]]
    return glass._trajectory([tokenizer.decode(r, skip_special_tokens=True) for r in replies], [*map(len, replies)])


def check_images(policy: Policy, glass: MagnifyingGlass, completion: list[dict], ids: list[int]) -> None:
    """Guard against views that were dropped on the way: a RuntimeError instead of training on half a rollout."""
    blocks = [part for message in completion if isinstance(message.get("content"), list) for part in message["content"]]
    views = [part["image"] for part in blocks if part["type"] == "image"]
    if len(views) != len(glass._views):
        raise RuntimeError(
            f"{len(glass._views)} views were cut out but {len(views)} reached the policy: max_completion_length is too "
            "small; lower max_regions or view_pixels"
        )
    images = policy.processor.image_processor
    patches = sum(images.get_number_of_image_patches(view.height, view.width, {}) for view in views)
    wanted, found = patches // images.merge_size**2, ids.count(policy.processor.image_token_id)
    if wanted != found:
        raise RuntimeError(f"the views need {wanted} image tokens, the completion holds {found}: they are misplaced")


def behaviour(trajectories) -> dict[str, float]:
    """What the policy did, logged beside the rewards; boxes of the samples serve the log only."""
    areas = [
        (r.box[2] - r.box[0]) * (r.box[3] - r.box[1]) / (t.size[0] * t.size[1])
        for t in trajectories for r in t.regions if r.usable
    ]  # fmt: skip
    found = {
        "call_rate": [bool(t.regions) for t in trajectories],
        "area": areas,
        "coverage": [grounding(t)["coverage"] for t in trajectories if t.sample.boxes],
        "repaired": [rewards.verify(t) > 0 for t in trajectories],
        "broke": [rewards.verify(t) < 0 for t in trajectories],
    }
    return {f"look/{name}": float(np.mean(values)) for name, values in found.items() if values}
