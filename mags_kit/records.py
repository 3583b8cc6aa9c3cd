"""The records of the kit, and their way to and from JSONL."""

import io
import json
import os
import uuid
from collections.abc import Iterable
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

Box = tuple[int, int, int, int]  # (x0, y0, x1, y1) in pixels of the original image, half-open


def area(box) -> float:
    """Of a box, in the square of its unit; 0 where it is empty or reversed."""
    return max(0, box[2] - box[0]) * max(0, box[3] - box[1])


class Outcome(StrEnum):
    """How a rollout ended."""

    ANSWERED = "answered"
    NO_ANSWER = "no_answer"
    NO_CALL = "no_call"  # two rounds were asked for, and round 1 opened no tool call
    BAD_CALL = "bad_call"  # it opened one that could not be read


class RegionOutcome(StrEnum):
    """What became of a region that a policy wrote."""

    OK = "ok"  # as it was asked for
    # read as what it means, though written otherwise than asked for
    LABELLED = "labelled"  # {"bbox_2d": [x0, y0, x1, y1], "label": …}, as Qwen's models learned it
    AS_TEXT = "as_text"  # numbers, the list or all arguments as text in quotation marks
    SHARES = "shares"  # of width and height, 0 to 1
    WRAPPED = "wrapped"  # the call in a code fence, or with arguments that the tool does not take
    CLIPPED = "clipped"  # it reached over the border
    TINY = "tiny"  # grown by the magnifier
    WHOLE = "whole"  # over 90% of the image
    REVERSED = "reversed"
    OUTSIDE = "outside"
    DUPLICATE = "duplicate"
    SURPLUS = "surplus"  # more than may be asked for
    NOT_A_BOX = "not_a_box"


FORMS = (RegionOutcome.LABELLED, RegionOutcome.AS_TEXT, RegionOutcome.SHARES, RegionOutcome.WRAPPED)
USABLE = (RegionOutcome.OK, *FORMS, RegionOutcome.CLIPPED, RegionOutcome.TINY, RegionOutcome.WHOLE)  # these are magnified


@dataclass(frozen=True)
class Sample:
    """One image with one question. `boxes` (where the answer is to be seen) serve measuring only, never training."""

    id: str
    image: str  # path, relative to the run's data folder
    question: str
    answer: str
    family: str = "open"  # of a kind: relation, count, attribute; VSR, TallyQA, GQA; or what the file calls it
    dataset: str = "own"
    boxes: tuple[Box, ...] = ()
    meta: dict = field(default_factory=dict)
    answers: tuple[str, ...] = ()  # further answers that count as right

    @property
    def accepted(self) -> tuple[str, ...]:
        """Every answer that counts as right, the first one first."""
        return self.answer, *self.answers

    @property
    def truth(self) -> str:
        """The accepted answers, to be read."""
        return " or ".join(self.accepted)


@contextmanager
def blame(sample: Sample, what: str):
    """An error inside is a bug of ours, not an outcome: it stops the run, as a RuntimeError that names the sample.

    A full disk, a folder without write access or too little memory is no bug, and is left as it is."""
    try:
        yield
    except (OSError, MemoryError):
        raise
    except Exception as bug:
        raise RuntimeError(f"sample {sample.id!r}: {what} failed with {type(bug).__name__}: {bug}") from bug


@dataclass(frozen=True)
class Region:
    """A region of interest that a policy wrote, and what became of it (see `protocol.read_regions`)."""

    box: Box
    outcome: str  # one of `RegionOutcome`

    @property
    def said(self) -> str:
        """The outcome, to be read."""
        return self.outcome.replace("_", " ")

    @property
    def usable(self) -> bool:
        return self.outcome in USABLE


@dataclass(frozen=True)
class View:
    """A magnified region: what was cut out of the original image, margin included, and the (width, height) it got."""

    box: Box
    size: tuple[int, int]


