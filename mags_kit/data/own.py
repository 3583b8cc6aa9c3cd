"""The user's own questions about their own images, from a JSONL."""

import os
from pathlib import Path

from mags_kit.images import open_image
from mags_kit.records import Sample, answers_from, read_jsonl


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
            open_image(path.parent / row["image"])
        except ValueError as error:
            skipped.append({"row": f"{path.name}, row {number}", "image": row["image"], "reason": str(error)})
            continue
        image = os.path.relpath(path.parent / row["image"], folder)
        boxes = tuple(tuple(round(v) for v in box) for box in row.get("boxes", ()))
        optional = {"family": row.get("family", "open"), "dataset": row.get("dataset", "own"), "boxes": boxes}
        samples.append(
            Sample(str(row.get("id", number)), image, str(row["question"]), **answers_from(row["answer"]), **optional)
        )
    if not samples:
        raise ValueError(
            f"{path}: none of its {len(skipped)} rows can be used; the first: {skipped[0] if skipped else None}"
        )
    return samples, skipped
