"""The one command line of the kit: `python -m mags_kit COMMAND`, which the Makefile calls."""

import errno
import re
import sys

from mags_kit import commands, lock, pipeline
from mags_kit.config import check_own, load_config, parse_settings
from mags_kit.pipeline import JOBS, begin, reproduce
from mags_kit.run import Run, open_run, reopen, run_folder

# What stops a write, and what helps; the same command goes on from there.
FULL = dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "make room")
CLOSED = dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR), "allow writing there")

# What libraries say that find no room; the last is oneDNN's.
NO_ROOM = "allocate|out of memory|map segment|could not create a primitive"


def run(arguments) -> None:
    settings = parse_settings(arguments.set) | ({"own": arguments.own} if arguments.own else {})
    print(reproduce(arguments.profile, arguments.name, settings, JOBS[arguments.job]))


def parts(arguments) -> None:
    """Under `accelerate launch`, in every process."""
    from mags_kit import experiments
    from mags_kit.method import processes, training

    wanted = (arguments.command, *arguments.more)
    for part in wanted:
        if part not in experiments.PARTS:
            raise ValueError(f"part {part!r} is unknown; expected one of {', '.join(experiments.PARTS)}")
    curated = run_folder(arguments.name or arguments.profile) / "data" / "curated.jsonl"
    if wanted[0] != "curate" and not curated.exists():
        alone = ", or give DATA= or BENCH= to measure a model alone" if wanted[0] == "evaluate" else ""
        raise ValueError(f"{curated} is missing; `make curate` with the same settings makes it{alone}")
    opened = together(arguments.profile, arguments.name, parse_settings(arguments.set), " ".join(wanted))
    for part in wanted:
        experiments.PARTS[part](opened)
        training.free_memory()  # or the next part would load its model beside this one's
    processes.leave()
    lock.leave(opened.path)


def together(profile: str, name: str, settings: dict, what: str) -> Run:
    """The run folder, made and held by the main process and opened by all, for the parts `what`."""
    from mags_kit.method import processes

    load_config(profile, settings)  # so that what is wrong ends every process, and none waits for it
    if processes.here().is_main_process:
        begin(profile, name, settings, f"`mags_kit {what}`")
    processes.here().wait_for_everyone()
    return open_run(profile, name, settings)


def evaluate(arguments) -> None:
    """Given questions, a model alone, in a run of its own; else a run's test set, as `train` leaves it."""
    benchmarks = tuple(name for name in arguments.bench.lower().split(",") if name)
    if not (arguments.own or benchmarks):
        if arguments.model or arguments.adapter or arguments.questions:
            raise ValueError("MODEL, ADAPTER and N want questions: expected DATA=own.jsonl or BENCH=vsr,tallyqa,gqa")
        arguments.profile = arguments.profile or "cpu"
        return parts(arguments)
    if arguments.own and benchmarks:
        raise ValueError(f"DATA={arguments.own} and BENCH={arguments.bench}: expected one of them")
    if arguments.more:
        raise ValueError(f"a model alone is not trained: expected no part after `evaluate`, got {arguments.more[0]!r}")
    check_own(arguments.own)
    from mags_kit import experiments
    from mags_kit.method import processes
    from mags_kit.evaluation import tables

    model = arguments.model or "embedded"
    profile, name, settings = experiments.alone(model, arguments.own, benchmarks, arguments.questions)
    settings |= ({"adapter": arguments.adapter} if arguments.adapter else {}) | parse_settings(arguments.set)
    run = together(arguments.profile or profile, arguments.name or name, settings, "evaluate")
    if run.caution and processes.here().is_main_process:
        print(run.caution, flush=True)
    found = experiments.measure_alone(run)
    if processes.here().is_main_process:
        print(tables.accuracy_table(found).to_string(), tables.family_table(found).to_string(), sep="\n\n")
        print(run.report)
    processes.leave()
    lock.leave(run.path)


def show_status(arguments) -> None:
    print(pipeline.status(reopen(arguments.name), JOBS["reproduce"]))


def plan(arguments) -> None:
    from mags_kit.plan import table

    print(table(load_config(arguments.profile, arguments.set)))


def give(arguments) -> None:
    """`merge` and `publish`: what a run has to give away."""
    from mags_kit.report import export

    print(getattr(export, arguments.command)(reopen(arguments.name)))


def look(arguments) -> None:
    from mags_kit import single
    from mags_kit.viz.progress import quietly

    config = single.settings(arguments.model, parse_settings(arguments.set))
    print(single.look(arguments.image, arguments.question, config, arguments.adapter, quietly))


def inspect(arguments) -> None:
    from mags_kit import serve

    serve.serve(reopen(arguments.name), arguments.port)


def hold(arguments) -> None:
    """`rescore` and `check`: the exit status says whether a stored run bears out what is said of it."""
    from mags_kit.evaluation import claims, rescore

    stored = rescore.stored_run(arguments.name)
    text, ended = rescore.report(stored) if arguments.command == "rescore" else claims.report(stored)
    print(text)
    sys.exit(ended)


def compare(arguments) -> None:
    from mags_kit.evaluation import rescore

    print(rescore.comparison(*map(rescore.stored_run, arguments.names)))


def try_settings(arguments) -> None:
    import pandas as pd

    from mags_kit import experiments
    from mags_kit.evaluation.evaluate import summary

    changes = parse_settings(arguments.set)
    result = summary(experiments.try_settings(reopen("reference"), changes))
    total = {k: result[k] for k in ("accuracy", "low", "high", "n")}
    print(pd.DataFrame({"all": total} | result["families"]).T.round(3).to_string())


def _functions() -> dict:
    """Command -> what does it."""
    return {
        "run": run, "curate": parts, "train": parts, "evaluate": evaluate, "status": show_status, "plan": plan,
        "merge": give, "publish": give, "look": look,
        "inspect": inspect, "rescore": hold, "check": hold, "compare": compare, "try": try_settings,
    }  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    parsed = commands.parser(__doc__.splitlines()[0]).parse_args(arguments)
    try:
        _functions()[parsed.command](parsed)
    except ValueError as error:
        raise SystemExit(f"mags_kit: {error}") from None
    except (MemoryError, RuntimeError, ImportError) as error:  # a library that finds no room is one, too
        if not isinstance(error, MemoryError) and not re.search(NO_ROOM, str(error)):
            raise
        said = str(error).strip().splitlines() or [type(error).__name__]
        hint = "smaller batch_size, rollout_batch or micro_batch need less; the same command goes on from there"
        raise SystemExit(f"mags_kit: the memory is used up ({said[0][:200]}); {hint}") from None
    except OSError as error:
        if error.errno not in FULL | CLOSED:
            raise
        hint = f"{(FULL | CLOSED)[error.errno]}, or name another folder for all runs, MAGS_RUNS=FOLDER"
        where = f"{error.filename}: " if error.filename else ""
        raise SystemExit(f"mags_kit: {where}{error.strerror}; {hint}") from None


if __name__ == "__main__":
    sys.exit(main())
