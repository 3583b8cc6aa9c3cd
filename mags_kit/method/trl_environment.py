"""The episode as TRL's environment, the rewards as TRL calls them, and a check that no view is lost between them."""

from mags_kit.method import protocol, rewards
from mags_kit.method.episode import Agent, Episode
from mags_kit.method.metrics import mixed_groups, right, step_metrics
from mags_kit.method.rollout import image_tokens, images_of, suffix_ids
from mags_kit.records import Sample, Trajectory


class Environment:
    """One episode as TRL drives it. TRL offers every public method but `reset` to the policy as a tool."""

    def __init__(self, agent: Agent, samples: tuple[Sample, ...]):
        self.agent, self.samples, self.episode = agent, samples, None

    def reset(self, number: int, **_) -> list[dict]:
        """Begin the episode of a row of TRL's dataset, and return the content of its first user message."""
        self.episode = Episode(self.agent, self.samples[number])
        return self.episode.prompt()

    def magnify(self, regions: list) -> list[dict] | str:
        return self.episode.magnify(regions)

    magnify.__doc__ = protocol.magnify.__doc__


def reward_functions(agent: Agent) -> list:
    """One function per reward, in the order of the config; TRL calls them in turn on the same batch, of which each
    process has its share. The first one reads the trajectories and logs metrics."""
    from accelerate.utils import gather_object

    names, batch = list(agent.config.rewards), []

    def read(completions, completion_ids, environments, log_metric) -> None:
        batch.clear()
        for environment, completion, ids in zip(environments, completions, completion_ids, strict=True):
            check_views(environment.episode, completion, ids)
            batch.append(trajectory(environment.episode, ids))
        verdicts = gather_object(right(batch).tolist())  # two processes may share a group
        mixed = {"groups/mixed_answers": mixed_groups(verdicts, agent.config.num_generations)}
        for key, value in (step_metrics(batch) | mixed).items():
            log_metric(key, value)

    def named(name):
        def reward(completions, completion_ids, environments, log_metric, **_):
            if name == names[0]:
                read(completions, completion_ids, environments, log_metric)
            return [rewards.reward(name, t, agent.config.gate) for t in batch]

        reward.__name__ = name
        return reward

    return [named(name) for name in names]


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
    views = [image for message in completion for image in images_of(message.get("content"))]
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
