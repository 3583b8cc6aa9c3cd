"""The episode as TRL's environment, the rewards as TRL calls them, and a check that no view is lost between them."""

from collections import Counter

import numpy as np
from PIL import Image

from mags_kit.config import COSTS
from mags_kit.method import processes, protocol, rewards
from mags_kit.method.episode import Agent, Episode
from mags_kit.method.metrics import mixed_groups, right, step_metrics
from mags_kit.method.rollout import image_tokens, suffix_ids
from mags_kit.records import Sample, Trajectory


class Environment:
    """One episode as TRL drives it. TRL offers every public method but `reset` to the policy as a tool."""

    def __init__(self, agent: Agent, samples: tuple[Sample, ...], begun: Counter | None = None):
        self.agent, self.samples, self.episode = agent, samples, None
        self.begun = Counter() if begun is None else begun  # episodes of each row, over all environments

    def reset(self, number: int, **_) -> list[dict]:
        """Begin the episode of a row of TRL's dataset, and return the content of its first user message."""
        config, change = self.agent.config, None
        if config.jitter:
            visit = self.begun[number] // config.num_generations
            change = lambda image: jittered(np.random.default_rng([config.seed, number, visit]), image)
        self.begun[number] += 1
        self.episode = Episode(self.agent, self.samples[number], change=change)
        return self.episode.prompt()

    def magnify(self, regions: list) -> list[dict] | str:
        return self.episode.magnify(regions)

    magnify.__doc__ = protocol.magnify.__doc__


def jittered(rng, image: Image.Image) -> Image.Image:
    """The image, whole and in its own pixels, somewhere on a ground up to a fifth larger, in another light."""
    pixels = np.asarray(image) * rng.uniform(0.85, 1.15) * rng.uniform(0.94, 1.06, 3)
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    mean, larger = np.asarray(image).mean((0, 1)), rng.uniform(1, 1.2)
    ground = Image.new("RGB", [round(larger * side) for side in image.size], tuple(map(int, mean)))
    ground.paste(image, [int(rng.integers(0, a - b + 1)) for a, b in zip(ground.size, image.size, strict=True)])
    return ground


def reward_functions(agent: Agent) -> list:
    """One function per reward, in the order of the config; TRL calls them in turn on the same batch.

    The first one reads the trajectories and logs metrics. Of several processes each has its share of the batch.
    """
    names, batch = list(agent.config.rewards), []

    def read(completions, completion_ids, environments, log_metric) -> None:
        batch.clear()
        for environment, completion, ids in zip(environments, completions, completion_ids, strict=True):
            check_views(environment.episode, completion, ids)
            batch.append(trajectory(environment.episode, ids))
        verdicts = processes.gathered(right(batch).tolist())  # two processes may share a group
        mixed = {"groups/mixed_answers": mixed_groups(verdicts, agent.config.num_generations)}
        for key, value in (step_metrics(batch) | mixed).items():
            log_metric(key, value)

    def named(name):
        def reward(completions, completion_ids, environments, log_metric, trainer_state=None, **_):
            if name == names[0]:
                read(completions, completion_ids, environments, log_metric)
            values = [rewards.reward(name, t, agent.config.gate) for t in batch]
            return costs(values, batch, agent.config, trainer_state.global_step) if name in COSTS else values

        reward.__name__ = name
        return reward

    return [named(name) for name in names]


def costs(values: list[float], batch: list[Trajectory], config, step: int) -> list[float]:
    """Costs as the settings `cost_warmup` and `spare` have them."""
    share, size = min(1.0, (step + 1) / (config.cost_warmup + 1)), config.num_generations
    needless = [rewards.answer(t) and not t.looks for t in batch]
    paid = [not config.spare or any(needless[i - i % size : i - i % size + size]) for i in range(len(batch))]
    return [share * value * due for value, due in zip(values, paid, strict=True)]


def trajectory(episode: Episode, ids: list[int]) -> Trajectory:
    """The trajectory of one completion: replies, and between them the tool's messages."""
    policy, replies, start = episode.agent.policy, [], 0
    for shown in episode.shown:
        message = suffix_ids(policy, [shown])
        at = next((i for i in range(start, len(ids)) if ids[i : i + len(message)] == message), None)
        if at is None:  # "no view", dropped for want of tokens; for images see `check_views`
            break
        replies.append(ids[start:at])
        start = at + len(message)
    replies.append(ids[start:])
    return episode.trajectory([*map(policy.text, replies)], [*map(len, replies)])


def check_views(episode: Episode, completion: list[dict], ids: list[int]) -> None:
    """Raise a RuntimeError where TRL dropped or misplaced views, instead of training on half a rollout."""
    blocks = [part for message in completion if isinstance(message.get("content"), list) for part in message["content"]]
    views = [part["image"] for part in blocks if part["type"] == "image"]
    if len(views) != len(episode.views):
        raise RuntimeError(
            f"sample {episode.sample.id!r}: {len(episode.views)} views were cut out but {len(views)} reached the "
            "policy: max_completion_length is too small; lower max_regions or view_pixels"
        )
    processor = episode.agent.policy.processor
    wanted, there = image_tokens(processor, views), ids.count(processor.image_token_id)
    if wanted != there:
        what = f"the views need {wanted} image tokens, the completion holds {there}"
        raise RuntimeError(f"sample {episode.sample.id!r}: {what}: they are misplaced")
