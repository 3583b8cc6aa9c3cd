"""How times grow with sizes: pool, regions, pixels of a view, G, length of a reply, pixels of an image.

Each size is timed, and the exponent is that of a power law through the medians: 1 where twice the size takes twice
the time, less where a part of the time does not grow.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
from PIL import Image

from mags_kit.data import sets
from mags_kit.hardware.clock import Row, exponent, say
from mags_kit.hardware.forcing import full_replies
from mags_kit.hardware.ground import Ground
from mags_kit.hardware.stepping import steps
from mags_kit.method import curriculum
from mags_kit.method.look import Agent, Look
from mags_kit.method.rollout import rollout
from mags_kit.records import Sample

PART, ROLLOUTS = "growth", 8  # rollouts at once, where rollouts are timed
MEGAPIXELS = (1, 4, 16, 50)


def rows(ground: Ground) -> Iterator[Row]:
    """All series, each with its exponent."""
    for what, unit, tasks in (
        ("rendering a pool", "scenes", _pool(ground)),
        ("choosing 40 of a pool", "candidates", _choosing(ground)),
        ("a rollout", "regions", _regions(ground)),
        ("a rollout", "pixels of a view", _views(ground)),
        ("a rollout", "tokens of a reply", _lengths(ground)),
        ("opening an image and its first view", "megapixels", _images(ground)),
    ):
        part, named = f"{PART}: {what}, by {unit}", {f"{size:,} {unit}": task for size, task in tasks.items()}
        timed, _ = ground.timed(part, named, dict.fromkeys(named, 1))
        yield from _fitted(part, [*tasks], timed)
    yield from _groups(ground)


def _fitted(part: str, sizes: list, timed: list[Row]) -> Iterator[Row]:
    """The rows with their sizes, and the exponent."""
    yield from (replace(row, size=size) for row, size in zip(timed, sizes, strict=True))
    medians = [float(np.median(row.values)) for row in timed]
    yield Row(part, "exponent", "", (exponent(sizes, medians),))


def _pool(ground: Ground) -> dict[int, Callable]:
    folder = ground.run.path.parent / "pool"
    return {n: partial(sets.scene_samples, "train", n, folder) for n in ground.some((8, 16, 32, 64))}


def _choosing(ground: Ground) -> dict[int, Callable]:
    """Among candidates that are copies of those at hand, with solve rates at random."""
    rng, tasks = np.random.default_rng(0), {}
    for size in ground.some((250, 500, 1000, 2000, 4000)):
        pool = [replace(ground.samples[i % len(ground.samples)], id=f"{i}") for i in range(size)]
        rates = dict(zip((s.id for s in pool), rng.integers(0, 5, size) / 4, strict=True))
        tasks[size] = partial(curriculum.choose, pool, rates, 40, 0)
    return tasks


def _rollouts(ground: Ground, regions: int = 1, **settings) -> Callable:
    """Rollouts at once, whose calls ask for so many regions under changed settings: of 32 x 32 pixels, so that each is
    enlarged by the network."""
    agent, samples = Agent.of(_changed(ground, **settings), ground.policy), ground.samples[:ROLLOUTS]
    boxes = [(16 * i, 64 * i, 16 * i + 32, 64 * i + 32) for i in range(regions)]
    return partial(rollout, agent, samples, regions=[boxes] * len(samples), progress=False)


def _changed(ground: Ground, **settings):
    return replace(ground.run, config=replace(ground.run.config, batch_size=ROLLOUTS, **settings))


def _regions(ground: Ground) -> dict[int, Callable]:
    return {n: _rollouts(ground, n, max_regions=n) for n in ground.some((1, 2, 4, 8))}


def _views(ground: Ground) -> dict[int, Callable]:
    return {
        side**2: _rollouts(ground, view_pixels=side**2) for side in ground.some((64, 96, 128, 192))
    }  # the model sees no more


def _lengths(ground: Ground) -> dict[int, Callable]:
    """Replies of a fixed length, by a policy of their own for each: what forces it stays."""
    tasks = {}
    for size in ground.some((40, 80, 160, 320)):
        run = _changed(ground, round_tokens=size)
        policy = ground.load(run)
        full_replies(policy, run.config)
        agent = Agent.of(run, policy)
        tasks[size] = partial(rollout, agent, ground.samples[:ROLLOUTS], progress=False)
    return tasks


def _images(ground: Ground) -> dict[float, Callable]:
    """JPEGs of a scene, enlarged: opened, and seen as a whole."""
    agent, folder, tasks = Agent.of(ground.run, ground.policy), ground.run.data, {}
    with Image.open(folder / ground.samples[0].image) as scene:
        for millions in ground.some(MEGAPIXELS):
            name, side = f"images/{millions}-megapixels.jpg", round(1000 * millions**0.5)
            scene.convert("RGB").resize((side, side)).save(folder / name, quality=90)
            tasks[millions] = partial(_opened, agent, Sample(name, name, "How many?", "1"))
    return tasks


def _opened(agent: Agent, sample: Sample) -> None:
    """Open an image and let go of it: one that is still looked at is not opened anew."""
    Look(agent, sample)


def _groups(ground: Ground) -> Iterator[Row]:
    """A training step of one group, by its size G."""
    part, timed, sizes = f"{PART}: a training step of one group, by G", [], ground.some((4, 8, 16, 32))
    for size in sizes:
        say(f"{part}, G = {size}")
        one = {"samples_per_step": 1, "num_generations": size, "rollout_batch": 0, "micro_batch": 0}
        done, _ = steps(_changed(ground, **one), ground.samples[:1], ground.repeats)
        timed.append(Row.timed(part, f"G = {size}", [sum(step.values()) for step in done]))
    yield from _fitted(part, [*sizes], timed)
