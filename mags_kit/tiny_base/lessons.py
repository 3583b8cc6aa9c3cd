"""Supervised conversations about procedural scenes, from which the embedded tiny VLM learns.

Close-ups are drawn sharp, as most photos are from which large models learn: none is cut from a source and enlarged.
Two-round demonstrations often choose a poor region, deliberately: RL can improve on it.
"""

from dataclasses import dataclass

import numpy as np

from mags_kit.method import protocol
from mags_kit.method.protocol import ANSWER, DRAFT, RETHINK, RIGHT, THINK, VERDICT, WRONG, part
from mags_kit.data import scenes
from mags_kit.tiny_base import vision
from mags_kit.tiny_base.vision import GRID, glance, grid_box, loose_box, readable


@dataclass(frozen=True)
class Phase:
    """A phase of the base's training."""

    peak: float  # highest step size
    loose: float = 0.0  # share of the demonstrated regions that are a large window, not the right card
    weight: float = 8  # of a deciding token, beyond that of others: see `pretraining.words_loss`


PHASES = {
    "see": Phase(2e-3),  # dense targets for the vision tower, which is frozen afterwards
    "point": Phase(3e-3),  # at cards
    "look": Phase(3e-3),  # read close-ups, and large marks in the first view; and point
    "answer": Phase(2e-3, loose=0.6),  # in one round and in two
    "settle": Phase(1.5e-3, loose=0.6, weight=4),  # the same again, with more weight on the form
}
KINDS = (0.4, 0.1, 0.2, 0.3)  # shares in the last phases: round 1 that points, one round, two rounds, round 2
BATCH = 44
POINTINGS, LOOKS = 64, (40, 16, 32)  # questions a step: in `point`; in `look`: close up, at once, pointing
FIRST, SEEN_AGAIN = 10_000_000, 960  # first seed of a lesson's scene; number of seeds in `point`
UNREAD = "too small"  # said of a view in which nothing can be read


