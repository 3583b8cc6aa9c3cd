"""The lessons that the embedded tiny VLM learns from: procedural scenes as supervised conversations.

Its two-round demonstrations often choose a poor region, on purpose, so that RL has something to bring out.
"""

from dataclasses import dataclass

import numpy as np

from mags_kit.method import protocol
from mags_kit.method.magnifier import Magnifier
from mags_kit.method.protocol import ANSWER, DRAFT, RETHINK, THINK, part
from mags_kit.tiny import scenes, vision
from mags_kit.tiny.vision import GRID, first_view, grid_box, written


@dataclass(frozen=True)
class Phase:
    """A phase of the base's training."""

    peak: float  # step size at its highest
    loose: float = 0.0  # share of the demonstrated regions that are a large window, not the right card
    close: tuple[str, ...] = ()  # but for cards of these colours, so that some questions are easy before RL


PHASES = {
    "see": Phase(2e-3),  # dense targets for the vision tower, which is frozen afterwards
    "point": Phase(3e-3),  # at cards
    "look": Phase(3e-3),  # read close-ups, and point
    "answer": Phase(2e-3, loose=0.7, close=("red",)),  # in one round and in two
    "settle": Phase(1.5e-3, loose=0.55, close=("red", "blue")),  # the same once more, half of it numbers
    "aim": Phase(2e-3, loose=0.55, close=("red",)),  # as `settle`, with much pointing beside it
}
MAGNIFIED = 128 * 128  # pixel budget of a magnified view: 16 image tokens
KINDS = (0.1, 0.1, 0.35, 0.45)  # shares in the last phases: pointing, one round, two rounds, the second round only
BATCH = 32
FIRST, SEEN_AGAIN = 10_000_000, 960  # lessons' scenes have seeds from here on; `point` has but so many


def loose_box(box) -> tuple[int, int, int, int]:
    """One of nine overlapping windows, each an eighth of the image, in thousandths: too large for the marks."""
    corner = [min(2, int(3 * (box[i] + box[i + 2]) / 2 / scenes.SIZE)) * 320 for i in (0, 1)]
    return corner[0], corner[1], corner[0] + 360, corner[1] + 360


