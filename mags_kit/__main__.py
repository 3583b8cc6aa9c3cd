"""The one command line of the kit: `python -m mags_kit COMMAND`, which the Makefile calls."""

import argparse
import errno
import json
import re
import sys

from mags_kit import holder, status
from mags_kit.config import PROFILES, check_own, load_config, parse_settings
from mags_kit.pipeline import JOBS, begin, reproduce
from mags_kit.pipes import quiet_when_unread
from mags_kit.runs import Run, open_run, reopen, run_folder

# What stops a write, and what helps; the same command goes on from there.
FULL = dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "make room")
CLOSED = dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR), "allow writing there")


class Parser(argparse.ArgumentParser):
    """One whose errors are one sentence."""

    def error(self, message: str):
        raise SystemExit(f"mags_kit: {message}; see `{self.prog} --help`")


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
    holder.leave(opened.path)


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
    from mags_kit.report import tables

    model = arguments.model or "embedded"
    profile, name, settings = experiments.alone(model, arguments.own, benchmarks, arguments.questions)
    settings |= ({"adapter": arguments.adapter} if arguments.adapter else {}) | parse_settings(arguments.set)
    run = together(arguments.profile or profile, arguments.name or name, settings, "evaluate")
    if run.caution and processes.here().is_main_process:
        print(run.caution, flush=True)
    found = experiments.measure_alone(run)
    if processes.here().is_main_process:
        print(tables.accuracy_table(found).to_string(), tables.family_table(found).to_string(), sep="\n\n")
        status.report(run, ()).stamp()
        print(run.path / "report.html")
    processes.leave()
    holder.leave(run.path)


def show_status(arguments) -> None:
    print(status.table(reopen(arguments.name), JOBS["reproduce"]))


def plan(arguments) -> None:
    from mags_kit.hardware.plan import table

    print(table(load_config(arguments.profile, arguments.set)))


def measure(arguments) -> None:
    from mags_kit.hardware import measure

    print(json.dumps(measure.measure(arguments.profile, arguments.set, arguments.tiny, arguments.quick), indent=2))


def give(arguments) -> None:
    """`merge` and `publish`: what a run has to give away."""
    from mags_kit.report import export

    print(getattr(export, arguments.command)(reopen(arguments.name)))


def make_chaos(arguments) -> None:
    from mags_kit import chaos

    result = chaos.chaos(arguments.name or "chaos", arguments.kills, arguments.short, arguments.processes)
    print(chaos.table(result))
    if not result["same"]:
        raise SystemExit(f"mags_kit: not the same: {', '.join(result['rounds'][-1]['differ'])}")


def look(arguments) -> None:
    from mags_kit import single
    from mags_kit.report.progress import quietly

    config = single.settings(arguments.model, parse_settings(arguments.set))
    print(single.look(arguments.image, arguments.question, config, arguments.adapter, quietly))


def inspect(arguments) -> None:
    from mags_kit import serve

    serve.serve(reopen(arguments.name), arguments.port)


def hold(arguments) -> None:
    """`rescore` and `check`: the exit status says whether a stored run bears out what is said of it."""
    from mags_kit.report import claims, rescore

    stored = rescore.stored_run(arguments.name)
    text, ended = rescore.report(stored) if arguments.command == "rescore" else claims.report(stored)
    print(text)
    sys.exit(ended)


def compare(arguments) -> None:
    from mags_kit.report import compare, rescore

    print(compare.report(*map(rescore.stored_run, arguments.names)))


def try_settings(arguments) -> None:
    import pandas as pd

    from mags_kit import experiments
    from mags_kit.report.evaluation import summary

    changes = parse_settings(arguments.set)
    result = summary(experiments.try_settings(reopen("reference"), changes))
    total = {k: result[k] for k in ("accuracy", "low", "high", "n")}
    print(pd.DataFrame({"all": total} | result["families"]).T.round(3).to_string())


