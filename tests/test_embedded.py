import itertools
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mags_kit.data import scenes
from mags_kit.data.sets import scene_samples
from mags_kit.method import protocol
from mags_kit.method.policy import model_path
from mags_kit.method.protocol import STRATEGIES
from mags_kit.tiny_base import lessons, pretraining, vision
from mags_kit.tiny_base.lessons import PHASES, Lessons
from mags_kit.tiny_base.model import build_model, build_processor


CARD = {"training": "", "device": "", "two": "", "free": "", "grid": 40, "n": 9, "sampled": "", "accuracy": ""}


@pytest.fixture(scope="module")
def processor():
    return build_processor()


def learned(processor, phase: str, steps: int) -> list[str]:
    """The texts that are learned in lessons of a phase."""
    batches = [Lessons(phase, steps, processor)[step]["labels"] for step in range(steps)]
    return [processor.tokenizer.decode(row[row >= 0]) for labels in batches for row in labels]


def test_the_shipped_model_is_small_has_a_card_and_loads_whole(processor):
    from transformers import Qwen3VLForConditionalGeneration

    folder = Path(model_path("embedded"))
    assert sum(p.stat().st_size for p in folder.glob("*.safetensors")) < 15e6
    assert not list(folder.glob("*.bin")) and (folder / "README.md").exists()
    assert "{" not in Path(pretraining.__file__).with_name("card.md").read_text().format(**CARD)
    _, found = Qwen3VLForConditionalGeneration.from_pretrained(folder, output_loading_info=True)
    assert not any(found[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert 2e6 < sum(p.numel() for p in build_model(processor).parameters()) < 5e6


def test_lessons_scenes_are_disjoint_from_those_that_are_measured(processor, monkeypatch, tmp_path):
    seeds, make_scene = set(), scenes.make_scene

    def noted(seed, split, *rest, **options):
        seeds.add((seed, split))
        return make_scene(seed, split, *rest, **options)

    monkeypatch.setattr(scenes, "make_scene", noted)
    for phase in PHASES:
        Lessons(phase, 4, processor)[3]
    drawn, _ = set(seeds), seeds.clear()
    for split in ("train", "validation", "test"):
        scene_samples(split, 4, tmp_path)
    assert {split for _, split in drawn} == {"train"} and min(seed for seed, _ in drawn) >= lessons.FIRST
    assert seeds and max(seed for seed, _ in seeds) < lessons.FIRST


def test_every_lesson_is_its_step_and_in_the_vocabulary(processor):
    for phase in ("point", "look", "answer", "settle"):
        one, two, other = (Lessons(phase, 9, processor)[step] for step in (3, 3, 4))
        assert all(torch.equal(one[name], two[name]) for name in one)
        assert not torch.equal(one["pixel_values"][:100], other["pixel_values"][:100])
        assert not (one["input_ids"] == processor.tokenizer.unk_token_id).any()
    view = "<rethink>the view shows too small: 3 white, the draft was 3 white</rethink><verdict>right</verdict>"
    text = protocol.tool_call_text([(0, 40, 960, 1000), (40, 80, 120, 160)]) + view
    assert processor.tokenizer.decode(processor.tokenizer.encode(text)) == text


def test_close_ups_that_are_enlarged_differ_in_their_pixels_alone(processor):
    drawn, half, enlarged = (Lessons("look", 9, processor, share)[3] for share in (0, 0.5, 1))
    assert all(torch.equal(drawn[name], enlarged[name]) for name in ("input_ids", "labels", "image_grid_thw"))
    ends = drawn["image_grid_thw"].prod(-1).cumsum(0).tolist()
    close = lessons.LOOKS[0]
    for batch, first in ((half, close // 2), (enlarged, close)):
        pixels = [each["pixel_values"] for each in (drawn, batch)]
        same = [torch.equal(*(each[a:b] for each in pixels)) for a, b in itertools.pairwise([0, *ends])]
        assert same == [False] * first + [True] * (len(ends) - first)


def test_how_a_demonstration_looks_does_not_depend_on_its_question(processor):
    """What teaches pointing in two rounds does not teach how often to point: the word for it is not learned."""
    said = learned(processor, "settle", 24)
    begun = [text for text in said if text.startswith("<think>") and "<answer>" in text]
    words = {how: word for how, word in STRATEGIES.items() if word}  # the others are close-ups, too
    of = {how: [text for text in begun if f"{word}</think>" in text] for how, word in words.items()}
    looks = {how: len(each) for how, each in of.items()}
    share = looks["roughly"] / sum(looks.values())
    assert sum(looks.values()) > 100 and 0.15 < share < 0.5
    for each in of.values():
        assert 0.4 < np.mean(["it shows too small" in text for text in each]) < 0.85
    pointing = [text for text in said if text.startswith("<think>") and "</rethink>" not in text and "<tool" in text]
    assert len(pointing) > 40 and not any(f"{word}</think>" in text for word in words.values() for text in pointing)


def test_round_two_learns_neither_the_view_from_the_rationale_nor_the_verdict_without_a_comparison(processor):
    batches = [Lessons("settle", 12, processor)[step] for step in range(12)]
    rows = [row for batch in batches for row in zip(batch["input_ids"], batch["labels"], strict=True)]
    texts = [tuple(map(processor.tokenizer.decode, (ids, labels[labels >= 0]))) for ids, labels in rows]
    alone = [text for text, said in texts if said.startswith("<rethink>")]  # where round 2 alone is learned
    by_word = [[text for text in alone if f" {word}</think>" in text] for word in ("Look", "Point")]
    looks, points = (np.mean(["view shows too small" in text for text in texts]) for texts in by_word)
    assert len(alone) > 50 and abs(looks - points) < 0.25
    pattern = r"shows ([\w ]+): ([\w ]+), the draft was ([\w ]+)</rethink>"
    pattern += r"<verdict>(\w+)</verdict><answer>([\w ]+)</answer>"
    seconds = [match.groups() for _, said in texts for match in re.finditer(pattern, said)]
    assert len(seconds) > 100 and {verdict for *_, verdict, _ in seconds} == {"right", "wrong"}
    for shown, seen, draft, verdict, answer in seconds:
        assert seen == answer and (verdict == "right") == (draft == seen)
        assert shown != lessons.UNREAD or draft == answer


def test_labels_are_those_of_transformers_own_mask(processor):
    scene = scenes.make_scene(3, "train")
    talks = [lessons._pointing(vision.glance(np.random.default_rng(0), scene), card) for card in scene.cards[:2]]
    talks += [lessons._reading(np.random.default_rng(0), scene, scene.cards[0])]
    mask = processor.apply_chat_template(
        talks, tokenize=True, return_dict=True, return_tensors="pt", return_assistant_tokens_mask=True,
        processor_kwargs={"padding": True},
    )["assistant_masks"]  # fmt: skip
    assert torch.equal(lessons.encode(processor, talks)["labels"] >= 0, mask.bool())


def test_what_decides_weighs_more_and_a_guess_does_not(processor):
    """With all words as likely, the gradient of a word is its weight."""
    said = (
        "<think>the red disc, it shows too small Look</think><draft>3</draft>"
        + protocol.tool_call_text([(0, 40, 960, 1000)])
        + "<rethink>the view shows 2 black: 2, the draft was 3</rethink><verdict>wrong</verdict><answer>2</answer>"
    )
    ids = torch.tensor([[0, *processor.tokenizer.encode(said)]])
    logits = torch.zeros(*ids.shape, len(processor.tokenizer), requires_grad=True)
    batch = {"input_ids": ids, "labels": ids.masked_fill(torch.arange(ids.shape[1]) == 0, -100)}
    loss, _ = pretraining.words_loss(lambda **_: SimpleNamespace(logits=logits), processor.tokenizer, batch, 8)
    loss.backward()
    pulls = logits.grad[0, :-1].gather(1, ids[0, 1:, None])[:, 0].abs()
    heavy = pulls > 4 * pulls.min()
    words = [processor.tokenizer.decode(i) for i in ids[0, 1:]]
    assert [w for w, h in zip(words, heavy, strict=True) if h] == [
        "the", " too", " small", " Look", "</think>", "</draft>", "0", ", 40", " 2", " black", " 2", "</rethink>",
        "wrong", "</verdict>", "2", "</answer>",
    ]  # fmt: skip
    assert pulls[heavy] == pytest.approx(9 * float(pulls.min()))


@pytest.mark.long
def test_training_resumes_and_learns(tmp_path, monkeypatch):
    """Both kinds of loss; interrupted after two steps, it makes the third one from the checkpoint of the second."""
    real, losses = vision.loss_and_scores, []

    def interrupted(*batch):
        loss, scores = real(*batch)
        losses.append(loss.item())
        if len(losses) == 3:
            raise KeyboardInterrupt
        return loss, scores

    monkeypatch.setattr(vision, "loss_and_scores", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pretraining.train(tmp_path, {"see": 12, "settle": 2}, every=2)
    log = pretraining.train(tmp_path, {"see": 12, "settle": 2}, every=2)
    assert len(losses) == 3 + 10 and losses[3] == pytest.approx(losses[2])  # the third step, made again
    assert np.mean(losses[-3:]) < np.mean(losses[:3]) and [row["phase"] for row in log] == ["see", "settle"]
    assert (tmp_path / "model.safetensors").exists() and (tmp_path / "chat_template.jinja").exists()


def nf4_error(width: int) -> float:
    """Of 64 rows of normal numbers, relative to their deviation."""
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    weight = torch.randn(64, width, generator=torch.Generator().manual_seed(0))
    return (dequantize_4bit(*quantize_4bit(weight, quant_type="nf4")) - weight).std().item()


def test_widths_suit_nf4_on_cpus():
    text = build_model(build_processor()).config.text_config
    assert text.hidden_size % 64 == 0 and text.intermediate_size % 64 == 0
    assert nf4_error(text.hidden_size) < 0.1 and nf4_error(text.intermediate_size) < 0.1


@pytest.mark.skipif("AVX512" not in torch.backends.cpu.get_cpu_capability(), reason="other CPUs read all widths")
def test_why_widths_are_multiples_of_64():
    """bitsandbytes 0.50 reads a row of another width with its neighbours' scales: `absmax_dim_1 = dim_1 / blocksize` in
    the AVX-512 path of csrc/cpu_ops.cpp. Where this fails, it no longer does, and the model may have any width."""
    assert nf4_error(160) > 0.2
