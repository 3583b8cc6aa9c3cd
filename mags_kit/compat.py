"""Workarounds for faults of other libraries; each says what is wrong there and when it can be removed.

A test in `tests/test_compat.py` fails as soon as one can be.
"""

import importlib
import sys
from collections.abc import Callable


def transformers():
    """The transformers library, whose image processors import torchvision."""
    import_torchvision()
    return importlib.import_module("transformers")


def import_torchvision():
    """torchvision, also PyPI's build beside a CPU build of torch, whose import fails when it registers its operators.

    The image processors use none of them, so declaring the two schemas is enough; nothing is declared where the plain
    import works. Can go when the two builds import beside each other.
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
    """basicsr's `(RRDBNet, SRVGGNetCompact)`.

    basicsr 1.4.2 imports `torchvision.transforms.functional_tensor`, which became `functional` in torchvision 0.17.
    Can go when basicsr imports that.
    """
    import_torchvision()
    functional = importlib.import_module("torchvision.transforms.functional")
    sys.modules.setdefault("torchvision.transforms.functional_tensor", functional)
    from basicsr.archs.rrdbnet_arch import RRDBNet
    from basicsr.archs.srvgg_arch import SRVGGNetCompact

    return RRDBNet, SRVGGNetCompact


def keep_nf4_as_stored(model, dtype) -> None:
    """Keep bitsandbytes from repacking NF4 weights in eval mode on CPUs with AVX512-BF16; compute in `dtype`.

    Repacking rounds their scales to bfloat16, so that sampling and training would see different weights, and fails
    for layers whose width is no multiple of 64. Can go when bitsandbytes repacks without either.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
            module.compute_dtype = dtype


def keep_vision_frozen(model) -> None:
    """Keep the frozen vision tower out of the backward pass, with gradient checkpointing.

    transformers makes the output of all `get_input_embeddings` require gradients, the tower's among them: over a GB
    in Qwen2.5-VL-3B. Can go when transformers leaves frozen modules out.
    """
    getattr(model, "get_base_model", lambda: model)().model.visual.get_input_embeddings = lambda: None


def parse_replies_with(tokenizer, parse: Callable[[str], dict]) -> None:
    """Let `parse` (text -> message) read the replies that TRL's tool loop asks this tokenizer to parse.

    transformers' parser raises on deeply nested brackets, which stops training, takes seconds for some long replies,
    and passes calls of unknown tools on. Can go when it does none of this.
    """
    tokenizer.parse_response = lambda ids, **_: parse(tokenizer.decode(ids, skip_special_tokens=True))
