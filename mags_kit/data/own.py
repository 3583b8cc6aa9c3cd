"""The user's own questions from a JSONL, and the checks of what a row of data holds; see `docs/input.md`."""

import os
import re
from dataclasses import replace
from itertools import zip_longest
from math import ceil, floor
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from mags_kit.config import Config
from mags_kit.images import SAME, difference_hash, open_image
from mags_kit.records import Box, Sample, area, existing, read_jsonl

EXPECTED = "expected image, question and answer"
SPECIAL_TOKEN = re.compile(r"<\|[^<>|]*\|>")  # of chat models; `<|image_pad|>` in a question breaks their processors
DOUBT = 10  # images: that the boxes of so many all end in the upper left quarter is hardly chance
LARGE = 2000  # pixels a side: where thousandths (0 to 1000) end in that quarter
LONGEST = 4000  # characters of a question: about 1,000 tokens, as many as all images of an episode take


def read_own(path: str | Path, folder: str | Path) -> tuple[list[Sample], list[dict], list[str]]:
    """The user's JSONL -> samples whose image paths are relative to `folder`, rows left out with reasons, and doubts.

    Rows need `image` (a path relative to the JSONL), `question` and `answer` (or a list of accepted ones); `id`,
    `family`, `dataset` and `boxes` ([[x0, y0, x1, y1], …] in pixels of the image as it is shown) are optional. A
    mistake in a row is a ValueError; a row whose image or question can't be shown to a policy is left out. A doubt is
    about the boxes of the whole file.
    """
    path, samples, skipped, opened, ids, framed = Path(path).expanduser(), [], [], {}, set(), {}
    try:
        rows = read_jsonl(path)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}; {EXPECTED} in each row of a JSONL") from None
    for number, row in enumerate(tqdm(rows, desc=path.name, unit="row", mininterval=1), 1):
        source = f"{path.name}, row {number}"
        try:
            sample = sample_of(row, number, source=source)
            if sample.image not in opened:
                opened[sample.image] = _open(path.parent, sample.image)
            image, size, reason = opened[sample.image]
            if reason := reason or unaskable(sample.question):
                skipped.append({"row": source, "image": sample.image, "reason": reason})
                continue
            for box in sample.boxes:
                _check_box(box, size)
                framed.setdefault(image, (size, []))[1].append(box)
        except ValueError as error:
            raise ValueError(f"{path.parent / source}: {error}") from None
        name = sample.id
        while name in ids:  # several questions about one image often share its id
            name = f"{name}-{number}"
        ids.add(name)
        image = os.path.relpath(image, folder)
        samples.append(replace(sample, id=name, image=image, boxes=whole_pixels(sample.boxes, size)))
    if not samples:
        first = f"; the first, {skipped[0]['row']}: {skipped[0]['reason']}" if skipped else ""
        raise ValueError(f"{path}: none of its {len(skipped)} rows can be used{first}")
    return samples, skipped, [f"{path}: {doubt}" for doubt in _doubts(list(framed.values()))]


