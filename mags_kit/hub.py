"""The one place that reaches out: is the hub there, its files, and pictures by their addresses.

`OFFLINE=1` keeps the kit from the network. What was fetched lies in `MAGS_CACHE` (by default ~/.cache/mags_kit),
outside the run folders, and is not fetched again.
"""

import hashlib
import io
import os
import time
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from mags_kit.records import write_bytes

TIMEOUT = (5, 20)  # seconds to connect, and to wait for the next part of an answer
DEADLINE = 90  # seconds for one whole answer, however steadily it drips
TRIES, BACKOFF = 4, 1.0  # tries of one address, and seconds before the second (then twice, four times as long)
GIVE_UP = 24  # failures of a host with no success in between, after which it is not asked again
LIMIT = 30 * 2**20  # bytes of one picture
WORKERS = 8


def offline() -> bool:
    return os.environ.get("OFFLINE", "") not in ("", "0")


def cache() -> Path:
    return Path(os.environ.get("MAGS_CACHE") or Path.home() / ".cache" / "mags_kit")


def answers(url: str, seconds: float = 4) -> bool:
    """Whether a host says anything at all within `seconds`; in a thread, since looking up a name has no time-out."""
    import threading

    import requests

    heard = []

    def ask():
        try:
            heard.append(requests.head(url, timeout=seconds).status_code)
        except requests.RequestException:
            pass

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return bool(heard)


def require(models: list[str], datasets: list[str] = ()) -> None:
    """Raise ValueError with one sentence, within seconds, if the hub must be asked for these and can't be.

    With `OFFLINE=1` the hub's own cache has to hold the models; of data sets `files` knows.
    """
    from huggingface_hub import constants, try_to_load_from_cache

    if offline():
        missing = [name for name in models if not isinstance(try_to_load_from_cache(name, "config.json"), str)]
        if missing:
            raise ValueError(f"OFFLINE=1, and the hub's cache lacks {', '.join(missing)}; fetch it once with a network")
    elif (models or datasets) and not answers(constants.ENDPOINT):
        raise ValueError(
            f"{constants.ENDPOINT} does not answer, and this run needs from it {', '.join([*models, *datasets])}; "
            "connect to a network, or name local folders: SET='{model: FOLDER, mirror: FOLDER}'"
        )


def files(repo: str, pattern: str, revision: str, mirror: str = "", archive: str = "") -> tuple[list[Path], str]:
    """The files of a data set that match a pattern, and the revision that they are of; none where there are none.

    They come from `mirror/repo`, or else from the hub by its own cache, or, where the hub has none, from a zip.
    """
    if mirror:
        return sorted(Path(mirror, repo).glob(pattern)), "mirror"
    if archive:
        path = cache() / repo / pattern
        if not path.exists() and not offline():
            _, packed = _patiently(archive, Counter(), lambda data: zipfile.ZipFile(io.BytesIO(data)), 2**30)
            write_bytes(path, packed.read(pattern))
        return [path] if path.exists() else [], revision
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = snapshot_download(
            repo, repo_type="dataset", revision=revision, allow_patterns=pattern, local_files_only=offline()
        )
    except LocalEntryNotFoundError:
        return [], revision
    return sorted(Path(folder).glob(pattern)), Path(folder).name  # a snapshot's folder is named by its commit


@dataclass(frozen=True)
class Picture:
    """A picture that a row asks for: `name` is the same for the same photo in every data set."""

    name: str
    aliases: tuple[str, ...] = ()  # file names that it may have in a mirror
    urls: tuple[str, ...] = ()  # to be tried in this order
    data: bytes | None = None  # where the data set brings the picture itself


def embedded(data: bytes) -> Picture:
    """A picture that a data set brings along, named by its content."""
    return Picture(f"{hashlib.sha256(data).hexdigest()[:24]}.jpg", data=data)


