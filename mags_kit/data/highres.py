"""Readers of the benchmarks of looking closely, V*Bench and HR-Bench: multiple choice about large pictures.

Columns as the data sets' public files have them; where the hub's own description could not be seen, those of programs
that read them. A question ends with its options, a line each, as `(A) red`; the truth is a letter.
"""

import base64
import io
import json
from pathlib import Path

from PIL import Image

VSTAR = {  # 191 rows: direct_attributes, relative_position
    "reader": "vstar", "repo": "craigwu/vstar_bench", "revision": "d9ae62c903da0c98336e85c5ee89cd863b04b4da",
    "files": "test_questions.jsonl", "beside": "[dr]*/*",
}  # fmt: skip
HRBENCH = {"reader": "hrbench", "repo": "DreamMr/HR-Bench", "revision": "main"}  # 800 rows: a question in four turns
ROWS = {
    "highres": {"V*Bench": VSTAR, "HR-Bench 4k": HRBENCH | {"files": "hr_bench_4k.parquet"}},
    "highres-8k": {"V*Bench": VSTAR, "HR-Bench 8k": HRBENCH | {"files": "hr_bench_8k.parquet"}},
}


def beside(folder: Path, name: str | None) -> dict:
    """The picture `name` under a folder as bytes, none where it is missing, and the note that lies beside it."""
    if not name or Path(name).is_absolute() or ".." in Path(name).parts:
        return {"content": None, "note": {}}  # the row is left out as one that names no file
    path = folder / name
    note = path.with_suffix(".json")
    return {
        "content": path.read_bytes() if path.is_file() else b"",
        "note": json.loads(note.read_text(encoding="utf-8")) if note.is_file() else {},
    }


def _vstar(row):
    """Its boxes are x, y, width and height in pixels of the picture, one for each object that is asked about."""
    question = (row["text"] or "").partition("\nAnswer with the option")[0]  # how to answer is for the prompt to say
    boxes = tuple((x, y, x + w, y + h) for x, y, w, h in row["note"].get("bbox", ()))
    size = None
    if boxes and row["content"]:
        with Image.open(io.BytesIO(row["content"])) as image:
            size = image.size
    yield question, row["label"], row["content"], boxes if size else (), size


def _hrbench(row):
    options = "\n".join(f"({letter}) {row[letter]}" for letter in "ABCD" if row[letter])
    question = row["question"] and f"{row['question']}\n{options}"
    yield question, row["answer"], base64.b64decode(row["image"] or ""), (), None


READERS = {  # as in `benchmarks`
    "vstar": (_vstar, ("text", "label", "image")),  # also category and question_id
    "hrbench": (_hrbench, ("question", "answer", "A", "B", "C", "D", "image")),  # also index, (cycle_)category
}
