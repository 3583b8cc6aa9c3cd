"""Two-round rollouts by the kit, in batches, beside a plain loop over samples and TRL's own generation and tool loop.

All three ask the same model the same, greedily, and make the same records. The plain loop is how inference code of
published visual-search models goes: for each sample the processor, `generate`, a crop, the processor, `generate`.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from mags_kit.hardware.clock import Row
from mags_kit.hardware.forcing import full_replies
from mags_kit.hardware.ground import Ground
from mags_kit.hardware.random_model import save_random
from mags_kit.method import environment, memory, protocol, training
from mags_kit.method.curriculum import Stage
from mags_kit.method.look import Agent, Look
from mags_kit.method.policy import Policy, precision
from mags_kit.method.replies import parse_reply, text_of
from mags_kit.method.rollout import TOOLS, rollout
from mags_kit.records import Sample, Trajectory
from mags_kit.runs import Run

PART = "rollouts"
BATCHES = (1, 4, 16, 48, 64)
LEAST = 16  # rollouts that are timed together, at least
NAMES = ("batch {}", "TRL's loop, batch {}", "one call a sample")  # of the rows; the first is the kit's
# A Qwen3-VL of about 100 million parameters, 76 in the text's layers, 22 in the tower and what joins them.
LARGE = {
    "text_config": {
        "vocab_size": 1024, "hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 12,
        "num_attention_heads": 12, "num_key_value_heads": 4, "head_dim": 64, "tie_word_embeddings": True,
        "rope_parameters": {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [12, 10, 10]},
    },
    "vision_config": {
        "depth": 8, "hidden_size": 384, "intermediate_size": 1536, "num_heads": 6, "out_hidden_size": 768,
        "num_position_embeddings": 256, "deepstack_visual_indexes": [3],
    },
}  # fmt: skip
LARGE_BATCHES = (1, 4)
LARGE_TOKENS = 32  # sampled in its round 1
LARGE_REPEATS = 3  # at most: a rollout by it takes seconds
LARGE_SETTINGS = {
    "four_bit": False,
    "prompt_style": "full",
    "round_tokens": 64,
    "max_regions": 1,
    "magnifier": "bicubic",
}


class Stop(Exception):
    """TRL's trainer has generated; what it would score is not asked for."""


class TrlLoop:
    """TRL's generation and tool loop, as its trainer runs them, greedy, with the rest of the step left out."""

    def __init__(self, run: Run, policy: Policy, samples: list[Sample]):
        self.trainer = training.build_trainer(run, policy, Stage("bench", tuple(samples), 1), 0, [])
        self.trainer.generation_config.do_sample = False
        generate = self.trainer._generate

        def only(prompts):
            self.completions = generate(prompts)[1]
            raise Stop

        self.trainer._generate = only

    def __call__(self, count: int, batch: int) -> list[Trajectory]:
        """Trajectories of the first `count` samples, so many at once."""
        made = []
        for start in range(0, count, batch):
            rows = [{"prompt": [{"role": "user", "content": ""}], "sample": i} for i in range(start, start + batch)]
            rows = rows[: count - start]
            self.trainer.model.train()
            try:
                self.trainer._generate_and_score_completions(rows)
            except Stop:
                looks = [each.look for each in self.trainer.environments]
                made += map(environment.trajectory, looks, self.completions)
        return made


def plain(agent: Agent, samples: list[Sample]) -> list[Trajectory]:
    """A trajectory a sample, one after the other, nothing of one known to another, nor of its round 1 to round 2."""
    tower = agent.policy.tower
    features = tower.forward
    tower.forward = features.forward
    try:
        return [_one(agent, sample) for sample in samples]
    finally:
        tower.forward = features


def _one(agent: Agent, sample: Sample) -> Trajectory:
    policy, look = agent.policy, Look(agent, sample)
    processor, tokenizer = policy.processor, policy.processor.tokenizer
    user = {"role": "user", "content": look.prompt()}
    images = [part["image"] for part in user["content"] if part["type"] == "image"]
    text = processor.apply_chat_template([user], tools=TOOLS, add_generation_prompt=True, tokenize=False)
    replies = [_write(agent, text, images)]
    call = parse_reply(text_of(tokenizer, replies[0])).call
    if call is not None:
        shown = look.magnify(**call)
        images += [part["image"] for part in shown] if isinstance(shown, list) else []
        text += tokenizer.decode(replies[0]) + _tool_text(processor, shown)
        replies.append(_write(agent, text, images))
    return look.trajectory([*map(policy.text, replies)], [*map(len, replies)])


