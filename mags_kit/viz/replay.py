"""Training replayed: a sample's regions, reply and reward, step by step."""

import io
from pathlib import Path

import ipywidgets as widgets
import numpy as np
from PIL import Image

from mags_kit.evaluation.evaluate import scored
from mags_kit.method.monitoring import step_of
from mags_kit.records import Trajectory, read_trajectories
from mags_kit.run import Run
from mags_kit.viz import charts, draw

Frames = list[tuple[int, Trajectory]]  # (step, trajectory), in the order of steps


def frames(run: Run) -> dict[str, Frames]:
    """Validation sample id -> its greedy trajectories over all stages; empty where a run has none stored."""
    found: dict[str, dict[int, Trajectory]] = {}
    for path in sorted(run.training_log.parent.glob("*/looks.jsonl")):
        for t in read_trajectories(path):
            found.setdefault(t.sample.id, {})[step_of(t)] = scored(t, run.config)
    return {name: sorted(steps.items()) for name, steps in found.items()}


def most_improved(found: dict[str, Frames]) -> str:
    """The sample whose reward rose the most from the first step to the last; the first of several."""
    return max(found, key=lambda name: found[name][-1][1].rewards["total"] - found[name][0][1].rewards["total"])


def reward_chart(steps: Frames) -> Image.Image:
    """The reward by step as a picture."""
    figure, [[axis]] = charts.chart(7, 2.4)
    axis.plot([step for step, _ in steps], [t.rewards["total"] for _, t in steps], "o-", color=charts.BLUE)
    axis.set(xlabel="optimisation step", ylabel="reward")
    axis.locator_params(axis="x", integer=True)
    return Image.open(io.BytesIO(figure._repr_png_())).convert("RGB")


def show_replay(steps: Frames, folder: str | Path, most: int = 6) -> Image.Image:
    """At most so many of the steps, evenly, with their regions, and the reward below, as one static picture."""
    shown = [steps[i] for i in np.unique(np.linspace(0, len(steps) - 1, most).round().astype(int))]
    strip = draw.strip([(f"step {step}: {t.answer or '–'}", t) for step, t in shown], folder)
    sample = steps[0][1].sample
    asked = draw.written(f"{sample.question} (truth: {sample.truth})", max(strip.width, draw.SIDE))
    return draw.joined([asked, strip, reward_chart(steps)], down=True)


class Replay:
    """`widget` is what a notebook displays; from Python, set `sample.value` and `step.value`."""

    def __init__(self, found: dict[str, Frames], folder: str | Path, cache_dir=None):
        self.found, self.folder, self.cache_dir = found, Path(folder), cache_dir
        wide = widgets.Layout(width="auto", max_width="640px")
        names = [(f"{name}: {steps[0][1].sample.question}"[:90], name) for name, steps in found.items()]
        self.sample = widgets.Dropdown(options=names, value=most_improved(found), description="sample", layout=wide)
        self.step = widgets.SelectionSlider(options=[0], description="step", layout=wide)
        self.panel = widgets.HTML(layout=widgets.Layout(width="auto"))
        self.widget = widgets.VBox([self.sample, self.step, self.panel])
        self.widget.add_class("mags-replay")
        self.sample.observe(lambda _: self._choose(), "value")
        self.step.observe(lambda _: self._show(), "value")
        self._choose()

    @classmethod
    def of(cls, run: Run) -> "Replay":
        """The replay of a run's validation samples."""
        return cls(frames(run), run.data, run.views)

    def _choose(self) -> None:
        self.step.options = [step for step, _ in self.found[self.sample.value]]
        self._show()

    def _show(self) -> None:
        steps, now = self.found[self.sample.value], self.step.value
        t = dict(steps)[now]
        rewards = "Reward. " + ", ".join(f"step {step}: {each.rewards['total']:.2f}" for step, each in steps)
        chart = f"<section>{draw.img(reward_chart(steps), rewards)}</section>"
        block = draw.trajectory(t, self.folder, self.cache_dir, f"step {now}")
        self.panel.value = draw.page(chart, block, question=t.sample.question)
