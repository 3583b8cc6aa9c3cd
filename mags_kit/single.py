"""One question about one image: two rounds, as a trajectory and a picture."""

from pathlib import Path

from PIL import Image

from mags_kit import plan
from mags_kit.config import Config, load_config, profile_of
from mags_kit.images import open_image, png
from mags_kit.method.episode import Agent
from mags_kit.method.policy import load_policy
from mags_kit.method.rollout import rollout
from mags_kit.records import Sample, Trajectory, write_bytes
from mags_kit.run import NO_PHOTOS, Run, run_folder
from mags_kit.viz import draw
from mags_kit.viz.playground import LONGEST


def settings(model: str, changes: dict) -> Config:
    """The settings for one look by a model: those of its own profile, or of `paper`."""
    return load_config(profile_of(model), {"model": model, "data": "scenes"} | changes)


def look(image: str | Path, question: str, config: Config, adapter: str = "") -> tuple[Trajectory, Image.Image]:
    """Two rounds on one image; ValueError where the image, the question or the memory does not allow it."""
    if not str(image).strip():
        raise ValueError("no image is named; expected the file of a picture: IMAGE=photo.jpg")
    if not 0 < len(question.strip()) <= LONGEST:
        raise ValueError(f"the question has {len(question.strip())} letters; expected 1 to {LONGEST}")
    open_image(image)
    plan.check_look(config)
    run, sample = Run(run_folder("looks"), config), Sample("look", str(Path(image).absolute()), question.strip(), "")
    agent = Agent.of(run, load_policy(config, adapter or config.adapter))
    [trajectory] = rollout(agent, [sample], condition="look", progress=False)
    return trajectory, draw.sheet({"": trajectory}, "", run.views)


def report(image: str | Path, t: Trajectory, picture: Image.Image, model: str) -> str:
    """What was found, in lines; the picture is written into `runs/looks/` under a name of its own."""
    count = 1
    while (path := run_folder("looks") / f"{Path(image).stem}-{count}.png").exists():
        count += 1
    write_bytes(path, png(picture))
    regions = "; ".join(f"{', '.join(map(str, r.box))} ({r.said})" for r in t.regions)
    rows = {"regions": regions or "none"} | draw.facts(t) | {"picture": path}
    rows |= {"note": NO_PHOTOS} if model == "embedded" else {}
    return "\n".join(f"{name + ':':<14}{value}" for name, value in rows.items())
