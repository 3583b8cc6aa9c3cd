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
    config = run.config
    # each set avoids the photos of those before it, and those of named candidates are not to be given up
    order = ("test", "pool", "validation") if config.curated_ids else ("test", "validation", "pool")
    sizes = {name: getattr(config, name) for name in order if getattr(config, name) or name == "test"}
    if steps.start(steps.data(run)):
        for name, samples in _make(run, sizes).items():
            write_jsonl(run.samples(name), samples)
    return {name: read_samples(run.samples(name)) for name in reversed(sizes)}


def _make(run: Run, sizes: dict[str, int]) -> dict[str, list[Sample]]:
    """The samples of each set in `sizes`, from the user's own files, the benchmarks or scenes."""
    folder, config, made = run.data, run.config, {}
    if config.own:
        samples, skipped, doubts = read_own(config.own, folder)
        made["test"] = samples if config.pool else samples[: config.test or None]
        _note(run, "own data", {"used": len(made["test"]), "skipped": skipped, "doubts": doubts})
    wanted = {name: size for name, size in sizes.items() if not (config.own if name == "test" else config.train)}
    named = "pool" in wanted and config.curated_ids
    if wanted and config.data == "benchmarks":
        counts = wanted | ({"pool": 0} if named else {})  # all, to find the named ones among them
        avoid = [folder / sample.image for sample in made.get("test", ())]
        found, facts = benchmarks.build(config, folder, counts, avoid)
        _note(run, "benchmarks", facts)
    else:
        found = {n: scene_samples("train" if n == "pool" else n, size, folder) for n, size in wanted.items()}
    made |= found | ({"pool": only_named(found["pool"], config)} if named else {})
    if config.train:
        tested = {folder / sample.image for sample in made["test"]}
        found, skipped, doubts = training_sets(config, folder, tested)
        made |= found
        _note(run, "own training data", {"used": sum(map(len, found.values())), "skipped": skipped, "doubts": doubts})
    return made


def _note(run: Run, name: str, facts: dict) -> None:
    for doubt in facts.get("doubts", ()):
        print(doubt)
    if skipped := facts["skipped"]:
        print(f"{len(skipped)} rows were left out; the first, {skipped[0]['row']}: {skipped[0]['reason']}")
    run.note(name, **facts)
