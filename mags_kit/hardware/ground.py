"""What the parts of a benchmark stand on: a run in a temporary folder, its policy, and how their tasks are timed."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial

from mags_kit.hardware.clock import Row, say, side_by_side
from mags_kit.hardware.floor import Products, Rates
from mags_kit.method.look import FIRST_VIEWS
from mags_kit.method.policy import Policy, load_policy
from mags_kit.records import Sample, read_samples
from mags_kit.runs import Run


@dataclass
class Ground:
    """The run whose settings and samples are used, how often a task is timed, and whether few sizes have to do."""

    run: Run  # in a temporary folder: its views are thrown away again and again
    repeats: int
    quick: bool = False
    rates: Rates = field(default_factory=Rates)
    policies: list[Policy] = field(default_factory=list)  # whose features are thrown away, too

    @cached_property
    def policy(self) -> Policy:
        """With an adapter, as in training."""
        return self.load(self.run)

    def load(self, run: Run) -> Policy:
        self.policies.append(load_policy(run.config, trainable=True))
        return self.policies[-1]

    @cached_property
    def samples(self) -> list[Sample]:
        return read_samples(self.run.samples("pool"))

    def some(self, sizes: tuple) -> tuple:
        """All sizes, or the first two."""
        return sizes[:2] if self.quick else sizes

    def forget(self) -> None:
        """So that what is timed enlarges every region, and sees every image."""
        shutil.rmtree(self.run.views, ignore_errors=True)
        for policy in self.policies:
            policy.tower.forward.forget()
        FIRST_VIEWS.forget()

    def counted(self, task: Callable) -> tuple[object, float]:
        """What a task gives, and the seconds that its matrix products need alone."""
        self.forget()
        with Products() as products:
            given = task()
        return given, self.rates.seconds(products)

    def timed(
        self, part: str, tasks: dict[str, Callable], counts: dict[str, int], unit: str = "s", fresh: bool = True
    ) -> tuple[list[Row], dict]:
        """A row a task, each of which does `counts` things at once, and what each gave; `fresh`: with nothing stored.

        Each task runs once before, to warm up and to have its products counted.
        """
        given, floors = {}, {}
        for name, task in tasks.items():
            say(f"{part}: {name}, products counted")
            given[name], floors[name] = self.counted(task)
        before = self.forget if fresh else (lambda: None)
        seconds = side_by_side(tasks, self.repeats, lambda text: say(f"{part}: {text}"), before)
        row = partial(Row.timed, part, unit=unit)
        return [row(n, s, count=counts[n], floor=floors[n] or None) for n, s in seconds.items()], given
