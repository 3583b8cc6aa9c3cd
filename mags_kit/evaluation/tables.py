"""Tables of metrics and findings for readers, in percent and points."""

import pandas as pd

from mags_kit.evaluation.conditions import CHECKPOINTS, MAIN
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


def percent(found: dict, key: str = "accuracy") -> str:
    """A share in percent, with its interval where it has one."""
    interval = f" ({100 * found['low']:.0f} to {100 * found['high']:.0f})" if "low" in found else ""
    return f"{100 * found[key]:.1f}{interval}"


def points(found: dict, key: str = "difference") -> str:
    """A difference in points, with its interval."""
    return f"{100 * found[key]:+.1f} ({100 * found['low']:+.1f} to {100 * found['high']:+.1f})"


def significance(found: dict) -> dict[str, str]:
    """The columns of a paired difference with Holm's correction."""
    return {
        "difference, points": points(found),
        "images": str(found["clusters"]),
        "p (Holm)": f"{found['p (Holm)']:.2g}",
        "significant": "no" if found["tied"] else "yes",
        "minimum detectable": f"{100 * found['smallest']:.1f}" if found["discordant"] else "–",
    }


def accuracy_table(metrics: dict) -> pd.DataFrame:
    """The result table: accuracy in percent with its interval, by condition and checkpoint."""
    columns = metrics["conditions"].items()
    found = {CHECKPOINTS[c]: pd.Series({name: percent(row) for name, row in rows.items()}) for c, rows in columns}
    return pd.DataFrame(found, index=next(iter(found.values())).index).fillna("")


def family_table(metrics: dict) -> pd.DataFrame:
    """MAIN's accuracy in percent by question family and kind, and how many questions each has."""
    rows = {}
    for checkpoint, results in metrics["conditions"].items():
        for family, result in (results[MAIN]["families"] | results[MAIN].get("kinds", {})).items():
            rows.setdefault(family, {"questions": result["n"]})[CHECKPOINTS[checkpoint]] = percent(result)
    return _table(rows)


def difference_table(metrics: dict) -> pd.DataFrame:
    """The paired differences in points, with their intervals."""
    rows = metrics["differences"].items()
    return _table({k: {"points (95% interval)": points(d), "p": f"{d['p']:.2g}", "n": d["n"]} for k, d in rows})


def grid_table(metrics: dict, found: dict, checkpoint: str) -> pd.DataFrame:
    """Every condition of a checkpoint: accuracy, what MAIN has more, and how significant that is."""
    results, differences = metrics["conditions"][checkpoint], found[checkpoint]["differences"]
    rows = {name: {"accuracy, %": percent(result), "n": result["n"]} for name, result in results.items()}
    return _table({name: row | (significance(differences[name]) if name != MAIN else {}) for name, row in rows.items()})


def pass_table(found: dict) -> pd.DataFrame:
    """pass@k and the majority of k, in percent, by k; and what the trained policy has more, in points."""
    rows = {k: {} for k in found["k"]}
    for kind in found["base"]:
        for checkpoint in [name for name in found if name not in ("k", "questions")]:
            said = percent if checkpoint in CHECKPOINTS else points
            for k, row in zip(rows, found[checkpoint][kind], strict=True):
                rows[k][f"{kind}: {checkpoint}"] = said(row, "mean")
    return _table(rows).rename_axis("k")


def gains_table(found: dict) -> pd.DataFrame:
    """Gains by class (`where` or `worth` of the findings): each version's accuracy in percent, the gain in points."""
    rows = {}
    for grouping, classes in found.items():
        for name, row in classes.items():
            d = row["difference"]
            versions = ", ".join(f"{version} {100 * a['accuracy']:.1f}" for version, a in row.items() if a is not d)
            rows[grouping, name] = {"questions": d["n"], "accuracy, %": versions, **significance(d)}
    return _table(rows)


def looking_table(found: dict, checkpoint: str, costs: dict) -> pd.DataFrame:
    """Calls, regions and verdicts of each condition, in shares, and what a question cost, where that was noted."""
    spent = costs.get(checkpoint, {})
    rows = {name: row | spent.get(name, {}) for name, row in found[checkpoint]["looking"].items()}
    return pd.DataFrame.from_dict(rows, orient="index").round(3)


def all_seeds_table(found: dict[str, dict]) -> pd.DataFrame:
    """Each condition over all seeds, percent and points, with intervals for other questions and other seeds."""
    rows = {}
    for name, row in found.items():
        rows[name] = {"accuracy, %": percent(row["accuracy"])}
        for key in [key for key in row if key != "accuracy"]:
            rows[name] |= {f"{key}, points": points(row[key]), f"{key}, each seed": _each(row[key])}
        rows[name] |= {"seeds": row["accuracy"]["seeds"], "questions": row["accuracy"]["n"]}
    return _table(rows)


def _each(row: dict) -> str:
    """The value of each seed: of differences, which have an interval, with a sign."""
    return ", ".join(f"{100 * value:{'+' if 'low' in row else ''}.1f}" for value in row["each"])


def gains_over_seeds_table(found: dict[str, dict]) -> pd.DataFrame:
    """What each part of the method gains, over all seeds and by seed: differences in points, shares in percent."""
    rows = {}
    for name, row in found.items():
        value = points(row, "value") if "low" in row else percent(row, "value")
        base = percent(row, "base") if row.get("base") is not None else ""
        rows[name] = {"all seeds": value, "each seed": _each(row), "base": base, "questions": row["n"]}
    return _table(rows)


def strategy_table(found: dict[str, dict]) -> pd.DataFrame:
    """What policies earn where looks cost something, and how often they look; rows of `strategies.row`."""
    rows = {}
    for name, row in found.items():
        rows[name] = {"earned": f"{row['earned']:.3f}", "each seed": ", ".join(f"{each:.3f}" for each in row["each"])}
        if less := row.get("less the best constant"):
            rows[name]["less the best constant, points"] = points(less)
        rows[name] |= {f"{key}, %": f"{100 * row[key]:.0f}" for key in row if key.startswith(("right", "looks"))}
    return _table(rows)


def ablation_table(ablations: dict) -> pd.DataFrame:
    """Accuracy in percent for each seed, their mean, and the difference to the curriculum, by variant."""
    rows = {}
    for variant, result in ablations.items():
        accuracies = result["accuracy"] | {"mean": pd.Series(result["accuracy"]).mean()}
        rows[variant] = {name: f"{100 * value:.1f}" for name, value in accuracies.items()}
        rows[variant]["less the curriculum"] = points(result["less the curriculum"])
    return _table(rows)
