"""Replies as long as they can get: what a model of random weights has to write to be measured by."""

import time
from collections.abc import Callable

from mags_kit.config import Config
from mags_kit.method import protocol
from mags_kit.method.policy import Policy


def full_replies(
    policy: Policy, config: Config, first: int = 0, note: Callable[[int, float], None] | None = None
) -> None:
    """Make each reply a full one of `round_tokens`, round 1 with a call for all regions; this model stays so.

    In round 1 `first` tokens are sampled (0: all), and the reply is given then. `note` is told of the tokens and the
    seconds of each turn.
    """
    import torch

    sample, tokenizer = policy.model.generate, policy.processor.tokenizer
    boxes = [(8 * i, 8, 8 * i + 96, 104) for i in range(config.max_regions)]
    call = [*tokenizer.encode(protocol.tool_call_text(boxes, policy.family.xml)), tokenizer.eos_token_id]
    reply = (tokenizer.encode(" the") * config.round_tokens)[: max(0, config.round_tokens - len(call))] + call

    def generate(input_ids, generation_config, **rest):
        opening = "<tool_response>" not in tokenizer.decode(input_ids[0])
        length = first or config.round_tokens if opening else config.round_tokens
        generation_config.max_new_tokens = generation_config.min_new_tokens = length
        start = time.perf_counter()
        out = sample(input_ids=input_ids, generation_config=generation_config, **rest)
        if note:
            note(out[:, input_ids.shape[1] :].numel(), time.perf_counter() - start)
        if opening:
            out = torch.cat([input_ids, torch.tensor([reply] * len(out), device=out.device)], 1)
        return out

    policy.model.generate = generate
