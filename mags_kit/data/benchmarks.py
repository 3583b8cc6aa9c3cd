"""VSR, TallyQA and GQA (whole, or GRIT's subsets), V*Bench and HR-Bench: from rows of data sets to samples of a run.

Rows come through the `datasets` library, from the hub or from a local mirror with the same files.
"""

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice, zip_longest
from pathlib import Path

import numpy as np

from mags_kit import hub
from mags_kit.data import own
from mags_kit.data.pictures import fetch, photo
from mags_kit.images import SAME, difference_hash, open_image
from mags_kit.records import Sample, existing, write_bytes

DATASETS = ("VSR", "TallyQA", "GQA")  # the families of their questions, too
SIMPLE = {True: "simple", False: "complex"}  # kinds of TallyQA
INSTANCES = {"single": "FSP", "cross": "FCP"}  # kinds of HR-Bench: fine-grained perception of one or several instances


# Readers: a row (and the folder of its file) -> (question, answer, picture's path or bytes, boxes, size that these are
# for, kind) of each of its questions. Columns are as in the public files, or in programs that read them. Kinds are
# those by which papers report a benchmark, or "".


def _plain(row, _):
    """TallyQA's training rows, GQA and GRIT."""
    image = row["image"] if "image" in row else f"{row['imageId']}.jpg"
    size = row.get("width"), row.get("height")
    yield row["question"], row["answer"], image, row.get("bboxs"), size, SIMPLE.get(row.get("issimple"), "")


def _vsr(row, _):
    question = row["caption"] and f"Is this statement about the image true? {row['caption']}"
    yield question, {0: "no", 1: "yes"}.get(row["label"]), row["image"], (), None, ""


def _tallyqa_test(row, _):
    for qa in row["qa"]:
        yield qa["question"], qa["answer"], row["image"]["bytes"], (), None, SIMPLE.get(qa.get("is_simple"), "")


def _vstar(row, folder):
    """Options follow the question, a line each, as `(A) red`. Boxes are x, y, width, height, one for each object."""
    question = row["text"].partition("\nAnswer with the option")[0]  # how to answer is for the prompt to say
    picture = existing(folder / row["image"])
    boxes = json.loads(picture.with_suffix(".json").read_bytes())["bbox"]
    boxes, kind = tuple((x, y, x + w, y + h) for x, y, w, h in boxes), (row.get("category") or "").replace("_", " ")
    yield question, row["label"], picture.read_bytes(), boxes, None, kind


def _hrbench(row, _):
    options = "\n".join(f"({letter}) {row[letter]}" for letter in "ABCD" if row[letter])
    kind = INSTANCES.get(row.get("category"), "")
    yield f"{row['question']}\n{options}", row["answer"], base64.b64decode(row["image"]), (), None, kind


@dataclass(frozen=True)
class Source:
    """Files of a data set, and how their rows are read."""

    reader: Callable
    repo: str
    revision: str  # `main` moves with time; the manifest names the commit that was read
    files: str
    archive: str = ""  # URL of a zip that holds the file, where the hub has none
    pictures: str = ""  # files of the same data set that hold the pictures

    def __str__(self) -> str:
        return f"{self.repo}/{self.files}"


# The revisions of GQA, vsr_zeroshot and V*Bench were looked up. Those that could not be are `main`: pin them before you
# publish, by the setting `revisions: {repo: commit}`.
VSR = {
    "random": partial(Source, _vsr, "cambridgeltl/vsr_random", "main"),
    "zeroshot": partial(Source, _vsr, "cambridgeltl/vsr_zeroshot", "148b3777ceef4a1bfe46377614980836db7d12f2"),
}
TALLYQA_ZIP = "https://github.com/manoja328/tallyqa/raw/master/tallyqa.zip"
TALLYQA = Source(_plain, "manoja328/tallyqa", "master", "train.json", archive=TALLYQA_ZIP)
TALLYQA_TEST = Source(_tallyqa_test, "vikhyatk/tallyqa-test", "main", "data/test-*.parquet")
# Training pictures of GQA come by their URLs at Visual Genome: a few, instead of all of them from the hub.
GQA = partial(Source, _plain, "lmms-lab/GQA", "a6e72d6e1b912da88af8b2f9eba05d5ea8ec2dd8")
GRIT = partial(Source, _plain, "yfan1997/GRIT_data", "main")  # 288, 491 and 509 rows
VSTAR = partial(Source, _vstar, "craigwu/vstar_bench", "d9ae62c903da0c98336e85c5ee89cd863b04b4da")  # 191 rows
HRBENCH = partial(Source, _hrbench, "DreamMr/HR-Bench", "main")  # 800 rows: a question with its options in four orders


