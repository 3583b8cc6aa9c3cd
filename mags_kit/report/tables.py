"""Tables of what was measured, in percent and points, as a reader sees them."""

import pandas as pd

from mags_kit.report.evaluation import MAIN, MOMENTS


def accuracy_table(metrics: dict) -> pd.DataFrame:
    """The result table: accuracy in percent with its interval, by condition and moment."""
    rows = {}
    for moment, results in metrics["conditions"].items():
        for name, result in results.items():
            rows.setdefault(name, {})[MOMENTS[moment]] = _percent(result)
    return pd.DataFrame.from_dict(rows, orient="index")


def family_table(metrics: dict, condition: str = MAIN) -> pd.DataFrame:
    """Accuracy in percent by question family, for one condition, and how many questions each has."""
    results = next(iter(metrics["conditions"].values()))[condition]["families"]
    rows = {"questions": {family: value["n"] for family, value in results.items()}}
    rows |= {
        MOMENTS[moment]: {family: _percent(value) for family, value in results[condition]["families"].items()}
        for moment, results in metrics["conditions"].items()
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
    """One part of the summary of a condition (`drafts`, `grounding`, `outcomes`, `regions`), a column a moment."""
    columns = {MOMENTS[m]: results[condition][part] for m, results in metrics["conditions"].items()}
    return pd.DataFrame(columns).fillna(0)


def seeds_table(by_seed: dict[int, dict]) -> pd.DataFrame:
    """Accuracy before RL, which all seeds share, and after it, by the metrics of each seed."""
    columns = {"before RL": accuracy_table(next(iter(by_seed.values())))["before RL"]}
    columns |= {f"after RL, {seed}": accuracy_table(metrics)["after RL"] for seed, metrics in by_seed.items()}
    return pd.DataFrame(columns).fillna("")


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
