"""A run's best adapter for use elsewhere: merged into its base's weights, and model cards for both."""

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path

from mags_kit import evaluation
from mags_kit.config import Config
from mags_kit.policy import load_policy, model_path
from mags_kit.records import read_json, write_text
from mags_kit.runs import PROJECT, Run, open_run


def merge(run: Run) -> Path:
    """Merge `training/best` into the base's own weights, not the NF4 ones, and save model and processor in `merged/`.

    The base is loaded in float32 (bfloat16 on a GPU) and saved in the precision that it came in.
    """
    from transformers import AutoConfig

    best, folder = run.file("training", "best"), run.file("merged")
    if not best.joinpath("adapter_config.json").exists():
        raise ValueError(f"{run.path}: expected an adapter in training/best, came none; finish `make reproduce` first")
    policy = load_policy(replace(run.config, four_bit=False), best)
    merged = policy.model.merge_and_unload()
    merged = merged.to(AutoConfig.from_pretrained(model_path(run.config.model)).dtype)
    merged.save_pretrained(folder)
    policy.processor.save_pretrained(folder)
    write_text(folder / "README.md", card(run, merged=True))
    write_text(best / "README.md", card(run, merged=False))
    return folder


def open_made(name: str, root: str | Path = "") -> Run:
    """A run that was made before, by its name alone."""
    path = Path(root or PROJECT / "runs") / name
    if not name or not path.joinpath("config.json").exists():
        raise ValueError(f"NAME={name!r}: expected the name of a folder under runs/ with a config.json")
    return open_run(read_json(path / "manifest.json")["profile"], name, read_json(path / "config.json"), root)


def card(run: Run, merged: bool) -> str:
    """The README of the merged model or of the adapter: what it is, its settings, what was measured, and where."""
    config, manifest = run.config, read_json(run.file("manifest.json"))
    base = config.model if not Path(config.model).is_dir() else Path(config.model).name
    changed = {k: v for k, v in asdict(config).items() if v != getattr(Config(), k)} | {"model": base}
    changed = {k: Path(v).name if k in ("own", "adapter", "magnifier") else v for k, v in changed.items()}
    what = (
        "Plain transformers weights: the LoRA adapter is merged in. It was trained and measured over NF4 weights; "
        "these carry no quantisation, so replies can differ a little from those that were measured."
        if merged
        else "A LoRA adapter on the language layers, as PEFT saves it; `make merge` merges it into its base."
    )
    hub = f"base_model: {base}\n" if "/" in base else ""
    versions = ", ".join(f"{name} {version}" for name, version in manifest["environment"]["versions"].items())
    return f"""---
{hub}library_name: {"transformers" if merged else "peft"}
pipeline_tag: image-text-to-text
tags: [mags-rl, grpo]
---
# Mags-RL: run {run.path.name}

{what}

- **Base**: {base}, profile `{manifest["profile"]}`; training data: {config.curated} samples of {config.data}.
- **What it does**: it looks twice. Round 1: a rationale, a draft and regions, by a call of the tool `magnify`.
  Round 2: it sees these magnified, checks the draft and answers. The processor's chat template holds the format.

## Measured

{_measured(run)}

## Settings that differ from the kit's defaults

```json
{json.dumps(changed, indent=2, ensure_ascii=False)}
```

## Made with

{manifest["environment"]["device"]}; Python {manifest["environment"]["python"]}; {versions}; \
the kit at commit {manifest["environment"]["commit"]}.
"""


def _measured(run: Run) -> str:
    if not run.file("metrics.json").exists():
        return "Nothing yet: the run was not evaluated."
    rows = [
        f"- {name}, {moment} RL: {100 * r['accuracy']:.1f}% right ({100 * r['low']:.1f} to {100 * r['high']:.1f}), "
        f"n = {r['n']}"
        for moment, results in read_json(run.file("metrics.json"))["conditions"].items()
        for name, r in results.items()
        if name in (next(iter(evaluation.CONDITIONS)), evaluation.MAIN)
    ]
    return "Accuracy on the run's test set, greedy, NF4, with the 95% Wilson interval:\n\n" + "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description="Merge a run's best adapter into its base and write model cards.")
    parser.add_argument("--name", required=True, help="run folder under runs/")
    try:
        print(merge(open_made(parser.parse_args().name)))
    except ValueError as error:
        raise SystemExit(f"mags_kit: {error}") from None


if __name__ == "__main__":
    main()