def _write(agent: Agent, text: str, images: list) -> list[int]:
    """Processor and `generate` for one conversation: the tokens of its next reply."""
    import torch
    from transformers import GenerationConfig

    policy, tokenizer = agent.policy, agent.policy.processor.tokenizer
    inputs = policy.processor(text=[text], images=images, return_tensors="pt").to(policy.model.device)
    config = GenerationConfig(
        max_new_tokens=agent.config.round_tokens, do_sample=False, suppress_tokens=policy.vision_ids,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    policy.model.eval()
    with torch.no_grad():
        out = policy.model.generate(**inputs, generation_config=config)
    return out[0, inputs["input_ids"].shape[1] :].tolist()


def _tool_text(processor, shown: list | str) -> str:
    """What the chat template writes between the end of round 1 and the beginning of round 2."""
    call = {"type": "function", "function": {"name": protocol.TOOL, "arguments": {}}}
    content = shown if isinstance(shown, list) else [{"type": "text", "text": shown}]
    talk = [
        {"role": "user", "content": [{"type": "text", "text": "-"}]},
        {"role": "assistant", "content": [{"type": "text", "text": ""}], "tool_calls": [call]},
        {"role": "tool", "name": protocol.TOOL, "content": content},
    ]
    before = processor.apply_chat_template(talk[:2], tokenize=False)
    after = processor.apply_chat_template(talk, add_generation_prompt=True, tokenize=False)
    end = processor.tokenizer.eos_token
    return after[before.rindex(end) + len(end) :]


def tasks(ground: Ground, run: Run, policy: Policy, batches: tuple, least: int) -> tuple[dict, dict]:
    """Name -> what makes its trajectories, and how many: by the kit and by TRL in each batch size, and one by one."""
    agent, samples = Agent.of(run, policy), ground.samples
    trl = TrlLoop(run, policy, samples)
    kit, theirs, plainly = NAMES
    made, counts = {}, {}
    for batch in batches:
        count = min(max(batch, least), len(samples))
        sized = replace(agent, config=replace(agent.config, batch_size=batch))
        ours = partial(rollout, sized, samples[:count], condition="training", progress=False)
        made |= {kit.format(batch): ours, theirs.format(batch): partial(trl, count, batch)}
        counts |= {kit.format(batch): count, theirs.format(batch): count}
    few = samples[:least]
    made[plainly], counts[plainly] = partial(plain, agent, few), len(few)
    return made, counts


def rows(ground: Ground) -> Iterator[Row]:
    """Rollouts a second by the embedded model, and whether all ways make the same trajectories of a sample."""
    batches = ground.some(BATCHES)
    made, counts = tasks(ground, ground.run, ground.policy, batches, batches[-1] if ground.quick else LEAST)
    timed, given = ground.timed(PART, made, counts, "rollouts/s")
    yield from timed
    agent = Agent.of(ground.run, ground.policy)
    one = replace(agent, config=replace(agent.config, batch_size=1))
    alone = rollout(one, ground.samples[: max(counts.values())], condition="training", progress=False)
    for kind, name in zip(NAMES, ("in batches", "in TRL's loop", "in the plain loop"), strict=True):
        names = {kind.format(batch) for batch in batches} - {NAMES[0].format(1)}  # which is one by one itself
        pairs = [pair for each in names for pair in zip(given[each], alone, strict=False)]
        same = sum(a == b for a, b in pairs)
        note = f"{same} of {len(pairs)}, greedy, in {precision()}"
        yield Row(PART, f"same trajectories {name} as one by one", "", (same == len(pairs),), note=note)


def large_rows(ground: Ground) -> Iterator[Row]:
    """The same by a model of about 100 million random parameters, whose replies are given and of full length."""
    path = ground.run.path.parent / "large-model"
    save_random("qwen3_vl", path, shard="1GB", shape=LARGE)
    config = replace(ground.run.config, model=str(path), **LARGE_SETTINGS)
    run = Run(ground.run.path.parent / "large", config, parent=ground.run)
    policy = ground.load(run)
    full_replies(policy, config, LARGE_TOKENS)
    size = memory.shape_of(config.model).parameters / 1e6
    made, counts = tasks(ground, run, policy, LARGE_BATCHES, LARGE_BATCHES[-1])
    ground = replace(ground, repeats=min(ground.repeats, LARGE_REPEATS))
    timed, _ = ground.timed(f"{PART}, {size:.0f} million parameters", made, counts, "rollouts/s")
    yield from (replace(row, note="random weights in full precision, full replies") for row in timed)
