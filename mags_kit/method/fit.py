"""The sizes that fit a card: what `auto` stands for in `rollout_batch`, `micro_batch` and `batch_size`.

A step holds the same trajectories whatever they are. They are chosen by the memory plan, so that nothing need be tried.
"""

from dataclasses import replace

from mags_kit.config import Config
from mags_kit.config import AUTO, SIZES
from mags_kit.method import processes
from mags_kit.method.memory import GB, answering, by_part, peak, shape_of
from mags_kit.records import read_json, write_json
from mags_kit.run import Run

CARD = 24 * GB  # reckoned with where there is no GPU
ROWS = (128, 96, 64, 48, 32, 24, 16, 8, 4, 2, 1)  # trajectories at once, at most: beyond, a GPU gains little


def fitted(config: Config, count: int = 0, memory: float = 0) -> Config:
    """The config with numbers for `auto`: the largest for which a GPU of `memory` bytes (0: the one here) has room.

    What is sampled at once can be shared out among `count` processes (0: those here). Where nothing fits, the least.
    A run that trains nothing needs room for answers only, and may find it on a CPU.
    """
    if AUTO not in [getattr(config, name) for name in SIZES]:
        return config
    shape, count = shape_of(config.model), count or processes.here().num_processes
    on_gpu, memory = bool(memory) or _on_gpu(), memory or here(config)

    def needs(fixed: Config) -> float:
        return peak(by_part(fixed, shape)) if sum(config.stage_steps) else answering(fixed, shape, on_gpu)

    def largest(name: str, choices: list[int], fixed: Config) -> Config:
        if getattr(fixed, name) != AUTO:
            return fixed
        tried = [replace(fixed, **{name: size}) for size in sorted(choices, reverse=True)]
        fits = (c for c in tried if needs(_least(c, count)) <= memory)
        return next(fits, tried[-1])

    sampled = [n for n in _sampled(config, count) if not (micro := _given(config.micro_batch)) or n % micro == 0]
    config = largest("rollout_batch", sampled, config)
    at_once, _ = _least(config, count).step_batches
    config = largest("micro_batch", [n for n in ROWS + (at_once,) if at_once % n == 0], config)
    return largest("batch_size", list(ROWS), config)


def here(config: Config) -> float:
    """Bytes of memory of this process's GPU; without one `CARD`, or half of the host's where it only answers."""
    import psutil
    import torch

    if _on_gpu():
        return torch.cuda.get_device_properties().total_memory
    return CARD if sum(config.stage_steps) else min(CARD, psutil.virtual_memory().total / 2)


def _on_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def note(run: Run) -> None:
    """Write into a run's manifest what `auto` stands for here."""
    if (config := fitted(run.config)) is not run.config and processes.here().is_main_process:
        sizes = {name: getattr(config, name) for name in SIZES} | {"for GB of memory": round(here(config) / GB, 1)}
        write_json(run.manifest, read_json(run.manifest) | {"auto": sizes})


def _given(size: int | str) -> int:
    return 0 if size == AUTO else size


def _sampled(config: Config, count: int) -> list[int]:
    """Numbers of trajectories that can be sampled at once: whole groups, parts of a step, shared by all processes."""
    groups = config.samples_per_step
    sizes = [config.num_generations * n for n in range(1, groups + 1) if groups % n == 0]
    return [size for size in sizes if size % count == 0] or sizes


def _least(config: Config, count: int) -> Config:
    """The config with the least for each `auto` that is not chosen yet."""
    least = {"rollout_batch": min(_sampled(config, count)), "micro_batch": 1, "batch_size": 1}
    return replace(config, **{name: size for name, size in least.items() if getattr(config, name) == AUTO})
