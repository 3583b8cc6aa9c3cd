"""The two-round rollout: samples -> trajectories, in batches, with the very tokens that training sees."""

from tqdm import tqdm

from mags_kit.method import processes, protocol
from mags_kit.method.episode import Agent, Episode
from mags_kit.method.policy import Policy
from mags_kit.method.parsing import parse_reply, text_of
from mags_kit.records import Box, Sample, Trajectory

TOOLS = [protocol.magnify]  # what a chat template is shown as tools; the compact one leaves it out


def rollout(
    agent: Agent, samples: list[Sample], *, rounds: int = 2, temperature: float = 0.0, condition: str = "",
    regions: list[list[Box]] | None = None, firsts: list[list[int]] | None = None, second_replies: dict | None = None,
    look=Episode, progress: bool = True,
) -> list[Trajectory]:  # fmt: skip
    """One trajectory per sample, in order. `regions` (source pixels) forces the choice of round 1, to measure with.

    `firsts` are replies of round 1 that are there already (see `first_replies`). `second_replies` holds what the same
    policy wrote in greedy second rounds before, by all that the batch was shown: it is not written again, and what is
    new is added. `look` makes a Episode of (agent, sample, rounds), for one that asks or shows something else.

    Sampling at a temperature above 0 uses torch's global random state: seed it for repeatable trajectories. Several
    processes deal the samples out among them, and each gets all trajectories.
    """

    def looked(batch: list) -> list[Trajectory]:
        of, forced, given = zip(*batch, strict=True)
        looks = [look(agent, sample, rounds) for sample in of]
        begun = list(given) if firsts else None
        replies = _replies(agent.policy, looks, temperature, forced if regions else None, begun, second_replies)
        return [_record(look, ids, condition) for look, ids in zip(looks, replies, strict=True)]

    nothing = [None] * len(samples)
    rows = list(zip(samples, regions or nothing, firsts or nothing, strict=True))
    return _in_batches(rows, agent.config.batch_size, looked, condition or f"{rounds} rounds", progress)


def first_replies(agent: Agent, samples: list[Sample], condition: str = "", progress: bool = True) -> list[list[int]]:
    """Round 1 of two alone, greedy: token ids for each sample. No magnifier changes it, so several can share it."""

    def replied(batch: list[Sample]) -> list[list[int]]:
        prompts, images = _asked(agent.policy, [Episode(agent, sample) for sample in batch])
        return agent.policy.generate(prompts, images, agent.config.round_tokens)

    return _in_batches(samples, agent.config.batch_size, replied, condition or "round 1", progress)


def _in_batches(rows: list, size: int, work, what: str, progress: bool) -> list:
    """`work` on the rows, a batch at a time, dealt out among the processes: a list as long as the rows, in order."""

    def share(rows: list) -> list:
        made, hidden = [], not (progress and processes.here().is_main_process)
        with tqdm(total=len(rows), desc=what, disable=hidden, mininterval=5) as bar:
            for start in range(0, len(rows), size):
                made += work(rows[start : start + size])
                bar.update(len(rows[start : start + size]))
        return made

    return processes.dealt(rows, share)


def _asked(policy: Policy, looks: list[Episode]) -> tuple[list[list[int]], list[list]]:
    """The prompts of round 1 as token ids, and the images of each."""
    contents = [look.prompt() for look in looks]
    images = [[part["image"] for part in content if part["type"] == "image"] for content in contents]
    known = {}
    return [_once(known, prompt_ids, policy, content) for content in contents], images


def _once(known: dict, made, policy: Policy, content: list[dict] | str) -> list[int]:
    """`made(policy, content)`, computed once for contents that are `alike`."""
    key = alike(content)
    if key not in known:
        known[key] = made(policy, content)
    return known[key]


def alike(content: list[dict] | str) -> tuple:
    """What token ids depend on: the texts of a message's content, and of its images the sizes."""
    parts = content if isinstance(content, list) else [{"text": content}]
    return tuple(part["image"].size if "image" in part else part["text"] for part in parts)


