"""What a run will need, beside what this machine has: GPU memory, disk, hours. Nothing is started or downloaded.

The hours are a rule of thumb, from one step of the 3B profile measured on a GPU (`results/gpu/`).
"""

import math
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

from mags_kit.config import OPTIMIZERS, Config
from mags_kit.config import AUTO, SIZES
from mags_kit.method import fit
from mags_kit.method.memory import CONTEXT, GB, SLACK, Shape, answering, by_part, lengths, peak, shape_of
from mags_kit.method.policy import precision
from mags_kit.evaluation.conditions import MOST_VOTES, grid
from mags_kit.evaluation.statistics import detectable
from mags_kit.run import PROJECT

BIG = 5e8  # parameters from which on a model wants a GPU
# seconds a decoding step, FLOP/s, share of `round_tokens` that a reply takes, seconds an enlarged view. 16 rows
# took 0.19 s on an H100 in a virtual machine, busy for 15% of the time: they wait for the CPU, not the card.
FAST, SLOW = (0.025, 120e12, 0.4, 0.02), (0.19, 25e12, 1.0, 0.2)


def _rounds(config: Config) -> dict[str, int]:
    """Rollouts by what they serve, counted in rounds."""
    steps = sum(config.stage_steps)
    looks = steps // config.validate_every + len(config.stage_steps) + 1 if steps else 0
    return {
        "curation": 2 * config.pool * config.solve_rollouts,
        "training": 2 * steps * config.samples_per_step * config.num_generations,
        "validation": 2 * looks * config.validation,
        "test": _ways(config) * (2 if steps else 1) * config.test,
    }


