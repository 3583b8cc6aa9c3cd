"""VSR, TallyQA and GQA (whole, or GRIT's subsets), V*Bench and HR-Bench: from rows of data sets to samples of a run.

Rows come through the `datasets` library, from the hub or from a local mirror with the same files. Columns are as in the
data sets' public files; where the hub's own description could not be seen, as in programs that read them.
"""

import base64
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice, zip_longest
from pathlib import Path

import numpy as np

from mags_kit import hub
from mags_kit.data import own
from mags_kit.data.pictures import fetch, photo
from mags_kit.images import difference_hash, open_image
from mags_kit.records import Sample

DATASETS = ("VSR", "TallyQA", "GQA")  # the families of their questions, too
SAME = 30  # bits of 256: copies of a photo differ by up to 9, different photos by 99 and more (27 photos of COCO)


@dataclass(frozen=True)
class Source:
    """Files of a data set, and how their rows are read."""

    reader: str  # a name in READERS
    repo: str
    revision: str  # `main` moves with time; the manifest names the commit that was read
    files: str
    archive: str = ""  # URL of a zip that holds the file, where the hub has none
    pictures: str = ""  # files of the same data set that hold the pictures, by id
    beside: str = ""  # files beside the rows' own: each picture, and its boxes as JSON

    def __str__(self) -> str:
        return f"{self.repo}/{self.files}"


# The revisions of GQA, vsr_zeroshot and V*Bench were looked up. Those that could not be are `main`: pin them before you
# publish, by the setting `revisions: {repo: commit}`.
VSR = {
    "random": partial(Source, "vsr", "cambridgeltl/vsr_random", "main"),
    "zeroshot": partial(Source, "vsr", "cambridgeltl/vsr_zeroshot", "148b3777ceef4a1bfe46377614980836db7d12f2"),
}
TALLYQA_ZIP = "https://github.com/manoja328/tallyqa/raw/master/tallyqa.zip"
TALLYQA = Source("tallyqa", "manoja328/tallyqa", "master", "train.json", archive=TALLYQA_ZIP)
TALLYQA_TEST = Source("tallyqa_hub", "vikhyatk/tallyqa-test", "main", "data/test-*.parquet")
# Training pictures of GQA come by their URLs at Visual Genome: a few, instead of all of them from the hub.
GQA = partial(Source, "gqa", "lmms-lab/GQA", "a6e72d6e1b912da88af8b2f9eba05d5ea8ec2dd8")
GRIT = partial(Source, "grit", "yfan1997/GRIT_data", "main")  # 288, 491 and 509 rows
VSTAR = partial(Source, "vstar", "craigwu/vstar_bench", "d9ae62c903da0c98336e85c5ee89cd863b04b4da")  # 191 rows
HRBENCH = partial(Source, "hrbench", "DreamMr/HR-Bench", "main")  # 800 rows: a question with its options in four orders


def sources(config) -> dict[str, dict[str, Source]]:
    """What each set of this run is made from, by data set: all that the kit asks the hub for, models aside."""
    vsr, vstar = VSR[config.vsr], {"V*Bench": VSTAR("test_questions.jsonl", beside="[dr]*/*")}
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
        sets[part] = group if getattr(config, part) else {}
    chosen = {name for name in DATASETS if name.lower() in config.benchmarks}
    return {part: {n: s for n, s in group.items() if n in chosen or n not in DATASETS} for part, group in sets.items()}


def check(config) -> None:
    """Raise ValueError with one sentence, within seconds, if something that a run needs can't be had."""
    models = [] if config.model == "embedded" or Path(config.model).is_dir() else [config.model]
    groups = sources(config).values() if config.data == "benchmarks" else ()
    wanted = {str(source): source for group in groups for source in group.values()}
    if config.mirror or hub.offline():
        missing = [name for name, source in wanted.items() if not files(source, config)[0]]
        if missing:
            where = f"the mirror {config.mirror}" if config.mirror else "the cache (OFFLINE=1)"
            raise ValueError(f"not in {where}: {', '.join(missing)}")
        wanted = {}
    hub.require(models, sorted({source.repo for source in wanted.values() if not source.archive}))


