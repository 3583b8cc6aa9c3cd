"""Pictures of the benchmarks: from a data set itself, a mirror, the cache, or their addresses, each decoded whole."""

import hashlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from tqdm.auto import tqdm

from mags_kit import hub
from mags_kit.images import fingerprint
from mags_kit.records import write_bytes

COCO = "http://images.cocodataset.org"  # its certificate does not fit its name, so not https
VISUAL_GENOME = "https://cs.stanford.edu/people/rak248"
WORKERS = 8


@dataclass(frozen=True)
class Picture:
    """A picture that a row asks for: `name` is the same for the same photo in every data set."""

    name: str
    aliases: tuple[str, ...] = ()  # file names that it may have in a mirror
    urls: tuple[str, ...] = ()  # to be tried in this order
    content: bytes | None = None  # where the data set brings the picture itself


def enclosed(content: bytes) -> Picture:
    """A picture that a data set brings along, named by its content."""
    return Picture(f"{hashlib.sha256(content).hexdigest()[:24]}.jpg", content=content)


def photo(path: str) -> Picture:
    """A photo by the path that a data set gives it: COCO's of 2014 and 2017 are the same, as are GQA's and Visual
    Genome's, so that one photo has one name. What names no file is a ValueError."""
    file = PurePosixPath(path if isinstance(path, str) else "")
    if file.name in ("", "..") or "\0" in file.name:  # the name becomes that of a file in the cache and in the run
        raise ValueError(f"image {path!r:.60} names no file")
    number, folder = file.stem.rsplit("_", 1)[-1], file.parent.name
    if number.isdigit() and len(number) == 12:
        years = (path,) if folder.endswith("2014") else (f"train2017/{file.name}", f"val2017/{file.name}")
        return Picture(f"coco-{number}.jpg", (file.name, f"{number}.jpg"), tuple(f"{COCO}/{y}" for y in years))
    if number.isdigit():
        folders = (folder,) if folder.startswith("VG_100K") else ("VG_100K", "VG_100K_2")
        return Picture(f"vg-{number}.jpg", (file.name,), tuple(f"{VISUAL_GENOME}/{f}/{file.name}" for f in folders))
    return Picture(file.name, (file.name,))


def fetch(pictures: list[Picture], mirror: str = "") -> tuple[dict[str, tuple[Path, np.ndarray]], dict[str, str]]:
    """Pictures by name -> their files with fingerprints, and for those that can't be had the reason.

    Each is looked for in the cache, in `mirror/images` by file name, and then at its addresses, several at a time.
    What is found is decoded whole before it counts, and what is fetched is kept in the cache; where that is full, an
    OSError ends it: which rows were left out would depend on the checkpoint.
    """
    shelf = {path.name: path for path in Path(mirror, "images").rglob("*") if path.is_file()} if mirror else {}
    wanted = list({picture.name: picture for picture in pictures}.values())
    failures: Counter = Counter()
    found, missing = {}, {}

    def have(picture: Picture):
        try:
            return picture.name, _have(picture, shelf, failures), None
        except ValueError as error:
            return picture.name, None, str(error)

    with ThreadPoolExecutor(WORKERS) as workers:
        for name, result, reason in tqdm(workers.map(have, wanted), total=len(wanted), desc="images", unit="image"):
            if result is None:
                missing[name] = reason
            else:
                found[name] = result
    silent = [host for host, times in failures.items() if times >= hub.GIVE_UP]
    if silent and found:  # which rows were left out would depend on the checkpoint
        raise ValueError(
            f"{', '.join(silent)} stopped answering; {len(found)} of {len(wanted)} pictures are kept in {hub.cache()}, "
            "and the same command goes on when it answers again; or set a mirror"
        )
    return found, missing


def _have(picture: Picture, shelf: dict[str, Path], failures: Counter) -> tuple[Path, np.ndarray]:
    kept = hub.cache() / "images" / picture.name
    for path in (kept, *(shelf[alias] for alias in picture.aliases if alias in shelf)):
        try:
            return path, fingerprint(path.read_bytes())
        except (OSError, ValueError):
            continue
    if picture.content is not None:
        look = fingerprint(picture.content)
        write_bytes(kept, picture.content)
        return kept, look
    if hub.offline():
        raise ValueError("OFFLINE=1, and no whole picture in the cache or the mirror")
    reasons = []
    for url in picture.urls:
        try:
            content, look = hub.download(url, failures, fingerprint)
        except OSError as error:
            reasons.append(str(error))
            continue
        write_bytes(kept, content)
        return kept, look
    raise ValueError("; ".join(dict.fromkeys(reasons)) or "no address is known")
