"""One look at one image from the shell: two rounds, printed, and drawn."""

from dataclasses import dataclass
from pathlib import Path

from mags_kit.config import Config, load_config, profile_of
from mags_kit import memory, plan
from mags_kit.method.protocol import TOOL
from mags_kit.records import Trajectory, write_bytes
from mags_kit.viz import figures
from mags_kit.viz.browser import words
from mags_kit.viz.playground import Playground
from mags_kit.viz.progress import Progress
from mags_kit.run import Run, run_folder


@dataclass(frozen=True)
class Result:
    """What came of a look, the file of its figure, and what is to be known of the model."""

    trajectory: Trajectory
    figure: Path
    note: str = ""

    def __str__(self) -> str:
        t = self.trajectory
        regions = [f"{', '.join(map(str, r.box))} ({r.said})" for r in t.regions]
        rows = {
            "draft": t.draft, "regions": "; ".join(regions) or f"none: no call of {TOOL}",
            "rethink": words(t) or None, "verdict": t.verdict, "answer": t.answer, "figure": self.figure,
        } | ({"note": self.note} if self.note else {})  # fmt: skip
        return "\n".join(f"{name + ':':<9}{'–' if value is None else value}" for name, value in rows.items())


def settings(model: str, changes: dict) -> Config:
    """Those of a look by a model: of its own profile, or the `paper` profile's."""
    return load_config(profile_of(model), {"model": model, "data": "scenes"} | changes)


def look(image: str, question: str, config: Config, adapter: str, progress: Progress) -> Result:
    """Two rounds on one image; the figure is written to `runs/looks/`. ValueError where anything will not do."""
    if not image.strip():
        raise ValueError("no image is named; expected the file of a picture: IMAGE=photo.jpg")
    run = Run(run_folder("looks"), memory.resolve(config))
    ground = Playground(run, adapter or config.adapter)
    ground.open(Path(image).absolute())
    ground.ask(question)
    plan.check_look(config)
    trajectory = ground.look(progress)
    progress("drawing the figure")
    stem, count = Path(image).stem, 1
    while (path := run.path / f"{stem}-{count}.png").exists():
        count += 1
    write_bytes(path, figures.png(figures.show_trajectory(trajectory, "", run.views)))
    progress("")
    return Result(trajectory, path, ground.caution)