def _parser() -> Parser:
    parser = Parser(prog="python -m mags_kit", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)

    def command(name: str, does, text: str, *options: str) -> Parser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(does=does)
        if "profile" in options:
            added.add_argument("--profile", default="cpu", help=f"one of {', '.join(PROFILES)}")
        if "name" in options:
            added.add_argument("--name", default="", help="run folder under runs/; by default the profile's name")
        if "set" in options:
            added.add_argument("--set", default="", help="settings as YAML, e.g. '{seed: 1}'")
        return added

    added = command("run", run, "the notebooks into a run folder, and a report", "profile", "name", "set")
    added.add_argument("--own", default="", help="a JSONL of image, question, answer that takes the test set's place")
    added.add_argument("--job", default="reproduce", choices=JOBS, help="which notebooks")
    for name, text in {
        "curate": "measure the candidates of a run and choose its training samples",
        "train": "train a run on its chosen samples",
        "evaluate": "answer a run's test set before and after RL; or, with --own or --bench, measure a model alone",
    }.items():
        text += "; without notebooks, also in several processes by `accelerate launch`"
        added = command(name, evaluate if name == "evaluate" else parts, text, "profile", "name", "set")
        added.add_argument("more", nargs="*", metavar="PART", help="go on with train, evaluate")
    added.add_argument("--own", default="", help="a JSONL of image, question, answer: measure a model on it, alone")
    added.add_argument("--bench", default="", help="the same on benchmarks: some of vsr,tallyqa,gqa")
    added.add_argument("--model", default="", help="the model to measure alone; by default the embedded one")
    added.add_argument("--adapter", default="", help="folder of a PEFT adapter that it gets, e.g. runs/X/training/best")
    added.add_argument("--questions", type=int, default=0, help="how many questions; by default all")
    added.set_defaults(profile="")  # what is measured alone has its model's
    command("status", show_status, "each step of a run: done, stale and why, or missing", "name")
    command("plan", plan, "what a run will need beside what is here; starts nothing", "profile", "set")
    added = command("measure", measure, "memory and time of a training step, on random weights", "profile", "set")
    added.add_argument("--tiny", action="store_true", help="a tiny shape: the code path alone, on a CPU too")
    added.add_argument("--quick", action="store_true", help="a step of two groups, few of whose tokens are sampled")
    command("merge", give, "the best adapter of a run merged into its base, and model cards", "name")
    command("publish", give, "copy what the README shows of a run into results/", "name")
    added = command("chaos", make_chaos, "kill a small run at random, and compare it with one that was not", "name")
    added.add_argument("--kills", type=int, default=30, help="how often")
    added.add_argument("--short", action="store_true", help="the shortest run, without notebooks")
    added.add_argument("--processes", type=int, default=1, help="more than one: --short, by `accelerate launch`")
    added = command("look", look, "two rounds on one image, printed and drawn", "set")
    added.add_argument("--image", required=True, help="the file of a picture")
    added.add_argument("--question", required=True, help="what to ask of it")
    added.add_argument("--model", default="embedded", help="`embedded`, a folder, or a hub id of a Qwen-VL")
    added.add_argument("--adapter", default="", help="a PEFT folder, e.g. runs/cpu/training/best")
    added = command("inspect", inspect, "a run's inspector and playground as a page, on this machine alone", "name")
    added.add_argument("--port", type=int, default=0, help="by default one that is free")
    command("rescore", hold, "score a run's stored trajectories anew, without a model, and say what differs", "name")
    added = command("compare", compare, "two runs, question by question: what differs, and how surely")
    added.add_argument("names", nargs=2, metavar="NAME", help="a run folder under runs/")
    command("check", hold, "hold a run against results/claims.yaml; status 1: falls short, 2: not measured", "name")
    command("try", try_settings, "train `reference` with other settings, measure on scenes that nothing uses", "set")
    return parser


def main(arguments: list[str] | None = None) -> None:
    parsed = _parser().parse_args(arguments)
    try:
        with quiet_when_unread():
            parsed.does(parsed)
    except ValueError as error:
        raise SystemExit(f"mags_kit: {error}") from None
    except (MemoryError, RuntimeError, ImportError) as error:  # a library that finds no room is one, too
        if not isinstance(error, MemoryError) and not re.search("allocate|out of memory|map segment", str(error)):
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
