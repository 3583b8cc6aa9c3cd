"""What the pages for readers promise: short, links that resolve, commands that exist."""

import json
import re
from pathlib import Path

import cards
import pytest

from mags_kit.__main__ import main
from mags_kit.config import load_config
from mags_kit.records import Looked, Outcome

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "results" / "README.md"]
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]


def test_the_front_page_is_short():
    assert len(PAGES[0].read_text().split()) <= 1200


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_relative_link_and_picture_resolves(page):
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    assert links or page.parent.name == "docs"
    missing = [link for link in links if "://" not in link and not (page.parent / link.partition("#")[0]).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_command_and_setting_exists(page, capsys):
    text, makefile = page.read_text(), (ROOT / "Makefile").read_text()
    for target in re.findall(r"\bmake ([a-z][a-z-]*)", text):
        assert re.search(rf"^{target}:.*##", makefile, re.MULTILINE), target
    for command in re.findall(r"-m mags_kit ([a-z]+)", text):
        with pytest.raises(SystemExit) as ended:
            main([command, "--help"])
        assert ended.value.code == 0, command
    for profile in re.findall(r"PROFILE=([\w-]+)", text):
        load_config(profile)
    for path in re.findall(r"`((?:mags_kit|tests|notebooks|docs|results)/[\w./-]+)`", text):
        assert (ROOT / path).exists(), path


def test_the_sizes_that_auto_stands_for_are_those_of_the_page():
    page = (ROOT / "docs" / "large-models.md").read_text()
    assert not [row for row in cards.rows() if row not in page]  # `PYTHONPATH=. python tests/cards.py` prints them


def test_the_page_of_large_models_names_every_outcome_of_a_region():
    page = (ROOT / "docs" / "large-models.md").read_text()
    assert not [outcome for outcome in (*Looked, Outcome.BAD_CALL, Outcome.NO_CALL) if f"`{outcome}`" not in page]


@pytest.mark.parametrize("page", ["docs/input.md", "docs/faults.md"])
def test_every_line_of_a_table_names_tests_that_exist(page):
    there = "".join(path.read_text() for path in (ROOT / "tests").glob("test_*.py"))
    tables = re.findall(r"(?:^\|.*\n)+", (ROOT / page).read_text(), re.MULTILINE)
    lines = [line for table in tables for head, _, *rows in [table.splitlines()] if "| test" in head for line in rows]
    assert len(lines) > 30
    for line in lines:
        named = re.findall(r"`(test_\w+)`", line)
        assert named or "| the same" in line, line
        assert not [name for name in named if f"\ndef {name}(" not in there], line


@pytest.mark.parametrize("path", sorted((ROOT / "results" / "notebooks").glob("*.ipynb")), ids=lambda p: p.stem)
def test_published_notebooks_are_small_and_show_what_they_found(path):
    assert path.stat().st_size < 1e6
    cells = json.loads(path.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert sum(bool(cell["outputs"]) for cell in code) > len(code) / 2
    assert not [o for cell in code for o in cell["outputs"] if o["output_type"] == "error"]
    assert not re.search(r"/(tmp|home|root|work)/", path.read_text())
