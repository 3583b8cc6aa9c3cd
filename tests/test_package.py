import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Each module may import only those before it.
ORDER = (
    "records compat processes hub scenes magnifier scoring rewards config runs protocol benchmarks data policy "
    "rollout curriculum evaluation signals judge training launch memory plan export figures inspector seeing lessons "
    "embedded pipeline"
).split()
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def test_the_order_names_every_module():
    assert {p.stem for p in (ROOT / "mags_kit").glob("*.py")} == {*ORDER, "__init__"}


@pytest.mark.parametrize("module", ORDER)
def test_modules_import_in_one_direction(module):
    tree = ast.parse((ROOT / "mags_kit" / f"{module}.py").read_text())
    used = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mags_kit"):
            used |= {node.module.split(".")[1]} if "." in node.module else {alias.name for alias in node.names}
    assert all(ORDER.index(name) < ORDER.index(module) for name in used)


def test_import_is_instant():
    code = "import time; t = time.perf_counter(); import mags_kit; print(time.perf_counter() - t)"
    seconds = float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert seconds < 0.3


def test_config_and_protocol_load_without_torch():
    code = "import sys, mags_kit.config, mags_kit.protocol, mags_kit.rewards; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_are_clean_and_have_literal_parameters(path):
    cells = json.loads(path.read_text())["cells"]
    code = [c for c in cells if c["cell_type"] == "code"]
    assert not any(c["outputs"] or c["execution_count"] for c in code)
    [parameters] = [c for c in code if "parameters" in c["metadata"].get("tags", [])]
    for line in ast.parse("".join(parameters["source"])).body:
        assert isinstance(line, ast.Assign) and isinstance(line.value, ast.Constant)