def training_sets(config: Config, folder: Path, tested: set[Path]) -> tuple[dict, list[dict], list[str]]:
    """`validation` and `pool` from the user's own training rows, the rows left out, and doubts.

    They are split by picture, in the seed's order; files that look the same are one picture. Left out are rows about
    pictures of the test set, whose files are `tested`. Validation has at most a third of the rows, and none about a
    picture of which `config.curated_ids` names a row. The pool takes turns between its pictures. Too few rows are a
    ValueError.
    """
    samples, skipped, doubts = read_own(config.train, folder)
    named, of_file = set(read_ids(config.curated_ids)), {}
    for sample in samples:
        of_file.setdefault(os.path.realpath(folder / sample.image), []).append(sample)
    files = [list(of_file)[i] for i in np.random.default_rng(config.seed).permutation(len(of_file))]
    files.sort(key=lambda file: not named & {sample.id for sample in of_file[file]})
    enough = max(len(named) or config.pool, 2 * config.validation) + config.validation
    seen, *pictures = [[s for file in group for s in of_file[file]] for group in _pictures(files, tested, enough)]
    reason = "its picture is in the test set, or looks like one there"
    skipped += [{"row": s.meta["source"], "image": Path(s.image).name, "reason": reason} for s in seen]

    limit = min(config.validation, sum(map(len, pictures)) // 3)
    free = [rows for rows in pictures if not named & {sample.id for sample in rows}]
    held = sorted(free, key=len)[:1]  # one picture at least
    for rows in free:
        if rows not in held and sum(map(len, held)) + len(rows) <= limit:
            held.append(rows)
    validation = [sample for rows in held for sample in rows][:limit]
    turns = zip_longest(*(rows for rows in pictures if rows not in held))
    pool = [sample for turn in turns for sample in turn if sample]
    if not validation or not pool:
        first = f"; the first left out, {skipped[0]['row']}: {skipped[0]['reason']}" if skipped else ""
        found = f"{sum(map(len, pictures))} rows about {len(pictures)} different pictures can be used"
        expected = "expected 3 and 2 at least, and a picture for validation that CURATED does not name"
        raise ValueError(f"TRAIN={config.train}: {found}; {expected}{first}")
    pool = only_named(pool, config) if config.curated_ids else pool[: config.pool]
    return {"validation": validation, "pool": pool}, skipped, doubts


def _pictures(files: list[str], tested: set[Path], enough: int) -> list[list[str]]:
    """Groups of files that look the same; first those that look like a `tested` file. It ends with `enough` groups."""
    looks = np.zeros((len(tested) + len(files), 256), bool)
    looks[: len(tested)] = [difference_hash(open_image(path)) for path in tested]
    group_of, groups = [0] * len(tested), [[]]
    for file in tqdm(files, desc="different pictures", unit="image", mininterval=1):
        known, look = len(group_of), difference_hash(open_image(file))
        distances = (looks[:known] != look).sum(1)
        if distances.min(initial=256) < SAME:
            group_of.append(group_of[distances.argmin()])
        else:
            group_of.append(len(groups))
            groups.append([])
        groups[group_of[-1]].append(file)
        looks[known] = look
        if len(groups) > enough:
            break
    return groups


def read_ids(file: str) -> list[str]:
    """The ids in a file, one a line; none where no file is named."""
    lines = Path(file).read_text(encoding="utf-8-sig", errors="replace").splitlines() if file else ()
    ids = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if file and not ids:
        raise ValueError(f"CURATED={file}: no id in it; expected ids of candidates, one a line")
    return ids


def only_named(candidates: list[Sample], config: Config) -> list[Sample]:
    """The candidates that `config.curated_ids` names, in its order; ValueError for an id that none has."""
    ids, known = read_ids(config.curated_ids), {sample.id: sample for sample in candidates}
    if unknown := [name for name in ids if name not in known]:
        found = f"{len(unknown)} of its {len(ids)} ids are of no candidate, the first is {unknown[0]!r}"
        expected = "expected ids of rows that can be used, about pictures that are not in the test set"
        raise ValueError(f"CURATED={config.curated_ids}: {found}; {expected}")
    return [known[name] for name in ids]


def sample_of(row: dict, number: int, **meta: str) -> Sample:
    """The sample of a row, with the image's path and the boxes as written; ValueError says what is wrong."""
    accepted = row.get("answer") if isinstance(row.get("answer"), list) else [row.get("answer")]
    accepted = tuple(dict.fromkeys(text(answer, "answer") for answer in accepted if not absent(answer)))
    missing = [name for name in ("image", "question") if absent(row.get(name))] + ["answer"] * (not accepted)
    if missing:
        raise ValueError(f"no {' and no '.join(missing)}; {EXPECTED}")
    if not isinstance(row["image"], str) or re.match(r"\w+://|data:", row["image"]):
        raise ValueError(f"image is {row['image']!r:.60}; expected the path of a file on this machine")
    texts = {"id": number, "family": "open", "dataset": "own"}
    texts |= {name: row[name] for name in ("image", "question", *texts) if not absent(row.get(name))}
    texts = {name: text(value, name) for name, value in texts.items()}
    return Sample(**texts, answer=accepted[0], answers=accepted[1:], boxes=boxes(row.get("boxes")), meta=meta)


def absent(value) -> bool:
    """Whether a value is missing: null, NaN (pandas writes it for a gap), or blank text."""
    return value is None or value != value or (isinstance(value, str) and not value.strip())


def text(value, name: str) -> str:
    """Text, a number (3.0 is 3, as pandas writes whole numbers beside a gap) or a truth value (yes, no) as text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, (str, int, float)):
        raise ValueError(f"{name} is {value!r:.60}; expected text, a number, true or false")
    return str(value)


def unaskable(question: str) -> str:
    """Why a policy can't be asked a question, or nothing."""
    if found := SPECIAL_TOKEN.search(question):
        return f"its question holds {found[0]}, a special token of models"
    return f"its question is over {LONGEST} characters long" if len(question) > LONGEST else ""


def boxes(value) -> tuple[tuple[float, ...], ...]:
    """A list of boxes of four numbers each, or none."""
    if absent(value):
        return ()
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"boxes is {value!r:.60}; expected a list of [x0, y0, x1, y1]")
    for box in value:
        numbers = isinstance(box, (list, tuple)) and all(type(v) in (int, float) and abs(v) < 1e9 for v in box)
        if not numbers or len(box) != 4:  # NaN is not below 1e9 either
            raise ValueError(f"box {box!r:.60} is not [x0, y0, x1, y1] in pixels; expected a list of such")
    return tuple(map(tuple, value))


