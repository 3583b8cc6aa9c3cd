"""The export of a run: its adapter merged into the base, with model cards."""

from dataclasses import asdict, replace
from pathlib import Path

from mags_kit.config import Config
from mags_kit.method.policy import load_policy, published, save_processor
from mags_kit.records import as_json, read_json, read_jsonl, write_text
from mags_kit.evaluation import tables
from mags_kit.run import Run, mend_modes


def merge(run: Run) -> Path:
    """Merge `training/best` into the base's own weights, not the NF4 ones, and save model and processor in `merged/`.

    The base is loaded in the precision of this machine (float32 without a GPU) and saved in the one that it came in.
    """
    best, folder = run.best, run.path / "merged"
    if not best.joinpath("adapter_config.json").exists():
        raise ValueError(f"{run.path}: expected an adapter in training/best, found none; finish `make reproduce` first")
    base = published(run.config)
    policy = load_policy(replace(run.config, four_bit=False), best)
    # Qwen3-VL's and Qwen3.5's config.json names the precision among the text's settings alone
    merged = policy.model.merge_and_unload().to(base.dtype or base.get_text_config().dtype)
    merged.save_pretrained(folder)
    save_processor(policy, folder)
    mend_modes(folder)
    write_text(folder / "README.md", card(run, merged=True))
    write_text(best / "README.md", card(run, merged=False))
    return folder


def card(run: Run, merged: bool) -> str:
    """The README of the merged model or of the adapter: its base, settings, versions and accuracies."""
    config, manifest = run.config, read_json(run.manifest)
    base = config.model if not Path(config.model).is_dir() else Path(config.model).name
    changed = {k: v for k, v in asdict(config).items() if v != getattr(Config(), k)} | {"model": base}
    files = ("own", "train", "curated_ids", "adapter", "magnifier")
    changed = {k: Path(v).name if k in files else v for k, v in changed.items()}
    samples = len(read_jsonl(run.samples("curated")))
    what = "Transformers weights with the LoRA adapter merged in." if merged else "A LoRA adapter, as PEFT saves it."
    measured = tables.accuracy_table(read_json(run.metrics)).to_string() if run.metrics.exists() else "not evaluated"
    return f"""---
{f"base_model: {base}" if "/" in base else "# the base is no model of the hub"}
library_name: {"transformers" if merged else "peft"}
pipeline_tag: image-text-to-text
tags: [mags-rl, grpo]
---
# Mags-RL: run {run.path.name}

{what} Base: {base}{" (trained over NF4 weights)" * config.four_bit};
profile `{manifest["profile"]}`; trained on {samples} samples of {Path(config.train).name or config.data}.

Accuracy on the run's test set, greedy, in percent with the 95% interval, clustered by image:

```
{measured}
```

Settings that differ from the kit's defaults, and what it was made with:

```json
{as_json(changed | manifest["environment"])}```
"""
