"""README, docs and notebooks: their links lead somewhere, their commands are real, and the longer ones run."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mags_kit.__main__ import parser
from mags_kit.config import load_config

ROOT = Path(__file__).parents[1]
TEXTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("results/**/*.md"), *ROOT.glob(".github/*.md")]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
INSTALL = "# @title Install the kit where it is missing"


def words(path: Path) -> str:
    """A text, or what a notebook says and runs."""
    if path.suffix == ".md":
        return path.read_text()
    return "\n\n".join("".join(cell["source"]) for cell in json.loads(path.read_text())["cells"])


def anchors(path: Path) -> set[str]:
    """Of a text's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_leads_to_a_file_and_a_heading():
    broken = []
    for path in (*TEXTS, *NOTEBOOKS):
        for link in re.findall(r"\]\(([^)\s]+)\)", words(path)):
            target, _, heading = link.partition("#")
            file = (path.parent / target).resolve() if target else path
            if re.match(r"https?:", link):
                continue
            if not file.exists() or (heading and heading not in anchors(file)):
                broken.append(f"{path.name}: {link}")
    assert not broken


def commands(path: Path) -> list[str]:
    """The commands of a text that begin with `make` or call the kit, in fences and between backticks."""
    text = words(path)
    inline = re.findall(r"`((?:make|python -m mags_kit|accelerate launch -m mags_kit) [^`\n]+)`", text)
    fenced = "\n".join(re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)).replace("\\\n", " ")
    return inline + re.findall(r"^(?:make|python -m mags_kit|accelerate launch .*-m mags_kit) .*", fenced, re.MULTILINE)


def test_every_command_is_one(monkeypatch):
    found, wrong = [(path, line) for path in (*TEXTS, *NOTEBOOKS) for line in commands(path)], []
    monkeypatch.chdir(ROOT)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert len(found) > 40
    for path, line in found:
        given = shlex.split(line.partition("  #")[0].replace("…", "1"))
        settings = [word[4:] for word in given if word.startswith("SET=")]
        try:
            if given[0] == "make":
                assert {word for word in given[1:] if "=" not in word and word != "-n"} <= targets, "no such target"
            else:
                options = parser().parse_args(given[given.index("mags_kit") + 1 :])
                settings = [getattr(options, "set", "")]
            for text in settings:
                known = re.sub(r", *rewards: \{my_rewards[^}]*\}|\{rewards: \{my_rewards[^}]*\}\}", "", text)
                load_config("cpu", known.replace("{model: FOLDER}", "").replace("{model: FOLDER or hub id}", ""))
        except (AssertionError, SystemExit, ValueError) as error:
            wrong.append(f"{path.name}: {line}: {error}")
    assert not wrong


def test_the_readmes_five_lines_run(tmp_path, monkeypatch):
    from mags_kit import make_scene

    [code] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    [image] = map(Path, re.findall(r'look\(agent, "([^"]+)"', code))
    image.parent.mkdir(parents=True)
    image.write_bytes(make_scene(1, "validation", "count").jpeg)
    names = {}
    exec(code, names)
    assert names["trajectory"].outcome == "answered" and len(names["trajectory"].replies) == 2


def test_the_address_of_a_copy_reaches_badges_and_notebooks(tmp_path):
    for name in ("Makefile", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    for bad in ("you", "a b/c", "you/kit/x", "$(touch x)/y", "https://github.com/you/kit"):
        done = subprocess.run(["make", "address", f"REPO={bad}"], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode and "expected owner/name" in done.stdout, bad
    for address in ("someone/first", "you/kit"):  # a copy of a copy, too
        subprocess.run(["make", "address", f"REPO={address}"], cwd=tmp_path, check=True)
    texts = [path.read_text() for path in (tmp_path / "README.md", *(tmp_path / "notebooks").iterdir())]
    assert not any("OWNER" in text or "someone" in text for text in texts)
    assert all("github.com/you/kit" in text for text in texts)


def install_cell(path: Path) -> str:
    [cell] = [c for c in json.loads(path.read_text())["cells"] if "".join(c["source"]).startswith(INSTALL)]
    return "".join(cell["source"])


def test_every_notebook_begins_with_the_same_install_cell():
    numbered = [path for path in NOTEBOOKS if path.name[0].isdigit()]
    assert len({install_cell(path) for path in numbered}) == 1


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """The kit's tracked files in a folder of its own, where a test's runs lie too."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    folder = tmp_path / "kit"
    for name in filter(lambda name: (ROOT / name).exists(), listed.splitlines()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)  # with its time, or make would install the copy
    for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAGS_RUNS", "PYTHONPATH"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.mark.long
def test_every_notebook_runs_from_an_empty_environment(checkout, tmp_path):
    """A new environment with a kernel alone, as a hosted notebook has it; the first install cell fetches the kit."""
    python = str(tmp_path / "empty" / "bin" / "python")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "empty"], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "ipykernel"], check=True)
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "x"]):
        subprocess.run([*git, *command], cwd=checkout, check=True)
    runner = (
        "import papermill, sys; from jupyter_client import AsyncKernelManager, kernelspec\n"
        "class Kernel(AsyncKernelManager):\n"
        "    @property\n"
        "    def kernel_spec(self): return kernelspec.KernelSpec(argv=[sys.argv[1], '-m', 'ipykernel_launcher', '-f',"
        " '{connection_file}'], display_name='x', language='python')\n"
        "papermill.execute_notebook(sys.argv[2], sys.argv[3], {'profile': 'smoke', 'name': sys.argv[4]},"
        " kernel_name='python3', kernel_manager_class=Kernel, progress_bar=False)\n"
    )
    there, environment = tmp_path / "elsewhere", os.environ | {"MAGS_REPOSITORY": str(checkout), "OMP_NUM_THREADS": "1"}
    there.mkdir()
    for path in (path for path in NOTEBOOKS if path.name[0].isdigit()):
        here = there / "mags-rl" if (there / "mags-rl").exists() else there
        name = "base" if path.name.startswith("00") else "smoke"
        command = [sys.executable, "-c", runner, python, str(path), str(tmp_path / path.name), name]
        done = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{path.name}: {done.stderr[-3000:]}"
    assert (there / "mags-rl" / "runs" / "smoke" / "metrics.json").exists()


@pytest.mark.long
def test_the_tutorial_runs(checkout):
    (checkout / ".venv").symlink_to(Path(sys.prefix))
    installed = Path(sys.prefix, ".mags-kit-ready").stat().st_mtime_ns
    text = (ROOT / "docs" / "tutorial.md").read_text()
    for kind, code in re.findall(r"```(python|sh)\n(.*?)```", text, re.DOTALL):
        if kind == "python":
            (checkout / re.match(r"# (\S+)", code)[1]).write_text(code)
        elif "make inspect" not in code:
            done = subprocess.run(["bash", "-euc", code], cwd=checkout, capture_output=True, text=True)
            assert done.returncode == 0, f"{code}\n{done.stdout[-1500:]}\n{done.stderr[-1500:]}"
    assert (checkout / "runs" / "tight" / "report.html").exists() and "A less B" in done.stdout
    assert Path(sys.prefix, ".mags-kit-ready").stat().st_mtime_ns == installed, "the copy was installed"
