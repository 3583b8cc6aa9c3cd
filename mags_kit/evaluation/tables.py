"""Tables of metrics and findings for readers, in percent and points."""

import pandas as pd

from mags_kit.evaluation.analysis import EITHER, LOST, NEED, ONLY, told
from mags_kit.evaluation.conditions import ALL, CHECKPOINTS, MAIN
from mags_kit.records import write_text
from mags_kit.run import Run


def save(table: pd.DataFrame, run: Run, name: str) -> pd.DataFrame:
    """Write a table into the run's `tables`, as CSV and as LaTeX, and return it."""
    write_text(run.path / "tables" / f"{name}.csv", table.to_csv())
    write_text(run.path / "tables" / f"{name}.tex", table.to_latex(escape=True))
    return table


def _table(rows: dict) -> pd.DataFrame:
    """A row for each key, a column for each key within."""
    return pd.DataFrame.from_dict(rows, orient="index").fillna("")


def _percent(a: dict, key: str = "accuracy", digits: int = 0) -> str:
    return f"{100 * a[key]:.1f} ({100 * a['low']:.{digits}f} to {100 * a['high']:.{digits}f})"


def interval(d: dict, key: str = "difference") -> str:
    """A difference in points with its interval."""
    return f"{100 * d[key]:+.1f} ({100 * d['low']:+.1f} to {100 * d['high']:+.1f})"


def accuracy_table(metrics: dict) -> pd.DataFrame:
    """The result table: accuracy in percent with its interval, by condition and checkpoint."""
    columns = {
        CHECKPOINTS[checkpoint]: {name: _percent(result) for name, result in results.items()}
        for checkpoint, results in metrics["conditions"].items()
    }
    return pd.DataFrame(columns)


def family_table(metrics: dict, condition: str = MAIN) -> pd.DataFrame:
    """Accuracy in percent by question family, for one condition, and how many questions each has."""
    rows = {}
    for checkpoint, results in metrics["conditions"].items():
        for family, result in results[condition]["families"].items():
            rows.setdefault(family, {"questions": result["n"]})[CHECKPOINTS[checkpoint]] = _percent(result)
    return _table(rows)


def difference_table(metrics: dict) -> pd.DataFrame:
    """The paired differences in points, with their intervals."""
    rows = {}
    for name, d in metrics["differences"].items():
        rows[name] = {"points (95% interval)": interval(d), "p": f"{d['p']:.2g}", "n": d["n"]}
    return _table(rows)


def moments_table(metrics: dict, part: str, condition: str = MAIN) -> pd.DataFrame:
    """One part of the summary of a condition (`drafts`, `grounding`, `outcomes`, `regions`), a column a checkpoint."""
    columns = {CHECKPOINTS[m]: results[condition][part] for m, results in metrics["conditions"].items()}
    return pd.DataFrame(columns).fillna(0)


def grid_table(metrics: dict, found: dict, checkpoint: str) -> pd.DataFrame:
    """Every condition of a checkpoint: accuracy, what MAIN has more, and how significant that is."""
    rows = {}
    for name, result in metrics["conditions"][checkpoint].items():
        d = found[checkpoint]["differences"].get(name)
        rows[name] = {"accuracy, %": _percent(result), "n": result["n"]} | (_difference(d) if d else {})
    return _table(rows)


def _difference(d: dict) -> dict[str, str]:
    return {
        "difference, points": interval(d),
        "images": str(d["clusters"]),
        "p (Holm)": f"{d['p (Holm)']:.2g}",
        "significant": "no" if d["tied"] else "yes",
        "minimum detectable": f"{100 * d['smallest']:.1f}" if d["discordant"] else "–",
    }


def what_each_isolates(names) -> pd.DataFrame:
    """Whether each condition is a baseline, an ablation or a control, and what it isolates."""
    return _table({name: {"kind": ALL[name].kind, "isolates": ALL[name].isolates} for name in names})


def needed_table(found: dict) -> pd.DataFrame:
    """Shares of the questions by whether they needed the view, in percent, by checkpoint and condition."""
    rows = {}
    for checkpoint in (m for m in CHECKPOINTS if m in found):
        for name, kinds in found[checkpoint]["needed"].items():
            row = {kind: _percent(kinds[kind], "mean", 1) for kind in NEED}
            without = kinds["of those solved, without the view"]
            row["of those solved, without it"] = "–" if without is None else f"{100 * without:.0f}"
            rows[f"{CHECKPOINTS[checkpoint]}: {name}"] = row
    return _table(rows)


