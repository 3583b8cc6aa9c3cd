"""The one place that reaches out: whether a host answers, the hub's files, and what lies behind an address.

`OFFLINE=1` keeps the kit from the network. What was fetched lies in `MAGS_CACHE` (by default ~/.cache/mags_kit),
outside the run folders, and is not fetched again.
"""

import io
import os
import threading
import time
import zipfile
import zlib
from collections import Counter
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import requests
import urllib3

from mags_kit.records import write_bytes

TIMEOUT = (5, 20)  # seconds to connect, and to wait for the next part of an answer
DEADLINE = 90  # seconds for one whole answer, however steadily it drips
TRIES, BACKOFF = 4, 1.0  # tries of one address, and seconds before the second (then twice, four times as long)
GIVE_UP = 24  # failures of a host with no success in between, after which it is not asked again
LIMIT = 30 * 2**20  # bytes of one answer
UNPACKED = 2**30  # bytes of a zip, and of the file in it


def offline() -> bool:
    return os.environ.get("OFFLINE", "") not in ("", "0")


def cache() -> Path:
    return Path(os.environ.get("MAGS_CACHE") or Path.home() / ".cache" / "mags_kit")


def answers(url: str, seconds: float = 4) -> bool:
    """Whether a host says anything at all within `seconds`; in a thread, since looking up a name has no time-out."""
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


def commit(repo: str, revision: str = "main") -> str:
    """The commit of a model's files that the hub's cache holds for a revision; the revision where it holds none."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repo, "config.json", revision=revision)
    return Path(found).parent.name if isinstance(found, str) else revision


def files(repo: str, pattern: str, revision: str, mirror: str = "", archive: str = "") -> tuple[list[Path], str]:
    """The files of a data set that match a pattern, and the revision that they are of; none where there are none.

    They come from `mirror/repo`, or else from the hub by its own cache, or, where the hub has none, from a zip.
    """
    _check_cache()
    if mirror:
        return sorted(Path(mirror, repo).glob(pattern)), "mirror"
    if archive:
        path = cache() / repo / pattern
        if not path.exists() and not offline():
            try:
                _, content = download(archive, Counter(), lambda packed: _unpack(packed, pattern), UNPACKED)
            except OSError as error:
                raise ValueError(f"{archive} can't be had: {error}") from None
            write_bytes(path, content)
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


def _check_cache() -> None:
    """Raise ValueError with one sentence where what is fetched can't be kept, as in a home without write access."""
    folder = cache()
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise ValueError(f"{folder} can't be written; name another folder for what is fetched, MAGS_CACHE=FOLDER")


def _unpack(packed: bytes, name: str) -> bytes:
    """One file of a zip, by its name there, which leads nowhere else. LookupError is final, ValueError may pass."""
    try:
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            if archive.getinfo(name).file_size > UNPACKED:  # zipfile reads no more than it says there
                raise LookupError(f"{name} in it has more than {UNPACKED // 2**20} MiB")
            return archive.read(name)
    except (RuntimeError, zlib.error, EOFError, zipfile.BadZipFile) as error:  # locked, of another method, cut short
        raise ValueError(f"not a readable zip ({error})") from None


def download(url: str, failures: Counter, read, limit: int = 0) -> tuple:
    """The content behind an address, of at most `limit` or else `LIMIT` bytes, and what `read` makes of it;
    OSError says why not.

    It is tried again where that may help, and if `read` raises ValueError. `failures` counts those of each host, and
    is shared by all that ask it. (urllib3's own `Retry` knows neither a body that breaks off or is no picture, nor a
    deadline for the whole, nor a host to give up on.)
    """
    host, reason = urlsplit(url).netloc, ""
    for attempt in range(TRIES):
        if failures[host] >= GIVE_UP:
            raise OSError(f"{host} does not answer")
        if attempt:
            time.sleep(BACKOFF * 2 ** (attempt - 1))
        try:
            content = _get(url, limit or LIMIT)
            failures[host] = 0
            return content, read(content)
        except LookupError as error:
            failures[host] = 0
            raise OSError(f"{host}: {error}") from None
        except ValueError as error:
            reason = str(error)
        except (OSError, urllib3.exceptions.HTTPError) as error:
            failures[host] += 1
            reason = f"{host}: {type(error).__name__}"
    raise OSError(f"{reason}, {TRIES} times")


def _get(url: str, limit: int) -> bytes:
    """One try. LookupError is final, other errors may pass."""
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
