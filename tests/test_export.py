import pytest
import torch
from test_records import of_another_mode

from mags_kit.method.policy import load_policy, model_path
from mags_kit.method.rollout import prompt_ids
from mags_kit.records import Sample, write_json, write_jsonl
from mags_kit.report import export
from mags_kit.run import open_run
from mags_kit.data import scenes


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of the embedded model with an adapter whose weights are not zero, and its metrics."""
    run = open_run("smoke", "made", {"four_bit": False, "seed": 3}, root=tmp_path_factory.mktemp("runs"))
    torch.manual_seed(0)  # before the adapter is made: half of it starts at random
    policy = load_policy(run.config, trainable=True)
    for name, parameter in policy.model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.02)
    policy.model.save_pretrained(run.best)
    result = {"accuracy": 0.5, "low": 0.25, "high": 0.75, "n": 12}
    write_jsonl(run.samples("curated"), [Sample(str(i), "x.jpg", "?", "1") for i in range(5)])
    write_json(run.metrics, {"conditions": {"trained": {"two rounds, super-resolution": result}}})
    return run


def logits(model, policy):
    """Of one prompt; the processors of all models here are the same."""
    scene = scenes.make_scene(3, "train")
    image, question = scene.image.resize((192, 192)), f"{scene.question(scene.cards[0]).text} Look twice."
    content = [{"type": "image", "image": image}, {"type": "text", "text": question}]
    ids = torch.tensor([prompt_ids(policy, content)])
    pixels = policy.processor.image_processor([image], return_tensors="pt")
    kinds = (ids == policy.processor.image_token_id).long()
    with torch.no_grad():
        return model(input_ids=ids, mm_token_type_ids=kinds, **pixels).logits[0].float()


def test_the_merged_model_says_the_same_without_peft(trained):
    from transformers import AutoModelForImageTextToText, AutoProcessor

    folder = export.merge(trained)
    assert list(folder.glob("*.safetensors")) and not (folder / "adapter_config.json").exists()
    assert of_another_mode(folder) == []
    merged = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    with_adapter, base = load_policy(trained.config, trained.best), load_policy(trained.config)
    assert AutoProcessor.from_pretrained(folder).tokenizer.get_vocab() == base.processor.tokenizer.get_vocab()
    ours, theirs, plain = (logits(model, base) for model in (merged, with_adapter.model, base.model))
    assert (ours - theirs).abs().max() < 0.02 < 0.2 < (plain - theirs).abs().max()
    assert torch.equal(ours.argmax(-1), theirs.argmax(-1))


def test_the_cards_say_what_where_and_how_well(trained):
    for merged in (True, False):
        text = export.card(trained, merged)
        assert "trained on 5 samples of scenes." in text
        assert "50.0 (25 to 75)" in text and '"seed": 3' in text and "torch" in text
        assert str(model_path("embedded")) not in text and str(trained.path.resolve().parent) not in text


def test_a_run_without_an_adapter_is_one_sentence(tmp_path):
    run = open_run("smoke", "empty", root=tmp_path)
    with pytest.raises(ValueError, match="expected an adapter in training/best, found none"):
        export.merge(run)
