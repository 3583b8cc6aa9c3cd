"""Records of the kit, and how they are written to and read from JSON and JSONL."""

import codecs
import hashlib
import json
import math
import os
import uuid
from collections.abc import Iterable
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import lru_cache
from pathlib import Path, PurePath
from unicodedata import normalize

Box = tuple[int, int, int, int]  # (x0, y0, x1, y1) in pixels of the original image, half-open


def area(box) -> float:
    """Area of a box; 0 where it is empty or reversed."""
    return max(0, box[2] - box[0]) * max(0, box[3] - box[1])


class Outcome(StrEnum):
    """How a rollout ended."""

    ANSWERED = "answered"
    NO_ANSWER = "no_answer"
    NO_CALL = "no_call"  # round 1 of two has no tool call
    BAD_CALL = "bad_call"  # it has one that can't be parsed


class RegionOutcome(StrEnum):
    """Outcome of a proposed region."""

    OK = "ok"
    # usable, but not in the requested form
    LABELLED = "labelled"  # {"bbox_2d": [x0, y0, x1, y1], "label": …}, Qwen's own form
    AS_TEXT = "as_text"  # numbers, list or arguments in quotation marks
    SHARES = "shares"  # of the image's width and height, 0 to 1
    WRAPPED = "wrapped"  # in a code fence, or with further arguments
    CLIPPED = "clipped"  # cut at the image's border
    TINY = "tiny"  # enlarged to the magnifier's minimum
    WHOLE = "whole"  # over 90% of the image
    REVERSED = "reversed"
    OUTSIDE = "outside"
    DUPLICATE = "duplicate"
    SURPLUS = "surplus"  # over `max_regions`
    NOT_A_BOX = "not_a_box"


FORMS = (RegionOutcome.LABELLED, RegionOutcome.AS_TEXT, RegionOutcome.SHARES, RegionOutcome.WRAPPED)
USABLE = (RegionOutcome.OK, *FORMS, RegionOutcome.CLIPPED, RegionOutcome.TINY, RegionOutcome.WHOLE)  # get magnified


@dataclass(frozen=True)
class Sample:
    """One image with one question. `boxes` (where the answer can be seen) are for metrics only, never for training."""

    id: str
    image: str  # path, relative to the run's data folder
    question: str
    answer: str
    family: str = "open"  # kind of question: relation, count, attribute; VSR, TallyQA, GQA; or the file's own
    dataset: str = "own"
    boxes: tuple[Box, ...] = ()
    meta: dict = field(default_factory=dict)
    answers: tuple[str, ...] = ()  # further answers that count as right

    @property
    def accepted(self) -> tuple[str, ...]:
        return self.answer, *self.answers

    @property
    def truth(self) -> str:
        """The accepted answers as text."""
        return " or ".join(self.accepted)


@contextmanager
def blame(sample: Sample, what: str):
    """Turn an exception inside, unless it is one of files or memory, into a RuntimeError that names the sample."""
    try:
        yield
    except (OSError, MemoryError):
        raise
    except Exception as bug:
        raise RuntimeError(f"sample {sample.id!r}: {what} failed with {type(bug).__name__}: {bug}") from bug


@dataclass(frozen=True)
class Region:
    """A region of interest that a policy proposed; see `protocol.read_regions`."""

    box: Box
    outcome: str  # one of `RegionOutcome`

    @property
    def said(self) -> str:
        return self.outcome.replace("_", " ")

    @property
    def usable(self) -> bool:
        return self.outcome in USABLE


@dataclass(frozen=True)
class View:
    """A magnified region: the crop of the original image, margin included, and the (width, height) it is scaled to."""

    box: Box
    size: tuple[int, int]


def enlargement(view: View, size: tuple[int, int], first_view: tuple[int, int]) -> float:
    """How many times as large, in length, a view shows what the first view of an image of `size` shows."""
    width, height = first_view if all(first_view) else size
    return math.sqrt(math.prod(view.size) / area(view.box) * math.prod(size) / (width * height))


