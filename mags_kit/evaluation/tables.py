"""Tables of what was measured, in percent and points, as a reader sees them."""

import pandas as pd

from mags_kit.records import write_text
from mags_kit.evaluation.conditions import ALL, MAIN, CHECKPOINTS
from mags_kit.evaluation.analysis import EITHER, LOST, NEED, ONLY, told
from mags_kit.run import Run


def accuracy_table(metrics: dict) -> pd.DataFrame:
    """The result table: accuracy in percent with its interval, by condition and checkpoint."""
    rows = {}
    for checkpoint, results in metrics["conditions"].items():
        for name, result in results.items():
            rows.setdefault(name, {})[CHECKPOINTS[checkpoint]] = _percent(result)
    return pd.DataFrame.from_dict(rows, orient="index")


def family_table(metrics: dict, condition: str = MAIN) -> pd.DataFrame:
    """Accuracy in percent by question family, for one condition, and how many questions each has."""
    results = next(iter(metrics["conditions"].values()))[condition]["families"]
    rows = {"questions": {family: value["n"] for family, value in results.items()}}
    rows |= {
        CHECKPOINTS[checkpoint]: {family: _percent(value) for family, value in results[condition]["families"].items()}
        for checkpoint, results in metrics["conditions"].items()
    }
    return pd.DataFrame(rows)