def whole_pixels(found: tuple[tuple[float, ...], ...], size: tuple[int, int]) -> tuple[Box, ...]:
    """Boxes rounded outward to whole pixels and cut to an image of `size`; empty ones go."""
    width, height = size
    cut = [(max(0, floor(a)), max(0, floor(b)), min(width, ceil(c)), min(height, ceil(d))) for a, b, c, d in found]
    return tuple(box for box in cut if area(box))


def _check_box(box: tuple[float, ...], size: tuple[int, int]) -> None:
    """Raise ValueError for what can't be [x0, y0, x1, y1] in pixels of an image of `size`."""
    if all(0 <= v <= 1 for v in box):
        raise ValueError(f"box {list(box)} is in shares of the image; expected pixels: times its width and height")
    if not area(box):
        raise ValueError(f"box {list(box)} ends before it begins; expected [x0, y0, x1, y1], not x, y, width, height")
    if sum(map(area, whole_pixels((box,), size))) < area(box) / 2:
        raise ValueError(f"box {list(box)} lies outside its image of {size[0]}x{size[1]} pixels; expected it inside")


def _doubts(framed: list[tuple[tuple[int, int], list]]) -> list[str]:
    """A sentence where boxes may be for another frame than their images' pixels.

    `framed` are the (width, height) and the boxes of each image. Boxes that look right one by one are doubted where
    those of all images, or of all large ones, end in the upper left quarter.
    """
    for least in (0, LARGE):
        chosen = [(size, boxes) for size, boxes in framed if min(size) >= least]
        ends = [(box[2] / width, box[3] / height) for (width, height), boxes in chosen for box in boxes]
        if len(chosen) >= DOUBT and max(map(max, ends)) <= 0.5:
            which = f"{len(chosen)} images" + f" of {LARGE} pixels a side or more" * (least > 0)
            asked = "are they thousandths, percent, or for a smaller copy? Expected pixels of the image as it is shown"
            return [f"the boxes of all {which} end in the upper left quarter; {asked}"]
    return []


def _open(folder: Path, image: str) -> tuple[Path, tuple[int, int], str]:
    """The file that a row names, the (width, height) of its image, and why it can't be used, or nothing."""
    image = image.replace("\\", "/")  # as Windows writes it, too
    path = existing(os.path.normpath(folder / os.path.expanduser(image)))
    try:
        return path, open_image(path).size, ""
    except ValueError as error:
        return path, (0, 0), str(error).removeprefix(f"{path}: ")
