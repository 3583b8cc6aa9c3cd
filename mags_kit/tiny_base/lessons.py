"""Supervised conversations about procedural scenes, from which the embedded tiny VLM learns.

Close-ups are drawn sharp, as most photos are from which large models learn: by default none is cut from a source and
enlarged. How a demonstration looks does not depend on its question, deliberately: RL can find out when which way pays.
"""

from dataclasses import dataclass

import numpy as np

from mags_kit.method import protocol
from mags_kit.method.protocol import ANSWER, AT_ONCE, CLOSELY, DRAFT, RETHINK, RIGHT, ROUGHLY, STRATEGIES, THINK
from mags_kit.method.protocol import TWO_CARDS, VERDICT, WRONG, part
from mags_kit.data import scenes
from mags_kit.tiny_base import vision
from mags_kit.tiny_base.vision import GRID, glance, grid_box, loose_box, readable


@dataclass(frozen=True)
class Phase:
    """A phase of the base's training."""

    peak: float  # highest step size
    weight: float = 8  # of a deciding token, beyond that of others: see `pretraining.words_loss`
    nf4: bool = False  # whether its matrices are rounded to 4 bits in each step, as they will be in policies


PHASES = {
    "see": Phase(2e-3),  # dense targets for the vision tower, which is frozen afterwards
    "point": Phase(2e-3),  # at cards
    "look": Phase(2e-3),  # read close-ups, and large marks in the first view; and point
    "answer": Phase(2e-3, nf4=True),  # in one round and in two
    "settle": Phase(1e-3, weight=4, nf4=True),  # the same again, with more weight on the form
}
# What is learned in the last phases, and its share: round 1 but for how it looks, one round, all, round 2
KINDS = {"region": 0.15, "at once": 0.4, "all": 0.28, "round 2": 0.17}
ASKS = protocol.PROMPTS["compact"] | {"choose": protocol.CHOOSE_FIRST}
FREE = {AT_ONCE: 0.4, CLOSELY: 0.25, TWO_CARDS: 0.2, ROUGHLY: 0.15}
SHARES = {  # of the strategies that are demonstrated under a prompt
    "two": {CLOSELY: 0.3, TWO_CARDS: 0.2, ROUGHLY: 0.5},
    "free": FREE,
    "choose": FREE,
}
BATCH = 44
POINTINGS, LOOKS = 64, (40, 28, 24)  # questions a step: in `point`; in `look`: close up, at once, pointing
FIRST = 10_000_000  # first seed of a lesson's scene
ALL = 2**40 - FIRST  # number of seeds
BEGIN, SEEN_AGAIN = 0.4, 960  # share of `point` in which this many scenes come back
UNREAD = "too small"  # said of a view in which nothing can be read


@dataclass(frozen=True)
class Lessons:
    """Batches of supervised lessons: `lessons[step]` is always the same batch, so training can resume anywhere."""

    phase: str  # a name in `PHASES`
    steps: int
    processor: object
    enlarged: float = 0.0  # share of the close-ups of `look` that are cut from the source and enlarged; else drawn

    def __getitem__(self, step: int) -> dict:
        rng = np.random.default_rng([list(PHASES).index(self.phase), step])
        if self.phase == "see":
            return vision.lesson(rng, _scene, self.processor)
        if self.phase == "point":
            # One or two cards teach what a box is, many cards teach their names. At first scenes come back: with new
            # ones only, it did not learn in time which card is meant; with these alone, it learned them by heart.
            few, among = 1 if step < self.steps // 15 else 0.3, SEEN_AGAIN if step < BEGIN * self.steps else ALL
            return encode(self.processor, _pointings(rng, POINTINGS, few, among))
        if self.phase == "look":
            close, at_once, pointings = LOOKS
            talks = [_reading(rng, *each, i < self.enlarged * close) for i, each in enumerate(_cards(rng, close))]
            asked = [(scene, scene.question(card)) for scene, card in _cards(rng, 2 * at_once)]
            first = [each for each in asked if all(map(readable, each[1].cards)) or rng.uniform() < 0.4]
            talks += [_at_once(rng, question, glance(rng, scene)) for scene, question in first[:at_once]]
            return encode(self.processor, talks + _pointings(rng, pointings, 0.1))
        talks, learned = [], []
        while len(talks) < BATCH:
            scene = _scene(rng)
            view = glance(rng, scene)
            for card in _more_numbers(rng, scene)[:4]:
                kind, question = str(rng.choice(list(KINDS), p=list(KINDS.values()))), scene.question(card)
                if kind == "at once" and not all(map(readable, question.cards)) and rng.uniform() < 0.6:
                    continue
                learned.append(kind)
                talks.append(_demonstration(rng, scene, question, view, kind))
        talks += [_reading(rng, *each) for each in _cards(rng, 12)]  # or it forgets how to read
        return encode(self.processor, talks, learned + ["all"] * 12)


