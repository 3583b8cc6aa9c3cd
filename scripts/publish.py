"""Copy what the README shows of a run into results/, or results/PROFILE of another profile than `reference`: its
numbers, pictures as WebP, executed notebooks."""

import argparse
import base64
import io
import json
import shutil
from pathlib import Path

from PIL import Image

from mags_kit.records import read_json, write_bytes, write_text
from mags_kit.run import PROJECT, Run, reopen

WIDTH = 900  # pixels, at most, of a picture in a published notebook


def publish(run: Run, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = "config", "manifest", "metrics", "findings", "seeds", "ablations", "rule"
    for name in (f"{each}.json" for each in names):
        if run.path.joinpath(name).exists():
            shutil.copyfile(run.path / name, folder / name)
    for path in run.figures.glob("*.png"):
        with Image.open(path) as image:
            write_bytes(folder / f"{path.stem}.webp", _encoded(image, "WEBP", quality=90))
    for path in run.notebooks.glob("0*.ipynb"):
        write_text(folder / "notebooks" / path.name, json.dumps(_light(read_json(path)), indent=1, ensure_ascii=False))


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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="reference", help="run folder under runs/")
    run = reopen(parser.parse_args().name)
    profile = read_json(run.manifest)["profile"]
    publish(run, PROJECT / "results" / ("" if profile == "reference" else profile))
