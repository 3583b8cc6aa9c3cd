"""What the kit relies on in other libraries and no other test runs; a failure names the module that relies on it."""

import importlib.util
import inspect
import re

from mags_kit import compat
from mags_kit.method import protocol
from mags_kit.method.families import FAMILIES
from mags_kit.pipeline import NOTEBOOKS
from mags_kit.report import page

compat.transformers()


def relied(*rows: tuple[bool, str, str]) -> None:
    """Each row: whether it holds, what the kit relies on, and where."""
    changed = [f"{what} (mags_kit/{module})" for holds, what, module in rows if not holds]
    assert not changed, "changed upstream: " + "; ".join(changed)


def test_trls_templates():
    from trl import GRPOTrainer
    from trl import chat_template_utils as templates

    marks = [mark.split("\n")[0] for mark in (*protocol.CALL, "<tool_response>", "<|im_start|>assistant\n")]
    written = [getattr(templates, n) for f in FAMILIES.values() for n in [f.template]]
    shown = all(mark in template for mark in marks for template in written)
    steps = all(hasattr(GRPOTrainer, name) for name in ("_generate", "_get_tool_suffix_ids"))
    relied(
        (shown, "templates with tool calls and messages", "method/families"),
        (steps, "the steps of GRPOTrainer that a subclass extends", "method/training"),
    )


def test_papermill_nbconvert_and_the_hub():
    import papermill
    from huggingface_hub import constants
    from nbconvert import HTMLExporter
    from papermill.iorw import load_notebook_node
    from papermill.parameterize import parameterize_notebook

    filled = parameterize_notebook(load_notebook_node(str(NOTEBOOKS / "04_regions.ipynb")), {"name": "x"}).cells
    tagged = [i for i, cell in enumerate(filled) if "parameters" in cell.metadata.get("tags", [])]
    failure = inspect.signature(papermill.PapermillExecutionError.__init__).parameters
    exporter, blocks = HTMLExporter(), re.findall(r"block (\w+)", page.HERE.joinpath("notebook.html.j2").read_text())
    loader = exporter.environment.loader
    theirs = "".join(loader.get_source(exporter.environment, f"{n}.html.j2")[0] for n in ("index", "base"))
    relied(
        ('name = "x"' in filled[tagged[0] + 1].source, "the cell of parameters", "pipeline"),
        ({"exec_count", "ename", "evalue"} <= set(failure), "PapermillExecutionError", "pipeline"),
        (all(f"block {name}" in theirs for name in blocks), f"nbconvert's blocks {blocks}", "report/page"),
        (constants.HF_HUB_DISABLE_TELEMETRY, "HF_HUB_DISABLE_TELEMETRY", "__init__"),
        (importlib.util.find_spec("bitsandbytes.backends.cpu.ops"), "the name of bitsandbytes' logger", "__init__"),
    )