@dataclass(frozen=True)
class Trajectory:
    """One rollout, enough to redraw it and to score it again without a model."""

    sample: Sample
    size: tuple[int, int]  # (width, height) of the original image
    condition: str  # how it was made, e.g. "after, two rounds, realesr-animevideov3"
    replies: tuple[str, ...]  # what the policy wrote, one text a round, end marks removed
    lengths: tuple[int, ...] = ()  # tokens of each reply
    regions: tuple[Region, ...] = ()
    views: tuple[View, ...] = ()  # one for each usable region
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
    regions = tuple(Region(tuple(r["box"]), r["outcome"]) for r in row["regions"])
    changes = {"sample": sample_from(row["sample"]), "regions": regions, "size": tuple(row["size"])}
    changes |= {"views": tuple(View(tuple(v["box"]), tuple(v["size"])) for v in row["views"])}
    changes |= {"replies": tuple(row["replies"]), "lengths": tuple(row["lengths"])}
    return Trajectory(**row | changes)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a whole file or nothing: into a temporary file beside it, then rename. An OSError names the file."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with open(temporary, "xb") as file:  # unlike tempfile's, with the mode that the user's umask gives
            file.write(content)
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and not error.filename:  # a full disk
            error.filename = str(path)
        raise


def write_text(path: str | Path, text: str) -> None:
    write_bytes(path, text.encode())


def as_json(value) -> str:
    """The text of a JSON file."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def write_json(path: str | Path, value) -> None:
    write_text(path, as_json(value))


def read_json(path: str | Path):
    """What a JSON file holds; one that is none is a ValueError that names it."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected JSON, as the kit writes it ({getattr(error, 'msg', error)})") from None


def write_jsonl(path: str | Path, records: Iterable) -> None:
    write_text(path, "".join(to_json(record) + "\n" for record in records))


def read_jsonl(path: str | Path) -> list[dict]:
    """The rows of a JSONL file; a line that is not a JSON object is an error that names it."""
    rows = []
    for number, line in enumerate(io.StringIO(_text(path), newline=None), 1):
        line = line.strip().lstrip("\ufeff")  # files with a byte order mark, one put behind another
        if not line:
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = f"got {line[:60]!r} ({getattr(error, 'msg', error)})"
        else:
            if isinstance(row, dict):
                rows.append(row)
                continue
            reason = f"got {type(row).__name__}"
        raise ValueError(f"{path}, line {number}: expected a JSON object, {reason}{_guess(line)}")
    return rows


def _text(path: str | Path) -> str:
    """The text of a JSON file in UTF-8, 16 or 32, whose first bytes tell which; another is a ValueError."""
    content = Path(path).read_bytes()
    for start, kind in {b"PAR1": "Parquet", b"PK\x03\x04": "zip or Excel", b"\x1f\x8b": "gzip"}.items():
        if content.startswith(start):
            raise ValueError(f"{path}: expected JSON Lines as plain text, got a {kind} file")
    encoding = json.detect_encoding(content)
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        content = error.object  # without its byte order mark, as `error.start` counts
        line = content[: error.start].decode(encoding, "ignore").count("\n") + 1
        raise ValueError(
            f"{path}, line {line}: expected UTF-8, got byte 0x{content[error.start]:02x} (of Windows-1252?); "
            "save the file as UTF-8"
        ) from None


def _guess(line: str) -> str:
    """What a line that is no JSON object may be instead."""
    if line[0] == "[":
        return "; a JSON array? Write one object a line"
    if line == "{":
        return "; an object over several lines? Write each in one"
    if line.endswith(","):
        return "; no comma may follow it"
    if line[0] != "{" and any(mark in line for mark in ",;\t"):
        return "; a CSV? Write one JSON object a line"
    return ""


def read_samples(path: str | Path) -> list[Sample]:
    return [sample_from(row) for row in read_jsonl(path)]


def read_trajectories(path: str | Path) -> list[Trajectory]:
    return [trajectory_from(row) for row in read_jsonl(path)]
