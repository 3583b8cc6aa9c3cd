"""Workarounds: what each does, and that upstream still needs it; a failure of the latter says what can go."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from random_model import save_random

from mags_kit import compat


def needed(still, name: str) -> None:
    assert still, f"upstream no longer needs mags_kit.compat.{name}: remove it"


def test_pypis_torchvision_beside_a_cpu_torch():
    assert compat.import_torchvision().transforms
    built = Path(importlib.util.find_spec("torchvision").origin).with_name("version.py").read_text()
    if torch.version.cuda or "+cu" not in built:
        pytest.skip("torch and torchvision are of one build")
    plain = subprocess.run([sys.executable, "-c", "import torchvision"], capture_output=True, text=True)
    needed("torchvision::nms" in plain.stderr, "import_torchvision's schemas")


def test_basicsrs_import_of_a_module_that_torchvision_lacks():
    for network, options in zip(compat.basicsr_archs(), ({"num_block": 1}, {"num_conv": 2}), strict=True):
        made = network(num_in_ch=3, num_out_ch=3, **options)
        assert made(torch.zeros(1, 3, 8, 8)).shape == (1, 3, 32, 32)
    basicsr, transforms = (
        Path(importlib.util.find_spec(name).submodule_search_locations[0])
        for name in ("basicsr", "torchvision.transforms")
    )
    asks = any("torchvision.transforms.functional_tensor" in p.read_text() for p in basicsr.rglob("*.py"))
    needed(asks and not transforms.joinpath("functional_tensor.py").exists(), "basicsr_archs' alias")


def test_nf4_weights_are_the_same_in_training_and_sampling():
    import bitsandbytes

    if not bitsandbytes.functional.has_avx512bf16():
        pytest.skip("bitsandbytes repacks weights on CPUs with AVX512-BF16 only")

    def outputs(width: int, change=lambda layer, dtype: None) -> list:
        layer = bitsandbytes.nn.Linear4bit(width, 64, bias=False, compute_dtype=torch.float32, quant_type="nf4").to("cpu")
        change(layer, torch.float32)
        x = torch.linspace(-1, 1, 2 * width).reshape(2, width)
        with torch.no_grad():
            return [layer.train()(x), layer.eval()(x)]

    assert torch.equal(*outputs(96, compat.keep_nf4_as_stored))
    try:
        needed(not torch.equal(*outputs(128)) or not torch.equal(*outputs(96)), "keep_nf4_as_stored")
    except RuntimeError:
        pass  # a width that is no multiple of 64


def test_the_frozen_vision_tower_gets_no_gradients(tmp_path):
    model = compat.transformers().AutoModelForImageTextToText.from_pretrained(save_random("qwen2_5_vl", tmp_path))
    model.enable_input_require_grads()
    needed(model.model.visual.patch_embed._forward_hooks, "keep_vision_frozen")
    model.disable_input_require_grads()
    compat.keep_vision_frozen(model)
    model.enable_input_require_grads()
    assert not model.model.visual.patch_embed._forward_hooks


def test_no_reply_stops_the_parser(policy):
    cut = '<tool_call>\n{"name": "magnify", "arguments": {"regions": ' + "[" * 2000 + "</tool_call>"
    with pytest.raises((ValueError, RecursionError)):  # else upstream no longer needs `parse_replies_with`
        policy.processor.tokenizer.parse_response(cut, prefix="")
    tokenizer = SimpleNamespace(decode=lambda ids, skip_special_tokens: f"{ids}")
    compat.parse_replies_with(tokenizer, lambda text: {"content": text})
    assert tokenizer.parse_response([1], prefix=[2], tools=[]) == {"content": "[1]"}
