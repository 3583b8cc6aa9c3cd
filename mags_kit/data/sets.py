"""Pool, validation and test set of a run: procedural scenes, benchmarks, or the user's own JSONL."""

import itertools
from pathlib import Path

import numpy as np

from mags_kit import steps
from mags_kit.data import benchmarks, drawing, scenes
from mags_kit.data.own import read_own
from mags_kit.records import Sample, read_samples, write_bytes, write_jsonl
from mags_kit.run import Run


def scene_samples(split: str, count: int, folder: str | Path, first: int = 0) -> list[Sample]:
    """`count` samples of a split, one question per scene, with images under `folder/images`.

    Families take turns and so do the answers within each, so that always giving one answer earns chance. Each answer
    goes through all qualities, densities and sizes in an order of its own, twice as often through small as large.
    """
    kinds = list(itertools.product(drawing.QUALITIES, scenes.DENSITIES, (scenes.SMALL, scenes.SMALL, scenes.LARGE)))
    samples = []
    for i in range(count):
        turn, place = divmod(i, len(scenes.FAMILIES))
        family = scenes.FAMILIES[place]
        lap, which = divmod(turn, len(scenes.ANSWERS[family]))
        key = [sorted(scenes.CLASSES).index(split), place, which, lap // len(kinds)]
        quality, density, size = kinds[np.random.default_rng(key).permutation(len(kinds))[lap % len(kinds)]]
        kind = {"size": size, "quality": quality, "density": density}
        scene = scenes.make_scene(first + i, split, family, scenes.ANSWERS[family][which], **kind)
        card, name = scene.cards[0], f"{split}-{first + i:05d}"
        image = f"images/{name}.jpg"
        write_bytes(Path(folder, image), scene.jpeg)
        meta = {"seed": first + i, **kind, "cards": len(scene.cards), "marks": len(card.marks)}
        samples.append(Sample(name, image, card.question, card.answer, family, "scenes", (card.box,), meta))
    return samples


def prepare(run: Run) -> dict[str, list[Sample]]:
    """Pool, validation and test set of a run, made once; a run that measures a model alone has a test set only."""
    folder, config = run.data, run.config
    sizes = {"test": config.test, "validation": config.validation, "pool": config.pool}
    sizes = {name: count for name, count in sizes.items() if count}
    steps.start(steps.data(run))
    wanted, made = [name for name in sizes if not run.samples(name).exists()], {}
    if "test" in wanted and config.own:
        doubts = []
        samples, skipped = read_own(config.own, folder, doubts.append)
        samples = samples if config.pool else samples[: config.test]
        _note(run, "own data", {"used": len(samples), "skipped": skipped, "doubts": doubts})
        write_jsonl(run.samples("test"), samples)
        wanted.remove("test")
    if wanted and config.data == "benchmarks":
        own = [folder / sample.image for sample in read_samples(run.samples("test"))] if config.own else []
        wanted = [name for name in sizes if name != "test" or not config.own]  # all anew, since each avoids the others
        made, facts = benchmarks.build(config, folder, {name: sizes[name] for name in wanted}, own)
        _note(run, "benchmarks", facts)
    for name in wanted:
        split = "train" if name == "pool" else name
        write_jsonl(run.samples(name), made.get(name) or scene_samples(split, sizes[name], folder))
    return {name: read_samples(run.samples(name)) for name in reversed(sizes)}


def _note(run: Run, name: str, facts: dict) -> None:
    for doubt in facts.get("doubts", ()):
        print(doubt)
    if skipped := facts["skipped"]:
        print(f"{len(skipped)} rows were left out; the first, {skipped[0]['row']}: {skipped[0]['reason']}")
    run.note(name, **facts)
