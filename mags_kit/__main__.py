"""The command line of the kit: `python -m mags_kit COMMAND`, which the Makefile calls."""

import argparse
import errno
import re
import sys

from mags_kit import lock, pipeline
from mags_kit.config import PROFILES, load_config, parse_settings
from mags_kit.run import Run, open_run, reopen, run_folder

# What stops a write, and what helps; the same command goes on from there.
HELP = dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "make room")
HELP |= dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR), "allow writing there")
# What libraries say when they run out of memory; the last is oneDNN's.
NO_MEMORY = "allocate|out of memory|map segment|could not create a primitive"
PARTS = ("curate", "train", "evaluate")
OPTIONS = {
    "profile": f"one of {', '.join(PROFILES)}",
    "name": "run folder under runs/; by default the profile's name",
    "set": "settings as YAML, e.g. '{seed: 1}'",
    "own": "a JSONL of image, question, answer: `run` tests on it, `evaluate` evaluates a model on it alone",
    "train": "a JSONL of the same kind: training and validation questions",
    "curated-ids": "a file of ids, one a line: the training samples",
    "bench": "evaluate a model alone on benchmarks: some of vsr,tallyqa,gqa",
    "model": "`embedded` (the default), a folder, or a hub id of a Qwen-VL",
    "adapter": "folder of a PEFT adapter for it, e.g. runs/cpu/training/best",
    "image": "the file of a picture",
    "question": "what to ask about it",
}


def run(options) -> None:
    """The notebooks into a run folder, and a report."""
    files = {"own": options.own, "train": options.train, "curated_ids": options.curated_ids}
    settings = parse_settings(options.set) | {name: file for name, file in files.items() if file}
    print(pipeline.reproduce(options.profile, options.name, settings, pipeline.JOBS[options.job]))


def parts(options) -> None:
    """Curate, train or evaluate a run without notebooks; in every process under `accelerate launch`."""
    from mags_kit import experiments
    from mags_kit.method import processes, training

    wanted = (options.command, *options.more)
    for part in set(wanted) - set(PARTS):
        raise ValueError(f"part {part!r} is unknown; expected one of {', '.join(PARTS)}")
    profile = options.profile or "cpu"
    curated = run_folder(options.name or profile) / "data" / "curated.jsonl"
    if wanted[0] != "curate" and not curated.exists():
        alone = ", or give DATA= or BENCH= to evaluate a model without training" if wanted[0] == "evaluate" else ""
        raise ValueError(f"{curated} is missing; `make curate` with the same settings makes it{alone}")
    opened = _together(profile, options.name, parse_settings(options.set), " ".join(wanted))
    for part in wanted:
        experiments.PARTS[part](opened)
        training.free_memory()  # or the next part would load its model beside this one's
    processes.leave()
    lock.leave(opened.path)


def _together(profile: str, name: str, settings: dict, what: str) -> Run:
    """The run folder, made and held by the main process and opened by all."""
    from mags_kit.method import processes

    load_config(profile, settings)  # a wrong setting ends every process, so that none waits for another
    processes.main_does(pipeline.begin, profile, name, settings, f"`mags_kit {what}`")
    return open_run(profile, name, settings)


def evaluate(options) -> None:
    """With questions: a model without training, in a run of its own; else a run's test set."""
    benchmarks = tuple(name for name in options.bench.lower().split(",") if name)
    if not (options.own or benchmarks):
        if options.model or options.adapter or options.questions:
            raise ValueError("MODEL, ADAPTER and N need questions: expected DATA=own.jsonl or BENCH=vsr,tallyqa,gqa")
        return parts(options)
    if options.own and benchmarks:
        raise ValueError(f"DATA={options.own} and BENCH={options.bench}: expected one of them")
    if options.more:
        raise ValueError(f"a model alone is not trained: expected no part after `evaluate`, got {options.more[0]!r}")
    from mags_kit import experiments
    from mags_kit.evaluation import tables
    from mags_kit.method import processes

    model = options.model or "embedded"
    profile, name, settings = experiments.alone(model, options.own, benchmarks, options.questions)
    settings |= {"adapter": options.adapter} | parse_settings(options.set)
    opened = _together(options.profile or profile, options.name or name, settings, "evaluate")
    if processes.here().is_main_process and opened.caution:
        print(opened.caution, flush=True)
    found = experiments.measure_alone(opened)
    if processes.here().is_main_process:
        print(tables.accuracy_table(found).to_string(), tables.family_table(found).to_string(), sep="\n\n")
        print(opened.report)
    processes.leave()
    lock.leave(opened.path)