def sources(config) -> dict[str, dict[str, Source]]:
    """What each set of this run is made from, by data set: all that the kit asks the hub for, models aside."""
    vsr, vstar = VSR[config.vsr], {"V*Bench": VSTAR("test_questions.jsonl", pictures="[dr]*/*")}
    asked, images = (f"testdev_balanced_{what}/*.parquet" for what in ("instructions", "images"))
    tests = {
        "grit": {name: GRIT(f"{name.lower()}_val.jsonl") for name in DATASETS},
        "full": {"VSR": vsr("test.jsonl"), "TallyQA": TALLYQA_TEST, "GQA": GQA(asked, pictures=images)},
        "highres": vstar | {"HR-Bench 4k": HRBENCH("hr_bench_4k.parquet")},
        "highres-8k": vstar | {"HR-Bench 8k": HRBENCH("hr_bench_8k.parquet")},
    }
    sets = {"test": {} if config.own else tests[config.test_sets]}
    for part, vsr_split, gqa_split in (("validation", "dev", "val"), ("pool", "train", "train")):
        gqa = GQA(f"{gqa_split}_balanced_instructions/*.parquet")
        group = {"VSR": vsr(f"{vsr_split}.jsonl"), "TallyQA": TALLYQA, "GQA": gqa}
        sets[part] = group if getattr(config, part) and not config.train else {}
    chosen = {name for name in DATASETS if name.lower() in config.benchmarks}
    return {part: {n: s for n, s in group.items() if n in chosen or n not in DATASETS} for part, group in sets.items()}


def check(config) -> None:
    """Raise ValueError with one sentence, within seconds, if something that a run needs can't be had."""
    groups = sources(config).values() if config.data == "benchmarks" else ()
    wanted = {str(source): source for group in groups for source in group.values()}
    local = config.mirror or hub.offline()
    if missing := [name for name, source in wanted.items() if local and not files(source, config)[0]]:
        where = f"the mirror {config.mirror}" if config.mirror else "the cache (OFFLINE=1)"
        raise ValueError(f"not in {where}: {', '.join(missing)}")
    models = [] if config.model == "embedded" or Path(config.model).is_dir() else [config.model]
    hub.require(models, sorted({source.repo for source in wanted.values() if not local and not source.archive}))


def build(config, folder: Path, sizes: dict[str, int], avoid: list[Path] = ()) -> tuple[dict[str, list[Sample]], dict]:
    """Samples of each set in `sizes` (0: all), pictures under `folder/images`; and what the manifest says of them.

    Each set is drawn by the seed, taking turns between its data sets. It shares no photo with those before it, nor
    with the pictures `avoid`, by the photo's name and by its difference hash. Rows whose picture can't be had are left
    out and named; a data set of which nothing is left is a ValueError.
    """
    check(config)
    made, skipped, revisions, names = {}, [], {}, set()
    looks = [difference_hash(open_image(path)) for path in dict.fromkeys(avoid)]
    for place, (part, count) in enumerate(sizes.items()):
        rng, streams = np.random.default_rng([config.seed, place]), []
        for dataset, source in sources(config)[part].items():
            paths, revisions[source.repo] = files(source, config)
            streams.append(_rows(dataset, part, source, config, paths, rng, frozenset(names), skipped))
        turns = (row for turn in zip_longest(*streams) for row in turn if row)  # longer ones make up for shorter ones
        drawn = list(islice(turns, count or None))
        found, missing = fetch([picture for _, picture, _ in drawn], config.mirror)
        earlier = np.array(looks, bool).reshape(-1, 256)
        for name, (_, _, look) in found.items():
            if (look != earlier).sum(1).min(initial=256) < SAME:
                missing[name] = "the photo is in an earlier set (test, then validation, then pool)"
        kept = [row for row in drawn if row[1].name not in missing]
        for sample, picture, _ in drawn:
            if reason := missing.get(picture.name):
                skipped.append({"row": sample.meta["source"], "image": picture.name, "reason": reason})
                if sample.dataset not in {row[0].dataset for row in kept}:
                    first = f"the first, {sample.meta['source']}: {reason}"
                    raise ValueError(f"{part}: no row of {sample.dataset} can be used; {first}")
        made[part] = [_place(s, frame, *found[p.name][:2], folder / "images" / p.name) for s, p, frame in kept]
        looks += [look for name, (_, _, look) in found.items() if name not in missing]
        names |= {picture.name for _, picture, _ in drawn}
    return made, {"used": sum(map(len, made.values())), "skipped": skipped, "revisions": revisions}