def fingerprint(data: bytes) -> np.ndarray:
    """256 bits `(256,)` of a picture's rough look, alike for copies of other size or quality (difference hash).

    It decodes the whole picture: one that is cut short, or none at all, is a ValueError.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as image:
            grey = np.asarray(image.convert("L").resize((17, 16)), int)
    except UnidentifiedImageError:
        raise ValueError("not a picture") from None
    except Exception as error:  # Pillow raises many kinds for files cut short
        raise ValueError(f"not a whole picture ({error})") from None
    return (grey[:, 1:] > grey[:, :-1]).ravel()


def fetch(pictures: list[Picture], mirror: str = "") -> tuple[dict[str, tuple[Path, np.ndarray]], dict[str, str]]:
    """Pictures by name -> their files with fingerprints, and for those that can't be had the reason.

    Each is looked for in the cache, in `mirror/images` by file name, and then at its addresses, several at a time.
    What is found is decoded whole before it counts, and what is fetched is kept in the cache.
    """
    from tqdm.auto import tqdm

    shelf = {path.name: path for path in Path(mirror, "images").rglob("*") if path.is_file()} if mirror else {}
    wanted = list({picture.name: picture for picture in pictures}.values())
    failures: Counter = Counter()
    found, missing = {}, {}

    def have(picture: Picture):
        try:
            return picture.name, _have(picture, shelf, failures), None
        except (OSError, ValueError) as error:
            return picture.name, None, str(error)

    with ThreadPoolExecutor(WORKERS) as workers:
        for name, result, reason in tqdm(workers.map(have, wanted), total=len(wanted), desc="images", unit="image"):
            if result is None:
                missing[name] = reason
            else:
                found[name] = result
    return found, missing


def _have(picture: Picture, shelf: dict[str, Path], failures: Counter) -> tuple[Path, np.ndarray]:
    kept = cache() / "images" / picture.name
    for path in (kept, *(shelf[alias] for alias in picture.aliases if alias in shelf)):
        try:
            return path, fingerprint(path.read_bytes())
        except (FileNotFoundError, ValueError):
            continue
    if picture.data is not None:
        look = fingerprint(picture.data)
        write_bytes(kept, picture.data)
        return kept, look
    if offline():
        raise ValueError("OFFLINE=1, and no whole picture in the cache or the mirror")
    reasons = []
    for url in picture.urls:
        try:
            data, look = _patiently(url, failures, fingerprint)
        except OSError as error:
            reasons.append(str(error))
            continue
        write_bytes(kept, data)
        return kept, look
    raise ValueError("; ".join(dict.fromkeys(reasons)) or "no address is known")


def _patiently(url: str, failures: Counter, read, limit: int = 0) -> tuple:
    """The content behind an address, and what `read` makes of it; tried again where that may help, and if `read`
    raises ValueError. OSError says why not."""
    import urllib3

    host, reason = urlsplit(url).netloc, ""
    for attempt in range(TRIES):
        if failures[host] >= GIVE_UP:
            raise OSError(f"{host} does not answer")
        if attempt:
            time.sleep(BACKOFF * 2 ** (attempt - 1))
        try:
            data = _get(url, limit or LIMIT)
            failures[host] = 0
            return data, read(data)
        except LookupError as error:
            failures[host] = 0
            raise OSError(f"{host}: {error}") from None
        except (ValueError, zipfile.BadZipFile) as error:
            reason = str(error)
        except (OSError, urllib3.exceptions.HTTPError) as error:
            failures[host] += 1
            reason = f"{host}: {type(error).__name__}"
    raise OSError(f"{reason}, {TRIES} times")


def _get(url: str, limit: int) -> bytes:
    """One try. LookupError is final, other errors may pass."""
    import requests

    end, parts, size = time.monotonic() + DEADLINE, [], 0
    with requests.get(url, stream=True, timeout=TIMEOUT, headers={"Accept-Encoding": "identity"}) as answer:
        if 400 <= answer.status_code < 500 and answer.status_code not in (408, 425, 429):
            raise LookupError(f"status {answer.status_code}")
        answer.raise_for_status()
        while part := answer.raw.read1(2**16):  # what is there, where `read` would wait for a slow drip
            parts.append(part)
            size += len(part)
            if size > limit:
                raise LookupError(f"more than {limit // 2**20} MiB")
            if time.monotonic() > end:
                raise TimeoutError
    return b"".join(parts)
