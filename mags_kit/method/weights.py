"""Stored weights before they are used: whole files of finite numbers, which fill the model they are for."""

from functools import cache
from pathlib import Path

from mags_kit.records import read_json


def check_folder(folder: Path, name: str = "model") -> None:
    """Raise a ValueError unless the weights of a folder, one safetensors file or shards, are whole and finite."""
    for file in folder.glob("*.*"):
        if file.suffix in (".json", ".safetensors", ".bin") and file.open("rb").read(19) == b"version https://git":
            raise ValueError(f"{file}: a Git LFS pointer stands in its place; run `git lfs pull` in its clone")
    files, index = [folder / f"{name}.safetensors"], folder / f"{name}.safetensors.index.json"
    if index.exists() and not files[0].exists():
        files = [folder / shard for shard in sorted({*read_json(index)["weight_map"].values()})]
    for file in files:
        if file.exists():
            _check_numbers(file.absolute(), file.stat().st_size, file.stat().st_mtime_ns)
        elif index.exists() or not any(folder.glob("*.bin")):  # which `torch.load` checks
            raise ValueError(f"{file}: expected weights, found no such file; copy or download the folder again")


@cache
def _check_numbers(file: Path, size: int, time: int) -> None:
    """Read a file once as long as its size and time stay."""
    import torch
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "pt") as opened:
            for name in opened.keys():
                if not opened.get_tensor(name).sum(dtype=torch.float32).isfinite():  # without a copy of the weights
                    raise ValueError(f"{file}: {name} holds NaN or infinity; take weights from before that")
    except SafetensorError as error:
        raise ValueError(f"{file}: expected a whole safetensors file ({error}); copy or download it again") from None


def check_filled(model, found: dict) -> None:
    """Raise a ValueError unless weights fill the model, by transformers' loading info; it draws others at random."""
    wrong = [*found["missing_keys"], *(name for name, *_ in found["mismatched_keys"])]
    wrong += [name for name in found["unexpected_keys"] if ".layers." in name or ".blocks." in name]
    for name, layer in model.named_modules():  # bitsandbytes takes any shape
        state = getattr(getattr(layer, "weight", None), "quant_state", None)
        wrong += [name] if state and tuple(state.shape) != (layer.out_features, layer.in_features) else []
    if wrong:
        raise ValueError(f"{len(wrong)} weights are missing or do not fit config.json, as {min(wrong)}; copy it again")
