"""All network access: whether a host answers, files of the hub, and downloads.

`OFFLINE=1` keeps the kit from the network. What is downloaded is kept in `MAGS_CACHE` (by default ~/.cache/mags_kit).
"""

import io
import os
import zipfile
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

import requests
import urllib3
from requests.adapters import HTTPAdapter

from mags_kit.records import write_bytes

TIMEOUT = (5, 20)  # seconds to connect, and to wait for the next bytes
# Three more tries, after 0, 2 and 4 seconds, where the host does not answer or is busy.
RETRY = urllib3.Retry(3, backoff_factor=1, status_forcelist=(429, 500, 502, 503, 504), respect_retry_after_header=False)


def offline() -> bool:
    return os.environ.get("OFFLINE", "") not in ("", "0")


def cache() -> Path:
    """The folder of downloads."""
    return Path(os.environ.get("MAGS_CACHE") or Path.home() / ".cache" / "mags_kit")


def require(models: list[str], datasets: list[str] = ()) -> None:
    """Raise ValueError within seconds if the hub does not answer; with `OFFLINE=1`, if its cache lacks a model."""
    from huggingface_hub import constants, try_to_load_from_cache

    if offline():
        missing = [name for name in models if not isinstance(try_to_load_from_cache(name, "config.json"), str)]
        if missing:
            raise ValueError(f"OFFLINE=1, and the hub's cache lacks {', '.join(missing)}; fetch it once with a network")
    elif needed := [*models, *datasets]:
        for name, proxy in getproxies().items():
            if proxy.startswith("socks") and not (find_spec("socks") and find_spec("socksio")):
                hint = "`pip install pysocks socksio`, or name an http:// proxy there"
                raise ValueError(f"{name.upper()}_PROXY names a SOCKS proxy, and packages for it are missing; {hint}")
        try:
            requests.head(constants.ENDPOINT, timeout=4)
        except requests.RequestException:
            hint = "connect to a network, or name local folders: SET='{model: FOLDER, mirror: FOLDER}'"
            need = f"does not answer, and this run needs from it {', '.join(needed)}"
            raise ValueError(f"{constants.ENDPOINT} {need}; {hint}") from None


def files(repo: str, pattern: str, revision: str, mirror: str = "", archive: str = "") -> tuple[list[Path], str]:
    """Files of a data set by a pattern, from `mirror/repo`, the zip `archive` or the hub; and their revision."""
    if mirror:
        return sorted(Path(mirror, repo).glob(pattern)), "mirror"
    if archive:
        path = cache() / repo / pattern
        if not path.exists() and not offline():
            try:
                with zipfile.ZipFile(io.BytesIO(download(archive))) as content:
                    write_bytes(path, content.read(pattern))
            except (zipfile.BadZipFile, KeyError, ConnectionError) as error:
                raise ValueError(f"{pattern} can't be read from {archive}: {error}") from None
        return [path] if path.exists() else [], revision
    from huggingface_hub import errors, snapshot_download

    place = {"repo_type": "dataset", "revision": revision, "local_files_only": offline()}
    try:
        folder = snapshot_download(repo, **place, allow_patterns=pattern)
    except errors.LocalEntryNotFoundError:
        return [], revision
    return sorted(Path(folder).glob(pattern)), Path(folder).name  # a snapshot's folder is named by its commit


def download(url: str) -> bytes:
    """The content behind a URL; ValueError where it is missing, ConnectionError where no host answers."""
    host = urlsplit(url).netloc
    try:
        with requests.Session() as session:
            session.mount(url, HTTPAdapter(max_retries=RETRY))
            answer = session.get(url, timeout=TIMEOUT)
    except requests.RequestException as error:
        raise ConnectionError(f"{host} does not answer ({type(error).__name__})") from None
    if not answer.ok:
        raise ValueError(f"{host}: status {answer.status_code}")
    return answer.content
