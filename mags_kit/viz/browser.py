"""Which trajectory of many is looked at: filters, order, search, position. No widget and no picture."""

import re
from collections import Counter
from collections.abc import Callable

from mags_kit.method.metrics import change, grounding
from mags_kit.method.protocol import RETHINK, part
from mags_kit.method.rewards import answer
from mags_kit.records import Trajectory, area

ALL = "all"


def words(t: Trajectory) -> str:
    """What round 2 says of the draft, as it was written; nothing where it says nothing."""
    found = re.search(part(RETHINK, "(.*?)"), t.replies[-1], re.DOTALL) if len(t.replies) > 1 else None
    return found.group(1).strip() if found else ""


def verdict(t: Trajectory) -> str:
    """Whether round 2 calls the draft right or wrong."""
    return f"draft {t.verdict}" if t.verdict else "none"


def looked_at(t: Trajectory) -> float:
    """The share of the image that the usable regions cover, overlaps counted twice."""
    return sum(area(r.box) for r in t.regions if r.usable) / (t.size[0] * t.size[1])


# name of a filter -> the values of a trajectory under it
FILTERS: dict[str, Callable[[Trajectory], set[str]]] = {
    "family": lambda t: {t.sample.family},
    "answer": lambda t: {"right" if answer(t) else "wrong"},
    "second look": lambda t: {change(t)},
    "verdict": lambda t: {verdict(t)},
    "regions": lambda t: {str(r.outcome) for r in t.regions} or {"none"},
    "quality": lambda t: {str(t.sample.meta.get("quality", "not stated"))},
}
STAGE = "stage"
# name of an order -> what it sorts by
ORDERS: dict[str, Callable[[Trajectory], float | str]] = {
    "as stored": lambda t: 0,
    "sample id": lambda t: t.sample.id,
    "reward, highest first": lambda t: -t.rewards.get("total", 0.0),
    "reward, lowest first": lambda t: t.rewards.get("total", 0.0),
    "smallest regions first": lambda t: looked_at(t) if t.regions else 2.0,
    "target best covered first": lambda t: -grounding(t)["coverage"] if t.sample.boxes else 0.0,
    "longest replies first": lambda t: -sum(map(len, t.replies)),
}


class Browser:
    """Trajectories by stage, such as "before RL" and "after RL", and the place of one among those that are shown.

    `keep`, `sort` and `search` choose what is shown, `move`, `go` and `find` go to one of them. All stand on numbers
    that are worked out once, so that thousands are chosen from in milliseconds.
    """

    def __init__(self, stages: dict[str, list[Trajectory]]):
        self.stages = {name: trajectories for name, trajectories in stages.items() if trajectories}
        self.entries = [(name, t) for name, trajectories in self.stages.items() for t in trajectories]
        self._values = {name: [of(t) for _, t in self.entries] for name, of in FILTERS.items()}
        self._values[STAGE] = [{name} for name, _ in self.entries]
        self._of = {name: {t.sample.id: t for t in trajectories} for name, trajectories in self.stages.items()}
        last = list(self.stages)[-1:]
        self.kept = dict.fromkeys(self._values, ALL) | ({STAGE: last[0]} if last else {})
        self.order, self.word, self.at = next(iter(ORDERS)), "", 0
        self.shown: list[int] = []
        self._choose()

    def values(self, name: str) -> dict[str, int]:
        """The values of a filter with how many of all trajectories have each; `stage` in the order given."""
        counts = Counter(value for values in self._values[name] for value in values)
        return {value: counts[value] for value in (self.stages if name == STAGE else sorted(counts))}

    @property
    def filters(self) -> list[str]:
        """The filters that tell at least two kinds apart."""
        return [name for name in self._values if len(self.values(name)) > 1]

    def keep(self, **values: str) -> None:
        """Show those with these values, e.g. `keep(family="count", second_look="repaired")`; "all" lifts a filter."""
        wanted = {name.replace("_", " "): value for name, value in values.items()}
        for name, value in wanted.items():
            if name not in self._values:
                raise ValueError(f"filter {name!r} is unknown; expected one of {', '.join(self._values)}")
            if value != ALL and value not in self.values(name):
                raise ValueError(f"{name}={value!r}; expected {ALL} or one of {', '.join(self.values(name))}")
        self.kept |= wanted
        self._choose()

    def sort(self, order: str) -> None:
        if order not in ORDERS:
            raise ValueError(f"order {order!r} is unknown; expected one of {', '.join(ORDERS)}")
        self.order = order
        self._choose()

    def search(self, word: str) -> None:
        """Show those whose id, question, replies, answer or truth hold a word, in whatever case; "" lifts it."""
        self.word = word.strip().casefold()
        self._choose()

    def _choose(self) -> None:
        tests = [(self._values[name], value) for name, value in self.kept.items() if value != ALL]
        kept = [i for i in range(len(self.entries)) if all(value in values[i] for values, value in tests)]
        if self.word:
            kept = [i for i in kept if self.word in _text(self.entries[i][1])]
        self.shown = sorted(kept, key=lambda i: ORDERS[self.order](self.entries[i][1]))
        self.at = 0

    @property
    def current(self) -> Trajectory | None:
        return self.entries[self.shown[self.at]][1] if self.shown else None

    @property
    def stage(self) -> str:
        """Of the current one; nothing where none is shown."""
        return self.entries[self.shown[self.at]][0] if self.shown else ""

    def move(self, by: int) -> None:
        """On by so many of those shown, around the end."""
        if self.shown:
            self.at = (self.at + by) % len(self.shown)

    def go(self, number: int) -> None:
        """To the one of that number, counted from 1."""
        if not 1 <= number <= len(self.shown):
            raise ValueError(f"number {number}; expected 1 to {len(self.shown)}, as many as are shown")
        self.at = number - 1

    def find(self, sample_id: str) -> None:
        """To the first one shown of that sample."""
        for place, i in enumerate(self.shown):
            if self.entries[i][1].sample.id == sample_id:
                self.at = place
                return
        raise ValueError(f"sample {sample_id!r} is not among the {len(self.shown)} shown")

    def next(self, count: int = 1) -> list[Trajectory]:
        """The current one and those after it, `count` together at most."""
        return [self.entries[i][1] for i in self.shown[self.at : self.at + count]]

    def beside(self) -> dict[str, Trajectory]:
        """The current sample at every stage that has it, in the order of the stages; empty where none is shown."""
        if not self.shown:
            return {}
        found = {name: of.get(self.current.sample.id) for name, of in self._of.items()}
        return {name: t for name, t in found.items() if t} | {self.stage: self.current}


def _text(t: Trajectory) -> str:
    return "\n".join([t.sample.id, t.sample.question, *t.replies, t.answer or "", t.sample.answer]).casefold()
