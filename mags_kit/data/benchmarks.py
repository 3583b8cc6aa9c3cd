"""Readers of VSR, TallyQA and GQA, whole or in GRIT's subsets: rows become samples, their pictures files of the run.

Rows come through the `datasets` library, from the hub or from a local mirror with the same files.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from mags_kit import hub
from mags_kit.data import highres, values
from mags_kit.data.pictures import enclosed, fetch, photo
from mags_kit.data.readers import READERS
from mags_kit.images import fingerprint, stored_frame
from mags_kit.records import Sample


@dataclass(frozen=True)
class Source:
    """Files of a data set, and how their rows are read."""

    reader: str  # a name in readers.READERS
    repo: str
    revision: str  # `main` moves with time; the manifest names the commit that was read
    files: str
    archive: str = ""  # a zip that holds the file, where the hub has none
    pictures: str = ""  # files of the same data set that hold the pictures, by id
    beside: str = ""  # files that lie beside the rows' own: pictures by their path, and a note with boxes for each

    def __str__(self) -> str:
        return f"{self.repo}/{self.files}"


def sources(config) -> dict[str, dict[str, Source]]:
    """Every name that the kit asks the hub for: what each set of this run is made from, by data set.

    The revisions of GQA and vsr_zeroshot were looked up. Those that could not be are `main`: pin them before you
    publish, by the setting `revisions: {repo: commit}`.
    """
    vsr = partial(Source, "vsr", *{
        "random": ("cambridgeltl/vsr_random", "main"),
        "zeroshot": ("cambridgeltl/vsr_zeroshot", "148b3777ceef4a1bfe46377614980836db7d12f2"),
    }[config.vsr])  # fmt: skip
    tallyqa = "https://github.com/manoja328/tallyqa/raw/master/tallyqa.zip"
    tallyqa = Source("tallyqa", "manoja328/tallyqa", "master", "train.json", archive=tallyqa)
    # Training pictures of GQA come by their addresses at Visual Genome: a few, instead of all of them from the hub.
    gqa = partial(Source, "gqa", "lmms-lab/GQA", "a6e72d6e1b912da88af8b2f9eba05d5ea8ec2dd8")
    grit = partial(Source, "grit", "yfan1997/GRIT_data", "main")
    rows = grit("vsr_val.jsonl"), grit("tallyqa_val.jsonl"), grit("gqa_val.jsonl")  # 288, 491 and 509 rows
    if config.test_sets == "full":
        hosted = Source("tallyqa_hub", "vikhyatk/tallyqa-test", "main", "data/test-*.parquet")
        asked = gqa("testdev_balanced_instructions/*.parquet", pictures="testdev_balanced_images/*.parquet")
        rows = vsr("test.jsonl"), hosted, asked
    sets = {
        "test": rows,
        "validation": (vsr("dev.jsonl"), tallyqa, gqa("val_balanced_instructions/*.parquet")),
        "pool": (vsr("train.jsonl"), tallyqa, gqa("train_balanced_instructions/*.parquet")),
    }
    wanted = {"test": not config.own, "validation": config.validation, "pool": config.pool}
    groups = {part: zip(DATASETS, group, strict=True) for part, group in sets.items() if wanted[part]}
    named = {part: {n: s for n, s in group if n.lower() in config.benchmarks} for part, group in groups.items()}
    if config.test_sets in highres.ROWS and wanted["test"]:
        named["test"] = {name: Source(**files) for name, files in highres.ROWS[config.test_sets].items()}
    return named


DATASETS = ("VSR", "TallyQA", "GQA")  # the families of their questions, too
SAME = 30  # bits of 256: copies of a photo differ by up to 9, different photos by 99 and more (27 photos of COCO)


def check(config) -> None:
    """Raise ValueError with one sentence, within seconds, if what a run needs is neither here nor to be had."""
    models = [] if config.model == "embedded" or Path(config.model).is_dir() else [config.model]
    groups = sources(config).values() if config.data == "benchmarks" else ()
    wanted = {str(s): s for group in groups for s in group.values()}
    if config.mirror or hub.offline():
        missing = [name for name, source in wanted.items() if not files(source, config)[0]]
        if missing:
            where = f"the mirror {config.mirror}" if config.mirror else "the cache (OFFLINE=1)"
            raise ValueError(f"not in {where}: {', '.join(missing)}")
        wanted = {}
    hub.require(models, sorted({source.repo for source in wanted.values() if not source.archive}))
    for source in wanted.values():
        here = not source.archive or (hub.cache() / source.repo / source.files).exists()
        if not here and not hub.answers(source.archive):
            raise ValueError(f"{source.archive} does not answer; connect, or set a mirror that holds {source}")


def build(config, folder: Path, sizes: dict[str, int], avoid: list[Path] = ()) -> tuple[dict[str, list[Sample]], dict]:
    """Samples of each set in `sizes`, pictures under `folder/images`; and what was used and left out, for the manifest.

    Every set is drawn by the seed, taking turns between the three data sets. A set shares no photo with those before
    it, nor with the pictures `avoid`: by the photo's name where data sets name it, and by its look. Rows whose
    picture can't be had are left out and named. A data set of which nothing is left is a ValueError.
    """
    check(config)
    made, skipped, revisions, names = {}, [], {}, set()
    looks = [fingerprint(Path(os.path.normpath(path))) for path in dict.fromkeys(avoid)]
    for place, (part, count) in enumerate(sizes.items()):
        rng, streams = np.random.default_rng([config.seed, place]), []
        for dataset, source in sources(config)[part].items():
            paths, revisions[source.repo] = files(source, config)
            streams.append(_rows(dataset, part, source, config, paths, rng, frozenset(names), skipped))
        drawn = _take_turns(streams, count)
        found, missing = fetch([picture for _, picture, _ in drawn], config.mirror)
        earlier = np.array(looks, bool).reshape(-1, 256)
        for name, (_, look) in found.items():
            if (look != earlier).sum(1).min(initial=256) < SAME:
                missing[name] = "the photo is in an earlier set (test, then validation, then pool)"
        left_out = [(sample, picture) for sample, picture, _ in drawn if picture.name in missing]
        skipped += [{"row": s.meta["source"], "image": p.name, "reason": missing[p.name]} for s, p in left_out]
        kept = [row for row in drawn if row[1].name not in missing]
        for sample, picture in left_out:
            if sample.dataset not in {row[0].dataset for row in kept}:
                first = f"the first, {sample.meta['source']}: {missing[picture.name]}"
                raise ValueError(f"{part}: no row of {sample.dataset} can be used; {first}")
        made[part] = [_place(sample, found[p.name][0], size, folder / "images" / p.name) for sample, p, size in kept]
        looks += [look for name, (_, look) in found.items() if name not in missing]
        names |= {picture.name for _, picture, _ in drawn}
    if skipped:
        print(f"{len(skipped)} rows were left out; the first, {skipped[0]['row']}: {skipped[0]['reason']}")
    return made, {"used": sum(map(len, made.values())), "skipped": skipped, "revisions": revisions}


def files(source: Source, config, pattern: str = "") -> tuple[list[Path], str]:
    revision = config.revisions.get(source.repo, source.revision)
    return hub.files(source.repo, pattern or source.files, revision, config.mirror, source.archive)


def _table(paths: list[Path], what: str, columns: tuple[str, ...]):
    """Some columns of JSON, JSONL or Parquet files as one table of `datasets`; pictures stay bytes."""
    import datasets

    if not paths:
        raise ValueError(f"{what}: no such file")
    kind, names = "parquet" if paths[0].suffix == ".parquet" else "json", [str(path) for path in paths]
    try:
        table = datasets.load_dataset(kind, data_files=names, split="train", cache_dir=str(hub.cache() / "tables"))
    except Exception as error:  # its own kinds, and those of pyarrow and pandas
        raise ValueError(f"{what}: not a readable table ({type(error).__name__})") from None
    if not set(columns) <= set(table.column_names):
        raise ValueError(f"{what}: expected columns {', '.join(columns)}; got {', '.join(table.column_names)}")
    pictures = [name for name, kind in table.features.items() if name in columns and isinstance(kind, datasets.Image)]
    table = table.select_columns(list(columns))
    for name in pictures:
        table = table.cast_column(name, datasets.Image(decode=False))
    return table


def _rows(dataset, part, source, config, paths, rng, names, skipped) -> Iterator[tuple]:
    """(sample without its image, picture, size that its boxes are for) in the seed's order, without the photos `names`.

    Many questions of a test set ask about one photo; training shall see as many photos as it has questions. A row that
    can't be read is left out and named.
    """
    reader, columns = READERS[source.reader]
    table, ids, own = _table(paths, str(source), columns), {}, set()
    if source.pictures:
        pictures = _table(files(source, config, source.pictures)[0], source.pictures, ("id", "image"))
        ids = {f"{name}.jpg": i for i, name in enumerate(pictures["id"])}
    if source.beside:
        files(source, config, source.beside)
    for number in rng.permutation(len(table)).tolist():
        found = table[number] | (highres.beside(paths[0].parent, table[number]["image"]) if source.beside else {})
        for turn, (question, answer, where, boxes, size) in enumerate(reader(found)):
            row = f"{source}, row {number + 1}" + (f", question {turn + 1}" if turn else "")
            try:
                picture = enclosed(where) if isinstance(where, bytes) else photo(where)
                if where in ids:
                    picture = replace(picture, content=(pictures[ids[where]]["image"] or {}).get("bytes"))
                if picture.name in names or (picture.name in own and part != "test"):
                    continue
                name = f"{dataset.lower()}-{part}-{number:06d}-{turn}"
                sample = _sample(name, dataset, question, answer, boxes, size, {"source": row})
            except ValueError as error:
                image = where if isinstance(where, str) else values.kind(where)
                skipped.append({"row": row, "image": image, "reason": str(error)})
                continue
            own.add(picture.name)
            yield sample, picture, size


def _sample(name: str, dataset: str, question, answer, boxes, size, meta: dict) -> Sample:
    """A sample without its image, or a ValueError with what is wrong with the row."""
    accepted, boxes = values.answers(answer), values.boxes(boxes)
    if values.absent(question) or not accepted:
        raise ValueError("no question or no answer")
    question = values.text(question, "question")
    if reason := values.unaskable(question):
        raise ValueError(reason)
    if boxes and not all(isinstance(side, (int, float)) and side > 0 for side in size):
        raise ValueError(f"boxes without the size of their image, {size}")
    return Sample(name, "", question, accepted[0], dataset, dataset, boxes, meta, accepted[1:])


def _take_turns(streams: list[Iterator], count: int) -> list:
    """`count` items, as many from each stream as can be: the longer ones make up for those that end."""
    drawn = []
    while streams:
        for stream in list(streams):
            if len(drawn) == count:
                return drawn
            if (item := next(stream, None)) is None:
                streams.remove(stream)
            else:
                drawn.append(item)
    return drawn


def _place(sample: Sample, path: Path, size, image: Path) -> Sample:
    """Link or copy a picture into the run, and fit the boxes, which are for its `size`, to it as it is shown."""
    image.parent.mkdir(parents=True, exist_ok=True)
    image.unlink(missing_ok=True)
    try:
        os.link(path.resolve(), image)
    except OSError:  # another file system
        shutil.copyfile(path, image)
    sample = replace(sample, image=f"images/{image.name}")
    if not sample.boxes:
        return sample
    return replace(sample, boxes=values.shown(sample.boxes, size, *stored_frame(path)))
