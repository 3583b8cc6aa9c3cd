"""The rollout of episodes: samples -> trajectories, in batches, with the same tokens as in training."""

from tqdm import tqdm

from mags_kit.method import processes, protocol
from mags_kit.method.episode import Agent, Episode
from mags_kit.method.parsing import parse_reply
from mags_kit.method.policy import Policy
from mags_kit.records import Box, Sample, Trajectory


def rollout(
    agent: Agent, samples: list[Sample], *, rounds: int = 2, temperature: float = 0.0, condition: str = "",
    regions: list[list[Box]] | None = None, firsts: list[list[int]] | None = None, look=Episode, progress: bool = True,
) -> list[Trajectory]:  # fmt: skip
    """One trajectory per sample, in order. Several processes share the samples, and each gets all trajectories.

    `regions` (source pixels) replace those that round 1 asks for. `firsts` are replies of round 1 from
    `first_replies`. `look` makes an `Episode` of (agent, sample, rounds), for conditions that ask or show something
    else. Above temperature 0 seed torch for repeatable trajectories.
    """

    def play(batch: list) -> list[Trajectory]:
        chosen, boxes, given = zip(*batch, strict=True)
        episodes = [look(agent, sample, rounds) for sample in chosen]
        replies = _replies(agent, episodes, temperature, boxes if regions else None, given if firsts else None)
        return [
            episode.trajectory([*map(agent.policy.text, ids)], [*map(len, ids)], condition)
            for episode, ids in zip(episodes, replies, strict=True)
        ]

    nothing = [None] * len(samples)
    rows = list(zip(samples, regions or nothing, firsts or nothing, strict=True))
    return _in_batches(rows, agent.config.batch_size, play, condition or f"{rounds} rounds", progress)


def first_replies(agent: Agent, samples: list[Sample], condition: str = "", progress: bool = True) -> list[list[int]]:
    """Greedy replies of round 1 of two, as token ids: the same for all magnifiers, so that conditions share them."""

    def reply(batch: list[Sample]) -> list[list[int]]:
        return agent.policy.generate(*_opening([Episode(agent, sample) for sample in batch]), agent.config.round_tokens)

    return _in_batches(samples, agent.config.batch_size, reply, condition or "round 1", progress)


def imposed(
    agent: Agent, samples: list[Sample], firsts: list[list[int]], how: str, condition: str = "", progress: bool = True
) -> list[list[int]]:
    """The `first_replies` of the embedded VLM with another way of looking, a name in `protocol.STRATEGIES`: each keeps
    its rationale, and goes on from there with up to `round_tokens` of its own."""

    def reply(batch: list[tuple]) -> list[list[int]]:
        chosen, own = zip(*batch, strict=True)
        policy, (prompts, images) = agent.policy, _opening([Episode(agent, sample) for sample in chosen])
        starts = [policy.ids(protocol.looking(policy.text(ids), how))[:-1] for ids in own]  # without its end mark
        prompts = [prompt + start for prompt, start in zip(prompts, starts, strict=True)]
        written = policy.generate(prompts, images, agent.config.round_tokens)
        return [start + ids for start, ids in zip(starts, written, strict=True)]

    rows = list(zip(samples, firsts, strict=True))
    return _in_batches(rows, agent.config.batch_size, reply, condition or how, progress)


def _in_batches(rows: list, size: int, work, title: str, progress: bool) -> list:
    """`work` on the rows, a batch at a time, shared among the processes: one result per row, in order."""

    def share(rows: list) -> list:
        hidden = not (progress and processes.here().is_main_process)
        starts = tqdm(range(0, len(rows), size), desc=title, unit="batch", disable=hidden, mininterval=5)
        return [result for start in starts for result in work(rows[start : start + size])]

    return processes.dealt(rows, share)


def _opening(episodes: list[Episode]) -> tuple[list[list[int]], list[list]]:
    """The prompts of round 1 as token ids, and the images of each."""
    contents, (first, *_) = [episode.prompt() for episode in episodes], episodes
    prompts = [prompt_ids(first.agent.policy, content, first.rounds) for content in contents]
    return prompts, [images_of(content) for content in contents]


