"""Pictures of the benchmarks: from the cache, a mirror, a data set itself, or their URLs; each decoded whole."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from unicodedata import normalize

import numpy as np
from tqdm.auto import tqdm

from mags_kit import hub
from mags_kit.images import decode, difference_hash
from mags_kit.records import file_name, write_bytes

COCO = "http://images.cocodataset.org"  # its certificate does not fit its name, so not https
VISUAL_GENOME = "https://cs.stanford.edu/people/rak248"


@dataclass(frozen=True)
class Picture:
    """A picture that a row asks for: `name` is the same for the same photo in every data set."""

    name: str
    urls: tuple[str, ...] = ()  # tried in this order
    content: bytes | None = None  # where the data set itself holds the picture


def photo(path: str | bytes) -> Picture:
    """A photo by its content or by the path that a data set gives it; ValueError where that names no file.

    COCO's photos of 2014 and 2017 are the same, as are GQA's and Visual Genome's: one photo gets one name.
    """
    if isinstance(path, bytes):
        return Picture(f"{hashlib.sha256(path).hexdigest()[:24]}.jpg", content=path)
    file = PurePosixPath(path if isinstance(path, str) else "")
    if file.name in ("", ".."):  # the name becomes that of a file in the cache and in the run
        raise ValueError(f"image {path!r:.60} names no file")
    number, folder = file.stem.rsplit("_", 1)[-1], file.parent.name
    if number.isdigit() and len(number) == 12:
        years = (path,) if folder.endswith("2014") else (f"train2017/{file.name}", f"val2017/{file.name}")
        return Picture(f"coco-{number}.jpg", tuple(f"{COCO}/{year}" for year in years))
    if number.isdigit() and len(number) < 20:
        folders = (folder,) if folder.startswith("VG_100K") else ("VG_100K", "VG_100K_2")
        return Picture(f"vg-{number}.jpg", tuple(f"{VISUAL_GENOME}/{each}/{file.name}" for each in folders))
    return Picture(file_name(normalize("NFC", file.name)))  # macOS writes names decomposed


def fetch(pictures: list[Picture], mirror: str = "") -> tuple[dict[str, tuple], dict[str, str]]:
    """Pictures by name -> (path, size, difference hash) of their files; and for those that can't be had the reason.

    A host that does not answer is a ValueError: else the network would decide which rows are left out.
    """
    shelf = {photo(path.name).name: path for path in Path(mirror, "images").rglob("*.*")} if mirror else {}
    wanted = {picture.name: picture for picture in pictures}
    try:
        with ThreadPoolExecutor(8) as workers:
            had = workers.map(lambda picture: _find(picture, shelf), wanted.values())
            found = dict(zip(wanted, tqdm(had, "images", len(wanted), unit="image"), strict=True))
    except ConnectionError as error:
        kept = f"what was found is kept in {hub.cache()}, and the same command goes on from there"
        raise ValueError(f"{error}; {kept}; or set a mirror") from None
    missing = {name: found.pop(name) for name in wanted if isinstance(found[name], str)}
    return found, missing


def _find(picture: Picture, shelf: dict[str, Path]) -> tuple[Path, tuple[int, int], np.ndarray] | str:
    """(path, (width, height), difference hash) of a whole picture, in the cache or the mirror; or why there is none."""
    kept, reasons = hub.cache() / "images" / picture.name, []
    for path in (kept, shelf.get(picture.name, kept)):
        try:
            return path, *_read(path.read_bytes())
        except (OSError, ValueError):
            continue
    online = () if hub.offline() else picture.urls
    for source in (picture.content,) if picture.content else online:
        try:
            content = hub.download(source) if isinstance(source, str) else source
            seen = _read(content)
            write_bytes(kept, content)
            return kept, *seen
        except ValueError as error:
            reasons.append(str(error))
    nowhere = "OFFLINE=1, and no whole picture in the cache or the mirror" if hub.offline() else "no address is known"
    return "; ".join(dict.fromkeys(reasons)) or nowhere


def _read(content: bytes) -> tuple[tuple[int, int], np.ndarray]:
    image = decode(content)
    return image.size, difference_hash(image)