def _ways(config: Config) -> int:
    """Rounds that a question of the test set takes under all conditions together; round 1 of two is made once, and a
    vote counts as a quarter of the most that it may be."""
    kinds = grid(config).values()
    return 1 + sum(MOST_VOTES // 4 if kind.votes else 1 for kind in kinds)


def least(config: Config) -> tuple[float, float]:
    """The smallest differences that the test set finds, in points: where a fifth, and where half of the questions are
    answered right by one of two ways only."""
    return tuple(100 * detectable(config.test, discordant) for discordant in (0.2, 0.5))


def hours(config: Config, shape: Shape) -> tuple[float, float]:
    """Hours of a run on a fast and on a slow card, by FAST and SLOW."""
    prompt, completion, _ = lengths(config, shape)
    estimates = []
    for decode, flops, share, enlarge in (FAST, SLOW):
        forward = 2 * shape.parameters * (prompt + share * completion) / flops  # seconds of one trajectory
        seconds = 0.0
        for name, rounds in _rounds(config).items():
            batch = config.step_batches[0] if name == "training" else config.batch_size
            seconds += math.ceil(rounds / batch) * share * config.round_tokens * decode + rounds * forward
            seconds += rounds / 2 * config.max_regions * share * enlarge
        passes = (3 if config.gradient_checkpointing else 2) + (1 if config.beta else 0)  # the base's weights get none
        estimates.append((seconds + _rounds(config)["training"] / 2 * passes * forward) / 3600)
    return tuple(estimates)


def disk(config: Config, shape: Shape) -> dict[str, float]:
    """Bytes on disk: the download, and what the run folder will hold at most."""
    local = config.model == "embedded" or Path(config.model).is_dir()
    views = sum(_rounds(config)[n] for n in ("curation", "training", "validation")) / 2 + 2 * config.test
    stages = len(config.stage_steps)  # each leaves its adapter and its last checkpoint, which holds the KL's reference
    lora = shape.lora * config.lora_rank
    adapters = (3 if config.beta else 2) * stages + 1  # and the best
    return {
        "model": 0 if local else shape.parameters * 2,
        "magnified views": views * config.max_regions * config.view_pixels * 2,  # PNG, about 2 bytes a pixel
        "adapters and checkpoints": lora * (adapters * 4 + stages * OPTIMIZERS[config.optimizer]),
        "images": (config.pool + config.validation + config.test) * 2e5,
    }


def machine(folder: Path = PROJECT / "runs") -> dict:
    """What there is here: the GPU's name and bytes (None and 0 without one), free bytes of memory, for runs, models."""
    import psutil
    import torch

    gpu = torch.cuda.get_device_properties(0) if torch.cuda.is_available() else None
    models = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    free = [shutil.disk_usage(next(p for p in (f, *f.absolute().parents) if p.exists())).free for f in (folder, models)]
    memory = {"memory": gpu.total_memory if gpu else 0, "host": psutil.virtual_memory().available}
    return {"gpu": gpu and gpu.name, **memory, "runs": free[0], "models": free[1]}


def check(config: Config, folder: Path = PROJECT / "runs") -> None:
    """Raise a ValueError of one sentence where a big model's run will not fit on this machine."""
    if config.model == "embedded" or (shape := shape_of(config.model)).parameters < BIG:
        return
    here, space = machine(folder), disk(config, shape)
    who = f"model {config.model!r} of {shape.parameters / 1e9:.1f} billion parameters"
    needs = peak(by_part(fit.fitted(config, memory=here["memory"] or 1), shape))  # of `auto` without a GPU the least
    if not sum(config.stage_steps):  # answers can wait for a CPU, training can't
        room = here["memory" if here["gpu"] else "host"]
        needs = answering(fit.fitted(config, memory=here["memory"]), shape, on_gpu=bool(here["gpu"]))
        if room < needs:
            raise ValueError(
                f"{who}: expected {needs / GB:.1f} GB of memory on {here['gpu'] or 'the CPU'}, came {room / GB:.1f}; "
                "lower batch_size, or set four_bit: true where it is not"
            )
    elif not here["gpu"]:
        raise ValueError(
            f"{who}: expected a GPU with {needs / GB:.0f} GB, came none; take PROFILE=cpu, or a machine with a GPU"
        )
    elif here["memory"] < needs:
        raise ValueError(
            f"{who}: expected {needs / GB:.1f} GB of GPU memory, came {here['memory'] / GB:.1f} GB ({here['gpu']}); "
            "lower round_tokens, max_regions or view_pixels, or take a smaller model (`make plan` shows the parts)"
        )
    for place, need, advice in (
        ("models", space.pop("model"), "set HF_HOME to a larger disk"),
        ("runs", sum(space.values()), "make room, or move the kit"),
    ):
        if here[place] < need:
            raise ValueError(
                f"{who}: expected {need / GB:.0f} GB of free disk for {place}, came {here[place] / GB:.0f} GB; {advice}"
            )


def _notes(config: Config, shape: Shape) -> str:
    """What to know of this model's precision, a line each."""
    import torch

    numbers = precision() if torch.cuda.is_available() else "bfloat16"
    lines = [f"Numbers: {numbers}; an older card's float16 (T4, V100) takes as many bytes."]
    if shape.four_bit:
        lines += ["The weights are stored in 4 bits, whatever four_bit says; `make merge` wants the full ones."]
    elif config.four_bit and shape.parameters < shape.family.four_bit_from:
        lines += ["4 bits cost this family much of what it knows, by Unsloth's guide: four_bit: false."]
    return "\n".join(["", *lines])


def check_look(config: Config) -> None:
    """Raise a ValueError of one sentence where a look at one image will not fit into memory; no GPU is needed."""
    if config.model == "embedded" or (shape := shape_of(config.model)).parameters < BIG:
        return
    here = machine()
    where, has = (here["gpu"], here["memory"]) if here["gpu"] else ("no GPU", free_memory())
    needs = answering(replace(config, batch_size=1), shape, bool(here["gpu"]))
    if has < needs:
        raise ValueError(
            f"model {config.model!r}: a look needs {needs / GB:.1f} GB of memory, and {has / GB:.1f} GB are there "
            f"({where}); close what else runs, take a smaller MODEL=, or a machine with more"
        )


def free_memory() -> float:
    """Bytes of this machine's own memory that can be had now; without a bound where it does not say."""
    text = Path("/proc/meminfo").read_text() if Path("/proc/meminfo").exists() else ""
    free = re.search(r"MemAvailable:\s+(\d+) kB", text)
    return int(free.group(1)) * 1024 if free else math.inf


def _count(parameters: int) -> str:
    return f"{parameters / 1e9:.2f} billion" if parameters >= 1e8 else f"{parameters / 1e6:.1f} million"


def table(config: Config) -> str:
    """The plan as text: what it will need beside what there is."""
    shape, here = shape_of(config.model), machine()
    given, config = config, fit.fitted(config, memory=here["memory"])
    parts, space = by_part(config, shape), disk(config, shape)
    card = f"{here['memory'] / GB:.1f} GB, {here['gpu']}" if here["gpu"] else "no GPU"
    card += "" if here["gpu"] or shape.parameters >= BIG else ", and none is needed"
    rows = [(f"{config.model}: {_count(shape.parameters)} parameters", "needed", "here")]
    rows += [("GPU memory at its peak", f"{peak(parts) / GB:.1f} GB", card)]
    for phase, values in parts.items():
        name = "standing, all the time" if phase == "standing" else f"phase: {phase}"
        rows += [(f"  {name}", f"{sum(values.values()) / GB:.1f} GB", "")]
        rows += [(f"    {name}", f"{size / GB:.2f} GB", "") for name, size in values.items()]
    reserve = (peak(parts) - CONTEXT) * SLACK / (1 + SLACK) + CONTEXT
    rows += [("  reserve", f"{reserve / GB:.1f} GB", "")]
    if config is not given:
        which = "for this GPU" if here["gpu"] else f"for a GPU of {fit.CARD / GB:.0f} GB"
        rows += [(f"{name}: auto", str(getattr(config, name)), which) for name in SIZES if getattr(given, name) == AUTO]
    rows += [("Disk for the model", f"{space.pop('model') / GB:.1f} GB", f"{here['models'] / GB:.0f} GB free")]
    rows += [("Disk for the run, at most", f"{sum(space.values()) / GB:.1f} GB", f"{here['runs'] / GB:.0f} GB free")]
    rows += [(f"    {name}", f"{size / GB:.2f} GB", "") for name, size in space.items()]
    looking = answering(replace(config, batch_size=1), shape, bool(here["gpu"]))
    there = card if here["gpu"] else f"{free_memory() / GB:.0f} GB free, and no GPU is needed"
    rows += [("Memory to look at one image (`make look`)", f"{looking / GB:.1f} GB", there)]
    low, high = hours(config, shape)
    rows += [("Hours on one GPU, estimated", f"{low:.0f} to {high:.0f} h" if high >= 1 else "under 1 h", "")]
    rows += [(f"Difference that {config.test} questions find", "{:.1f} to {:.1f} points".format(*least(config)), "")]
    text = "\n".join(f"{name:<58}{need:>10}   {there}".rstrip() for name, need, there in rows)
    return f"""{text}
{_notes(config, shape)}
Peak: what stands, the largest of the phases, and the reserve; every reply at its full {config.round_tokens} tokens.
Hours: from {FAST[0]} s a decoding step, {FAST[1] / 1e12:.0f} TFLOP/s and replies of {FAST[2]:.0%} of that length, \
to {SLOW[0]} s, {SLOW[1] / 1e12:.0f} TFLOP/s and {SLOW[2]:.0%}.
Difference: of two ways on the same questions, found four times in five at 5%, where 20% or 50% of the questions are \
answered right by one of the two only; each about an image of its own, and one comparison, without Holm's correction."""