@dataclass(frozen=True)
class Trajectory:
    """The record of one rollout, enough to redraw and rescore it without a model."""

    sample: Sample
    size: tuple[int, int]  # (width, height) of the original image
    condition: str  # e.g. "trained, two rounds, realesr-animevideov3"
    replies: tuple[str, ...]  # the policy's text of each round, without end marks; the last one answers
    lengths: tuple[int, ...] = ()  # tokens of each reply
    regions: tuple[Region, ...] = ()
    views: tuple[View, ...] = ()  # one for each usable region
    looks: tuple[int, ...] = ()  # how many of the regions each tool call asked for
    first_view: tuple[int, int] = (0, 0)  # (width, height) of the whole image as it was shown; unknown in old records
    view_tokens: int = 0  # image tokens of the views
    magnifier: str = "none"
    draft: str | None = None
    verdict: str | None = None  # of round 2 on the draft: `right` or `wrong`
    answer: str | None = None
    outcome: str = Outcome.ANSWERED
    rewards: dict = field(default_factory=dict)


def to_json(record) -> str:
    return json.dumps(asdict(record), ensure_ascii=False)


def sample_from(row: dict) -> Sample:
    boxes = tuple(tuple(box) for box in row.get("boxes") or ())
    return Sample(**row | {"boxes": boxes, "answers": tuple(row.get("answers") or ())})


def trajectory_from(row: dict) -> Trajectory:
    changes = {n: tuple(row[n]) for n in ("size", "replies", "lengths", "looks", "first_view") if n in row}
    changes["sample"] = sample_from(row["sample"])
    changes["regions"] = tuple(Region(tuple(r["box"]), r["outcome"]) for r in row["regions"])
    changes["views"] = tuple(View(tuple(v["box"]), tuple(v["size"])) for v in row["views"])
    return Trajectory(**row | changes)


def file_name(name: str, longest: int = 200) -> str:
    """The name of a file to write. One over `longest` bytes is cut, and ends in a digest of the whole and the suffix;
    file systems allow 255 bytes, and most letters beyond ASCII take two to four."""
    if len(os.fsencode(name)) <= longest:
        return name
    suffix = PurePath(name).suffix
    end = f"-{hashlib.sha256(os.fsencode(name)).hexdigest()[:12]}{suffix if len(suffix) < 10 else ''}"
    return os.fsencode(name)[: longest - len(os.fsencode(end))].decode(errors="ignore") + end


def existing(path: str | Path) -> Path:
    """A path with its names in the Unicode form that they have on the disk: macOS writes é as e and an accent."""
    path = Path(path)
    if os.path.lexists(path) or path == path.parent:
        return path
    folder, names = existing(path.parent), {}
    with suppress(OSError, ValueError):  # no such folder; a name with a null byte
        names = _names(folder, os.stat(folder).st_mtime_ns)
    return folder / names.get(normalize("NFC", path.name), path.name)


@lru_cache(64)
def _names(folder: Path, time: int) -> dict[str, str]:
    """Composed name -> name as it is, of all in a folder; listed once as long as its time stays."""
    return {normalize("NFC", name): name for name in os.listdir(folder)}


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write the whole file or nothing, by a temporary file beside it. An OSError names the file."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{uuid.uuid4().hex}.part")  # tempfile's would ignore the umask
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        error.filename = error.filename or str(path)  # that of a full disk has no name
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    write_bytes(path, text.encode())


def as_json(value) -> str:
    """The text of a JSON file."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def write_json(path: str | Path, value) -> None:
    write_text(path, as_json(value))


def read_json(path: str | Path):
    """Content of a JSON file; ValueError names a file that is not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected JSON, as the kit writes it ({getattr(error, 'msg', error)})") from None


def write_jsonl(path: str | Path, records: Iterable) -> None:
    write_text(path, "".join(to_json(record) + "\n" for record in records))


def read_jsonl(path: str | Path) -> list[dict]:
    """Rows of a JSONL file in UTF-8; ValueError names a line that is not a JSON object."""
    rows = []
    for number, line in enumerate(Path(path).read_bytes().removeprefix(codecs.BOM_UTF8).splitlines(), 1):
        if not line.strip():
            continue
        try:
            rows.append(json.loads(line.decode()))
            if not isinstance(rows[-1], dict):
                raise ValueError(f"not a {type(rows[-1]).__name__}")
        except (ValueError, RecursionError) as error:
            found = f"got {line[:60].decode(errors='replace')!r} ({getattr(error, 'msg', error)})"
            raise ValueError(f"{path}, line {number}: expected one JSON object a line, in UTF-8; {found}") from None
    return rows


def read_samples(path: str | Path) -> list[Sample]:
    return [sample_from(row) for row in read_jsonl(path)]


def read_trajectories(path: str | Path) -> list[Trajectory]:
    return [trajectory_from(row) for row in read_jsonl(path)]