def _replies(agent: Agent, episodes: list[Episode], temperature: float, boxes, firsts) -> list[list[list[int]]]:
    """The token ids of the policy's replies, one list per round, for each episode; `boxes` and `firsts` or None."""
    policy, first, looks = agent.policy, episodes[0], agent.config.max_looks if episodes[0].rounds == 2 else 0
    prompts, images = _opening(episodes)
    replies, due = [[] for _ in episodes], range(len(episodes))  # those whose next reply is due
    for turn in range(looks + 1):
        if turn or not firsts:
            asked = [prompts[i] for i in due], [images[i] for i in due]
            written = policy.generate(*asked, first.tokens, temperature)
        else:
            written = firsts
        if boxes and not turn:
            written = [force(policy, *each) for each in zip(episodes, written, boxes, strict=True)]
        looked = []
        for i, ids in zip(due, written, strict=True):
            replies[i].append(ids)
            shown = answered(policy, episodes[i], ids) if turn < looks else None
            if shown is not None:
                prompts[i], images[i] = prompts[i] + ids + suffix_ids(policy, [shown]), images[i] + images_of(shown)
                looked.append(i)
        due = looked
        if not due:
            break
    return replies


def images_of(content: list[dict] | str) -> list:
    """The PIL images of a message's content."""
    return [part["image"] for part in content if part["type"] == "image"] if isinstance(content, list) else []


def conversation_ids(policy: Policy, messages: list[dict], reply: bool = True, **options) -> list[int]:
    """A conversation as token ids, with each image's tokens by its size; with `reply` the header of the next reply. The
    `options` are those of transformers' `apply_chat_template`."""
    processor = policy.processor
    text = processor.apply_chat_template(messages, add_generation_prompt=reply, tokenize=False, **options)
    images = iter([image for message in messages for image in images_of(message["content"])])
    ids = []
    for token in processor.tokenizer(text, add_special_tokens=False)["input_ids"]:
        ids += [token] * (image_tokens(processor, [next(images)]) if token == processor.image_token_id else 1)
    return ids


def prompt_ids(policy: Policy, content: list[dict], rounds: int = 2) -> list[int]:
    """Token ids of the conversation before the first reply.

    A prompt of one round is the model's own, without a word of the tool; one of two rounds describes the tool, if the
    template does, after what the model's own template says first.
    """
    talk = [{"role": "user", "content": content}]
    if rounds == 1:
        return conversation_ids(policy, talk, chat_template=policy.plain)
    return conversation_ids(policy, [*policy.opening, *talk], tools=[protocol.magnify])


def suffix_ids(policy: Policy, results: list) -> list[int]:
    """Token ids between a reply and the next: its end mark, the tool messages and the next turn's header."""
    call = {"type": "function", "function": {"name": protocol.TOOL, "arguments": {}}}
    contents = [r if isinstance(r, list) else [{"type": "text", "text": r}] for r in results]
    before = [
        {"role": "user", "content": [{"type": "text", "text": "-"}]},
        {"role": "assistant", "content": [{"type": "text", "text": ""}], "tool_calls": [call]},
    ]
    start = conversation_ids(policy, before, reply=False)
    whole = conversation_ids(policy, before + [{"role": "tool", "name": protocol.TOOL, "content": c} for c in contents])
    return whole[len(start) - start[::-1].index(policy.processor.tokenizer.eos_token_id) - 1 :]


def image_tokens(processor, images: list) -> int:
    """How many tokens the images take, which the processor takes as they are."""
    of = processor.image_processor
    return sum(of.get_number_of_image_patches(i.height, i.width, {}) for i in images) // of.merge_size**2


def answered(policy: Policy, episode: Episode, reply: list[int]) -> list[dict] | str | None:
    """The magnifier's answer to the tool call in a reply; None where it has none."""
    call = parse_reply(policy.text(reply)).call
    return None if call is None else episode.magnify(**call)


def force(policy: Policy, episode: Episode, reply: list[int], boxes: list[Box]) -> list[int]:
    """A reply of round 1 that asks for other boxes, which it encloses; what stands before its tool call is kept."""
    own = policy.text(reply).split(protocol.CALL[0])[0]
    frame, sizes = policy.family.frame, (episode.first_view.size, episode.size)
    written = [protocol.to_model(box, frame, *sizes, policy.box_step, outward=True) for box in boxes]
    return policy.ids(own + protocol.tool_call_text(written, policy.family.xml))
