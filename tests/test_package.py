"""The house itself: which way imports go, how long things are, and what the pages and notebooks promise."""

import ast
import builtins
import json
import re
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
KIT = ROOT / "mags_kit"
# Each module may import only those before it; `mags_kit/__init__.py` says what they are.
ORDER = """
    install dials config records images runs branches compat hub holder fingerprints steps
    method.processes method.protocol method.replies method.families method.networks method.magnifier method.adapters
    method.features method.policy method.memory method.fit method.look method.rollout
    method.wording method.readings method.scoring method.rewards method.measures method.curriculum method.visits
    method.environment
    method.alarms method.validation method.keeping method.training
    tiny.drawing tiny.scenes tiny.vision tiny.lessons tiny.model tiny.pretraining tiny.abilities
    data.values data.own data.pictures data.highres data.readers data.benchmarks data.sets
    report.statistics report.conditions report.evidence report.evaluation report.findings report.tables
    report.browser report.painting report.figures report.charts report.speeds report.worth report.pays
    report.inspector report.replay report.progress report.playground report.handling
    report.judge report.page report.export report.rescore report.compare report.claims
    hardware.plan hardware.random_model hardware.forcing hardware.measure
    hardware.clock hardware.floor hardware.ground hardware.loops hardware.stepping hardware.enlarging
    hardware.starting hardware.growth hardware.bench
    single serve experiments status kernels pipeline chaos pipes commands __main__
""".split()
MODULES = {str(p.relative_to(KIT).with_suffix("")).replace("/", "."): p for p in sorted(KIT.rglob("*.py"))}
MODULES = {name: path for name, path in MODULES.items() if not name.endswith("__init__")}
TREES = {name: ast.parse(path.read_text()) for name, path in MODULES.items()}
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def imported(module: str) -> dict[str, set[str]]:
    """Modules of the kit that a module imports, wherever in it, and the names taken out of each."""
    names = {}
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "mags_kit":
            base = node.module.partition(".")[2]
            for alias in node.names:
                whole = f"{base}.{alias.name}".strip(".")
                used, name = (whole, "") if whole in MODULES else (base, alias.name)
                names.setdefault(used, set()).add(name)
        elif isinstance(node, ast.Import):
            names |= {a.name.partition(".")[2]: set() for a in node.names if a.name.startswith("mags_kit.")}
    return names


def test_the_order_names_every_module():
    assert sorted(MODULES) == sorted(ORDER)
    rooms = [room for room, _ in groupby(name.partition(".")[0] for name in ORDER if "." in name)]
    assert len(rooms) == len(set(rooms))  # so that imports between rooms go one way, too
    for room in {name.split(".")[0] for name in ORDER if "." in name}:
        assert (KIT / room / "__init__.py").read_text() == ""


@pytest.mark.parametrize("module", ORDER)
def test_modules_import_in_one_direction_and_nothing_private(module):
    used = imported(module)
    assert all(ORDER.index(name) < ORDER.index(module) for name in used)
    assert not {name for names in used.values() for name in names if name.startswith("_")}
    modules = {name.split(".")[-1] for name in used}
    reached = [n for n in ast.walk(TREES[module]) if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name)]
    assert not [f"{n.value.id}.{n.attr}" for n in reached if n.value.id in modules and n.attr.startswith("_")]


@pytest.mark.parametrize("module", ORDER)
def test_modules_and_functions_are_short_and_shadow_no_builtin(module):
    assert len(MODULES[module].read_text().splitlines()) <= 250
    for node in ast.walk(TREES[module]):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno - node.lineno < 60, node.name
    fields = {n.target for n in ast.walk(TREES[module]) if isinstance(n, ast.AnnAssign)}  # of a dataclass
    stored = [n for n in ast.walk(TREES[module]) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    names = {n.id for n in stored if n not in fields}
    names |= {n.arg for n in ast.walk(TREES[module]) if isinstance(n, ast.arg)}
    names |= {n.name for n in TREES[module].body if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
    assert not names & set(dir(builtins)) - {"_", "__doc__"}


def test_the_map_names_every_module():
    text = (KIT / "__init__.py").read_text()
    readme = (ROOT / "README.md").read_text()
    for module in ORDER:
        name = module.split(".")[-1]
        assert re.search(rf"\b{name}\b", text), name
    for room in {name.split(".")[0] for name in ORDER if "." in name}:
        assert f"`{room}/`" in readme, room


def test_import_is_instant():
    code = "import time; t = time.perf_counter(); import mags_kit; print(time.perf_counter() - t)"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(3)]
    assert min(float(run.stdout) for run in runs) < 0.3


def test_what_is_light_loads_without_torch():
    light = "config records images runs hub method.protocol method.replies method.scoring method.rewards".split()
    light += "method.measures method.alarms method.curriculum method.policy method.look data.sets".split()
    light += "report.statistics hardware.plan pipeline".split()
    code = f"import sys, {', '.join(f'mags_kit.{name}' for name in light)}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_are_clean_and_have_literal_parameters(path):
    cells = json.loads(path.read_text())["cells"]
    code = [c for c in cells if c["cell_type"] == "code"]
    assert not any(c["outputs"] or c["execution_count"] for c in code)
    [parameters] = [c for c in code if "parameters" in c["metadata"].get("tags", [])]
    for line in ast.parse("".join(parameters["source"])).body:
        assert isinstance(line, ast.Assign) and isinstance(line.value, ast.Constant)
    assert not [n for c in code for n in ast.walk(ast.parse("".join(c["source"]))) if isinstance(n, ast.FunctionDef)]
    assert all(len(c["source"]) <= 18 for c in code)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_tables_of_questions_and_replies_are_not_read_as_formulas(path):
    source = "".join("".join(c["source"]) for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code")
    if "s.question" in source or "t.answer" in source or "family_table" in source:
        assert 'pd.set_option("display.html.use_mathjax", False)' in source
    assert not re.search(r"\bHTML\(|Markdown\(|escape=False|\.style\b", source)  # pandas' own tables are escaped


def test_a_kernel_without_the_kit_or_what_it_needs_says_so_in_one_sentence():
    source = "".join(json.loads(NOTEBOOKS[0].read_text())["cells"][2]["source"])
    refuse = "import sys; sys.modules['{}'] = None\n"
    here = {"cwd": ROOT, "capture_output": True, "text": True}
    done = subprocess.run([sys.executable, "-c", refuse.format("mags_kit") + source], **here)
    assert done.returncode and done.stderr.strip().startswith("mags_kit is not in this kernel: `%pip install")
    code = "import importlib.util; importlib.util.find_spec = lambda name: name != 'trl' or None\n" + source
    done = subprocess.run([sys.executable, "-c", code], **here)
    assert done.stderr.strip().splitlines()[-1].startswith("ImportError: the kit needs trl; run `pip install")
