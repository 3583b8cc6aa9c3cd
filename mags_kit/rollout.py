"""The two-round rollout: samples -> trajectories, in batches, with the very tokens that training sees."""

import json
from pathlib import Path

from mags_kit import processes, protocol
from mags_kit.config import Config
from mags_kit.data import load_image
from mags_kit.magnifier import Magnifier
from mags_kit.policy import Policy
from mags_kit.records import Box, Sample, Trajectory, to_json


def magnifier_for(config: Config, policy: Policy, cache_dir=None, network: str | None = None) -> Magnifier:
    return Magnifier(network or config.magnifier, config.view_pixels, policy.factor, config.margin, cache_dir)


class MagnifyingGlass:
    """The environment of one rollout: shows an image, lends the magnifier once, and knows what happened.

    TRL's `GRPOTrainer` drives it in training and `rollout` below outside of it: `reset` gives the first message's
    content, `magnify` is the tool.
    """

    def __init__(self, policy: Policy, magnifier: Magnifier, config: Config, folder: Path, rounds: int = 2):
        self._policy, self._magnifier, self._config = policy, magnifier, config
        self._folder, self._rounds, self._bug = Path(folder), rounds, None

    def reset(self, sample: str, **_) -> list[dict]:
        """Take a sample (as JSON) and return the content of the first user message."""
        from mags_kit.records import sample_from

        self._sample = sample_from(json.loads(sample))
        self._image = load_image(self._folder / self._sample.image)
        self._first = self._policy.first_view(self._image, self._config.first_view_pixels)
        self._regions, self._views, self._called = [], [], False
        [message] = protocol.prompt(
            self._sample.question,
            self._first,
            self._rounds,
            self._policy.style,
            self._policy.frame,
            self._config.max_regions,
        )
        return message["content"]

    def magnify(self, regions: list) -> list[dict] | str:
        """
        Look at regions of the image through a magnifying glass.

        Args:
            regions: Boxes [x0, y0, x1, y1], one for each region.

        Returns:
            The magnified regions.
        """
        if self._called:
            return protocol.NO_VIEW
        self._called = True
        view, source = self._first.size, self._image.size
        self._regions = protocol.read_regions(regions, self._policy.frame, view, source, self._config.max_regions)
        try:
            looks = [self._magnifier.view(self._image, region.box) for region in self._regions if region.usable]
        except Exception as bug:
            self._bug = bug  # the tool loop would pass it to the policy as text; `_trajectory` raises it again
            raise
        self._views = [record for _, record in looks]
        return [{"type": "image", "image": image} for image, _ in looks] or protocol.NO_VIEW

    def _trajectory(self, replies: list[str], lengths: list[int], condition: str = "training") -> Trajectory:
        if self._bug:
            raise self._bug
        first, last = protocol.parse_reply(replies[0]), protocol.parse_reply(replies[-1])
        if last.answer is not None and (self._called or self._rounds == 1):
            outcome = "answered"
        elif first.called and not self._called:
            outcome = "bad_call"
        else:
            outcome = "no_answer" if self._called or self._rounds == 1 else "no_call"
        return Trajectory(
            self._sample, self._image.size, condition, tuple(replies), tuple(lengths), tuple(self._regions),
            tuple(self._views), self._magnifier.network, first.draft, last.answer, outcome,
        )  # fmt: skip


def prompt_ids(policy: Policy, content: list[dict]) -> list[int]:
    """Token ids of the conversation before the first reply, image tokens expanded."""
    messages = [{"role": "user", "content": content}]
    ids = policy.processor.apply_chat_template(
        [messages], tools=tools(policy), add_generation_prompt=True, tokenize=True, return_dict=True
    )["input_ids"]
    return list(ids[0])


def tools(policy: Policy) -> list:
    """What TRL shows the template as tools: the magnifier's method. The compact template leaves it out."""
    return [MagnifyingGlass(policy, None, None, ".").magnify]


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


