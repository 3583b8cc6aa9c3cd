"""The Mags-RL kit: a vision-language model with a magnifying glass, and how it learns where to look.

What notebooks need can be imported from here, and is loaded when it is first used:

    from mags_kit import load_agent, look, open_run, show

Each module imports only those before it: config, records, images, hub; run, lock, steps, memory; method/ (in the order
that README names); data/; tiny_base/; evaluation/; viz/; report/; plan, experiments, looking, pipeline, __main__.
"""

import logging
import os
from importlib import import_module

# By default trl and datasets report each run (model, GPU, data sets) to the hub.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_UPDATE_DOWNLOAD_COUNTS", "0")
# Texts here are short; and where memory or processes are limited, tokenizers' threads end Python by a panic.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# On a CPU bitsandbytes says at its import that an optional package is missing, which nobody here has to act on.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)

_MODULE_OF = {
    **dict.fromkeys(("environment", "open_run", "reopen"), "run"),
    **dict.fromkeys(("read_json", "read_samples", "read_trajectories", "write_json"), "records"),
    "open_image": "images",
    **dict.fromkeys(("prepare", "scene_samples"), "data.sets"),
    "make_scene": "data.scenes",
    "QUALITIES": "data.drawing",
    "Magnifier": "method.magnifier",
    **dict.fromkeys(("catch_up", "choose_samples", "curate", "measure_pool", "train"), "experiments"),
    **dict.fromkeys(("load_agent", "look"), "looking"),
    **dict.fromkeys(("evaluate", "examples", "metrics", "read_costs", "summary"), "evaluation.evaluate"),
    **dict.fromkeys(("save", "show"), "viz.draw"),
    "load_policy": "method.policy",
    **dict.fromkeys(("Agent", "Episode"), "method.episode"),
    "selection": "evaluation.statistics",
    "strategy": "method.protocol",
    "rollout": "method.rollout",
    "Inspector": "viz.inspector",
    "Playground": "viz.playground",
    "Replay": "viz.replay",
}
__all__ = [*_MODULE_OF]


def __getattr__(name: str):
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'mags_kit' has no attribute {name!r}")
    return getattr(import_module(f"mags_kit.{_MODULE_OF[name]}"), name)
