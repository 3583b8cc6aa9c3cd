"""The notebooks by papermill, one after the other, into a run folder, and a report of what they found."""

import argparse
import hashlib
import html
import json
import sys
from pathlib import Path

from mags_kit import benchmarks, plan
from mags_kit.config import PROFILES, load_config, parse_settings
from mags_kit.records import read_json, write_text
from mags_kit.runs import Run, open_run, run_folder

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
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
    if not run_folder(name or profile).joinpath("config.json").exists():  # else these were there when it began
        config = load_config(profile, settings)
        benchmarks.check(config)
        plan.check(config)
    run = open_run(profile, name, settings)
    parameters = {"profile": profile, "name": run.path.name, "settings": json.dumps(settings)}
    for step in steps:
        source = NOTEBOOKS / f"{step}.ipynb"
        version = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
        if read_json(run.file("manifest.json"))["steps"].get(step, {}).get("notebook") == version:
            print(f"{step}: done already", flush=True)
            continue
        _execute(source, run, parameters)
        run.done(step, notebook=version)
    return write_report(run, steps) if STEPS[-1] in steps else run.file("notebooks", f"{steps[-1]}.ipynb")


def _execute(source: Path, run: Run, parameters: dict) -> None:
    """Execute a notebook into the run folder; on an error keep it as `failed_….ipynb` and stop."""
    import logging

    import papermill

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    for noisy in ("papermill.translators", "blib2to3", "httpx"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    folder = run.file("notebooks")
    folder.mkdir(exist_ok=True)
    partial, failed = folder / f"partial_{source.name}", folder / f"failed_{source.name}"
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
    partial.replace(folder / source.name)


def write_report(run: Run, steps: tuple[str, ...] = STEPS) -> Path:
    """`report.html`: the result table, the settings, figures, and the executed notebooks as HTML beside it."""
    import nbformat
    from nbconvert import HTMLExporter

    from mags_kit import evaluation

    links = []
    for step in steps:
        body, _ = HTMLExporter().from_notebook_node(nbformat.read(run.file("notebooks", f"{step}.ipynb"), as_version=4))
        write_text(run.file("notebooks", f"{step}.html"), body)
        links.append(f'<li><a href="notebooks/{step}.html">{step.replace("_", " ")}</a></li>')
    found, manifest = read_json(run.file("metrics.json")), read_json(run.file("manifest.json"))
    settings = "".join(
        f"<tr><th>{html.escape(k)}</th><td>{html.escape(str(v))}</td></tr>"
        for k, v in read_json(run.file("config.json")).items()
    )
    pictures = "".join(
        f'<figure><img src="figures/{p.name}" alt="{p.stem}"></figure>'
        for p in sorted(run.file("figures").glob("*.png"))
    )
    page = f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Mags-RL: {run.path.name}</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem}}
table{{border-collapse:collapse;margin:1rem 0}}
th,td{{padding:.25rem .7rem;border-bottom:1px solid #ddd;text-align:left}}
img{{max-width:100%}}figure{{margin:1.5rem 0}}</style>
<h1>Mags-RL, run “{run.path.name}”</h1>
<p>Profile {manifest["profile"]}. {html.escape(scope(run))}</p>
<h2>Accuracy, % (95% Wilson interval)</h2>{evaluation.table(found).to_html()}
<h2>By family, {evaluation.MAIN}</h2>{evaluation.family_table(found).to_html()}
<h2>Paired differences, points</h2>{evaluation.difference_table(found).to_html()}
{_left_out(manifest)}
<h2>Notebooks</h2><ol>{"".join(links)}</ol><h2>Figures</h2>{pictures}
<h2>Settings</h2><table>{settings}</table>
<h2>Made with</h2><pre>{html.escape(json.dumps(manifest["environment"], indent=2))}</pre></html>"""
    write_text(run.file("report.html"), page)
    return run.file("report.html")


def _left_out(manifest: dict) -> str:
    """The rows that could not be used, each with its reason, as HTML; nothing where there are none."""
    read = [manifest["steps"].get(name, {}) for name in ("own data", "benchmarks")]
    rows = [row for facts in read for row in facts.get("skipped", [])]
    if not rows:
        return ""
    used = sum(facts.get("used", 0) for facts in read)
    names = (f"{row['row']} ({row['image']}): {row['reason']}" for row in rows)
    names = "".join(f"<li>{html.escape(name)}</li>" for name in names)
    return f"<h2>Rows left out</h2><p>{used} rows used, {len(rows)} left out.</p><ul>{names}</ul>"


def scope(run: Run) -> str:
    """One sentence on what the numbers of this run are about."""
    if run.config.model == "embedded":
        return (
            "The policy is the embedded tiny VLM, whose regions are poor, in part by construction of its training "
            "data: these numbers are about that model, and say nothing about large ones."
        )
    return f"The policy is {run.config.model}."


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the notebooks of the kit and write a report.")
    parser.add_argument("--profile", default="cpu", help=f"one of {', '.join(PROFILES)}")
    parser.add_argument("--name", default="", help="run folder under runs/; by default the profile's name")
    parser.add_argument("--set", default="", help="settings as YAML, e.g. '{seed: 1}'")
    parser.add_argument("--own", default="", help="a JSONL of image, question, answer that takes the test set's place")
    parser.add_argument("--job", default="reproduce", choices=JOBS, help="which notebooks")
    arguments = parser.parse_args()
    try:
        settings = parse_settings(arguments.set) | ({"own": arguments.own} if arguments.own else {})
        print(reproduce(arguments.profile, arguments.name, settings, JOBS[arguments.job]))
    except ValueError as error:
        raise SystemExit(f"mags_kit: {error}") from None


if __name__ == "__main__":
    main()
