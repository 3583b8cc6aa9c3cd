"""Two imports that need a hand; call these before the first import of transformers' processors or of basicsr."""

import importlib.util
import sys

# Built in isolation its sdist would fetch a second torch, so it cannot be one of this kit's dependencies.
BASICSR = "pip install --no-build-isolation --no-deps basicsr==1.4.2"


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


def import_basicsr_archs():
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