def difference_table(metrics: dict) -> pd.DataFrame:
    """The paired differences in points, with their intervals."""
    rows = {
        name: {
            "points": f"{100 * d['difference']:+.1f}",
            "95% interval": f"{100 * d['low']:+.1f} to {100 * d['high']:+.1f}",
            "p (McNemar)": f"{d['p']:.2g}",
            "n": d["n"],
        }
        for name, d in metrics["differences"].items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def _percent(a: dict) -> str:
    return f"{100 * a['accuracy']:.1f} ({100 * a['low']:.0f} to {100 * a['high']:.0f})"


def interval(d: dict) -> str:
    """A difference in points with its interval."""
    return "{difference:+.1f} ({low:+.1f} to {high:+.1f})".format(
        **{k: 100 * d[k] for k in ("difference", "low", "high")}
    )


def moments_table(metrics: dict, part: str, condition: str = MAIN) -> pd.DataFrame:
    """One part of the summary of a condition (`drafts`, `grounding`, `outcomes`, `regions`), a column a checkpoint."""
    columns = {CHECKPOINTS[m]: results[condition][part] for m, results in metrics["conditions"].items()}
    return pd.DataFrame(columns).fillna(0)


def grid_table(metrics: dict, found: dict, checkpoint: str) -> pd.DataFrame:
    """Every condition of a checkpoint: accuracy, what MAIN has more, whether that is told apart, and what could be."""
    rows = {}
    for name, result in metrics["conditions"][checkpoint].items():
        d = found[checkpoint]["differences"].get(name)
        rows[name] = {"accuracy, %": _percent(result), "n": result["n"]} | (_difference(d) if d else {})
    return pd.DataFrame.from_dict(rows, orient="index").fillna("")


def _difference(d: dict) -> dict[str, str]:
    said = "tied" if d["tied"] else "more" if d["difference"] > 0 else "fewer"
    return {
        "difference, points": interval(d),
        "images": str(d["clusters"]),
        "p (Holm)": f"{d['p (Holm)']:.2g}",
        "told apart": said,
        "least to be told": f"{100 * d['smallest']:.1f}" if d["discordant"] else "–",
    }


def what_each_tells(names) -> pd.DataFrame:
    """What each condition is there for."""
    return pd.DataFrame({"what it tells": {name: ALL[name].tells for name in names}})


def needed_table(found: dict) -> pd.DataFrame:
    """Shares of the questions by what they owe to the view, in percent with intervals, by checkpoint and condition."""
    rows = {}
    for checkpoint in (m for m in CHECKPOINTS if m in found):
        for name, kinds in found[checkpoint]["needed"].items():
            row = {kind: "{mean:.1f} ({low:.1f} to {high:.1f})".format(**_points(kinds[kind])) for kind in NEED}
            without = kinds["of those solved, without the view"]
            row["of those solved, without it"] = "–" if without is None else f"{100 * without:.0f}"
            rows[f"{CHECKPOINTS[checkpoint]}: {name}"] = row
    return pd.DataFrame.from_dict(rows, orient="index")


def _points(found: dict) -> dict[str, float]:
    return {key: 100 * found[key] for key in ("mean", "low", "high")}


def examples_table(found: dict, checkpoint: str, condition: str = MAIN) -> pd.DataFrame:
    """A few sample ids of each kind that looking matters to."""
    ids = found[checkpoint]["needed"][condition]["examples"]
    return pd.DataFrame({"for example": {kind: ", ".join(ids[kind]) for kind in (ONLY, EITHER, LOST)}})


def where_table(found: dict, checkpoint: str) -> pd.DataFrame:
    """Two rounds less one by classes of questions."""
    rows = {}
    for grouping, classes in found[checkpoint]["where"].items():
        for name, d in classes.items():
            accuracies = {key: f"{100 * d[key]:.1f}" for key in ("one round", "two rounds")}
            rows[grouping, told(name)] = {"questions": d["n"], **accuracies, **_difference(d)}
    return pd.DataFrame.from_dict(rows, orient="index")


def looking_table(found: dict, checkpoint: str, costs: dict) -> pd.DataFrame:
    """How each condition looked, in shares, and what a question took, as far as it was noted."""
    rows = {name: dict(looked) for name, looked in found[checkpoint]["looking"].items()}
    for name, row in rows.items():
        spent = costs.get(checkpoint, {}).get(name, {})
        kept = ("visual tokens a question", "looks a question", "ms a question", "ms of enlarging a question")
        row |= {key: spent[key] for key in kept if spent}
    return pd.DataFrame.from_dict(rows, orient="index").round(3)


def save(table: pd.DataFrame, run: Run, name: str) -> pd.DataFrame:
    """Write a table into the run's `tables`, as CSV and as LaTeX, and return it."""
    write_text(run.path / "tables" / f"{name}.csv", table.to_csv())
    write_text(run.path / "tables" / f"{name}.tex", table.to_latex(escape=True))
    return table


def seeds_table(by_seed: dict[int, dict]) -> pd.DataFrame:
    """Accuracy before RL, which all seeds share, and after it, by the metrics of each seed."""
    columns = {"before RL": accuracy_table(next(iter(by_seed.values())))["before RL"]}
    columns |= {f"after RL, {seed}": accuracy_table(metrics)["after RL"] for seed, metrics in by_seed.items()}
    return pd.DataFrame(columns).fillna("")


def all_seeds_table(found: dict[str, dict]) -> pd.DataFrame:
    """Each condition over all seeds (`findings.all_seeds`): percent and points, with intervals for other questions and
    other seeds."""
    rows = {}
    for name, row in found.items():
        rows[name] = {"accuracy, %": _percent(row["accuracy"])}
        for key in ("main less it", "after RL, less before"):
            if key in row:
                rows[name][f"{key}, points"] = interval(row[key])
        rows[name] |= {key: row["accuracy"][count] for key, count in (("seeds", "seeds"), ("questions", "n"))}
    return pd.DataFrame.from_dict(rows, orient="index").fillna("")


def seeds_difference_table(by_seed: dict[str, dict]) -> pd.DataFrame:
    """The paired differences of each seed, points with their intervals."""
    rows = {seed: {name: interval(d) for name, d in m["differences"].items()} for seed, m in by_seed.items()}
    return pd.DataFrame(rows)


def ablation_table(ablations: dict) -> pd.DataFrame:
    """Accuracy in percent for each seed, their mean, and the difference to the curriculum, by variant."""
    rows = {}
    for variant, result in ablations.items():
        percent = pd.Series(result["accuracy"]) * 100
        rows[variant] = {seed: f"{value:.1f}" for seed, value in percent.items()} | {"mean": f"{percent.mean():.1f}"}
        rows[variant]["less the curriculum"] = interval(result["less the curriculum"])
    return pd.DataFrame.from_dict(rows, orient="index")


def worth_table(found: dict) -> pd.DataFrame:
    """A row for each part of the method and class: accuracies in percent, and the difference in points."""
    rows = {}
    for part, classes in found.items():
        for value, row in classes.items():
            d = row["difference"]
            shares = [f"{way} {100 * a['accuracy']:.1f}" for way, a in row.items() if way != "difference"]
            rows[part, value] = {
                "questions": d["n"],
                "accuracy, %": ", ".join(shares),
                "difference, points": interval(d),
                "significant": "no" if d["tied"] else "yes",
            }
    return pd.DataFrame.from_dict(rows, orient="index")
