"""The notebooks by papermill, one after the other, into a run folder; at the end a report of what they found."""

import hashlib
import json
import logging
import sys
from pathlib import Path

from mags_kit.config import load_config
from mags_kit.data import benchmarks
from mags_kit.hardware import plan
from mags_kit.records import read_json
from mags_kit.runs import CHECKOUT, Run, open_run, run_folder

NOTEBOOKS = CHECKOUT / "notebooks"
STEPS = ("01_data_curation", "02_curriculum_rl", "03_evaluation", "04_regions")
JOBS = {
    "reproduce": STEPS,
    "curate": STEPS[:1],
    "base": ("00_embedded_base",),
    "smoke": (*STEPS, "05_seeds", "06_ablations"),
    "reference": (*STEPS, "05_seeds"),
    "ablations": (*STEPS, "06_ablations"),
}


def reproduce(profile: str, name: str, settings: dict, steps: tuple[str, ...] = STEPS) -> Path:
    """Run what is not done yet and return the path of the report. Raises SystemExit with a sentence on failure."""
    run = begin(profile, name, settings)
    if not run.config.pool:
        raise ValueError("pool=0: there is nothing to train on; `make evaluate` measures a model without training")
    if run.caution:
        print(run.caution, flush=True)
    parameters = {"profile": profile, "name": run.path.name, "settings": json.dumps(settings)}
    for step in steps:
        source = NOTEBOOKS / f"{step}.ipynb"
        version = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
        if read_json(run.manifest)["steps"].get(step, {}).get("notebook") == version:
            print(f"{step}: done already", flush=True)
            continue
        _execute(source, run, parameters)
        run.done(step, notebook=version)
    if STEPS[-1] not in steps:
        return run.notebooks / f"{steps[-1]}.ipynb"
    from mags_kit.report import page  # late: pandas, which a wrong setting need not wait for

    return page.write(run, steps)


def begin(profile: str, name: str, settings: dict) -> Run:
    """The run folder; for a new one, ValueError of one sentence where what the run needs is not here."""
    if not run_folder(name or profile).joinpath("config.json").exists():  # else these were there when it began
        config = load_config(profile, settings)
        if config.adapter and not Path(config.adapter, "adapter_config.json").is_file():
            raise ValueError(f"ADAPTER={config.adapter}: expected a folder with adapter_config.json, as PEFT saves it")
        benchmarks.check(config)
        plan.check(config)
    return open_run(profile, name, settings)


def _execute(source: Path, run: Run, parameters: dict) -> None:
    """Execute a notebook into the run folder; on an error keep it as `failed_….ipynb` and stop."""
    import papermill

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    for noisy in ("papermill.translators", "blib2to3", "httpx"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    run.notebooks.mkdir(exist_ok=True)
    partial, failed = run.notebooks / f"partial_{source.name}", run.notebooks / f"failed_{source.name}"
    failed.unlink(missing_ok=True)
    try:
        papermill.execute_notebook(
            str(source), str(partial), parameters, kernel_name="python3", log_output=True, progress_bar=False,
            cwd=str(Path.cwd()),
        )  # fmt: skip
    except papermill.PapermillExecutionError as error:
        partial.replace(failed)
        raise SystemExit(
            f"\n{source.name} failed in cell {error.exec_count}: {error.ename}: {error.evalue}\n"
            f"The notebook with its traceback: {failed}. The same command goes on from there."
        ) from None
    partial.replace(run.notebooks / source.name)
