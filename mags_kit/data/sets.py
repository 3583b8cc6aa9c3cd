"""Pool, validation and test set of a run: procedural scenes, benchmarks, or the user's own JSONL."""

import itertools
from pathlib import Path

import numpy as np

from mags_kit import steps
from mags_kit.data import benchmarks, drawing, scenes
from mags_kit.data.own import only_named, read_own, training_sets
from mags_kit.records import Sample, read_samples, write_bytes, write_jsonl
from mags_kit.run import Run


def scene_samples(split: str, count: int, folder: str | Path, first: int = 0) -> list[Sample]:
    """`count` samples of a split, one question per scene, with images under `folder/images`.

    Families take turns and so do the answers within each, so that always giving one answer earns chance. Each answer
    goes through all qualities, densities and sizes in an order of its own, `scenes.SHARES` says how often.
    """
    sizes = [size for size, share in scenes.SHARES.items() for _ in range(share)]
    kinds = list(itertools.product(drawing.QUALITIES, scenes.DENSITIES, sizes))
    samples = []
    for i in range(count):
        turn, place = divmod(i, len(scenes.FAMILIES))
        family = scenes.FAMILIES[place]
        lap, which = divmod(turn, len(scenes.ANSWERS[family]))
        key = [sorted(scenes.CLASSES).index(split), place, which, lap // len(kinds)]
        quality, density, size = kinds[np.random.default_rng(key).permutation(len(kinds))[lap % len(kinds)]]
        kind = {"size": size, "quality": quality, "density": density}
        scene = scenes.make_scene(first + i, split, family, scenes.ANSWERS[family][which], **kind)
        asked, name = scene.question(scene.cards[0]), f"{split}-{first + i:05d}"
        image = f"images/{name}.jpg"
        write_bytes(Path(folder, image), scene.jpeg)
        meta = {"seed": first + i, **kind, "cards": len(scene.cards), "marks": len(scene.cards[0].marks)}
        boxes = tuple(card.box for card in asked.cards)
        samples.append(Sample(name, image, asked.text, asked.answer, family, "scenes", boxes, meta))
    return samples


def prepare(run: Run) -> dict[str, list[Sample]]:
    """Pool, validation and test set of a run, made once; a run that measures a model alone has a test set only."""
    folder, config = run.data, run.config
    # each set avoids the photos of those before it, and those of named candidates are not to be given up
    order = ("test", "pool", "validation") if config.curated_ids else ("test", "validation", "pool")
    sizes = {name: getattr(config, name) for name in order if getattr(config, name) or name == "test"}
    files = {"test": config.own, "validation": config.train, "pool": config.train}  # the user's own
    steps.start(steps.data(run))
    wanted, made = [name for name in sizes if not run.samples(name).exists()], {}
    if "test" in wanted and config.own:
        doubts = []
        samples, skipped = read_own(config.own, folder, doubts.append)
        samples = samples if config.pool else samples[: config.test or None]
        _note(run, "own data", {"used": len(samples), "skipped": skipped, "doubts": doubts})
        write_jsonl(run.samples("test"), samples)
    others = [name for name in wanted if not files[name]]
    if others and config.data == "benchmarks":
        others = [name for name in sizes if not files[name]]  # all anew, since each avoids the others
        counts = {name: 0 if name == "pool" and config.curated_ids else sizes[name] for name in others}
        made, facts = benchmarks.build(config, folder, counts, _tested(run) if config.own else [])
        _note(run, "benchmarks", facts)
    for name in others:
        split = "train" if name == "pool" else name
        samples = made.get(name) or scene_samples(split, sizes[name], folder)
        named = name == "pool" and config.curated_ids
        write_jsonl(run.samples(name), only_named(samples, config) if named else samples)
    if config.train and {"validation", "pool"} & {*wanted}:
        doubts = []
        made, skipped = training_sets(config, folder, _tested(run), doubts.append)
        used = sum(map(len, made.values()))
        _note(run, "own training data", {"used": used, "skipped": skipped, "doubts": doubts})
        for name, samples in made.items():
            write_jsonl(run.samples(name), samples)
    return {name: read_samples(run.samples(name)) for name in reversed(sizes)}


def _tested(run: Run) -> list[Path]:
    """The files of the test set's pictures."""
    return list(dict.fromkeys(run.data / sample.image for sample in read_samples(run.samples("test"))))


def _note(run: Run, name: str, facts: dict) -> None:
    for doubt in facts.get("doubts", ()):
        print(doubt)
    if skipped := facts["skipped"]:
        print(f"{len(skipped)} rows were left out; the first, {skipped[0]['row']}: {skipped[0]['reason']}")
    run.note(name, **facts)
