"""What a run needs beside what this machine has: memory, and disk for its model. Nothing is downloaded."""

import os
import shutil
from pathlib import Path

from mags_kit.config import Config
from mags_kit.memory import GB, MODELS, need_gb, parts, size_of
from mags_kit.method.policy import published

LARGE = 0.5  # billions of parameters from which on a model is checked
ADVICE = {
    "GPU memory": "lower rollout_batch, micro_batch and batch_size, then round_tokens, max_regions or view_pixels, "
    "or take a smaller model or PROFILE=cpu",
    "memory": "lower batch_size, set four_bit: true, or take a smaller model",
    "disk for models": "make room, or set HF_HOME to a folder on a larger disk",
}


def machine() -> dict:
    """The name of the GPU here, and GB of its memory, of free memory of the host, of free disk for models."""
    import psutil
    import torch

    gpu = torch.cuda.get_device_properties() if torch.cuda.is_available() else None
    folder = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface")).absolute()
    disk = shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.exists()))
    return {
        "GPU": gpu.name if gpu else "no GPU", "GPU memory": gpu.total_memory / GB if gpu else 0,
        "memory": psutil.virtual_memory().available / GB, "disk for models": disk.free / GB,
    }  # fmt: skip


def needs(config: Config, here: dict) -> dict[str, float]:
    """GB by what they are needed of. Training a large model needs a GPU, answers do not."""
    size = size_of(config.model)
    on_gpu = here["GPU memory"] > 0 or (size.parameters >= LARGE and sum(config.stage_steps) > 0)
    local = config.model == "embedded" or Path(config.model).is_dir()
    kind = "GPU memory" if on_gpu else "memory"
    return {kind: need_gb(config, on_gpu), "disk for models": 0 if local else size.parameters * 2}


def check(config: Config) -> None:
    """Raise a ValueError of one sentence for a model that cannot be had, or a large one that will not fit here."""
    if config.model not in MODELS:
        published(config)
    if (size := size_of(config.model)) and size.parameters >= LARGE:
        here = machine()
        for name, gb in needs(config, here).items():
            if here[name] < gb:
                found = f"needs {gb:.1f} GB of {name}, found {here[name]:.1f} GB ({here['GPU']})"
                raise ValueError(f"model {config.model!r} {found}; {ADVICE[name]}")


def table(config: Config) -> str:
    """The plan as text: what a run will need beside what there is."""
    if not (size := size_of(config.model)):
        expected = "expected a name of `mags_kit.memory.MODELS` in its hub id or path"
        raise ValueError(f"model {config.model!r}: its size is not known, so there is no plan; {expected}")
    here = machine()
    rows = [(f"{config.model}: {size.parameters:.3g} billion parameters", "needed", f"here ({here['GPU']})")]
    for name, gb in needs(config, here).items():
        rows += [(name, f"{gb:.1f} GB", f"{here[name]:.1f} GB")]
        counted = parts(config, name == "GPU memory") if "memory" in name else {}
        rows += [(f"  {part}", f"{gb:.2f} GB", "") for part, gb in counted.items()]
    batches = ", ".join(map(str, (*config.step_batches, config.batch_size)))
    rows += [("rollout_batch, micro_batch, batch_size", batches, "")]
    return "\n".join(f"{name:<56}{need:>19}   {there}".rstrip() for name, need, there in rows)