def _replies(
    policy: Policy,
    looks: list[Episode],
    temperature: float,
    forced: list | None,
    given: list | None,
    second_replies: dict | None,
) -> list[list[list[int]]]:
    """The token ids that the policy writes in each look, a list a round; `given` are those of round 1, if known."""
    if second_replies is not None and temperature:
        raise ValueError("known second rounds are greedy ones; expected temperature 0")
    tokens = looks[0].agent.config.round_tokens
    prompts, images = _asked(policy, looks)
    firsts = given or policy.generate(prompts, images, tokens, temperature)
    if forced:
        firsts = [force(policy, *each) for each in zip(looks, firsts, forced, strict=True)]
    replies = [[ids] for ids in firsts]
    going, known = [], {}  # (index, prompt of round 2, its images)
    for i, look in enumerate(looks if looks[0].rounds == 2 else []):
        result = answered(policy, look, firsts[i])
        if result is None:
            continue
        views = [part["image"] for part in result] if isinstance(result, list) else []
        between = _once(known, lambda policy, result: suffix_ids(policy, [result]), policy, result)
        going.append((i, prompts[i] + firsts[i] + between, images[i] + views))
    if going:
        index, asked, shown = map(list, zip(*going, strict=True))
        key = None if second_replies is None else _all_of(asked, shown)
        written = second_replies.get(key) if key else None
        if written is None:
            written = policy.generate(asked, shown, tokens, temperature)
        if key:
            second_replies[key] = written
        for i, ids in zip(index, written, strict=True):
            replies[i].append(ids)
    return replies


def _all_of(prompts: list[list[int]], images: list[list]) -> bytes:
    """What a batch is shown, as a key. The whole batch: with others beside it, a sum may round otherwise."""
    import xxhash

    of = xxhash.xxh3_128(repr((prompts, [[image.size for image in each] for each in images])).encode())
    for image in (image for each in images for image in each):
        of.update(image.tobytes())
    return of.digest()


def _record(look: Episode, replies: list[list[int]], condition: str) -> Trajectory:
    return look.trajectory([*map(look.agent.policy.text, replies)], [*map(len, replies)], condition)


def prompt_ids(policy: Policy, content: list[dict]) -> list[int]:
    """Token ids of the conversation before the first reply, image tokens expanded: by the images' sizes alone, since
    what the processor makes of their pixels is wanted for all together, later."""
    processor, messages = policy.processor, [{"role": "user", "content": content}]
    text = processor.apply_chat_template(messages, tools=TOOLS, add_generation_prompt=True, tokenize=False)
    images = (part["image"] for part in content if part["type"] == "image")
    ids = []
    for token in processor.tokenizer(text, add_special_tokens=False)["input_ids"]:
        ids += [token] * (image_tokens(processor, [next(images)]) if token == processor.image_token_id else 1)
    return ids


def image_tokens(processor, images: list) -> int:
    """How many tokens the images take, which the processor takes as they are."""
    of = processor.image_processor
    return sum(of.get_number_of_image_patches(i.height, i.width, {}) for i in images) // of.merge_size**2


def suffix_ids(policy: Policy, results: list) -> list[int]:
    """Token ids between the end of round 1 and the start of round 2: the tool messages and the next turn's header."""
    call = {"type": "function", "function": {"name": protocol.TOOL, "arguments": {}}}
    contents = [r if isinstance(r, list) else [{"type": "text", "text": r}] for r in results]
    messages = [{"role": "tool", "name": protocol.TOOL, "content": content} for content in contents]
    talk = [
        {"role": "user", "content": [{"type": "text", "text": "-"}]},
        {"role": "assistant", "content": [{"type": "text", "text": ""}], "tool_calls": [call]},
    ]
    before, after = (
        policy.processor.apply_chat_template([t], add_generation_prompt=bool(g), tokenize=True, return_dict=True)[
            "input_ids"
        ][0]
        for t, g in ((talk, 0), (talk + messages, 1))
    )
    end = len(before) - list(before)[::-1].index(policy.processor.tokenizer.eos_token_id)
    return list(after[end:])


def answered(policy: Policy, look: Episode, reply: list[int]) -> list[dict] | str | None:
    """What the magnifier answers to the tool call of a reply of round 1; None where it has none."""
    call = parse_reply(text_of(policy.processor.tokenizer, reply)).call
    return None if call is None else look.magnify(**call)


def force(policy: Policy, look: Episode, reply: list[int], boxes: list[Box]) -> list[int]:
    """Round 1 with other regions: what stands before its tool call stays the policy's."""
    tokenizer = policy.processor.tokenizer
    own = text_of(tokenizer, reply).split(protocol.CALL[0])[0]
    view, source = look.first_view.size, look.size
    written = [protocol.to_model(box, policy.frame, view, source, policy.box_step) for box in boxes]
    text = own + protocol.tool_call_text(written, policy.family.xml)
    # what the policy spelt out as "<|image_pad|>" is no image token
    return [*tokenizer.encode(text, split_special_tokens=True), tokenizer.eos_token_id]


def repeat(samples: list[Sample], times: int) -> list[Sample]:
    """Each sample `times` times in a row: the layout of a group."""
    return [sample for sample in samples for _ in range(times)]
