"""The notebooks by papermill, one after the other, into a run folder; at the end a report of what they found."""

import json
import logging
import sys
from pathlib import Path

from mags_kit import lock, plan, steps
from mags_kit.config import load_config
from mags_kit.data import benchmarks
from mags_kit.evaluation import conditions
from mags_kit.method import rewards
from mags_kit.method.policy import check_adapter
from mags_kit.run import CHECKOUT, Run, open_run, run_folder
from mags_kit.steps import Step

NOTEBOOKS = CHECKOUT / "notebooks"
MAIN_NOTEBOOKS = ("01_data_curation", "02_curriculum_rl", "03_evaluation", "04_regions")
JOBS = {
    "reproduce": MAIN_NOTEBOOKS,
    "curate": MAIN_NOTEBOOKS[:1],
    "base": ("00_embedded_base",),
    "smoke": (*MAIN_NOTEBOOKS, "05_seeds", "06_ablations"),
    "beside": ("00_embedded_base", "07_when_to_look"),  # of `make smoke`: they need none of the others
    "reference": (*MAIN_NOTEBOOKS, "05_seeds"),
    "ablations": (*MAIN_NOTEBOOKS, "06_ablations"),
    "rule": ("01_data_curation", "07_when_to_look"),
}


def reproduce(profile: str, name: str, settings: dict, notebooks: tuple[str, ...] = MAIN_NOTEBOOKS) -> str:
    """Run what is not done yet; return the path of the report and, below it, what came of the published numbers.
    SystemExit has a sentence on what failed."""
    if not load_config(profile, settings).pool:
        raise ValueError("pool=0: there is nothing to train on; `make evaluate` measures a model without training")
    run = begin(profile, name, settings, f"`mags_kit run` ({notebooks[0]} to {notebooks[-1]})")
    if run.caution:
        print(run.caution, flush=True)
    parameters = {"profile": profile, "name": run.path.name, "settings": json.dumps(settings)}
    print(f"figures appear in {run.figures}", flush=True)
    for number, notebook in enumerate(notebooks, 1):
        step = notebook_step(run, notebook)
        print(f"{number} of {len(notebooks)}, {notebook}: {' '.join(step.state())}", flush=True)
        if steps.start(step):
            _execute(notebook, run, parameters)
    if MAIN_NOTEBOOKS[-1] not in notebooks:
        return str(run.notebooks / f"{notebooks[-1]}.ipynb")
    from mags_kit.evaluation import claims
    from mags_kit.report import page  # late: pandas, which a wrong setting need not wait for

    written = page.write(run, notebooks)
    lock.leave(run.path)
    return f"{written}\n{claims.compare(run).line}"


def begin(profile: str, name: str, settings: dict, what: str) -> Run:
    """The run folder, held for `what`; for a new one, ValueError of one sentence where what it needs is not here."""
    folder, config = run_folder(name or profile), load_config(profile, settings)
    if not folder.joinpath("config.json").exists():  # else these were there when it began
        if config.adapter:
            check_adapter(config.adapter)
        benchmarks.check(config)
        plan.check(config)
        for reward in config.rewards:
            rewards.function(reward)
    lock.hold(folder, what)
    return open_run(profile, name, settings)


def notebook_step(run: Run, name: str) -> Step:
    """An executed notebook: done if it, what it shows, and the steps behind it are."""
    source, copy, inner = NOTEBOOKS / f"{name}.ipynb", run.notebooks / f"{name}.ipynb", shown(run, name)
    made = {output for step in inner for output in step.outputs}  # by the notebook itself
    inputs = dict.fromkeys(path for step in inner for path in step.inputs if not made & {path, *Path(path).parents})

    def finished() -> bool:
        return copy.exists() and all(step.state()[0] == steps.DONE for step in inner)

    code = (*steps.CODE, "experiments.py", "evaluation", "viz")
    return Step(name, run, (copy,), (source, *inputs), finished, code)


def shown(run: Run, notebook: str) -> list[Step]:
    """The steps that a notebook makes or reads. Those of other seeds and variants are steps of their own runs."""
    checkpoints = ("base", "trained") if sum(run.config.stage_steps) else ("base",)
    answered = [steps.answers(run, c, name) for c in checkpoints for name in conditions.grid(run.config, c)]
    answered += [steps.draws(run, c) for c in checkpoints] if run.config.pass_k else []
    return {
        "00_embedded_base": [steps.base(run)],
        "01_data_curation": [steps.data(run), steps.pool(run), steps.curated(run)],
        "02_curriculum_rl": [steps.training(run)],
        "03_evaluation": answered,
        **dict.fromkeys(("05_seeds", "06_ablations"), [steps.training(run)]),
        "07_when_to_look": [steps.curated(run)],
    }.get(notebook, [])


def status(run: Run, notebooks: tuple[str, ...]) -> str:
    """A line for each step of a run: done, stale (what changed), unfinished or missing."""
    if run.config.pool:
        rows = [step for name in notebooks for step in (*shown(run, name), notebook_step(run, name))]
    else:  # a model measured alone
        rows = [steps.data(run), *(steps.answers(run, "alone", name) for name in conditions.grid(run.config))]
    return "\n".join(f"{step.name:<48}{state:<12}{why}".rstrip() for step in rows for state, why in [step.state()])


def _execute(name: str, run: Run, parameters: dict) -> None:
    """Execute a notebook into `notebooks/` of the run; on an error keep the copy as `failed_….ipynb` and stop."""
    import papermill
    from jupyter_client import AsyncKernelManager, kernelspec

    class Kernel(AsyncKernelManager):  # of this very Python: Jupyter may find a `python3` elsewhere first
        def __init__(self, **options):
            super().__init__(**options, kernel_spec_manager=kernelspec.KernelSpecManager(kernel_dirs=[]))

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    for noisy in ("papermill.translators", "blib2to3", "httpx"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    logging.getLogger("papermill").addFilter(lambda record: "ing Cell " not in record.getMessage())  # which only counts
    run.notebooks.mkdir(exist_ok=True)
    partial, failed = (run.notebooks / f"{state}_{name}.ipynb" for state in ("partial", "failed"))
    failed.unlink(missing_ok=True)
    try:
        papermill.execute_notebook(
            str(NOTEBOOKS / f"{name}.ipynb"), str(partial), parameters, kernel_name="python3", log_output=True,
            progress_bar=False, cwd=str(Path.cwd()), kernel_manager_class=Kernel,
        )  # fmt: skip
    except papermill.PapermillExecutionError as error:
        partial.replace(failed)
        hint = f"The notebook with its traceback: {failed}. The same command goes on from there."
        raise SystemExit(f"\n{name} failed in cell {error.exec_count}: {error.ename}: {error.evalue}\n{hint}") from None
    except RuntimeError as error:  # nbclient has no class of its own for a kernel that dies while it loads
        if "Kernel died" not in str(error):
            raise
        raise SystemExit(
            f"\n{name}: its kernel died; what it said last stands above. If it said nothing, it was killed, usually "
            "out of memory (smaller: batch_size, rollout_batch, micro_batch). The same command goes on from there."
        ) from None
    partial.replace(run.notebooks / f"{name}.ipynb")