def files(source: Source, config, pattern: str = "") -> tuple[list[Path], str]:
    revision = config.revisions.get(source.repo, source.revision)
    return hub.files(source.repo, pattern or source.files, revision, config.mirror, source.archive)


def _table(paths: list[Path], what: str):
    """JSON, JSONL or Parquet files as one table of `datasets`; pictures stay bytes."""
    import datasets

    kind, names = "parquet" if what.endswith(".parquet") else "json", [str(path) for path in paths]
    try:
        table = datasets.load_dataset(kind, data_files=names, split="train", cache_dir=str(hub.cache() / "tables"))
    except Exception as error:  # its own kinds, and those of pyarrow and pandas
        raise ValueError(f"{what}: expected a table ({type(error).__name__})") from None
    for name, kind in table.features.items():
        if isinstance(kind, datasets.Image):
            table = table.cast_column(name, datasets.Image(decode=False))
    return table


def _rows(dataset, part, source, config, paths, rng, names, skipped) -> Iterator[tuple]:
    """(sample without its image, picture, size that its boxes are for) in the seed's order, without the photos `names`.

    Many questions of a test set ask about one photo; training sees as many photos as it has questions, or the questions
    that `config.curated_ids` names. A row that can't be read is left out and named.
    """
    named = set(own.read_ids(config.curated_ids)) if part == "pool" else set()
    numbers = {name.rpartition("-")[0] for name in named}
    table, ids, used = _table(paths, str(source)), {}, set()
    further = files(source, config, source.pictures)[0] if source.pictures else []
    if source.pictures.endswith(".parquet"):
        pictures = _table(further, source.pictures)
        ids = {f"{name}.jpg": i for i, name in enumerate(pictures["id"])}
    for number in rng.permutation(len(table)).tolist():
        name = f"{dataset.lower()}-{part}-{number:06d}"
        if named and name not in numbers:
            continue
        try:
            asked = list(source.reader(table[number], paths[0].parent))
        except KeyError as error:
            raise ValueError(f"{source}: expected a table with a column {error}") from None
        for turn, (question, answer, where, boxes, size, kind) in enumerate(asked):
            row = f"{source}, row {number + 1}" + (f", question {turn + 1}" if turn else "")
            try:
                picture = photo(where)
                if where in ids:
                    picture = replace(picture, content=pictures[ids[where]]["image"]["bytes"])
                again = picture.name in used and part != "test" and not named
                if picture.name in names or again or (named and f"{name}-{turn}" not in named):
                    continue
                facts = {"question": question, "answer": answer, "boxes": boxes, "family": dataset, "dataset": dataset}
                facts |= {"id": f"{name}-{turn}", "image": picture.name}
                sample = own.sample_of(facts, number, source=row, **({"kind": kind} if kind else {}))
                if reason := own.unaskable(sample.question):
                    raise ValueError(reason)
            except ValueError as error:
                skipped.append({"row": row, "image": where if isinstance(where, str) else "", "reason": str(error)})
                continue
            used.add(picture.name)
            yield sample, picture, size


def _place(sample: Sample, frame, path: Path, size: tuple[int, int], image: Path) -> Sample:
    """Copy a picture of `size` into the run as `image`, and scale the boxes from their `frame` to it.

    Boxes go where the frame is unknown, or of another shape: EXIF turns the picture, or it is another copy.
    """
    write_bytes(image, path.read_bytes())
    frame, boxes = frame or size, ()
    if sample.boxes and all(frame):
        scale = np.divide(size, frame)
        if 0.9 < scale[0] / scale[1] < 1.1:
            boxes = own.whole_pixels(np.array(sample.boxes, float) * np.tile(scale, 2), size)
    return replace(sample, image=f"images/{image.name}", boxes=boxes)
