"""Exports of a run: its adapter merged into the base, with model cards; what the README shows of it."""

import base64
import io
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

from PIL import Image

from mags_kit.config import Config
from mags_kit.method.policy import load_policy, published, save_processor
from mags_kit.records import read_json, write_bytes, write_text
from mags_kit.evaluation import tables
from mags_kit.evaluation.evaluate import MAIN, ONE
from mags_kit.run import PROJECT, Run, mend_modes

WIDTH = 900  # pixels, at most, of a picture in a published notebook


def merge(run: Run) -> Path:
    """Merge `training/best` into the base's own weights, not the NF4 ones, and save model and processor in `merged/`.

    The base is loaded in the precision of this machine (float32 without a GPU) and saved in the one that it came in.
    """
    best, folder = run.best, run.path / "merged"
    if not best.joinpath("adapter_config.json").exists():
        raise ValueError(f"{run.path}: expected an adapter in training/best, found none; finish `make reproduce` first")
    base, stored_in_four_bits = published(run.config)
    if stored_in_four_bits:
        raise ValueError(
            f"model {run.config.model!r} is stored in 4 bits, into which an adapter would be rounded away; expected a "
            "run on the model in full weights"
        )
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
    """The README of the merged model or of the adapter: what it is, its settings, what was measured, and where."""
    config, manifest = run.config, read_json(run.manifest)
    made = manifest["environment"]
    base = config.model if not Path(config.model).is_dir() else Path(config.model).name
    changed = {k: v for k, v in asdict(config).items() if v != getattr(Config(), k)} | {"model": base}
    changed = {k: Path(v).name if k in ("own", "adapter", "magnifier") else v for k, v in changed.items()}
    what = "A LoRA adapter on the language layers, as PEFT saves it; `make merge` merges it into its base."
    what = "Plain transformers weights: the LoRA adapter is merged in." if merged else what
    if merged and config.four_bit:
        what += " It was trained and measured over NF4 weights, so replies of these can differ a little."
    versions = ", ".join(f"{name} {version}" for name, version in made["versions"].items())
    head = [f"base_model: {base}"] * ("/" in base) + [f"library_name: {'transformers' if merged else 'peft'}"]
    head += ["pipeline_tag: image-text-to-text", "tags: [mags-rl, grpo]"]
    return "\n".join([
        "---", *head, "---", f"# Mags-RL: run {run.path.name}", "", what, "",
        f"- **Base**: {base}; profile `{manifest['profile']}`; trained on {config.curated} samples of {config.data}.",
        "- **Two rounds**: first a rationale, a draft and regions, by a call of the tool `magnify`; then, with the",
        "  magnified regions, a check of the draft and the answer. The processor's chat template holds the format.",
        "", "## Measured", "", _measured(run), "", "## Settings that differ from the kit's defaults", "",
        "```json", json.dumps(changed, indent=2, ensure_ascii=False), "```", "", "## Made with", "",
        f"{made['device']}; Python {made['python']}; {versions}; the kit at commit {made['commit']}.", "",
    ])  # fmt: skip


def _measured(run: Run) -> str:
    if not run.metrics.exists():
        return "Nothing yet: the run was not evaluated."
    rows = tables.accuracy_table(read_json(run.metrics))
    rows = rows.loc[[name for name in (ONE, MAIN) if name in rows.index]].to_string()
    return f"Accuracy on the run's test set, greedy, in percent with the 95% interval, clustered by image:\n\n```\n{rows}\n```"


def publish(run: Run, folder: Path = PROJECT / "results") -> Path:
    """Copy into `folder` what a reader wants to see of a run: its numbers, pictures as WebP, executed notebooks."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "manifest.json", "metrics.json", "findings.json", "seeds.json", "ablations.json"):
        if run.path.joinpath(name).exists():
            shutil.copyfile(run.path / name, folder / name)
    for path in run.figures.glob("*.png"):
        with Image.open(path) as image:
            write_bytes(folder / f"{path.stem}.webp", _encoded(image, "WEBP", quality=90))
    for path in run.notebooks.glob("0*.ipynb"):
        write_text(folder / "notebooks" / path.name, json.dumps(_light(read_json(path)), indent=1, ensure_ascii=False))
    return folder


def _light(notebook: dict) -> dict:
    """An executed notebook with small JPEGs for pictures, without its progress bars, widgets' state and local paths."""
    for name in ("widgets", "papermill"):
        notebook["metadata"].pop(name, None)
    for cell in notebook["cells"]:
        cell["metadata"].pop("papermill", None)
        if "outputs" in cell:
            cell["outputs"] = [output for output in cell["outputs"] if output.get("name") != "stderr"]
        for data in (o["data"] for o in cell.get("outputs", []) if "image/png" in o.get("data", {})):
            with Image.open(io.BytesIO(base64.b64decode(data.pop("image/png")))) as image:
                image.thumbnail((WIDTH, 10 * WIDTH))
                data["image/jpeg"] = base64.b64encode(_encoded(image, "JPEG", quality=80)).decode()
    return notebook


def _encoded(image: Image.Image, kind: str, quality: int) -> bytes:
    out = io.BytesIO()
    image.convert("RGB").save(out, kind, quality=quality)
    return out.getvalue()
