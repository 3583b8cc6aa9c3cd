"""Training replayed: one sample's regions, reply and reward, step by step.

Two kinds are stored: greedy looks at validation samples (`frames`), and rollouts that training sampled (`rollouts`).
"""

import io
from pathlib import Path

import ipywidgets as widgets
import matplotlib.pyplot as plt
from PIL import Image

from mags_kit.images import open_image
from mags_kit.method.monitoring import step_of
from mags_kit.records import Trajectory, read_trajectories
from mags_kit.viz import figures, painting
from mags_kit.evaluation.evaluate import scored
from mags_kit.run import Run

Frames = list[tuple[int, Trajectory]]  # (step, trajectory)


def frames(run: Run) -> dict[str, Frames]:
    """Sample id -> its greedy trajectories over the steps of all stages; empty where a run has none stored."""
    found: dict[str, dict[int, Trajectory]] = {}
    for path in sorted(run.training_log.parent.glob("*/looks.jsonl")):
        for t in read_trajectories(path):
            found.setdefault(t.sample.id, {})[step_of(t)] = scored(t, run.config)
    return {sample: sorted(steps.items()) for sample, steps in found.items()}


def rollouts(run: Run) -> dict[str, Frames]:
    """The same of the training samples whose rollouts were kept, by "training, ID": of the group that was sampled at a
    step the middle one by reward, of two the lower."""
    groups: dict[str, dict[int, list[Trajectory]]] = {}
    for path in sorted(run.training_log.parent.glob("*/rollouts.jsonl")):
        for t in read_trajectories(path):
            groups.setdefault(f"training, {t.sample.id}", {}).setdefault(step_of(t), []).append(t)
    return {name: sorted((step, _middle(group)) for step, group in steps.items()) for name, steps in groups.items()}


def _middle(group: list[Trajectory]) -> Trajectory:
    return sorted(group, key=_reward)[(len(group) - 1) // 2]


def most_telling(looks: dict[str, Frames]) -> str:
    """The sample whose reward rose the most from the first look to the last; the first of several."""
    return max(looks, key=lambda name: _reward(looks[name][-1][1]) - _reward(looks[name][0][1]))


def _reward(t: Trajectory) -> float:
    return t.rewards.get("total", 0.0)


def spread(looks: Frames, most: int = 8) -> Frames:
    """At most so many of the looks, evenly, the first and the last among them."""
    if len(looks) <= most:
        return looks
    return [looks[round(i * (len(looks) - 1) / (most - 1))] for i in range(most)]


@figures.styled
def show_replay(looks: Frames, folder: str | Path, at: int | None = None):
    """The regions of one sample over the training steps, as small pictures or, at one place, as a large one; the
    reward below."""
    shown = spread(looks) if at is None else looks[at : at + 1]
    figure = plt.figure(figsize=(max(4.6, 2.5 * len(shown)), 4.4 if at is None else 6), layout="constrained")
    grid = figure.add_gridspec(2, len(shown), height_ratios=[2.5, 1.2 if at is None else 0.8])
    image = open_image(Path(folder, looks[0][1].sample.image))
    for column, (step, t) in enumerate(shown):
        axis = figure.add_subplot(grid[0, column])
        figures.draw_regions(axis, image, t)
        axis.set_title(f"step {step}: {t.answer or '–'}", fontsize=9, loc="left", parse_math=False)
        axis.axis("off")
    chart = figure.add_subplot(grid[1, :])
    steps, rewards = [step for step, _ in looks], [t.rewards.get("total", 0.0) for _, t in looks]
    chart.plot(steps, rewards, "o-", color=figures.BLUE)
    if at is not None:
        chart.plot(steps[at], rewards[at], "o", color=figures.ORANGE, ms=10)
    chart.set(xlabel="optimisation step", ylabel="reward")
    chart.xaxis.get_major_locator().set_params(integer=True)
    t = looks[0][1]
    figure.suptitle(figures.wrap(f"{t.sample.question} (truth: {t.sample.truth})", 60), fontsize=10, parse_math=False)
    return figure


def gif(looks: Frames, folder: str | Path, seconds: float = 1.2) -> bytes:
    """The looks at one sample as the content of a GIF that plays three times, the reward below."""
    frames = []
    for place in range(len(looks)):
        figure = show_replay(looks, folder, place)
        frames.append(Image.open(io.BytesIO(figures.content(figure, "png", tight=False))).convert("RGB"))
        plt.close(figure)
    out = io.BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:], duration=round(1000 * seconds), loop=2)
    return out.getvalue()


class Replay:
    """A sample chosen by its question, and a slider over the steps. `go` and `choose` do the same from Python."""

    def __init__(self, looks: dict[str, Frames], folder: str | Path, cache_dir=None):
        if not looks:
            raise ValueError("no look of a training is stored; expected one at least, to replay it: train anew")
        self.looks, self.folder, self.cache_dir = looks, Path(folder), cache_dir
        names = [(f"{name}: {steps[0][1].sample.question}"[:90], name) for name, steps in looks.items()]
        wide = widgets.Layout(width="auto", max_width="640px")
        self.sample = widgets.Dropdown(options=names, value=most_telling(looks), description="sample", layout=wide)
        self.step = widgets.SelectionSlider(options=[0], description="step", layout=wide)
        self.panel = widgets.HTML(layout=widgets.Layout(width="auto"))
        self.widget = widgets.VBox([self.sample, self.step, self.panel])
        self.widget.add_class("mags-replay")
        self.sample.observe(lambda event: self.choose(event["new"]), "value")
        self.step.observe(lambda _: self._show(), "value")
        self.choose(self.sample.value)

    @property
    def current(self) -> Trajectory:
        return dict(self.looks[self.sample.value])[self.step.value]

    def choose(self, sample_id: str) -> None:
        self.sample.value = sample_id
        self.step.options = [step for step, _ in self.looks[sample_id]]
        self._show()

    def go(self, step: int) -> None:
        self.step.value = step

    def _show(self) -> None:
        chart = _chart(self.looks[self.sample.value], self.step.value)
        drawn = painting.trajectory(self.current, self.folder, self.cache_dir, f"step {self.step.value}")
        self.panel.value = painting.page(chart, drawn, question=self.current.sample.question)

    def figure(self):
        """All steps of the sample as one matplotlib figure."""
        return show_replay(self.looks[self.sample.value], self.folder)


def _chart(looks: Frames, now: int) -> str:
    """The reward over the steps as a small drawing, the present step marked; numbers alone go into it."""
    steps, rewards = [step for step, _ in looks], [_reward(t) for _, t in looks]
    low, high = min(rewards), max(rewards)
    across = [20 + 280 * (step - steps[0]) / max(1, steps[-1] - steps[0]) for step in steps]
    down = [90 - 70 * (reward - low) / ((high - low) or 1) for reward in rewards]
    dots = "".join(
        f'<circle cx="{x:.0f}" cy="{y:.0f}" r="{7 if step == now else 3}" fill="{painting.colour(step == now)}"/>'
        for x, y, step in zip(across, down, steps, strict=True)
    )
    line = " ".join(f"{x:.0f},{y:.0f}" for x, y in zip(across, down, strict=True))
    said = ", ".join(f"step {step}: {reward:.2f}" for step, reward in zip(steps, rewards, strict=True))
    return (
        f'<section><h4>reward</h4><svg viewBox="0 0 320 110" width="320" role="img" aria-label="Reward. {said}">'
        f'<polyline points="{line}" fill="none" stroke="{painting.colour(0)}" stroke-width="2"/>{dots}</svg>'
        f"<p class=soft>{said}</p></section>"
    )
