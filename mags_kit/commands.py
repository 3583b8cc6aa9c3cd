"""What may stand on the command line, and the sentence for what may not."""

import argparse

from mags_kit.config import PROFILES
from mags_kit.pipeline import JOBS


class Parser(argparse.ArgumentParser):
    """One whose errors are one sentence."""

    def error(self, message: str):
        raise SystemExit(f"mags_kit: {message}; see `{self.prog} --help`")


def parser(about: str) -> Parser:
    """The whole command line, `about` which one sentence says what it is; `__main__` knows what does a command."""
    whole = Parser(prog="python -m mags_kit", description=about)
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)

    def command(name: str, text: str, *options: str) -> Parser:
        added = commands.add_parser(name, help=text, description=text)
        if "profile" in options:
            added.add_argument("--profile", default="cpu", help=f"one of {', '.join(PROFILES)}")
        if "name" in options:
            added.add_argument("--name", default="", help="run folder under runs/; by default the profile's name")
        if "set" in options:
            added.add_argument("--set", default="", help="settings as YAML, e.g. '{seed: 1}'")
        return added

    added = command("run", "the notebooks into a run folder, and a report", "profile", "name", "set")
    added.add_argument("--own", default="", help="a JSONL of image, question, answer that takes the test set's place")
    added.add_argument("--job", default="reproduce", choices=JOBS, help="which notebooks")
    _parts(command)
    command("status", "each step of a run: done, stale and why, or missing", "name")
    command("plan", "what a run will need beside what is here; starts nothing", "profile", "set")
    command("merge", "the best adapter of a run merged into its base, and model cards", "name")
    command("publish", "copy what the README shows of a run into results/", "name")
    added = command("look", "two rounds on one image, printed and drawn", "set")
    added.add_argument("--image", required=True, help="the file of a picture")
    added.add_argument("--question", required=True, help="what to ask of it")
    added.add_argument("--model", default="embedded", help="`embedded`, a folder, or a hub id of a Qwen-VL")
    added.add_argument("--adapter", default="", help="a PEFT folder, e.g. runs/cpu/training/best")
    command("rescore", "score a run's stored trajectories anew, without a model, and say what differs", "name")
    added = command("compare", "two runs, question by question: what differs, and how surely")
    added.add_argument("names", nargs=2, metavar="NAME", help="a run folder under runs/")
    command("check", "hold a run against results/claims.yaml; status 1: falls short, 2: not measured", "name")
    command("try", "train `reference` with other settings, measure on scenes that nothing uses", "set")
    return whole


def _parts(command) -> None:
    """`curate`, `train` and `evaluate`, which go on with each other."""
    for name, text in {
        "curate": "measure the candidates of a run and choose its training samples",
        "train": "train a run on its chosen samples",
        "evaluate": "answer a run's test set before and after RL; or, with --own or --bench, measure a model alone",
    }.items():
        text += "; without notebooks, also in several processes by `accelerate launch`"
        added = command(name, text, "profile", "name", "set")
        added.add_argument("more", nargs="*", metavar="PART", help="go on with train, evaluate")
    added.add_argument("--own", default="", help="a JSONL of image, question, answer: measure a model on it, alone")
    added.add_argument("--bench", default="", help="the same on benchmarks: some of vsr,tallyqa,gqa")
    added.add_argument("--model", default="", help="the model to measure alone; by default the embedded one")
    added.add_argument("--adapter", default="", help="folder of a PEFT adapter that it gets, e.g. runs/X/training/best")
    added.add_argument("--questions", type=int, default=0, help="how many questions; by default all")
    added.set_defaults(profile="")  # what is measured alone has its model's