def build(config, folder: Path, sizes: dict[str, int], avoid: list[Path] = ()) -> tuple[dict[str, list[Sample]], dict]:
    """Samples of each set in `sizes`, pictures under `folder/images`; and what was used and left out, for the manifest.

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
        drawn = list(islice(turns, count))
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
        made[part] = [_place(s, frame, *found[p.name], folder / "images" / p.name) for s, p, frame in kept]
        looks += [look for name, (_, _, look) in found.items() if name not in missing]
        names |= {picture.name for _, picture, _ in drawn}
    if skipped:
        print(f"{len(skipped)} rows were left out; the first, {skipped[0]['row']}: {skipped[0]['reason']}")
    return made, {"used": sum(map(len, made.values())), "skipped": skipped, "revisions": revisions}


def files(source: Source, config, pattern: str = "") -> tuple[list[Path], str]:
    revision = config.revisions.get(source.repo, source.revision)
    return hub.files(source.repo, pattern or source.files, revision, config.mirror, source.archive)


def _table(paths: list[Path], what: str, columns: tuple[str, ...]):
    """Columns of JSON, JSONL or Parquet files as one table of `datasets`; pictures stay bytes."""
    import datasets

    kind, names = "parquet" if what.endswith(".parquet") else "json", [str(path) for path in paths]
    tables = str(hub.cache() / "tables")
    try:
        table = datasets.load_dataset(kind, data_files=names, split="train", cache_dir=tables)
        table = table.select_columns(list(columns))
    except Exception as error:  # its own kinds, and those of pyarrow and pandas
        raise ValueError(f"{what}: expected a table of {', '.join(columns)} ({type(error).__name__})") from None
    for name in columns:
        if isinstance(table.features[name], datasets.Image):
            table = table.cast_column(name, datasets.Image(decode=False))
    return table


def _rows(dataset, part, source, config, paths, rng, names, skipped) -> Iterator[tuple]:
    """(sample without its image, picture, size that its boxes are for) in the seed's order, without the photos `names`.

    Many questions of a test set ask about one photo; training sees as many photos as it has questions. A row that can't
    be read is left out and named.
    """
    reader, columns = READERS[source.reader]
    table, ids, used = _table(paths, str(source), columns), {}, set()
    if source.pictures:
        pictures = _table(files(source, config, source.pictures)[0], source.pictures, ("id", "image"))
        ids = {f"{name}.jpg": i for i, name in enumerate(pictures["id"])}
    if source.beside:
        files(source, config, source.beside)
    for number in rng.permutation(len(table)).tolist():
        found = table[number] | (_beside(paths[0].parent, table[number]["image"] or "") if source.beside else {})
        for turn, (question, answer, where, boxes, size) in enumerate(reader(found)):
            row = f"{source}, row {number + 1}" + (f", question {turn + 1}" if turn else "")
            try:
                picture = photo(where)
                if where in ids:
                    picture = replace(picture, content=(pictures[ids[where]]["image"] or {}).get("bytes"))
                if picture.name in names or (picture.name in used and part != "test"):
                    continue
                name = f"{dataset.lower()}-{part}-{number:06d}-{turn}"
                sample = _sample(name, dataset, question, answer, boxes, size, {"source": row})
            except ValueError as error:
                skipped.append({"row": row, "image": where if isinstance(where, str) else "", "reason": str(error)})
                continue
            used.add(picture.name)
            yield sample, picture, size


def _sample(name: str, dataset: str, question, answer, boxes, size, meta: dict) -> Sample:
    """A sample without its image; ValueError says what is wrong with the row."""
    accepted, boxes = own.answers(answer), own.boxes(boxes)
    if own.absent(question) or not accepted:
        raise ValueError("no question or no answer")
    question = own.text(question, "question")
    if reason := own.unaskable(question):
        raise ValueError(reason)
    if boxes and size and not all(isinstance(side, (int, float)) and side > 0 for side in size):
        raise ValueError(f"boxes without the size of their image, {size}")
    return Sample(name, "", question, accepted[0], dataset, dataset, boxes, meta, accepted[1:])


def _place(sample: Sample, frame, path: Path, size: tuple[int, int], _, image: Path) -> Sample:
    """Link or copy a picture of `size` into the run as `image`, and scale the boxes from their `frame` to it.

    Where the frame has another shape (EXIF turns the picture, or it is another copy), boxes can't be trusted and go.
    """
    image.parent.mkdir(parents=True, exist_ok=True)
    image.unlink(missing_ok=True)
    try:
        os.link(path.resolve(), image)
    except OSError:  # another file system
        shutil.copyfile(path, image)
    boxes = ()
    if sample.boxes:
        scale = np.divide(size, frame or size)
        if 0.9 < scale[0] / scale[1] < 1.1:
            boxes = own.whole_pixels(np.array(sample.boxes, float) * np.tile(scale, 2), size)
    return replace(sample, image=f"images/{image.name}", boxes=boxes)


# Readers: a row -> (question, answer, picture's path or bytes, boxes, size that these are for) of each of its questions


def _vsr(row):
    question = row["caption"] and f"Is this statement about the image true? {row['caption']}"
    answer = {0: "no", 1: "yes"}.get(row["label"]) if isinstance(row["label"], (int, float)) else None
    yield question, answer, row["image"], (), None


def _tallyqa(row):
    yield row["question"], row["answer"], row["image"], (), None


def _tallyqa_hub(row):
    for qa in row["qa"] or ():
        yield qa["question"], qa["answer"], (row["image"] or {}).get("bytes"), (), None


def _gqa(row):
    yield row["question"], row["answer"], f"{row['imageId']}.jpg", (), None


def _grit(row):
    yield row["question"], row["answer"], row["image"], row["bboxs"], (row["width"], row["height"])


def _beside(folder: Path, name: str) -> dict:
    """The picture `name` in a folder as bytes, none where it is missing, and the JSON beside it."""
    path = folder / name
    inside = path.is_relative_to(folder) and ".." not in Path(name).parts
    both = path, path.with_suffix(".json")
    content, note = (file.read_bytes() if inside and file.is_file() else b"" for file in both)
    return {"content": content, "note": json.loads(note or "{}")}


def _vstar(row):
    """Options follow the question, a line each, as `(A) red`. Boxes are x, y, width, height, one for each object."""
    question = (row["text"] or "").partition("\nAnswer with the option")[0]  # how to answer is for the prompt to say
    boxes = tuple((x, y, x + w, y + h) for x, y, w, h in row["note"].get("bbox", ()))
    yield question, row["label"], row["content"], boxes, None


def _hrbench(row):
    options = "\n".join(f"({letter}) {row[letter]}" for letter in "ABCD" if row[letter])
    question = row["question"] and f"{row['question']}\n{options}"
    yield question, row["answer"], base64.b64decode(row["image"] or ""), (), None


READERS = {  # and the columns that each needs
    "vsr": (_vsr, ("image", "caption", "label")),
    "tallyqa": (_tallyqa, ("image", "question", "answer")),
    "tallyqa_hub": (_tallyqa_hub, ("image", "qa")),
    "gqa": (_gqa, ("imageId", "question", "answer")),
    "grit": (_grit, ("question", "answer", "image", "width", "height", "bboxs")),
    "vstar": (_vstar, ("text", "label", "image")),
    "hrbench": (_hrbench, ("question", "answer", "A", "B", "C", "D", "image")),
}
