"""Qwen2.5-VL and Qwen3-VL as they are saved, at tiny sizes, through the whole path of the `paper` profile."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from mags_kit.data import sets
from mags_kit.hardware.random_model import save_random
from mags_kit.method import curriculum, protocol, training
from mags_kit.method.look import Agent, Look
from mags_kit.method.magnifier import Magnifier
from mags_kit.method.policy import load_policy
from mags_kit.method.rollout import rollout
from mags_kit.records import Sample, read_json, read_samples
from mags_kit.runs import open_run

KINDS = ("qwen2_5_vl", "qwen3_vl")
FRAME_WORDS = {"qwen2_5_vl": "in pixels of the image", "qwen3_vl": "in thousandths"}
SIZES = {  # what differs from `paper`: the model, the data, sizes
    "data": "scenes", "pool": 6, "curated": 6, "validation": 2, "test": 2, "stage_steps": (1,), "samples_per_step": 2,
    "num_generations": 4, "rollout_batch": 4, "micro_batch": 2, "round_tokens": 72, "first_view_pixels": 8 * 28 * 28,
    "view_pixels": 112 * 112, "validate_every": 1,
}  # fmt: skip


@pytest.fixture(scope="module", params=KINDS)
def run(request, tmp_path_factory):
    """A run of the `paper` profile with a tiny checkpoint of each kind."""
    folder = tmp_path_factory.mktemp(request.param)
    model = save_random(request.param, folder / "model")
    run = open_run("paper", "tiny", {"model": str(model), **SIZES}, root=folder / "runs")
    sets.prepare(run)
    return run


@pytest.fixture(scope="module")
def tiny(run):
    return load_policy(run.config)


def test_weights_come_in_parts_and_load_as_nf4(run, tiny):
    parts = list(run.path.parents[1].glob("model/model-*-of-*.safetensors"))
    assert len(parts) > 1
    kinds = {n: type(m).__name__ for n, m in tiny.model.named_modules() if "Linear" in type(m).__name__}
    assert {k for n, k in kinds.items() if "language_model" in n} == {"Linear4bit"}
    assert {k for n, k in kinds.items() if "visual" in n or "lm_head" in n} == {"Linear"}
    assert len(set(tiny.vision_ids)) == 4 and tiny.processor.tokenizer.unk_token_id not in tiny.vision_ids


def test_the_models_own_sampling_settings_do_not_leak_in(tiny, run):
    """Qwen ships a repetition penalty, a temperature and a second end mark."""
    ours = tiny.model.generation_config
    assert ours.eos_token_id == tiny.processor.tokenizer.eos_token_id
    assert ours.repetition_penalty in (None, 1.0) and ours.temperature in (None, 1.0)


def test_greedy_rollouts_in_two_rounds(tiny, run):
    samples = read_samples(run.samples("test"))
    agent = Agent.of(run, tiny, "bicubic")
    made = [
        rollout(agent, samples, progress=False, regions=regions) for regions in (None, [[(100, 100, 300, 260)]] * 2)
    ]
    assert all(len(t.replies[0]) > 0 for t in made[0])
    for t in made[1]:  # a forced region takes them into round 2
        assert len(t.replies) == 2 and t.regions[0].usable and t.views


@pytest.mark.parametrize("size", [(1000, 750), (333, 517), (90, 60)])
def test_a_box_in_the_models_frame_ends_at_the_right_source_pixels(tiny, run, tmp_path, size):
    """Draw a mark, let the model point at it in its own frame through the tool's path, find it in the view."""
    kind = tiny.model.config.model_type
    image = Image.new("RGB", size, "white")
    box = (int(size[0] * 0.6), int(size[1] * 0.3), int(size[0] * 0.6) + 24, int(size[1] * 0.3) + 16)
    image.paste((255, 0, 0), box)
    image.save(tmp_path / "mark.png")
    agent = Agent(tiny, Magnifier("bicubic", 112 * 112, tiny.factor, 0.0), run.config, tmp_path)
    look = Look(agent, Sample("1", "mark.png", "Where is it?", "here"))
    [picture, text] = look.prompt()
    seen = tiny.processor.image_processor([picture["image"]], return_tensors="pt")["image_grid_thw"][0]
    resized = [int(n) * tiny.processor.image_processor.patch_size for n in (seen[2], seen[1])]
    units = resized if kind == "qwen2_5_vl" else (1000, 1000)  # what each model's documentation says
    written = [round(v * u / s) for v, u, s in zip(box, (*units, *units), (*size, *size), strict=True)]
    arguments = re.search(r'"arguments": (\{.*\})\}', protocol.tool_call_text([written])).group(1)
    [view] = look.magnify(**json.loads(arguments))
    pixels = np.asarray(view["image"]).astype(int)
    red = (pixels[..., 0] > 200) & (pixels[..., 1] < 80)
    crop = look.views[0].box
    step = max(s / u for s, u in zip(size, units, strict=True)) + 1  # a number in the frame covers that many pixels
    assert all(abs(c - b) <= max(step, 12) for c, b in zip(crop, box, strict=True))
    assert red.mean() > 0.5 * (box[2] - box[0]) * (box[3] - box[1]) / ((crop[2] - crop[0]) * (crop[3] - crop[1]))
    assert FRAME_WORDS[kind] in text["text"]


@pytest.mark.slow
def test_training_goes_through_both_rounds(run, monkeypatch):
    """Half of the first replies are written for the model, so that both rounds, views and no call share a batch."""
    samples = read_samples(run.samples("pool"))
    trained, real = [], training.load_policy
    reply = "<think>the red disc</think><draft>1</draft>" + protocol.tool_call_text([(20, 20, 60, 60)])

    def loaded(*args, **options):
        policy = real(*args, **options)
        trained.append(policy)
        sample_on, tokenizer = policy.model.generate, policy.processor.tokenizer
        ids = [*tokenizer.encode(reply), tokenizer.eos_token_id]

        def generate(input_ids, **rest):
            out = sample_on(input_ids=input_ids, **rest)
            if "<tool_response>" in tokenizer.decode(input_ids[0]):  # round 2
                return out
            width = max(out.shape[1], input_ids.shape[1] + len(ids))
            out = torch.nn.functional.pad(out, (0, width - out.shape[1]), value=tokenizer.pad_token_id)
            out[::2, input_ids.shape[1] :] = tokenizer.pad_token_id
            out[::2, input_ids.shape[1] : input_ids.shape[1] + len(ids)] = torch.tensor(ids)
            return out

        policy.model.generate = generate
        return policy

    monkeypatch.setattr(training, "load_policy", loaded)
    stages = [curriculum.Stage("all", samples, 1)]
    best = training.train(run, samples[:1], stages)
    row = next(r for r in read_json(run.training_log)["log"] if "reward" in r)
    assert row["look/call_rate"] == 0.5 and row["step"] == 1 and row["tools/failure_frequency"] == 0
    assert np.isfinite(row["grad_norm"]) and np.isfinite(row["kl"]) and (best / "adapter_config.json").exists()
    tower = trained[0].model.get_base_model().model.visual
    assert not tower.patch_embed._forward_hooks  # the frozen tower is not differentiated through
