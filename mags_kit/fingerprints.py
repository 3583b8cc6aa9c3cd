"""Fingerprints of what a step is made from: files, weights, the code of the kit; and in words, what has changed.

Code counts as Python reads it: comments and layout don't, and docstrings only where a policy is shown them. It is
followed through the imports of the kit from what a step calls, so that no list has to be kept. Versions of libraries
are noted beside (see `steps`), but make nothing stale: `requirements.lock` holds them, and no two kinds of machine
give the same digits anyway.
"""

import ast
import hashlib
import json
import os
import re
from functools import cache
from pathlib import Path

from mags_kit import hub
from mags_kit.config import Config, model_path

KIT = Path(__file__).parent
# Where things lie, who works there and how they come here: what these let through is fingerprinted itself.
PLUMBING = frozenset("config dials runs branches compat hub holder fingerprints steps method.processes".split())
# Functions of `records`: the way to files and back, whose content is compared.
FILING = re.compile("(read|write|mend)_|_text|_guess")
SHOWN = ("method.protocol",)  # the docstring of its tool is a part of the prompt
UNREAD = ("README.md", "checkpoint.pt")  # of a folder: a card that is written later; a training's way to its end


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def path(where: Path) -> str:
    """Of a file, or of all files of a folder and their names; `missing` where there is none."""
    where = Path(where)
    if where.is_dir():
        inside = sorted(p for p in where.rglob("*") if p.is_file() and p.name not in UNREAD)
        return digest(json.dumps([[p.relative_to(where).as_posix(), path(p)] for p in inside]).encode())
    if not where.is_file():
        return "missing"
    stat = os.stat(where)
    return _content(os.path.abspath(where), stat.st_size, stat.st_mtime_ns)


@cache
def _content(where: str, size: int, time: int) -> str:
    """Of a file that has not changed since; a process reads it once."""
    with open(where, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def listed(where: Path, folder: Path) -> str:
    """Of a JSONL and of the images that its rows name, relative to `folder`."""
    if not where.is_file():
        return "missing"
    images = []
    for line in where.read_bytes().splitlines():
        try:
            images.append(path(Path(os.path.normpath(folder / json.loads(line)["image"]))))
        except (ValueError, LookupError, TypeError, OSError):
            pass  # whoever reads the list says what is wrong with the line
    return digest(json.dumps([path(where), images]).encode())


def weights(config: Config) -> dict[str, str]:
    """Of the model (its files, or its commit on the hub) and of a magnifier from a file. Those of the packaged
    networks stand in the code."""
    name = model_path(config.model)
    model = path(name) if Path(name).is_dir() else hub.commit(name, config.revisions.get(name, "main"))
    own = {"weights of the magnifier": path(config.magnifier)} if config.magnifier.endswith(".pth") else {}
    return {"weights of the model": model} | own


@cache
def code(*roots: str, alone: tuple[str, ...] = ()) -> dict[str, str]:
    """Of the modules `roots` and of all of the kit that they import, and of `alone` without what those import.

    `alone` may name one function, as in `experiments:curate`.
    """
    found, new = set(), {root for root in roots if root not in alone}
    while new:
        found |= new
        new = {name for module in new for name in _imports(module)} - found - PLUMBING - set(alone)
    return {f"code of {name}": _code(name) for name in sorted(found | set(alone))}


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(KIT.joinpath(*module.split(".")).with_suffix(".py").read_text(encoding="utf-8"))


def imports(parsed: ast.Module) -> set[str]:
    """Modules of the kit that some source imports, wherever in it."""
    names = set()
    for node in ast.walk(parsed):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "mags_kit":
            base = node.module.split(".")[1:]
            for alias in node.names:
                inside = KIT.joinpath(*base, alias.name).with_suffix(".py").is_file()
                names.add(".".join([*base, alias.name] if inside else base))
    return names


@cache
def _imports(module: str) -> set[str]:
    return imports(tree(module))


@cache
def _code(name: str) -> str:
    module, _, function = name.partition(":")
    body = [node for node in tree(module).body if not function or getattr(node, "name", "") == function]
    if module == "records":
        kept = [node for node in body if not isinstance(node, (ast.Import, ast.ImportFrom))]
        body = [node for node in kept if not FILING.match(getattr(node, "name", ""))]
    return digest(json.dumps(shape(body, docstrings=module in SHOWN)).encode())


def shape(node, docstrings: bool = False):
    """A syntax tree as lists and texts, the same for every version of Python, without its docstrings."""
    if isinstance(node, list):
        said = [] if docstrings else [one for one in node if isinstance(one, ast.Expr) and _is_text(one.value)]
        return [shape(one, docstrings) for one in node if one not in said]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = [(name, value) for name, value in ast.iter_fields(node) if value is not None and value != []]
    return [type(node).__name__, *([name, shape(value, docstrings)] for name, value in fields)]


def _is_text(node) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def differences(stored: dict, now: dict) -> list[str]:
    """What has changed, a few words each; a setting that the older kit did not have counts as its default."""
    defaults = {f"setting {name}": value for name, value in json.loads(json.dumps(vars(Config()))).items()}
    said = []
    for name in {**now, **stored}:
        before, after = stored.get(name, defaults.get(name)), now.get(name)
        if before != after and name.startswith("setting "):
            said.append(f"{name} changed {before!r} -> {after!r}")
        elif before != after:
            said.append(f"{name} changed" if after != "missing" else f"{name} is gone")
    return said
