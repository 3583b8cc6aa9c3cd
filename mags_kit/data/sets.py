"""The sets of a run: from procedural scenes, from the benchmarks, or from the user's own JSONL."""

import itertools
from pathlib import Path

import numpy as np

from mags_kit import steps
from mags_kit.data import benchmarks
from mags_kit.data.own import read_own
from mags_kit.records import Sample, read_samples, write_bytes, write_jsonl
from mags_kit.run import Run
from mags_kit.data import drawing, scenes


def scene_samples(split: str, count: int, folder: str | Path, first: int = 0) -> list[Sample]:
    """`count` samples of a split, one question per scene, with images under `folder/images`.

    Families take turns and so do the answers within each, so that always giving one answer earns chance. Each answer
    goes through all qualities, densities and sizes in an order of its own, twice as often through small as large.
    """
    looks = list(itertools.product(drawing.QUALITIES, scenes.DENSITIES, (scenes.SMALL, scenes.SMALL, scenes.LARGE)))
    samples = []
    for i in range(count):
        family = scenes.FAMILIES[i % len(scenes.FAMILIES)]
        turn, answers = i // len(scenes.FAMILIES), scenes.ANSWERS[family]
        answer, lap = answers[turn % len(answers)], turn // len(answers)
        key = [sorted(scenes.CLASSES).index(split), i % len(scenes.FAMILIES), turn % len(answers), lap // len(looks)]
        quality, density, size = looks[np.random.default_rng(key).permutation(len(looks))[lap % len(looks)]]
        seen = {"size": size, "quality": quality, "density": density}
        scene = scenes.make_scene(first + i, split, family, answer, **seen)
        card = scene.cards[0]
        name = f"images/{split}-{first + i:05d}.jpg"
        write_bytes(Path(folder, name), scene.jpeg)
        meta = {"seed": first + i, **seen, "cards": len(scene.cards), "marks": len(card.marks)}
        samples.append(
            Sample(f"{split}-{first + i:05d}", name, card.question, card.answer, family, "scenes", (card.box,), meta)
        )
    return samples


def prepare(run: Run) -> dict[str, list[Sample]]:
    """Pool, validation and test set of a run, made once and read from its folder after that.

    A run that measures a model alone has a test set only.
    """
    folder, config = run.data, run.config
    sizes = {"test": config.test, "validation": config.validation, "pool": config.pool}
    sizes = {name: count for name, count in sizes.items() if count}
    steps.start(steps.data(run))
    wanted = [name for name in sizes if not run.samples(name).exists()]
    if "test" in wanted and config.own:
        samples, skipped = read_own(config.own, folder)
        samples = samples if config.pool else samples[: config.test]
        if skipped:
            print(f"{len(skipped)} rows were left out; the first, {skipped[0]['row']}: {skipped[0]['reason']}")
        run.note("own data", used=len(samples), skipped=skipped)
        write_jsonl(run.samples("test"), samples)
        wanted.remove("test")
    if wanted and config.data == "benchmarks":
        own = [folder / sample.image for sample in read_samples(run.samples("test"))] if config.own else []
        wanted = [name for name in sizes if name != "test" or not config.own]  # all anew, since each avoids the others
        sets, facts = benchmarks.build(config, folder, {name: sizes[name] for name in wanted}, own)
        run.note("benchmarks", **facts)
    else:
        splits = {"pool": "train"}
        sets = {name: scene_samples(splits.get(name, name), sizes[name], folder) for name in wanted}
    for name, samples in sets.items():
        write_jsonl(run.samples(name), samples)
    return {name: read_samples(run.samples(name)) for name in reversed(sizes)}