def status(options) -> None:
    """Each step of a run: done, stale and why, unfinished or missing."""
    print(pipeline.status(reopen(options.name), pipeline.JOBS["reproduce"]))


def plan(options) -> None:
    """What a run will need beside what this machine has; starts nothing."""
    from mags_kit import plan

    print(plan.table(load_config(options.profile, options.set)))


def merge(options) -> None:
    """The best adapter of a run merged into its base, with model cards."""
    from mags_kit.report import export

    print(export.merge(reopen(options.name)))


def look(options) -> None:
    """Two rounds on one image, printed and drawn."""
    from mags_kit.looking import look_and_report

    settings = parse_settings(options.set)
    print(look_and_report(options.image, options.question, options.model, options.adapter, settings))


def rescore(options) -> None:
    """Score a run's stored trajectories again, without a model; exit status 1 if anything differs."""
    from mags_kit.evaluation import rescore

    text, status = rescore.report(rescore.stored_run(options.name))
    print(text)
    sys.exit(status)


def check(options) -> None:
    """Compare a run with the published claims in results/claims.yaml; the exit status says whether they hold."""
    from mags_kit.evaluation import claims, rescore

    text, status = claims.report(rescore.stored_run(options.name))
    print(text)
    sys.exit(status)


def compare(options) -> None:
    """Two runs question by question: what differs, and whether it is significant."""
    from mags_kit.evaluation import rescore

    print(rescore.comparison(*map(rescore.stored_run, options.names)))


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence."""

    def error(self, message: str):
        raise SystemExit(f"mags_kit: {message}; see `{self.prog} --help`")


def parser() -> Parser:
    whole = Parser(prog="python -m mags_kit", description=__doc__.splitlines()[0])
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)

    def command(name: str, function, options: str, **defaults: str) -> Parser:
        added = commands.add_parser(name, help=function.__doc__, description=function.__doc__)
        added.set_defaults(function=function)
        for option in options.split():
            added.add_argument(f"--{option}", default=defaults.get(option, ""), help=OPTIONS[option])
        return added

    added = command("run", run, "profile name set own train curated-ids", profile="cpu")
    added.add_argument("--job", default="reproduce", choices=pipeline.JOBS, help="which notebooks")
    more = {"nargs": "*", "metavar": "PART", "help": "further parts: train, evaluate"}
    for part in ("curate", "train"):
        command(part, parts, "profile name set").add_argument("more", **more)
    added = command("evaluate", evaluate, "profile name set own bench model adapter")
    added.add_argument("more", **more)
    added.add_argument("--questions", type=int, default=0, help="how many questions; by default all")
    command("look", look, "set image question model adapter", model="embedded")
    command("plan", plan, "profile set", profile="cpu")
    for function in (status, merge, rescore, check):
        command(function.__name__, function, "name")
    command("compare", compare, "").add_argument("names", nargs=2, metavar="NAME", help="a run folder under runs/")
    return whole


def main(arguments: list[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    try:
        options.function(options)
    except BrokenPipeError:  # `… | head`
        sys.stderr.close()
    except ValueError as error:
        raise SystemExit(f"mags_kit: {error}") from None
    except (MemoryError, RuntimeError, ImportError) as error:  # what libraries raise when they run out of memory
        if not isinstance(error, MemoryError) and not re.search(NO_MEMORY, str(error)):
            raise
        said = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        hint = "smaller batch_size, rollout_batch or micro_batch need less; the same command goes on from there"
        raise SystemExit(f"mags_kit: the memory is used up ({said}); {hint}") from None
    except OSError as error:
        if error.errno not in HELP:
            raise
        hint = f"{HELP[error.errno]}, or name another folder for all runs, MAGS_RUNS=FOLDER"
        where = f"{error.filename}: " if error.filename else ""
        raise SystemExit(f"mags_kit: {where}{error.strerror}; {hint}") from None


if __name__ == "__main__":
    sys.exit(main())
