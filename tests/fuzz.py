"""Hostile replies through the real path: `make fuzz`, or `python tests/fuzz.py --replies 200000`.

Every reply becomes tokens of a byte-level tokenizer, is read as `rollout` reads it and as TRL's tool loop does, looks
through the magnifier, and ends as a trajectory that is written and read back; hypothesis steers towards replies that
take long or have many parts. One reply in `SHARE` also goes through the whole of both loops, in batches.
"""

import argparse
import dataclasses
import json
import math
import random
import sys
import tempfile
import time
import zlib
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings, target
from hypothesis import strategies as st
from PIL import Image
from timing import fastest

from random_model import KINDS, save_random
from mags_kit.method import trl_environment as environment, protocol, rewards, training
from mags_kit.method.curriculum import Stage
from mags_kit.method.episode import Agent, Episode
from mags_kit.method.policy import load_policy
from mags_kit.method.parsing import parse_reply, parts, text_of
from mags_kit.method.rollout import rollout
from mags_kit.records import RegionOutcome, Outcome, Sample, to_json, trajectory_from
from mags_kit.run import open_run

SHARE, BATCH, GROUP = 50, 16, 4
MORE = 19
SIZES = {  # what differs from `paper`: replies of 160 tokens, nothing large
    "magnifier": "bicubic", "four_bit": False, "round_tokens": 160, "first_view_pixels": 8 * 28 * 28, "beta": 0.0,
    "view_pixels": 56 * 56, "max_regions": 2, "num_generations": GROUP, "samples_per_step": BATCH // GROUP,
    "rollout_batch": 0, "micro_batch": 0, "stage_steps": (1,), "gradient_checkpointing": False, "batch_size": BATCH,
}  # fmt: skip
SECONDS = 0.05  # for a reply of 100,000 characters, at most
FORBIDDEN = ("compile", "exec", "os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "socket.connect")

TAGS = [f"<{slash}{tag}>" for tag in (*protocol.TAGS, "tool_call") for slash in ("", "/")]
CALL = protocol.tool_call_text([(10, 20, 300, 400)])
PIECES = [
    *TAGS, *(tag.upper() for tag in TAGS[:2]), *(tag.replace(">", ' a="b">') for tag in TAGS[:2]), CALL, CALL[:-20],
    protocol.part("draft", "2"), protocol.part("answer", "no"), protocol.part("draft", " "), *protocol.VISION_TOKENS,
    "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<tool_response>", protocol.HEADER, '{"name": "magnify", ',
    '"arguments": ', '{"regions": ', "[[", "]]", "}}", "null", "1e999", "-NaN", "9" * 400, '\\"', "\\ud800", "\\x",
    "```json\n", "```", "<function=magnify>", "<parameter=regions>", "</parameter>", "</function>", '{"bbox_2d": ',
    "__import__('os').system('true')", "{{7*7}}", "$x^2$", "<script>", "\u202e", "\x00", "é", " ", "\n", "1", ", ",
]  # fmt: skip


def called(text: str) -> str:
    return protocol.CALL[0] + text + protocol.CALL[1]


values = st.recursive(
    st.none() | st.booleans() | st.integers(-2000, 2000) | st.floats() | st.text(max_size=6) | st.integers(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=8,
)
box = st.sampled_from(
    [[100, 200, 500, 700], [0, 0, 1000, 1000], [5, 5, 9, 9], [-90, 0, 400, 300], [900, 0, 100, 9], [1100, 0, 1500, 9]]
) | st.lists(st.integers(0, 1000), min_size=4, max_size=4)
shares = st.just([0.1, 0.2, 0.5, 0.7]) | st.lists(st.floats(0, 1), min_size=4, max_size=4)
written = box.map(lambda box: {"bbox_2d": box, "label": "dog"}) | box.map(lambda box: [*map(str, box)]) | shares
boxes = st.lists(box | box | box | written | values, max_size=4)
names = st.sampled_from(["magnify"] * 12 + ["reset", "_replies", "__class__", "<|image_pad|>", "eval"])
regions = st.fixed_dictionaries({"regions": boxes})
more = st.fixed_dictionaries({"regions": values | boxes}, optional={"more": values})
arguments = regions | regions | more | written | regions.map(json.dumps) | values
frames = st.sampled_from(["{}"] * 4 + ["```json\n{}\n```"])
json_calls = st.builds(
    lambda frame, name, given: called(frame.format(json.dumps({"name": name, "arguments": given}))),
    frames, names, arguments,
)  # fmt: skip
xml_calls = boxes.map(
    lambda boxes: called(f"<function=magnify><parameter=regions>{json.dumps(boxes)}</parameter></function>")
)
calls = json_calls | json_calls | xml_calls
piece = st.sampled_from(PIECES) | st.sampled_from(PIECES) | calls | calls | st.text(max_size=12)
pieces = st.lists(piece, min_size=1, max_size=10)
inside = st.sampled_from(
    ["{}", "{}", "<think>{}</think>", called('{"name": "magnify", "arguments": {}}'), called("```\n{}\n```")]
    + [called(f"<function=magnify><parameter=regions>{{}}{end}") for end in ("", "</parameter></function>")]
)
long = st.just("") | st.builds(
    lambda frame, piece, count: frame.replace("{}", piece * (count // len(piece))),
    inside, st.sampled_from(PIECES), st.integers(20, 100_000),
)  # fmt: skip


def variants(pieces: list[str], long: str, number: int) -> list[str]:
    """What hypothesis made, and `MORE` others of the same pieces: in another order, mixed with others, torn."""
    chance = random.Random(number)
    made = ["".join(pieces[: number % len(pieces)]) + long + "".join(pieces[number % len(pieces) :])]
    for _ in range(MORE):
        text = "".join(chance.choices(pieces + chance.sample(PIECES, 3), k=chance.randint(1, 12)))
        for _ in range(chance.choice((0, 0, 0, 1, 3))):
            at = chance.randrange(len(text) + 1)
            text = text[:at] + chance.choice((text[-at:], "<", ">", '"', "]", "")) + text[at + chance.randint(0, 5) :]
        made.append(text)
    return made


class Given:
    """A tiny random checkpoint of a kind, whose replies are given: the agent, TRL's trainer, the sample's image."""

    def __init__(self, kind: str, folder: Path):
        model = save_random(kind, folder / "model")
        self.run = open_run("paper", "fuzz", {"model": str(model), **SIZES}, root=folder / "runs")
        self.run.data.mkdir(exist_ok=True)
        Image.linear_gradient("L").resize((96, 72)).convert("RGB").save(self.run.data / "a.png")
        self.samples = tuple(Sample(f"s{i}", "a.png", "How many?", "2") for i in range(BATCH))
        policy = load_policy(self.run.config, trainable=True)
        self.tokenizer, self.vision = policy.processor.tokenizer, set(policy.vision_ids)
        self.agent = Agent.of(self.run, policy)
        self.trainer = training.build_trainer(self.run, policy, Stage("all", self.samples, 1))
        self.environment = environment.Environment(self.agent, self.samples.__getitem__)

    def encode(self, text: str) -> list[int]:
        """Tokens as a policy could sample them: what spells a special token is none."""
        return self.tokenizer.encode(text, split_special_tokens=True)

    def sample(self, text: str) -> list[int]:
        """The same, or with special tokens in it: all but those of images, which are suppressed."""
        ids = self.tokenizer.encode(text, split_special_tokens=len(text) % 2 == 0)
        return [token for token in ids if token not in self.vision]

    def within(self, ids: list[int]) -> list[int]:
        """Tokens as an engine gives them: up to the end mark or to the limit."""
        ids = ids[: self.run.config.round_tokens]
        end = self.tokenizer.eos_token_id
        return ids[: ids.index(end) + 1] if end in ids else ids

    def both(self, firsts: list[list[int]], seconds: list[list[int]]) -> tuple[list, list]:
        """The trajectories that `rollout` and TRL's trainer make of the same replies; as many as samples.

        Which second reply follows hangs on the tokens of its prompt, so both have to make the same prompts.
        """
        from trl import GRPOTrainer

        def second(prompt):
            return list(seconds[zlib.crc32(repr(list(prompt)).encode()) % len(seconds)])

        turns = iter([firsts])

        class Scripted(type(self.agent.policy)):
            def generate(self, prompts, images, max_tokens, temperature=0.0):
                self._inputs(prompts, images)  # the processor takes them
                return next(turns, None) or [second(prompt) for prompt in prompts]

        def turn(trainer, prompts, images, fields, num_generations, has_tool_images=False):
            return ([*map(list, firsts)] if num_generations > 1 else [second(p) for p in prompts]), None

        fields = {f.name: getattr(self.agent.policy, f.name) for f in dataclasses.fields(self.agent.policy)}
        agent = dataclasses.replace(self.agent, policy=Scripted(**fields))
        here = rollout(agent, list(self.samples), progress=False, condition="training")
        real, GRPOTrainer._generate_single_turn = GRPOTrainer._generate_single_turn, turn
        try:
            self.trainer.model.train()
            batch = self.trainer._generate_and_score_completions(
                [{"prompt": [{"role": "user", "content": ""}], "slot": i} for i in range(BATCH)]
            )
        finally:
            GRPOTrainer._generate_single_turn = real
        ids = [
            row[mask.bool()].tolist()
            for row, mask in zip(batch["completion_ids"], batch["completion_mask"], strict=True)
        ]
        looks = [each.episode for each in self.trainer.environments]
        return here, [environment.trajectory(*pair) for pair in zip(looks, ids, strict=True)]


class Fuzz:
    """Counts what went through, and keeps the slowest."""

    def __init__(self, given: Given):
        self.given, self.replies, self.slowest, self.kept, self.looped = given, 0, (0.0, 0), [], 0
        self.last = ""  # the reply before, which answers in round 2
        self.outcomes, self.looked = dict.fromkeys(Outcome, 0), dict.fromkeys(RegionOutcome, 0)

    def one(self, text: str) -> tuple[float, float]:
        """A reply in the place of the first and of the second round, read in both ways: µs a character, parts."""
        given, sample = self.given, self.given.samples[0]
        ids = given.sample(text)
        said = text_of(given.tokenizer, ids)
        seconds = self.time(said)
        reply, look = parse_reply(said), Episode(given.agent, sample)
        if reply.call:
            look.magnify(**reply.call)
        texts = [said, self.last] if reply.call else [said]
        made = look.trajectory(texts, [*map(len, texts)])
        self.check(made)
        assert made == self.by_trl(ids, texts)
        self.last = said
        self.replies += 1
        if self.replies % SHARE == 0:
            self.kept.append(given.within(ids + [given.tokenizer.eos_token_id] * (len(ids) % 2)))
        return 1e6 * seconds / (len(said) + 1000), float(len(parts(said)))

    def by_trl(self, ids: list[int], texts: list[str]):
        """The trajectory by the environment, after a call as TRL's tool loop makes it."""
        from trl.chat_template_utils import parse_response

        given = self.given
        given.environment.reset(slot=0)
        read = parse_response(given.tokenizer, ids, prefix=[1])
        for call in read.get("tool_calls") or []:
            getattr(given.environment, {"magnify": "magnify"}[call["function"]["name"]])(
                **call["function"]["arguments"]
            )
        return given.environment.episode.trajectory(texts, [*map(len, texts)])

    def time(self, text: str) -> float:
        """Seconds that reading a reply takes; the best of three where once seems too slow."""

        def read():
            call = parse_reply(text).call or {"regions": []}
            protocol.read_regions(call["regions"], "thousand", (320, 224), (640, 480), 2)

        allowed, took = SECONDS * max(1, len(text) / 1e5), fastest(read, 1)
        if took > allowed:
            took = fastest(read)
        assert took <= allowed, f"{1000 * took:.0f} ms for {len(text)} characters"
        self.slowest = max(self.slowest, (took, len(text)))
        return took

    def check(self, made) -> None:
        """A trajectory is whole: reasons, outcome, rewards, and the same when read back."""
        assert all(math.isfinite(v) for v in rewards.scores(made, dict.fromkeys(rewards.REWARDS, 1.0)).values())
        line = to_json(made)
        assert trajectory_from(json.loads(line.encode().decode())) == made
        self.outcomes[Outcome(made.outcome)] += 1
        for region in made.regions:
            self.looked[RegionOutcome(region.outcome)] += 1

    def loops(self) -> None:
        """What was kept, through the whole of both loops."""
        while len(self.kept) >= BATCH:
            batch, self.kept = self.kept[:BATCH], self.kept[BATCH:]
            # The tiny vocabulary spells a tool message in 100 tokens, Qwen's in 20, for which there is room.
            here, there = self.given.both(batch, [ids[:64] for ids in batch])
            for mine, theirs in zip(here, there, strict=True):
                self.check(theirs)
                assert mine == theirs, f"{mine}\n{theirs}"
            self.looped += BATCH


def fuzz(checkpoint: Given, replies: int, first_seed: int = 0) -> Fuzz:
    """Put at least so many replies through; an AssertionError or any other error is a find."""
    work, watched, watching = Fuzz(checkpoint), [], False
    work.one(CALL)  # the first look imports Pillow's formats, which is no find
    sys.addaudithook(lambda event, _: watched.append(event) if watching and event in FORBIDDEN else None)

    def some(pieces, long, number):
        nonlocal watching
        watching = True
        try:
            slow, many = zip(*map(work.one, variants(pieces, long, number)), strict=True)
        finally:
            watching = False
        assert not watched, f"a reply led to {watched}"
        target(max(slow), label="µs a character")
        target(max(many), label="parts")

    phases = (Phase.generate, Phase.target, Phase.shrink)
    quiet = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck), "phases": phases}
    while work.replies < replies:
        examples = min(500, -(-(replies - work.replies) // (MORE + 1)))  # more would keep too much in memory
        run = given(pieces, long, st.integers(0, 2**32))(some)
        seed(first_seed)(settings(max_examples=examples, **quiet)(run))()
        first_seed += 1
        work.loops()
    return work


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--replies", type=int, default=200_000)
    options.add_argument("--kind", default="qwen3_vl", choices=tuple(KINDS))
    options.add_argument("--seed", type=int, default=0)
    wanted = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        checkpoint, start = Given(wanted.kind, Path(folder)), time.perf_counter()
        work = fuzz(checkpoint, wanted.replies, wanted.seed)
    took, length = work.slowest
    counts = {str(name): count for name, count in (work.outcomes | work.looked).items()}
    print(
        f"{work.replies} replies in {time.perf_counter() - start:.0f} s, {work.looped} of them through both loops; "
        f"exceptions: none; the slowest took {1000 * took:.1f} ms to read, {length} characters\n{counts}"
    )


if __name__ == "__main__":
    main()
