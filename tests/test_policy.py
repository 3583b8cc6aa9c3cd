from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from mags_kit.config import load_config
from mags_kit.images import open_image
from mags_kit.method import protocol
from mags_kit.method.episode import Agent, Episode
from mags_kit.method.policy import full_weights, load_policy, precision, save_adapter
from mags_kit.method.rollout import prompt_ids
from mags_kit.records import read_json, read_samples

SQUARE = [{"type": "image", "image": Image.new("RGB", (64, 64))}, {"type": "text", "text": "?"}]


def test_only_lora_on_nf4_language_layers_is_trainable(smoke_run):
    model = load_policy(smoke_run.config, trainable=True).model
    layer = next(m for m in model.modules() if type(m).__name__ == "Linear4bit")
    assert layer.weight.quant_type == "nf4" and layer.weight.quant_state.nested
    names = [n for n, p in model.named_parameters() if p.requires_grad]
    assert names and all("lora_" in n and "language_model" in n for n in names)


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"model": "nobody/nothing-here"}, "OFFLINE=1, and the hub's cache lacks nobody/nothing-here"),
        ({"model": str(Path(__file__).parent)}, "expected a folder or a reachable hub id of a Qwen-VL"),
        ({"adapter": "nowhere"}, "adapter 'nowhere': expected a folder with adapter_config.json"),
    ],
)
def test_what_cannot_be_loaded_is_one_sentence(settings, said, monkeypatch):
    monkeypatch.setenv("OFFLINE", "1")
    config = load_config("smoke", settings)
    with pytest.raises(ValueError) as error:
        load_policy(config, config.adapter)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_a_sampled_reply_never_holds_vision_tokens(policy):
    torch.manual_seed(0)
    replies = policy.generate([prompt_ids(policy, SQUARE)] * 8, [[SQUARE[0]["image"]]] * 8, 30, temperature=50.0)
    assert not {t for r in replies for t in r} & set(policy.vision_ids)
    assert max(map(len, replies)) == 30  # at this temperature some reply has no early end


def test_batching_and_padding_do_not_change_a_greedy_reply(policy, smoke_run):
    names = sorted((smoke_run.data / "images").glob("*.jpg"))[:3]
    views = [policy.first_view(open_image(name), 192 * 192) for name in names]
    texts = ["How many dots are on the red disc?", "True?", "What symbol is on the teal triangle?"]
    contents = [protocol.prompt("{question} Look twice.", t, v) for t, v in zip(texts, views, strict=True)]
    messages = [[{"role": "user", "content": content}] for content in contents]
    prompts = [prompt_ids(policy, message["content"]) for [message] in messages]
    together = policy.generate(prompts, [[v] for v in views], 20)
    assert together == [policy.generate([p], [[v]], 20)[0] for p, v in zip(prompts, views, strict=True)]


def test_the_gpu_decides_on_the_precision(monkeypatch):
    """None, V100, T4, A100, a later one."""
    table = {None: "float32", (7, 0): "float16", (7, 5): "float16", (8, 0): "bfloat16", (12, 0): "bfloat16"}
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    found = {}
    for gpu in table:
        version = SimpleNamespace(**dict(zip(("major", "minor"), gpu or (), strict=False)))
        monkeypatch.setattr(torch.cuda, "is_available", lambda gpu=gpu: gpu is not None)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda *_, version=version: version)
        found[gpu] = precision()
    assert found == table


def test_an_adapter_that_is_killed_while_it_is_written_leaves_the_one_before(smoke_run, tmp_path, monkeypatch):
    policy = load_policy(smoke_run.config, trainable=True)
    save_adapter(policy, tmp_path / "best", note={"step": 1})
    save = policy.model.save_pretrained

    def killed(folder, **options):
        save(folder, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(policy.model, "save_pretrained", killed)
        with pytest.raises(KeyboardInterrupt):
            save_adapter(policy, tmp_path / "best", note={"step": 2})
    assert read_json(tmp_path / "best" / "chosen.json") == {"step": 1}
    save_adapter(policy, tmp_path / "best", note={"step": 3})
    assert read_json(tmp_path / "best" / "chosen.json") == {"step": 3}
    assert [p.name for p in tmp_path.iterdir()] == ["best"] and load_policy(smoke_run.config, tmp_path / "best")


def test_replies_from_a_full_copy_are_those_of_nf4(smoke_run):
    """With an adapter that has moved: the same logits up to rounding, the same greedy tokens, and nothing is left."""
    made = load_policy(replace(smoke_run.config, sample_in="nf4"), trainable=True)
    torch.manual_seed(0)
    for name, parameter in made.model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.05)
    episodes = [Episode(Agent.of(smoke_run, made), s) for s in read_samples(smoke_run.samples("test"))[:4]]
    prompts, images = [prompt_ids(made, e.prompt()) for e in episodes], [[e.first_view] for e in episodes]
    inputs = made.inputs(prompts, images)
    with torch.no_grad():
        own = made.model(**inputs).logits
        with full_weights(made.model):
            copied = made.model(**inputs).logits
        again = made.model(**inputs).logits
    assert torch.equal(own, again) and not torch.equal(own, copied)
    torch.testing.assert_close(copied, own, atol=2e-3, rtol=2e-3)
    greedy = made.generate(prompts, images, 40)
    made.copied = True
    assert made.generate(prompts, images, 40) == greedy
    assert load_policy(smoke_run.config).copied and not load_policy(replace(smoke_run.config, four_bit=False)).copied