def _demonstration(rng, scene, question, view, learned: str) -> list[dict]:
    """A question answered in one round or two, of which a part is learned, one of `KINDS`.

    Where round 2 alone is learned, the rationale says any way of looking, or round 2 would learn from that word what
    the views show.
    """
    if learned == "at once":
        return _at_once(rng, question, view)
    prompt = str(rng.choice(list(SHARES)))
    among = SHARES[prompt] if learned == "all" else {CLOSELY: 0.5, TWO_CARDS: 0.5}
    how = str(rng.choice(list(among), p=list(among.values())))
    if how == AT_ONCE:
        return _at_once(rng, question, view, prompt=prompt)
    said = how
    if learned == "round 2":
        how, said = (str(rng.choice((CLOSELY, TWO_CARDS, ROUGHLY))) for _ in "ab")
    boxes = shown = _looks(rng, scene, question, how)
    if how != ROUGHLY:  # as from pointing that is not exact: wider by a step on some sides
        wider = [box + GRID * np.array((-1, -1, 1, 1)) * (rng.uniform(size=4) < 0.3) for box in boxes]
        shown = [tuple(int(v) for v in box.clip(0, 1000)) for box in wider]
    views = [vision.near(scene, vision.written(box)) for box in shown]
    first, draft = _seen(rng, question, [(vision.WHOLE, vision.VIEW)])
    if rng.uniform() < 0.15:  # a draft is not always what it saw, so that round 2 learns to compare
        draft = [_guess(rng, card) for card in question.cards]
    second, answer = _seen(rng, question, [(cut, each.width) for each, cut in views], draft)
    draft, answer = " ".join(draft), " ".join(answer)
    word, rationale = STRATEGIES[said], f"{_names(question.cards)}, it shows {first}"
    rationale = f"{word} {rationale}" if prompt == "choose" else rationale + word
    reply = part(THINK, rationale) + part(DRAFT, draft)
    verdict = part(VERDICT, RIGHT if draft == answer else WRONG)
    rethink = part(RETHINK, f"the view shows {second}: {answer}, the draft was {draft}")
    talk = [_asks(prompt, question.text, view), _says(reply + protocol.tool_call_text(boxes))]
    if learned == "region":
        return talk
    content = [{"type": "image", "image": each} for each, _ in views]
    return [*talk, {"role": "tool", "content": content}, _says(rethink + verdict + part(ANSWER, answer))]


def _looks(rng, scene, question, how: str) -> list:
    """The boxes in thousandths of a way of looking."""
    cards = list(question.cards)
    if how == ROUGHLY:
        return [loose_box(cards[0].box)]
    others = [card for card in scene.cards if card not in cards]
    if how == TWO_CARDS and len(cards) == 1 and others:
        cards.append(others[rng.integers(len(others))])
    cards = cards if how == TWO_CARDS else cards[:1]
    return [grid_box(card.box) for card in cards]


def _seen(rng, question, views: list, draft=None) -> tuple[str, list[str]]:
    """What views `[(crop box, side in pixels), …]` show of a question's cards, in words, and the answer on each; what
    cannot be read is as in the draft, or a guess."""
    read = [any(readable(card, *view) for view in views) for card in question.cards]
    asked = list(zip(question.cards, read, draft or [None] * len(read), strict=True))
    shown = " ".join(card.shown if can else UNREAD for card, can, _ in asked)
    return shown, [card.shown if can else before or _guess(rng, card) for card, can, before in asked]


def _guess(rng, card) -> str:
    return str(rng.choice(scenes.SHOWN[card.family]))


def _names(cards) -> str:
    return " and ".join(f"the {card.name}" for card in cards)


def _scene(rng, least: int = 0, most: int = 0, among: int = ALL):
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


def _pointings(rng, count: int, few: float, among: int = ALL) -> list:
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


def _reading(rng, scene, card, enlarged: bool = False) -> list[dict]:
    """A question on a close-up of its card, or of the large window around it."""
    return _at_once(rng, scene.question(card, alone=True), *vision.close_up(rng, scene, card, 0.9, enlarged))


def _at_once(rng, question, view, cut=vision.WHOLE, prompt: str = "reason") -> list[dict]:
    """The answer in one round, after a rationale that says what the view shows."""
    shown, answer = _seen(rng, question, [(cut, view.width)])
    reply = part(THINK, f"{_names(question.cards)}, it shows {shown}") + part(ANSWER, " ".join(answer))
    return [_asks(prompt, question.text, view), _says(reply)]


def _asks(name: str, question: str, view) -> dict:
    return {"role": "user", "content": protocol.prompt(ASKS[name], question, view)}


def _says(text: str) -> dict:
    return {"role": "assistant", "content": [{"type": "text", "text": text}]}


def encode(processor, talks: list[list[dict]], learned=()) -> dict:
    """Conversations -> a padded batch with labels on the assistant's tokens only, `(B, T)`.

    `learned` says for each which of them: `all`, `round 2`, or `region`: all but the word for how it looks.
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
        choice = torch.isin(ids, torch.tensor([tag(word) for word in STRATEGIES.values() if word]))
        own &= second | ~torch.tensor([what == "round 2" for what in learned])[:, None]
        own &= ~choice | ~torch.tensor([what == "region" for what in learned])[:, None]
    batch["labels"] = ids.masked_fill(~own, -100)
    return dict(batch)
