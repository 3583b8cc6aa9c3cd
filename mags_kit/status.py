"""Where a run stands: its steps, those of its branches, its notebooks and its report: done, stale (why), missing."""

import ast
import json
from dataclasses import replace

from mags_kit import fingerprints, holder, steps
from mags_kit.branches import branch_name, seeds, variants
from mags_kit.records import read_json
from mags_kit.run import CHECKOUT, Run
from mags_kit.steps import Step

ALONE = "alone"  # what shows a model that is measured without notebooks
NOTEBOOKS = CHECKOUT / "notebooks"
# What a notebook leaves beside its executed copy and figures
LEAVES = {"03_evaluation": "metrics.json", "05_seeds": "seeds.json", "06_ablations": "ablations.json"}


def shown(run: Run, notebook: str) -> tuple[Step, ...]:
    """The steps that a notebook makes, or reads and shows."""
    from mags_kit.evaluation.conditions import MAIN, grid, step
    from mags_kit.evaluation.pays import ways

    def answers(of: Run, checkpoint: str, names) -> list[Step]:
        return [step(of, checkpoint, name) for name in names]

    def branches(changes: list[tuple[int, dict]], names) -> list[Step]:
        made = []
        for seed, changed in changes:
            name, config = branch_name(seed, changed), replace(run.config, seed=seed, **changed)
            own = run if config == run.config else Run(run.branches / name, config, run)
            made += [steps.curated(own), steps.training(own), *answers(own, "after", names)]
        return made

    trained = bool(sum(run.config.stage_steps))
    all_ways = grid(run.config)
    every = answers(run, "before", all_ways) + (answers(run, "after", all_ways) if trained else [])
    each = [(seed, changed) for seed in seeds(run.config) for changed in variants(run.config).values()]
    if notebook == "05_seeds":
        others = branches([(seed, {}) for seed in seeds(run.config)], ways(run.config))
        return (*answers(run, "before", all_ways), *others)
    if notebook == "06_ablations":
        return tuple(branches(each, (MAIN,)))
    return {
        "00_embedded_base": (steps.base(run),),
        "01_data_curation": (steps.data(run), steps.pool(run), steps.curated(run)),
        "02_curriculum_rl": (steps.curated(run), steps.training(run)),
        "03_evaluation": tuple(every),
        "04_regions": tuple(step for step in every if MAIN in step.name),
        ALONE: tuple(answers(run, "alone", all_ways)),
    }.get(notebook, ())


def notebook(run: Run, name: str) -> Step:
    """An executed notebook. What it calls `experiments` for are steps of their own, so that is not followed."""
    source, inner = NOTEBOOKS / f"{name}.ipynb", shown(run, name)
    cells = read_json(source)["cells"]  # as they are now: it may be edited while it is executed
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]

    def made_from():
        roots = fingerprints.imports(ast.parse("\n".join(code))) - fingerprints.PLUMBING
        alone = tuple(root for root in ("experiments", "data.sets") if root in roots)
        files = {}
        for step in inner:
            for path in step.gives or step.outputs:
                files |= steps.content(step.run, path)
        own = {"its code cells": fingerprints.digest(json.dumps(code).encode())}
        return own | fingerprints.code(*roots, alone=alone) | files

    outputs = [run.notebooks / source.name, *([run.path / LEAVES[name]] if name in LEAVES else [])]
    return Step(name, run, tuple(outputs), made_from, inner)


def report(run: Run, names: tuple[str, ...]) -> Step:
    """`report.html` and the notebooks as HTML, or the answers of a model alone; written anew at each command's end."""
    before = tuple(notebook(run, name) for name in names) if run.config.pool else shown(run, ALONE)
    templates = sorted(fingerprints.KIT.joinpath("report").glob("*.j2"))

    def made_from():
        files = {}
        for path in (run.metrics, run.figures, *(step.outputs[0] for step in before)):
            files |= steps.content(run, path)
        files |= {f"template {path.name}": fingerprints.path(path) for path in templates}
        drawn = () if run.config.pool else ("report.charts",)  # else the notebooks draw
        return fingerprints.code("report.page", *drawn) | files

    return Step("report", run, (run.report,), made_from, before)


def every(run: Run, names: tuple[str, ...]) -> list[Step]:
    """All steps behind some notebooks and the report, each once, in the order in which they are made."""
    found = {}

    def add(step: Step) -> None:
        for before in step.after:
            add(before)
        found.setdefault((step.run.path, step.name), step)

    add(report(run, names))
    return list(found.values())


def table(run: Run, names: tuple[str, ...]) -> str:
    """A line a step: where it stands, and why. Notebooks beyond `names` are named once they are begun."""
    known = LEAVES if run.config.pool else ()  # a model alone has no notebooks
    names = names if known else ()
    others = [name for name in known if name not in names and notebook(run, name).outputs[0].exists()]
    lines, found = [holder.who(run.path)] if holder.who(run.path) else [], {}
    for step in every(run, (*names, *others)):
        state, why = step.state(found)
        place = "" if step.run is run or step.run == run else f"{step.run.path.name}: "
        lines.append(f"{place + step.name:<56}{state:<24}{why}".rstrip())
    return "\n".join(lines)
