"""What TRL's trainer drives and asks: the look as its environment, the rewards, guards against hostile replies."""

import math
from collections.abc import Callable
from contextlib import contextmanager

from mags_kit.method import processes, protocol, rewards
from mags_kit.method.episode import Agent, Episode
from mags_kit.method.metrics import step_metrics, mixed_groups, right
from mags_kit.method.parsing import message, text_of
from mags_kit.method.rollout import alike, image_tokens, suffix_ids
from mags_kit.method.visits import Visits
from mags_kit.records import Sample, Trajectory


class Environment:
    """A look for TRL, which offers every public method but `reset` to the policy as a tool."""

    def __init__(self, agent: Agent, samples: tuple[Sample, ...]):
        self.agent, self.samples, self.look = agent, samples, None

    def reset(self, sample: int, **_) -> list[dict]:
        """Begin with the sample of that number, and return the content of the first user message."""
        self.look = Episode(self.agent, self.samples[sample])
        return self.look.prompt()

    def magnify(self, regions: list) -> list[dict] | str:
        return self.look.magnify(regions)

    magnify.__doc__ = protocol.magnify.__doc__


def reward_functions(agent: Agent, keep: Callable[[int, list[Trajectory]], None], rates=None) -> list:
    """One function per reward, in TRL's form; the first also checks the batch, logs what the policy looked at, gives
    `keep` the steps done before it and its trajectories, and tells `rates` (see `visits`) which answers were right."""
    names, batch = list(agent.config.rewards), {}

    def trajectories(environments, completion_ids, completions):
        if batch.get("of") is not completion_ids:  # each reward is called with the same lists
            looks = [environment.look for environment in environments]
            for look, completion, ids in zip(looks, completions, completion_ids, strict=True):
                check_views(look, completion, ids)
            batch.update(of=completion_ids, trajectories=[*map(trajectory, looks, completion_ids)])
        return batch["trajectories"]

    def named(name):
        def reward(completions, completion_ids, environments, log_metric, trainer_state, **_):
            batch_of = trajectories(environments, completion_ids, completions)
            if name == names[0]:
                if rates is not None:
                    rates.update([t.sample.id for t in batch_of], right(batch_of).tolist())
                verdicts = processes.gathered(right(batch_of).tolist())  # two processes may share a group
                mixed = {"groups/mixed_answers": mixed_groups(verdicts, agent.config.num_generations)}
                for key, value in (step_metrics(batch_of) | mixed).items():
                    log_metric(key, value)
                keep(trainer_state.global_step, batch_of)
            return [rewards.reward(name, t) for t in batch_of]

        reward.__name__ = name
        return reward

    return [named(name) for name in names]


def trajectory(look: Episode, ids: list[int]) -> Trajectory:
    """The trajectory of one completion: round 1, tool message, header of the next turn, round 2."""
    policy = look.agent.policy
    tokenizer = policy.processor.tokenizer
    header = tokenizer.encode(protocol.HEADER + policy.opening, add_special_tokens=False)
    end = ids.index(tokenizer.eos_token_id) + 1 if tokenizer.eos_token_id in ids else len(ids)
    next_turn = _find(header, ids, end) if look.called else None
    if next_turn is not None and not text_of(tokenizer, ids[end:next_turn]).strip():
        end = _find(suffix_ids(policy, [look.shown]), ids, 0)  # the end mark is the tool's: round 1 was cut off
    replies = [ids[:end]] if next_turn is None else [ids[:end], ids[next_turn + len(header) :]]
    return look.trajectory([*map(policy.text, replies)], [*map(len, replies)])


def _find(part: list[int], ids: list[int], start: int) -> int | None:
    return next((i for i in range(start, len(ids)) if ids[i : i + len(part)] == part), None)


@contextmanager
def asked_once(processor):
    """Within, the processor applies its template once to conversations of the same words and the very same images."""
    ask, known = processor.apply_chat_template, {}

    def once(conversation, tools, **options):
        parts = [part for messages in conversation for message in messages for part in message["content"]]
        key = id(tools), *(id(part["image"]) if "image" in part else part["text"] for part in parts)
        if key not in known:
            known[key] = ask(conversation=conversation, tools=tools, **options)
        return known[key]

    processor.apply_chat_template = once
    try:
        yield
    finally:
        del processor.apply_chat_template


def trainer_class(rates=None):
    """TRL's trainer, mended where a reply could stop it; with `rates`, samples are visited by them (see `visits`).

    It asks the tokenizer to parse each reply, and transformers' parser raises on deeply nested brackets and on no
    token at all, takes seconds for some long ones, and lets a reply call any name, which then returns into the next
    prompt as text. So that one method of this tokenizer is ours, and nothing of TRL's loop needs to be.
    """
    from trl import GRPOTrainer

    class Trainer(GRPOTrainer):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            tokenizer = self.processing_class.tokenizer
            tokenizer.parse_response = lambda ids, **_: message(text_of(tokenizer, ids))
            self.suffixes = {}

        def create_model_card(self, *_, **__):
            """TRL's stub says less than the run's own card, and less than the truth: "fine-tuned version of None"."""

        def _tokenize_prompts(self, prompts):
            """TRL's, which asks the processor for each prompt: once for those of a group."""
            with asked_once(self.processing_class):
                ids, images, fields = super()._tokenize_prompts(prompts)
            return [[*each] for each in ids], images, fields

        def _get_tool_suffix_ids(self, tool_messages):
            """TRL's, computed once for tool messages that are alike: most views are of one size."""
            key = tuple((message["name"], alike(message["content"])) for message in tool_messages)
            if key not in self.suffixes:
                self.suffixes[key] = super()._get_tool_suffix_ids(tool_messages)
            return self.suffixes[key]

        def _get_train_sampler(self, *options):
            if rates is None:
                return super()._get_train_sampler(*options)
            args, repeats = self.args, self.num_iterations * self.args.steps_per_generation
            draws = math.ceil(args.max_steps * args.gradient_accumulation_steps / args.steps_per_generation)
            return Visits(
                rates,
                draws,
                args.generation_batch_size // self.num_generations,
                self.num_generations,
                repeats,
                args.seed,
            )

        def _generate_single_turn(self, *args, **options):
            """A reply without a token, as an engine that is cut off gives it, gets an end mark: TRL reads its last."""
            replies, logps = super()._generate_single_turn(*args, **options)
            empty = [i for i, ids in enumerate(replies) if not ids]
            for i in empty:
                replies[i] = [self.processing_class.tokenizer.eos_token_id]
                if logps is not None:  # as if it had been certain, so that TRL's correction leaves it little weight
                    logps[i] = [0.0]
            return replies, logps

    return Trainer


def check_views(look: Episode, completion: list[dict], ids: list[int]) -> None:
    """Guard against views that were dropped on the way: a RuntimeError instead of training on half a rollout."""
    blocks = [part for message in completion if isinstance(message.get("content"), list) for part in message["content"]]
    views = [part["image"] for part in blocks if part["type"] == "image"]
    if len(views) != len(look.views):
        raise RuntimeError(
            f"sample {look.sample.id!r}: {len(look.views)} views were cut out but {len(views)} reached the policy: "
            "max_completion_length is too small; lower max_regions or view_pixels"
        )
    processor = look.agent.policy.processor
    wanted, there = image_tokens(processor, views), ids.count(processor.image_token_id)
    if wanted != there:
        raise RuntimeError(
            f"sample {look.sample.id!r}: the views need {wanted} image tokens, the completion holds {there}: they are "
            "misplaced"
        )
