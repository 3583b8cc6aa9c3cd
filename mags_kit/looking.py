"""One episode on one image of your own: from Python (`load_agent`, `look`), or from the shell (`look_and_report`)."""

from dataclasses import replace
from itertools import count
from pathlib import Path

from mags_kit import plan
from mags_kit.config import PROFILES, Config, load_config, profile_of
from mags_kit.images import open_image, png
from mags_kit.method.episode import Agent
from mags_kit.method.policy import load_policy
from mags_kit.method.rollout import rollout
from mags_kit.records import Sample, Trajectory, file_name, write_bytes
from mags_kit.run import NO_PHOTOS, Run, reopen, run_folder
from mags_kit.viz import draw

LONGEST = 2000  # characters of a question


def load_agent(name: str = "cpu", adapter: str | Path = "") -> Agent:
    """The agent of a run, with its trained adapter if there is one, or of a profile; `adapter` replaces its adapter."""
    if name in PROFILES and not run_folder(name).exists():
        return agent_with(load_config(name), adapter)
    run = reopen(name)
    return Agent.of(run, load_policy(run.config, adapter or (run.best if run.best.exists() else run.config.adapter)))


def agent_with(config: Config, adapter: str | Path = "") -> Agent:
    """The agent of settings that belong to no run; ValueError where the memory does not allow one episode."""
    one = {"pool": 0, "curated": 0, "validation": 0, "test": 1, "stage_steps": (0,), "cold_start": 0, "batch_size": 1}
    plan.check(replace(config, **one))
    return Agent.of(Run(run_folder("looks"), config), load_policy(config, adapter or config.adapter))


def look(agent: Agent, image: str | Path, question: str) -> Trajectory:
    """One greedy two-round episode; ValueError where the image or the question cannot be used."""
    check(image, question)
    sample = Sample("look", str(Path(image).absolute()), question.strip(), "")
    return rollout(agent, [sample], condition="look", progress=False)[0]


def check(image: str | Path, question: str) -> None:
    """Raise ValueError where a policy cannot be asked this question about this image."""
    if not str(image).strip():
        raise ValueError("no image is named; expected the file of a picture: IMAGE=photo.jpg")
    if not 0 < len(question.strip()) <= LONGEST:
        raise ValueError(f"the question has {len(question.strip())} characters; expected 1 to {LONGEST}")
    open_image(image)


def look_and_report(image: str, question: str, model: str, adapter: str, changes: dict) -> str:
    """`make look`: the trajectory in lines; its picture is written into `runs/looks/` under a name of its own."""
    check(image, question)
    agent = agent_with(load_config(profile_of(model), {"model": model, "data": "scenes"} | changes), adapter)
    t, name = look(agent, image, question), file_name(Path(image).stem)
    path = next(p for n in count(1) if not (p := run_folder("looks") / f"{name}-{n}.png").exists())
    write_bytes(path, png(draw.sheet({"": t}, "", agent.magnifier.cache_dir)))
    regions = "; ".join(f"{', '.join(map(str, r.box))} ({r.said})" for r in t.regions)
    own = "no adapter; ADAPTER=runs/NAME/training/best looks with what a run has learned"
    rows = {"policy": f"{agent.config.model_name}, {adapter or own}", "regions": regions or "none"} | draw.facts(t)
    rows |= {"picture": path} | ({"note": NO_PHOTOS} if model == "embedded" else {})
    return "\n".join(f"{name + ':':<14}{value}" for name, value in rows.items())
