"""The sets of a run: from procedural scenes, from the benchmarks, or from the user's own JSONL."""

import os
from pathlib import Path

from PIL import Image, ImageOps

from mags_kit import benchmarks, scenes
from mags_kit.records import Sample, read_jsonl, read_samples, write_jsonl


def scene_samples(split: str, count: int, folder: str | Path, first: int = 0) -> list[Sample]:
    """`count` samples of a split, one question per scene, with images under `folder/images`.

    Families take turns and so do the answers within each, so that always giving one answer earns chance.
    """
    folder = Path(folder)
    folder.joinpath("images").mkdir(parents=True, exist_ok=True)
    samples = []
    for i in range(count):
        family = scenes.FAMILIES[i % 3]
        answers = scenes.ANSWERS[family]
        scene = scenes.make_scene(first + i, split, family, answers[i // 3 % len(answers)])
        card = scene.cards[0]
        name = f"images/{split}-{first + i:05d}.jpg"
        folder.joinpath(name).write_bytes(scene.jpeg)
        meta = {"seed": first + i, "cards": len(scene.cards), "clutter": scene.clutter, "marks": len(card.marks)}
        samples.append(
            Sample(f"{split}-{first + i:05d}", name, card.question, card.answer, family, "scenes", (card.box,), meta)
        )
    return samples


def load_image(path: str | Path) -> Image.Image:
    """An RGB image, upright by its EXIF orientation; a missing or broken file is a ValueError that says which."""
    try:
        with Image.open(os.path.normpath(path)) as image:
            return ImageOps.exif_transpose(image).convert("RGB")
    except FileNotFoundError:
        raise ValueError(f"{path}: no such image") from None
    except Exception as error:  # Pillow raises many kinds for files cut short or of no image format
        raise ValueError(f"{path}: not a readable image ({error})") from None


def read_own(path: str | Path, folder: str | Path) -> tuple[list[Sample], list[dict]]:
    """The user's own JSONL -> samples whose image paths are relative to `folder`, and the rows left out, with reasons.

    Rows need `image` (a path relative to the JSONL), `question` and `answer`; `id`, `family`, `dataset` and `boxes`
    ([[x0, y0, x1, y1], …] in source pixels) are optional. A row without its columns is an error, since it is a
    mistake in the file; a row whose image is missing or broken is left out and named.
    """
    path, samples, skipped = Path(path), [], []
    for number, row in enumerate(read_jsonl(path), 1):
        missing = [name for name in ("image", "question", "answer") if not row.get(name)]
        if missing:
            raise ValueError(
                f"{path}, row {number}: no {' and no '.join(missing)}; expected image, question and answer"
            )
        try:
            load_image(path.parent / row["image"])
        except ValueError as error:
            skipped.append({"row": f"{path.name}, row {number}", "image": row["image"], "reason": str(error)})
            continue
        image = os.path.relpath(path.parent / row["image"], folder)
        boxes = tuple(tuple(round(v) for v in box) for box in row.get("boxes", ()))
        optional = {"family": row.get("family", "open"), "dataset": row.get("dataset", "own"), "boxes": boxes}
        samples.append(Sample(str(row.get("id", number)), image, str(row["question"]), str(row["answer"]), **optional))
    if not samples:
        raise ValueError(
            f"{path}: none of its {len(skipped)} rows can be used; the first: {skipped[0] if skipped else None}"
        )
    return samples, skipped


def prepare(run) -> dict[str, list[Sample]]:
    """Pool, validation and test set of a run, made once and read from its folder after that."""
    folder, config = run.file("data"), run.config
    sizes = {"test": config.test, "validation": config.validation, "pool": config.pool}
    listings = {name: folder / f"{name}.jsonl" for name in sizes}
    wanted = [name for name, listing in listings.items() if not listing.exists()]
    if wanted and config.own and "test" in wanted:
        samples, skipped = read_own(config.own, folder)
        run.done("own data", used=len(samples), skipped=skipped)
        write_jsonl(listings["test"], samples)
        wanted.remove("test")
    if wanted and config.data == "benchmarks":
        own = [folder / sample.image for sample in read_samples(listings["test"])] if config.own else []
        wanted = [name for name in sizes if name != "test" or not config.own]  # all anew, since each avoids the others
        made, facts = benchmarks.build(config, folder, {name: sizes[name] for name in wanted}, own)
        run.done("benchmarks", **facts)
    else:
        splits = {"pool": "train"}
        made = {name: scene_samples(splits.get(name, name), sizes[name], folder) for name in wanted}
    for name, samples in made.items():
        write_jsonl(listings[name], samples)
    return {name: read_samples(listings[name]) for name in ("pool", "validation", "test")}
