"""Pictures of the benchmarks: from a data set itself, a mirror, the cache, or their URLs; each decoded whole."""

import hashlib
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from tqdm.auto import tqdm

from mags_kit import hub
from mags_kit.images import decode, difference_hash
from mags_kit.records import write_bytes

COCO = "http://images.cocodataset.org"  # its certificate does not fit its name, so not https
VISUAL_GENOME = "https://cs.stanford.edu/people/rak248"
WORKERS = 8


@dataclass(frozen=True)
class Picture:
    """A picture that a row asks for: `name` is the same for the same photo in every data set."""

    name: str
    aliases: tuple[str, ...] = ()  # file names that it may have in a mirror
    urls: tuple[str, ...] = ()  # tried in this order
    content: bytes | None = None  # where the data set itself holds the picture


def photo(path: str | bytes) -> Picture:
    """A photo by its content or by the path that a data set gives it; ValueError where that names no file.

    COCO's photos of 2014 and 2017 are the same, as are GQA's and Visual Genome's: one photo gets one name.
    """
    if isinstance(path, bytes):
        return Picture(f"{hashlib.sha256(path).hexdigest()[:24]}.jpg", content=path)
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


def fetch(pictures: list[Picture], mirror: str = "") -> tuple[dict[str, tuple], dict[str, str]]:
    """Pictures by name -> (path, size, difference hash) of their files; and for those that can't be had the reason.

    Each is looked for in the cache, in `mirror/images` by file name, and then at its URLs, several at a time. A host
    that does not answer is a ValueError: else the network would decide which rows are left out.
    """
    shelf = {path.name: path for path in Path(mirror, "images").rglob("*") if path.is_file()} if mirror else {}
    wanted = list({picture.name: picture for picture in pictures}.values())
    found, missing = {}, {}

    def find(picture: Picture) -> None:
        try:
            found[picture.name] = _find(picture, shelf)
        except ValueError as error:
            missing[picture.name] = str(error)

    workers = ThreadPoolExecutor(WORKERS)
    tasks = [workers.submit(find, picture) for picture in wanted]
    try:
        for task in tqdm(as_completed(tasks), total=len(tasks), desc="images", unit="image"):
            task.result()
    except ConnectionError as error:
        kept = f"{len(found)} of {len(wanted)} pictures are kept in {hub.cache()}"
        raise ValueError(f"{error}; {kept}, and the same command goes on when it does; or set a mirror") from None
    finally:
        workers.shutdown(cancel_futures=True)
    return found, missing


def _find(picture: Picture, shelf: dict[str, Path]) -> tuple[Path, tuple[int, int], np.ndarray]:
    kept = hub.cache() / "images" / picture.name
    for path in (kept, *(shelf[alias] for alias in picture.aliases if alias in shelf)):
        try:
            return path, *_checked(path.read_bytes())
        except (OSError, ValueError):
            continue
    if picture.content is not None:
        return kept, *_checked(picture.content, kept)
    if hub.offline():
        raise ValueError("OFFLINE=1, and no whole picture in the cache or the mirror")
    reasons = []
    for url in picture.urls:
        try:
            return kept, *_checked(hub.download(url), kept)
        except ValueError as error:
            reasons.append(str(error))
    raise ValueError("; ".join(dict.fromkeys(reasons)) or "no address is known")


def _checked(content: bytes, keep: Path | None = None) -> tuple[tuple[int, int], np.ndarray]:
    """(width, height) and difference hash of a whole picture, which is written to `keep`."""
    image = decode(content)
    if keep:
        write_bytes(keep, content)
    return image.size, difference_hash(image)