def rollout(
    policy: Policy, samples: list[Sample], folder: str | Path, config: Config, magnifier: Magnifier, *,
    rounds: int = 2, temperature: float = 0.0, condition: str = "", regions: list[list[Box]] | None = None,
    progress: bool = True,
) -> list[Trajectory]:  # fmt: skip
    """One trajectory per sample, in order. `regions` (source pixels) forces the choice of round 1, to measure with.

    Sampling at a temperature above 0 uses torch's global random state: seed it for repeatable trajectories.
    """
    from tqdm import tqdm

    trajectories = []
    bar = tqdm(total=len(samples), desc=condition or f"{rounds} rounds", disable=not progress, mininterval=5)
    for start in range(0, len(samples), config.batch_size):
        batch = samples[start : start + config.batch_size]
        forced = regions[start : start + config.batch_size] if regions else None
        trajectories += _batch(policy, batch, folder, config, magnifier, rounds, temperature, condition, forced)
        bar.update(len(batch))
    bar.close()
    return trajectories


def shared_rollout(policy: Policy, samples: list[Sample], *settings, progress: bool = True, **options):
    """`rollout` with the samples dealt out over the processes; each of them gets all trajectories, in order."""
    progress = progress and processes.here().is_main_process
    return processes.dealt(samples, lambda share: rollout(policy, share, *settings, progress=progress, **options))


def _batch(policy, samples, folder, config, magnifier, rounds, temperature, condition, forced) -> list[Trajectory]:
    from trl.chat_template_utils import parse_response

    tokenizer = policy.processor.tokenizer
    glasses = [MagnifyingGlass(policy, magnifier, config, folder, rounds) for _ in samples]
    contents = [g.reset(to_json(s)) for g, s in zip(glasses, samples, strict=True)]
    prompts = [prompt_ids(policy, content) for content in contents]
    images = [[part["image"] for part in content if part["type"] == "image"] for content in contents]
    firsts = policy.generate(prompts, images, config.round_tokens, temperature)
    if forced:
        firsts = [_force(policy, *each) for each in zip(glasses, firsts, forced, strict=True)]
    replies = [[ids] for ids in firsts]
    going = []  # (index, prompt of round 2, its images)
    for i, glass in enumerate(glasses if rounds == 2 else []):
        calls = parse_response(tokenizer, firsts[i], prefix=prompts[i], tools=tools(policy)).get("tool_calls")
        if not calls:
            continue
        results = [_call(glass, call.get("function", call)) for call in calls]
        views = [part["image"] for result in results if isinstance(result, list) for part in result]
        going.append((i, prompts[i] + firsts[i] + suffix_ids(policy, results), images[i] + views))
    if going:
        index, seconds, shown = zip(*going, strict=True)
        for i, ids in zip(
            index, policy.generate(list(seconds), list(shown), config.round_tokens, temperature), strict=True
        ):
            replies[i].append(ids)
    return [
        g._trajectory([tokenizer.decode(r, skip_special_tokens=True) for r in ids], [len(r) for r in ids], condition)
        for g, ids in zip(glasses, replies, strict=True)
    ]


def _call(glass: MagnifyingGlass, call: dict):
    """What TRL's tool loop answers to a tool call: the tool's result, or the error as text."""
    try:
        if call["name"] != protocol.TOOL:
            raise ValueError(f"Tool {call['name']} not found.")
        return glass.magnify(**call["arguments"])
    except Exception as error:  # TRL turns any error of a tool into text for the policy
        return str({"error": str(error)})


def _force(policy: Policy, glass: MagnifyingGlass, reply: list[int], boxes: list[Box]) -> list[int]:
    """Round 1 with other regions: what stands before its tool call stays the policy's."""
    own = policy.processor.tokenizer.decode(reply, skip_special_tokens=True).split("<tool_call>")[0]
    view, source = glass._first.size, glass._image.size
    written = [protocol.to_model(box, policy.frame, view, source, policy.box_step) for box in boxes]
    return policy.processor.tokenizer.encode(own + protocol.tool_call_text(written)) + [
        policy.processor.tokenizer.eos_token_id
    ]


def repeat(samples: list[Sample], times: int) -> list[Sample]:
    """Each sample `times` times in a row: the layout of a group."""
    return [sample for sample in samples for _ in range(times)]
