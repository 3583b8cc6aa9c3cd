import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_records import of_another_mode

from mags_kit.method import protocol
from mags_kit.method.policy import model_path
from mags_kit.tiny_base import lessons, pretraining, vision
from mags_kit.data import scenes
from mags_kit.tiny_base.lessons import PHASES, Lessons
from mags_kit.tiny_base.model import build_model, build_processor


@pytest.fixture(scope="module")
def processor():
    return build_processor()


def test_the_shipped_model_is_small_and_of_the_real_class(policy):
    from pathlib import Path

    from transformers import Qwen3VLForConditionalGeneration

    folder = Path(model_path("embedded"))
    assert isinstance(policy.model, Qwen3VLForConditionalGeneration)
    assert sum(p.stat().st_size for p in folder.glob("*.safetensors")) < 15e6
    assert not list(folder.glob("*.bin")) and folder.joinpath("README.md").exists()
    sizes = [p.numel() for p in build_model(build_processor()).parameters()]
    assert 2e6 < sum(sizes) < 5e6


def test_every_lesson_is_in_the_vocabulary_and_reads_back(processor):
    unknown = processor.tokenizer.unk_token_id
    for phase in ("point", "look", "answer", "settle"):
        batch = Lessons(phase, 2, processor)[0]
        assert not (batch["input_ids"] == unknown).any()
    text = (
        protocol.tool_call_text([(0, 40, 960, 1000)])
        + "<rethink>the view shows too small: 3, the draft was 3</rethink><verdict>right</verdict>"
    )
    assert processor.tokenizer.decode(processor.tokenizer.encode(text)) == text


def test_a_lesson_is_its_step(processor):
    one, two, other = (Lessons("answer", 9, processor)[step] for step in (3, 3, 4))
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert not torch.equal(one["pixel_values"][:100], other["pixel_values"][:100])


def test_labels_cover_the_assistants_words_only(processor):
    batch = Lessons("answer", 1, processor)[0]
    for ids, labels in zip(batch["input_ids"], batch["labels"], strict=True):
        said = processor.tokenizer.decode(ids[labels >= 0])
        assert (
            said.startswith(("<think>", "<tool_call>", "<rethink>", " at the"))
            and "user\n" not in said
            and said.endswith("<|im_end|>")
        )


def test_grid_boxes_hold_their_object():
    assert vision.grid_box((100, 100, 150, 150)) == (120, 120, 200, 200)  # thousandths of 768 pixels, in steps of 40
    assert vision.loose_box((100, 400, 150, 450)) == (0, 320, 360, 680)


@pytest.mark.parametrize("phase", [name for name, phase in PHASES.items() if phase.loose])
def test_demonstrated_regions_are_often_poor(processor, phase):
    """And what teaches pointing in two rounds does not teach how often to point: its first word is not learned."""
    batches = [Lessons(phase, 24, processor)[step]["labels"] for step in range(24)]
    said = " ".join(processor.tokenizer.decode(row[row >= 0]) for labels in batches for row in labels)
    looks, points = (len(re.findall(rf"<think>{how} at the", said)) for how in ("Look", "Point"))
    assert looks + points > 150 and abs(looks / (looks + points) - PHASES[phase].loose) < 0.1
    assert said.count("<think> at the") > 100


def test_round_two_does_not_learn_what_the_view_shows_from_what_round_one_called_it(processor):
    """Where it alone is learned, the region is the card's, and the rationale says either word."""
    batches = [Lessons("settle", 12, processor)[step] for step in range(12)]
    texts = [
        processor.tokenizer.decode(ids)
        for batch in batches
        for ids, row in zip(batch["input_ids"], batch["labels"], strict=True)
        if processor.tokenizer.decode(row[row >= 0]).startswith("<rethink>")
    ]
    looks = [text for text in texts if "<think>Look at" in text]
    assert len(texts) > 100 and abs(len(looks) / len(texts) - 0.5) < 0.15
    assert np.mean(["view shows too small" in text for text in looks]) < 0.05


def test_a_verdict_compares_the_draft_with_what_was_seen(processor):
    said = [
        processor.tokenizer.decode(row[row >= 0])
        for step in range(8)
        for row in Lessons("settle", 8, processor)[step]["labels"]
    ]
    pattern = r"shows ([\w ]+): (\w+), the draft was (\w+)</rethink><verdict>(\w+)</verdict><answer>(\w+)</answer>"
    seconds = [m.groups() for text in said for m in re.finditer(pattern, text)]
    assert len(seconds) > 100
    for shown, seen, draft, verdict, answer in seconds:
        assert seen == answer and (verdict == "right") == (draft == seen)
        assert shown != lessons.UNREAD or draft == answer
    assert {verdict for *_, verdict, _ in seconds} == {"right", "wrong"}


def test_labels_are_those_of_transformers_own_mask(processor):
    scene = scenes.make_scene(3, "train")
    talks = [lessons._pointing(vision.first_view(scene), card) for card in scene.cards[:2]]
    talks += [lessons._reading(np.random.default_rng(0), scene, scene.cards[0])]
    mask = processor.apply_chat_template(
        talks, tokenize=True, return_dict=True, return_tensors="pt", return_assistant_tokens_mask=True,
        processor_kwargs={"padding": True},
    )["assistant_masks"]  # fmt: skip
    assert torch.equal(lessons.encode(processor, talks)["labels"] >= 0, mask.bool())


def test_what_decides_weighs_more_and_a_guess_does_not(processor):
    """With all words as likely, the gradient of a word is its weight."""
    said = (
        "<think>Look at the red disc, it shows too small</think><draft>3</draft>"
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
        "Look", " too", " small", "</think>", "</draft>", "0", ", 40", " 2", " black", " 2", "</rethink>",
        "wrong", "</verdict>", "2", "</answer>",
    ]  # fmt: skip
    assert pulls[heavy] == pytest.approx(9 * float(pulls.min()))


@pytest.mark.slow
def test_a_short_training_learns_and_resumes(tmp_path, monkeypatch):
    """Thirty steps of the first phase at its real size, interrupted after 12: it goes on from step 10, and learns."""
    real, seen = vision.loss_and_scores, []

    def interrupted(*batch):
        loss, scores = real(*batch)
        seen.append(loss.item())
        if len(seen) == 12:
            raise KeyboardInterrupt
        return loss, scores

    monkeypatch.setattr(vision, "loss_and_scores", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pretraining.train(tmp_path, {"see": 30}, every=10)
    log = pretraining.train(tmp_path, {"see": 30}, every=10)
    assert len(seen) == 12 + 20 and seen[12] == pytest.approx(seen[10])  # the eleventh step, made again
    losses = {row["step"]: row["loss"] for row in log}
    assert sorted(losses) == [20, 30] and losses[30] < losses[20] - 0.3
    assert (tmp_path / "model.safetensors").exists() and (tmp_path / "chat_template.jinja").exists()
    assert of_another_mode(tmp_path) == []