@dataclass(frozen=True)
class Lessons:
    """Batches of supervised lessons: `lessons[step]` is always the same batch, so training can resume anywhere."""

    phase: str  # a name in `PHASES`
    steps: int
    processor: object

    def __getitem__(self, step: int) -> dict:
        rng = np.random.default_rng([list(PHASES).index(self.phase), step])
        if self.phase == "see":
            return vision.lesson(rng, _scene, self.processor)
        if self.phase == "point":
            # One or two cards teach what a box is, many cards teach their names. Scenes come back: with new ones only,
            # or few cards for longer, it did not learn in time which card is meant.
            return encode(self.processor, _pointings(rng, POINTINGS, 1 if step < self.steps // 6 else 0.3, SEEN_AGAIN))
        if self.phase == "look":
            close, at_once, pointings = LOOKS
            talks = [_reading(rng, *each) for each in _cards(rng, close)]
            first = [(scene, card) for scene, card in _cards(rng, 2 * at_once) if readable(card) or rng.uniform() < 0.4]
            talks += [_at_once(rng, card, glance(rng, scene)) for scene, card in first[:at_once]]
            return encode(self.processor, talks + _pointings(rng, pointings, 0.1))
        talks, learned = [], []
        while len(talks) < BATCH:
            scene = _scene(rng)
            view = glance(rng, scene)
            for card in _more_numbers(rng, scene)[:4]:
                kind = rng.choice(4, p=KINDS)
                learned.append(("region", "all", "all", "round 2")[kind])
                if kind == 1:
                    talks.append(_at_once(rng, card, view))
                else:
                    loose, how = (None if kind == 2 else False), (rng.uniform() < 0.5 if kind == 3 else None)
                    talks.append(self._question(rng, scene, card, view, loose, how)[: 2 if kind == 0 else 4])
        talks += [_reading(rng, *each) for each in _cards(rng, 12)]  # or it forgets how to read
        return encode(self.processor, talks, learned + ["all"] * 12)

    def _question(self, rng, scene, card, view, loose: bool | None, looks: bool | None) -> list[dict]:
        """Two rounds. `loose`: whether round 1 looks at a large window; None: as often as the phase says.

        `looks`: whether the rationale says “Look at”; None: where it does. Where round 2 alone is learned, it says
        either, or round 2 would learn from that word what the view shows.
        """
        tight = loose is False
        loose = rng.uniform() < PHASES[self.phase].loose if loose is None else loose
        box = loose_box(card.box) if loose else grid_box(card.box)
        shown = box
        if tight:  # as from pointing that is not exact: wider by a step on some sides
            wider = box + GRID * np.array((-1, -1, 1, 1)) * (rng.uniform(size=4) < 0.3)
            shown = tuple(int(v) for v in wider.clip(0, 1000))
        magnified, cut = vision.near(scene, vision.written(shown))
        first, draft = _seen(rng, card, readable(card))
        if rng.uniform() < 0.15:  # a draft is not always what it saw, so that round 2 learns to compare
            draft = _guess(rng, card)
        second, answer = _seen(rng, card, readable(card, cut, magnified.width), draft)
        how = "Look at" if (loose if looks is None else looks) else "Point at"  # how it will choose: roughly, closely
        reply = part(THINK, f"{how} the {card.name}, it shows {first}") + part(DRAFT, draft)
        verdict = part(VERDICT, RIGHT if draft == answer else WRONG)
        rethink = part(RETHINK, f"the view shows {second}: {answer}, the draft was {draft}")
        return [
            _asks("two", card.question, view),
            _says(reply + protocol.tool_call_text([box])),
            {"role": "tool", "content": [{"type": "image", "image": magnified}]},
            _says(rethink + verdict + part(ANSWER, answer)),
        ]


def _seen(rng, card, can: bool, draft: str = "") -> tuple[str, str]:
    """What a view shows of a card, in words, and the answer; where it cannot be read, the draft or a guess."""
    return (card.shown, card.answer) if can else (UNREAD, draft or _guess(rng, card))


def _guess(rng, card) -> str:
    return str(rng.choice(scenes.ANSWERS[card.family]))


def _scene(rng, least: int = 0, most: int = 0, among: int = 2**40 - FIRST):
    """A scene of the train split, one of `among`, with `least` to `most` cards; 0: as many as its seed says."""
    seed = int(rng.integers(FIRST, FIRST + among))
    return scenes.make_scene(seed, "train", count=least + seed % (most - least + 1) if most else 0)


def _cards(rng, count: int) -> list:
    pairs = []
    while len(pairs) < count:
        scene = _scene(rng)
        pairs += [(scene, card) for card in _more_numbers(rng, scene)]
    return pairs[:count]


def _more_numbers(rng, scene) -> list:
    """Cards of a scene, half of which ask for a number: numbers take the most practice to read."""
    return [card for card in scene.cards if card.family == scenes.COUNT or rng.uniform() < 0.5]


def _pointings(rng, count: int, few: float, among: int = 2**40 - FIRST) -> list:
    """`count` questions for one card each, up to four to a scene; a share `few` of the scenes has one or two cards."""
    talks = []
    while len(talks) < count:
        scene = _scene(rng, *((1, 2) if rng.uniform() < few else (3, 8)), among)
        view = glance(rng, scene)
        talks += [_pointing(view, scene.cards[i]) for i in rng.permutation(len(scene.cards))[:4]]
    return talks[:count]


def _pointing(view, card) -> list[dict]:
    content = [{"type": "image", "image": view}, {"type": "text", "text": f"Point at the {card.name}."}]
    return [{"role": "user", "content": content}, _says(protocol.tool_call_text([grid_box(card.box)]))]


def _reading(rng, scene, card) -> list[dict]:
    """A question on a close-up of its card, or of the large window around it."""
    return _at_once(rng, card, *vision.close_up(rng, scene, card, 0.9))


def _at_once(rng, card, view, cut=vision.WHOLE) -> list[dict]:
    """The answer in one round, after a rationale that says what the view shows."""
    shown, answer = _seen(rng, card, readable(card, cut, view.width))
    reply = part(THINK, f"the {card.name}, it shows {shown}") + part(ANSWER, answer)
    return [_asks("reason", card.question, view), _says(reply)]


def _asks(name: str, question: str, view) -> dict:
    return {"role": "user", "content": protocol.prompt(protocol.PROMPTS["compact"][name], question, view)}


def _says(text: str) -> dict:
    return {"role": "assistant", "content": [{"type": "text", "text": text}]}


def encode(processor, talks: list[list[dict]], learned=()) -> dict:
    """Conversations -> a padded batch with labels on the assistant's tokens only, `(B, T)`.

    `learned` says for each which of them: `all`, `round 2`, or `region`: all but the rationale's first word.
    """
    import torch

    batch = processor.apply_chat_template(
        talks, tokenize=True, return_dict=True, return_tensors="pt", processor_kwargs={"padding": True}
    )
    tag, ids = processor.tokenizer.convert_tokens_to_ids, batch["input_ids"]
    place = torch.arange(ids.shape[1])
    message, turn = ((place * (ids == tag(t))).cummax(-1).values for t in ("<|im_start|>", "assistant\n"))
    own = (turn > message) & (place > turn)  # equals transformers' mask of the assistant's tokens, much faster
    if len(learned):
        second = (ids == tag(f"<{RETHINK}>")).cumsum(-1) > 0
        choice = (ids == tag(f"<{THINK}>")).roll(1, 1)
        own &= second | ~torch.tensor([what == "round 2" for what in learned])[:, None]
        own &= ~choice | ~torch.tensor([what == "region" for what in learned])[:, None]
    batch["labels"] = ids.masked_fill(~own, -100)
    return dict(batch)