class Lessons:
    """Batches of supervised lessons: `lessons[step]` is always the same batch, so training can resume anywhere.

    `phase` is a name in `PHASES`.
    """

    def __init__(self, phase: str, steps: int, processor):
        self.phase, self.steps = phase, steps
        self.processor = processor
        self.magnifiers = [Magnifier(n, MAGNIFIED, 32) for n in ("bicubic", "none", "realesr-animevideov3")]

    def __len__(self):
        return self.steps

    def __getitem__(self, step: int) -> dict:
        rng = np.random.default_rng([list(PHASES).index(self.phase), step])
        if self.phase == "see":
            return vision.lesson(rng, _scene, self.magnifiers, self.processor)
        if self.phase == "point":
            # It learns what a box is where there are one or two cards, and names where there are many, from scenes that
            # come back: with ever new ones, or few cards for longer, it did not learn in time which card is meant.
            return encode(self.processor, _pointings(rng, 2 * BATCH, 1 if step < self.steps // 6 else 0.3, SEEN_AGAIN))
        if self.phase == "look":
            talks = [self._reading(rng, *each) for each in _cards(rng, 3 * BATCH // 2)]
            return encode(self.processor, talks + _pointings(rng, BATCH, 0.1))
        talks, second = [], []
        for _ in range(BATCH // 4):
            scene = _scene(rng)
            view = first_view(scene)
            cards = scene.cards if self.phase == "answer" else _more_numbers(rng, scene)
            for card in cards[:4]:
                kind = rng.choice(4, p=KINDS)
                second.append(kind == 3)
                if kind == 0:
                    talks.append(_pointing(view, card))
                elif kind == 1:
                    talks.append(_at_once(card, view))
                else:
                    talks.append(self._question(rng, scene, card, view, kind == 3))
        if self.phase == "aim":
            talks += _pointings(rng, 3 * BATCH // 2, 0.1)
            second += [False] * (3 * BATCH // 2)
        return encode(self.processor, talks, second)

    def _reading(self, rng, scene, card) -> list[dict]:
        """A question on a close-up of its card."""
        magnifier = self.magnifiers[rng.choice(3, p=(0.92, 0.04, 0.04))]
        view, _ = magnifier.view(scene.image, card.box if rng.uniform() < 0.25 else written(grid_box(card.box)))
        return _at_once(card, view)

    def _question(self, rng, scene, card, view, tight: bool) -> list[dict]:
        """Two rounds; `tight` is for those that teach the second only, from a view that shows what it needs."""
        phase = PHASES[self.phase]
        loose = not tight and rng.uniform() < phase.loose and card.colour not in phase.close
        box = loose_box(card.box) if loose else grid_box(card.box)
        if tight:  # as from pointing that is not exact: wider by a step on some sides
            wider = box + GRID * np.array((-1, -1, 1, 1)) * (rng.uniform(size=4) < 0.3)
            box = tuple(int(v) for v in wider.clip(0, 1000))
        guesses = scenes.ANSWERS[card.family]
        draft = card.answer if rng.uniform() < 0.3 else guesses[rng.integers(len(guesses))]
        magnifier = self.magnifiers[rng.choice(3, p=(0.75, 0.15, 0.1))]
        magnified, _ = magnifier.view(scene.image, written(box))
        how = "Look at" if loose else "Point at"  # the rationale says how it will choose: roughly, or closely
        first = part(THINK, f"{how} the {card.name}") + part(DRAFT, draft) + protocol.tool_call_text([box])
        verdict = "right" if draft == card.answer else "wrong"
        second = part(RETHINK, f"the view shows {card.shown}, so the draft was {verdict}") + part(ANSWER, card.answer)
        return [
            *protocol.prompt(card.question, view, 2, "compact", "thousand", 1),
            _says(first),
            {"role": "tool", "content": [{"type": "image", "image": magnified}]},
            _says(second),
        ]


def _scene(rng, least: int = 0, most: int = 0, among: int = 2**40 - FIRST):
    """A scene of the train split, out of `among`, with `least` to `most` cards; 0: as many as its seed says."""
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
        scene = _scene(rng, *((1, 2) if rng.uniform() < few else (3, 9)), among)
        view = first_view(scene)
        talks += [_pointing(view, scene.cards[i]) for i in rng.permutation(len(scene.cards))[:4]]
    return talks[:count]


def _pointing(view, card) -> list[dict]:
    content = [{"type": "image", "image": view}, {"type": "text", "text": f"Point at the {card.name}."}]
    return [{"role": "user", "content": content}, _says(protocol.tool_call_text([grid_box(card.box)]))]


def _at_once(card, view) -> list[dict]:
    """The answer in one round. The words before it say what is to be seen, and the answer follows from them."""
    reply = part(THINK, f"the {card.name} shows {card.shown}") + part(ANSWER, card.answer)
    return [*protocol.prompt(card.question, view, 1, "compact", "thousand", 1), _says(reply)]


def _says(text: str) -> dict:
    return {"role": "assistant", "content": [{"type": "text", "text": text}]}


def encode(processor, talks: list[list[dict]], second=()) -> dict:
    """Conversations -> a padded batch with labels on the assistant's tokens only, `(B, T)`.

    Where `second` says so, the labels begin with the second round.
    """
    import torch

    batch = processor.apply_chat_template(
        talks, tokenize=True, return_dict=True, return_tensors="pt", return_assistant_tokens_mask=True,
        processor_kwargs={"padding": True},
    )  # fmt: skip
    own = batch.pop("assistant_masks").bool()
    if len(second):
        rethink = batch["input_ids"] == processor.tokenizer.convert_tokens_to_ids(f"<{RETHINK}>")
        own &= (rethink.cumsum(-1) > 0) | ~torch.tensor(second)[:, None]
    batch["labels"] = batch["input_ids"].masked_fill(~own, -100)
    return dict(batch)
