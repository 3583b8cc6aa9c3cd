"""The user's own questions about their own images, from a JSONL. `docs/input.md` says what is done with each kind."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tqdm.auto import tqdm

from mags_kit.data import values
from mags_kit.images import open_image
from mags_kit.records import Sample, read_jsonl

EXPECTED = "expected image, question and answer"


def read_own(path: str | Path, folder: str | Path) -> tuple[list[Sample], list[dict]]:
    """The user's own JSONL -> samples whose image paths are relative to `folder`, and the rows left out, with reasons.

    Rows need `image` (a path relative to the JSONL), `question` and `answer` (or a list of accepted ones); `id`,
    `family`, `dataset` and `boxes` ([[x0, y0, x1, y1], …] in pixels of the image as it is shown) are optional. What a
    row says wrongly is an error, since it is a mistake in the file; a row whose image or question can't be shown to a
    policy is left out and named.
    """
    path, samples, skipped, pictures = Path(path).expanduser(), [], [], {}
    for row in tqdm(_written(path), desc=path.name, unit="row", mininterval=1):
        if row.image not in pictures:
            pictures[row.image] = _picture(_locate(path.parent, row.image), folder)
        image, size, reason = pictures[row.image]
        if reason := reason or values.unaskable(row.question):
            skipped.append({"row": row.meta["source"], "image": row.image, "reason": reason})
            continue
        try:
            for box in row.boxes:
                values.check_inside(box, size)
        except ValueError as error:
            raise ValueError(f"{path.parent / row.meta['source']}: {error}") from None
        samples.append(replace(row, image=image, boxes=values.fit(row.boxes, size)))
    if not samples:
        first = f"; the first, {skipped[0]['row']}: {skipped[0]['reason']}" if skipped else ""
        raise ValueError(f"{path}: none of its {len(skipped)} rows can be used{first}")
    return samples, skipped


def _written(path: Path) -> list[Sample]:
    """The rows as they are written, each with an id of its own."""
    try:
        rows = read_jsonl(path)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}; {EXPECTED} in each row of a JSONL") from None
    samples = []
    for number, row in enumerate(rows, 1):
        try:
            samples.append(_sample(row, number, f"{path.name}, row {number}"))
        except ValueError as error:
            raise ValueError(f"{path}, row {number}: {error}") from None
    return list(_with_distinct_ids(samples))


def _sample(row: dict, number: int, source: str) -> Sample:
    """What a row says, its image still as it is written; or a ValueError with what is wrong."""
    image, accepted = row.get("image"), values.answers(row.get("answer"))
    missing = [name for name in ("image", "question") if values.absent(row.get(name))] + ["answer"] * (not accepted)
    if missing:
        raise ValueError(f"no {' and no '.join(missing)}; {EXPECTED}")
    if not isinstance(image, str) or re.match(r"\w+://|data:", image):
        what = "an address" if isinstance(image, str) else values.kind(image)
        raise ValueError(f"image is {what} ({image!r:.60}); expected the path of a file on this machine")
    boxes = values.boxes(row.get("boxes"))
    for box in boxes:
        values.check_box(box)
    optional = {"id": number, "family": "open", "dataset": "own"}
    optional |= {name: row[name] for name in optional if not values.absent(row.get(name))}
    return Sample(
        image=values.text(image, "image"), question=values.text(row["question"], "question"), answer=accepted[0],
        answers=accepted[1:], boxes=boxes, meta={"source": source},
        **{name: values.text(value, name) for name, value in optional.items()},
    )  # fmt: skip


def _with_distinct_ids(samples: list[Sample]) -> Iterator[Sample]:
    """The second of two rows with the id `a` becomes `a-2`: several questions about one image often share its id."""
    taken, seen = {sample.id for sample in samples}, Counter()
    for sample in samples:
        name = sample.id
        seen[name] += 1
        while seen[sample.id] > 1 and name in taken:
            name = f"{sample.id}-{seen[sample.id]}"
            seen[sample.id] += name in taken
        taken.add(name)
        yield sample if name == sample.id else replace(sample, id=name)


def _locate(folder: Path, image: str) -> Path:
    """The file that a row names: `~` and Windows' separators are understood, and `..` leads where the disk says."""
    path = folder / os.path.expanduser(image)
    if "\\" in image and not path.exists():
        path = folder / image.replace("\\", "/")
    return Path(os.path.realpath(path.parent), path.name) if ".." in path.parts else path


def _picture(path: Path, folder: str | Path) -> tuple[str, tuple[int, int], str]:
    """A picture's path from `folder`, its (width, height) as it is shown, and why it can't be used, or nothing."""
    try:
        return os.path.relpath(path, folder), open_image(path).size, ""
    except ValueError as error:
        return "", (0, 0), str(error).removeprefix(f"{path}: ")
