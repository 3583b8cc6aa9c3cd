"""The notebooks by papermill, one after the other, into a run folder; at the end a report of what they found."""

import json
import logging
import sys
from contextlib import closing
from pathlib import Path

from mags_kit import holder, status
from mags_kit.config import load_config
from mags_kit.data import benchmarks
from mags_kit import plan
from mags_kit.kernels import Kernels
from mags_kit.method import fit
from mags_kit.run import Run, open_run, run_folder
from mags_kit.steps import SETTLED, Step

LOADING = 900  # seconds, at most, until a kernel has its libraries: minutes from a slow disk, or not yet compiled
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
    if not load_config(profile, settings).pool:
        raise ValueError("pool=0: there is nothing to train on; `make evaluate` measures a model without training")
    run = begin(profile, name, settings, f"`mags_kit run` ({steps[0]} to {steps[-1]})")
    if run.caution:
        print(run.caution, flush=True)
    parameters = {"profile": profile, "name": run.path.name, "settings": json.dumps(settings)}
    with closing(Kernels()) as kernels:
        for name in steps:
            _make(status.notebook(run, name), run, parameters, kernels, more=name != steps[-1])
    path = run.notebooks / f"{steps[-1]}.ipynb"
    if STEPS[-1] in steps:
        from mags_kit.report import page  # late: pandas, which a wrong setting need not wait for

        path = page.write(run, steps)
        status.report(run, steps).stamp()
    holder.leave(run.path)
    return path


def _make(step: Step, run: Run, parameters: dict, kernels: Kernels, more: bool) -> None:
    """Execute the notebook of a step unless it is done; `more` says that others come after it."""
    state, why = step.state()
    if state in SETTLED:
        print(f"{step.name}: {state} already", flush=True)
        return
    print(f"{step.name}: {state}{f' ({why})' if why else ''}", flush=True)
    step.clear(state, why)
    partial = _execute(status.NOTEBOOKS / f"{step.name}.ipynb", run, parameters, kernels.take(more))
    kernels.give_back()
    step.stamp()  # before the copy has its name, which says that it is done
    partial.replace(step.outputs[0])


def begin(profile: str, name: str, settings: dict, what: str) -> Run:
    """The run folder, held for `what`; for a new one, ValueError of one sentence where what it needs is not here."""
    folder = run_folder(name or profile)
    if not folder.joinpath("config.json").exists():  # else these were there when it began
        config = load_config(profile, settings)
        if config.adapter and not Path(config.adapter, "adapter_config.json").is_file():
            raise ValueError(f"ADAPTER={config.adapter}: expected a folder with adapter_config.json, as PEFT saves it")
        benchmarks.check(config)
        plan.check(config)
    holder.hold(folder, what)
    run = open_run(profile, name, settings)
    fit.note(run)
    return run


def _execute(source: Path, run: Run, parameters: dict, kernel) -> Path:
    """Execute a notebook by a running kernel into `partial_….ipynb` of the run; on an error keep it as `failed_….ipynb`
    and stop."""
    import papermill
    from nbclient.exceptions import DeadKernelError

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    for noisy in ("papermill.translators", "blib2to3", "httpx"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    run.notebooks.mkdir(exist_ok=True)
    partial, failed = run.notebooks / f"partial_{source.name}", run.notebooks / f"failed_{source.name}"
    failed.unlink(missing_ok=True)
    try:
        papermill.execute_notebook(
            str(source), str(partial), parameters, kernel_name="python3", log_output=True, progress_bar=False,
            cwd=str(Path.cwd()), km=kernel, start_timeout=LOADING,
        )  # fmt: skip
    except papermill.PapermillExecutionError as error:
        partial.replace(failed)
        raise SystemExit(
            f"\n{source.name} failed in cell {error.exec_count}: {error.ename}: {error.evalue}\n"
            f"The notebook with its traceback: {failed}. The same command goes on from there."
        ) from None
    except RuntimeError as error:  # what nbclient says of a kernel that dies while it loads has no class of its own
        if not isinstance(error, DeadKernelError) and "Kernel died" not in str(error):
            raise
        raise SystemExit(
            f"\n{source.name}: its kernel was killed or died, often for want of memory (smaller: batch_size, "
            "rollout_batch, micro_batch). The same command goes on from there."
        ) from None
    return partial
