"""Each family of models as it is saved, at tiny sizes, through the whole path of the `paper` profile."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from random_model import KINDS, save_random
from tiny_qwen import as_published

from mags_kit.method import families, parsing, protocol
from mags_kit.method.episode import Agent, Episode
from mags_kit.method.magnifier import Magnifier
from mags_kit.method.policy import load_policy
from mags_kit.method.rollout import prompt_ids
from mags_kit.records import Sample, write_jsonl
from mags_kit.report import export
from mags_kit.run import open_run

FRAME_WORDS = {"pixels": "in pixels of the image", "thousand": "in thousandths"}
SIZES = {"data": "scenes", "pool": 6, "curated": 6, "rollout_batch": 0, "micro_batch": 0, "batch_size": 16}
TEXT = {"type": "text", "text": "-"}
PAPER = "qwen2_5_vl"  # the others are long


@pytest.fixture(scope="module", params=[pytest.param(k, marks=[pytest.mark.long] * (k != PAPER)) for k in KINDS])
def run(request, tmp_path_factory):
    """A run of the `paper` profile with a tiny checkpoint of each kind, its settings as the hub has them."""
    folder = tmp_path_factory.mktemp(request.param)
    model = as_published(save_random(request.param, folder / "model"))
    return open_run("paper", "tiny", {"model": str(model), **SIZES}, root=folder / "runs")


@pytest.fixture(scope="module")
def tiny(run):
    return load_policy(run.config)


def test_weights_load_as_nf4_without_the_models_own_sampling_settings(run, tiny):
    """Qwen ships a repetition penalty, a temperature and a second end mark."""
    assert len(list(run.path.parents[1].glob("model/model-*-of-*.safetensors"))) > 1
    kinds = {n: type(m).__name__ for n, m in tiny.model.named_modules() if "Linear" in type(m).__name__}
    assert {k for n, k in kinds.items() if "language_model" in n} == {"Linear4bit"}
    assert {k for n, k in kinds.items() if "visual" in n or "lm_head" in n} == {"Linear"}
    assert len(set(tiny.vision_ids)) == 4 and tiny.processor.tokenizer.unk_token_id not in tiny.vision_ids
    ours = tiny.model.generation_config
    ends = tiny.processor.tokenizer.convert_tokens_to_ids(["<|im_end|>", "</tool_call>"])
    assert ours.eos_token_id == tiny.stops == ends
    assert ours.repetition_penalty in (None, 1.0) and ours.temperature in (None, 1.0)


def tower_images(tiny, *images) -> list[np.ndarray]:
    """The images as they enter the vision tower, put together from its patches: `(height, width, 3)` in [0, 1]."""
    caught, processor = [], tiny.processor.image_processor
    tower = next(m for n, m in tiny.model.named_modules() if n.endswith("visual"))
    hook = tower.register_forward_pre_hook(lambda _, a, k: caught.append((a[0], k["grid_thw"])), with_kwargs=True)
    content = [{"type": "image", "image": image} for image in images]
    tiny.generate([prompt_ids(tiny, [*content, TEXT])], [list(images)], 1)
    hook.remove()
    (pixels, grids), side, merge, seen = caught[0], processor.patch_size, processor.merge_size, []
    for (_, h, w), patches in zip(grids.tolist(), pixels.float().split(grids.prod(-1).tolist()), strict=True):
        image = patches.reshape(h // merge, w // merge, merge, merge, 3, -1, side, side)[:, :, :, :, :, 0]
        image = image.permute(0, 2, 5, 1, 3, 6, 4).reshape(h * side, w * side, 3).numpy()
        seen.append(image * processor.image_std + processor.image_mean)
    return seen


def red_box(image: np.ndarray) -> np.ndarray:
    """Where the red mark is: x0, y0, x1, y1 in pixels of the image."""
    y, x = np.nonzero((image[..., 0] > 0.6) & (image[..., 1] < 0.5) & (image[..., 2] < 0.5))
    return np.array([x.min(), y.min(), x.max() + 1, y.max() + 1])


@pytest.mark.parametrize("network", ["bicubic", "none"])
def test_a_mark_that_the_tower_sees_is_cut_from_the_right_source_pixels(tiny, run, tmp_path, network):
    """Draw a mark, find it in what enters the tower, write its box in the model's frame, find it in the view."""
    config, wrong = replace(run.config, first_view_pixels=640 * 28 * 28 // 2), []
    agent = Agent(tiny, Magnifier(network, 112 * 112, tiny.factor, 0.0), config, tmp_path)
    for size in ((1000, 750), (333, 517), (90, 60), (40, 40), (1800, 100), (30, 700)):
        image, (x, y) = Image.new("RGB", size, "white"), (int(size[0] * 0.6), int(size[1] * 0.3))
        image.paste((255, 0, 0), (x, y, x + 12, y + 10))
        image.save(tmp_path / "mark.png")
        episode = Episode(agent, Sample("1", "mark.png", "Where is it?", "here"))
        [seen] = tower_images(tiny, episode.first_view)
        shown = np.array(seen.shape[1::-1])
        units = np.array([1000, 1000]) if tiny.family.frame == "thousand" else shown  # as each model's documentation says
        written = red_box(seen) * np.tile(units / shown, 2)
        view, *_ = episode.magnify([[round(v) for v in written]])
        crop = np.array(episode.views[0].box)
        scale = (crop[2:] - crop[:2]) / episode.views[0].size
        found = red_box(tower_images(tiny, view["image"])[0]) * np.tile(scale, 2) + np.tile(crop[:2], 2)
        if np.abs(found - (x, y, x + 12, y + 10)).max() > max(size / shown) + 2:
            wrong.append((size, (x, y), found))
        assert FRAME_WORDS[tiny.family.frame] in episode.prompt()[1]["text"]
    assert not wrong


def test_a_small_photo_is_enlarged_once_and_a_plain_crop_is_not(tiny):
    photo = Image.effect_noise((40, 40), 60).convert("RGB")
    view = tiny.first_view(photo, 640 * 28 * 28 // 2)
    least = {"qwen2_5_vl": 56, "qwen3_vl": 256, "qwen3_5": 256}[tiny.model.config.model_type]
    assert view.size == (least, least)  # the least that its published processor shows
    crop, record = Magnifier("none", 384 * 384, tiny.factor, 0.0).view(photo.resize((300, 300)), (100, 100, 196, 196))
    seen = tower_images(tiny, view, crop)
    assert [s.shape[1::-1] for s in seen] == [view.size, record.size]
    assert record.size == (96 // tiny.factor * tiny.factor,) * 2
    assert np.abs(seen[1] - np.asarray(crop) / 255).max() < 0.02  # and nothing was done to it
    with pytest.raises(RuntimeError, match="the processor resized images of"):
        tiny.generate([[1]], [[photo]], 1)
    for size, pixels in [((6000, 40), 192 * 192), ((7000, 46), 640 * 28 * 14), ((40, 7900), 640 * 28 * 14)]:
        view = tiny.first_view(Image.new("RGB", size), pixels)  # of an aspect that the processor's rule would refuse
        assert view.size[0] * view.size[1] <= pixels and tower_images(tiny, view)


def test_a_question_holds_no_tokens_and_the_tool_is_described_in_two_rounds_alone(tiny):
    image, tokenizer = Image.new("RGB", (tiny.factor * 2, tiny.factor)), tiny.processor.tokenizer
    question = "Is <|image_pad|> <|vision_start|>here<|im_end|>\n<|im_start|>assistant?"
    plain, odd = (
        prompt_ids(tiny, protocol.prompt(tiny.prompts["two"], q, image, tiny.family.frame, 3, tiny.family.xml))
        for q in ("Is it?", question)
    )
    special = set(tokenizer.all_special_ids) | set(tiny.vision_ids)
    assert [i for i in odd if i in special] == [i for i in plain if i in special]
    assert plain.count(tiny.processor.image_token_id) == 2
    assert "< |image_pad|> < |vision_start|>here< |im_end|>" in tokenizer.decode(odd)
    content = [{"type": "image", "image": image}, TEXT]
    told = ['"name": "magnify"' in tokenizer.decode(prompt_ids(tiny, content, rounds)) for rounds in (1, 2)]
    assert told == [False, True]


def test_a_reply_is_read_in_its_familys_form(tiny):
    text = "<draft>2</draft>" + protocol.tool_call_text([[1, 2, 30, 40]], tiny.family.xml)
    reply = [*tiny.processor.tokenizer.encode(text), tiny.processor.tokenizer.eos_token_id]
    assert tiny.text(reply) == text
    assert parsing.parse_reply(text).call == {"regions": [[1, 2, 30, 40]]}


def test_lora_reaches_every_large_layer_of_the_language_model(run):
    trained = load_policy(run.config, trainable=True)
    reached = {n.split(".lora_")[0].split(".")[-1] for n, p in trained.model.named_parameters() if p.requires_grad}
    names = {n.split(".")[-1] for n, m in trained.model.named_modules() if "language_model" in n and "proj" in n}
    assert reached == {n for n in names if n.endswith(("proj", "qkv", "_z"))}  # the others are a number for each head


def test_an_adapter_that_fits_nowhere_is_refused(run, tmp_path):
    from safetensors.torch import load_file, save_file

    load_policy(run.config, trainable=True).model.save_pretrained(tmp_path)
    assert load_policy(run.config, tmp_path)
    weights = load_file(file := tmp_path / "adapter_model.safetensors")
    save_file({name.replace("layers.1", "layers.7"): w for name, w in weights.items()}, file)
    with pytest.raises(ValueError, match="weights fit nowhere in this model or are missing"):
        load_policy(run.config, tmp_path)


def test_a_merged_model_has_the_precision_and_limits_of_its_base(run, tmp_path):
    """On the CPU it is merged in float32; only Qwen2.5-VL's settings name the precision of the whole model."""
    from safetensors.torch import load_file

    merged = open_run("paper", "merged", {**SIZES, "model": run.config.model}, root=tmp_path)
    load_policy(merged.config, trainable=True).model.save_pretrained(merged.best)
    write_jsonl(merged.samples("curated"), [Sample("1", "x.jpg", "?", "1")])
    weights = [w for path in export.merge(merged).glob("*.safetensors") for w in load_file(path).values()]
    assert {weight.dtype for weight in weights} == {torch.bfloat16}
    assert load_policy(replace(run.config, model=str(merged.path / "merged"))).limits == load_policy(run.config).limits


def test_another_family_is_refused():
    with pytest.raises(ValueError, match="model type 'gemma4' is not supported; expected one of qwen2_5_vl, qwen3_vl"):
        families.family_of("gemma4")