def examples_table(found: dict, checkpoint: str, condition: str = MAIN) -> pd.DataFrame:
    """A few sample ids of each kind that the view matters to."""
    ids = found[checkpoint]["needed"][condition]["examples"]
    return pd.DataFrame({"for example": {kind: ", ".join(ids[kind]) for kind in (ONLY, EITHER, LOST)}})


def where_table(found: dict, checkpoint: str) -> pd.DataFrame:
    """Two rounds less one by classes of questions."""
    rows = {}
    for grouping, classes in found[checkpoint]["where"].items():
        for name, d in classes.items():
            accuracies = {key: f"{100 * d[key]:.1f}" for key in ("one round", "two rounds")}
            rows[grouping, told(name)] = {"questions": d["n"], **accuracies, **_difference(d)}
    return _table(rows)


def component_gains_table(found: dict) -> pd.DataFrame:
    """A row for each part of the method and class: accuracy of each version in percent, and the gain in points."""
    rows = {}
    for part, classes in found.items():
        for value, row in classes.items():
            d = row["difference"]
            versions = [f"{name} {100 * a['accuracy']:.1f}" for name, a in row.items() if name != "difference"]
            rows[part, value] = {"questions": d["n"], "accuracy, %": ", ".join(versions), **_difference(d)}
    return _table(rows)


def looking_table(found: dict, checkpoint: str, costs: dict) -> pd.DataFrame:
    """Calls, regions and verdicts of each condition, in shares, and what a question cost, where that was noted."""
    spent = costs.get(checkpoint, {})
    rows = {name: row | spent.get(name, {}) for name, row in found[checkpoint]["looking"].items()}
    return pd.DataFrame.from_dict(rows, orient="index").round(3)


def seeds_table(by_seed: dict[int, dict]) -> pd.DataFrame:
    """Accuracy of the base, which all seeds share, and of the policy trained with each seed."""
    columns = {"base": accuracy_table(next(iter(by_seed.values())))["base"]}
    columns |= {f"trained, {seed}": accuracy_table(metrics)["trained"] for seed, metrics in by_seed.items()}
    return pd.DataFrame(columns).fillna("")


def all_seeds_table(found: dict[str, dict]) -> pd.DataFrame:
    """Each condition over all seeds, percent and points, with intervals for other questions and other seeds."""
    rows = {}
    for name, row in found.items():
        differences = {f"{key}, points": interval(row[key]) for key in row if key != "accuracy"}
        level = row["accuracy"]
        rows[name] = {"accuracy, %": _percent(level), **differences, "seeds": level["seeds"], "questions": level["n"]}
    return _table(rows)


def seeds_difference_table(by_seed: dict[str, dict]) -> pd.DataFrame:
    """The paired differences of each seed, points with their intervals."""
    return pd.DataFrame({s: {name: interval(d) for name, d in m["differences"].items()} for s, m in by_seed.items()})


def gains_over_seeds_table(found: dict[str, dict]) -> pd.DataFrame:
    """What each part of the method gains, over all seeds and by seed: differences in points, shares in percent."""
    rows = {}
    for name, row in found.items():
        gain = "low" in row
        rows[name] = {"all seeds": interval(row, "value") if gain else f"{100 * row['value']:.1f}"}
        rows[name]["each seed"] = ", ".join(f"{100 * value:{'+' if gain else ''}.1f}" for value in row["each"])
        rows[name] |= {"base": f"{100 * row['base']:.1f}"} if "base" in row else {}
        rows[name]["questions"] = row["n"]
    return _table(rows)


def ablation_table(ablations: dict) -> pd.DataFrame:
    """Accuracy in percent for each seed, their mean, and the difference to the curriculum, by variant."""
    rows = {}
    for variant, result in ablations.items():
        percent = pd.Series(result["accuracy"]) * 100
        rows[variant] = {seed: f"{value:.1f}" for seed, value in percent.items()} | {"mean": f"{percent.mean():.1f}"}
        rows[variant]["less the curriculum"] = interval(result["less the curriculum"])
    return _table(rows)
