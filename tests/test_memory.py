"""The estimate against what a real training step on the CPU keeps, and the promises of the paper profiles."""

import weakref
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mags_kit.config import PROFILES, load_config
from mags_kit.dials import SIZES
from random_model import save_random
from mags_kit.method import fit, memory
from mags_kit.method.policy import load_policy
from mags_kit.records import read_json
from mags_kit.run import open_run

GIVEN = {"data": "scenes"}
LARGE = [name for name, config in PROFILES.items() if config.model != "embedded"]
FITTED = replace(PROFILES["qwen3.5-4b"], rollout_batch=16, micro_batch=4, batch_size=16)
TOLERANCE = 0.25


class Live(TorchDispatchMode):
    """Bytes of the storages that are alive, and their highest sum."""

    def __init__(self, known):
        super().__init__()
        self.held, self.now, self.peak = {t.untyped_storage()._cdata: 0 for t in known}, 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for storage in (t.untyped_storage() for t in tree_leaves(out) if isinstance(t, torch.Tensor)):
            if storage._cdata not in self.held:
                self.held[storage._cdata] = storage.nbytes()
                self.now += storage.nbytes()
                weakref.finalize(storage, self._drop, storage._cdata)
        self.peak = max(self.peak, self.now)
        return out

    def _drop(self, key):
        self.now -= self.held.pop(key)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Model type -> the folder of a checkpoint."""

    @cache
    def made(kind):
        return save_random(kind, tmp_path_factory.mktemp(kind), hidden=128, layers=4)

    return made


@pytest.fixture
def step(tiny, monkeypatch):
    """One forward and backward pass as TRL does it: config, model, bytes kept for backward, peak, optimizer bytes."""

    def run(rows=2, prompt=300, completion=200, kind="qwen2_5_vl", **settings):
        folder = str(tiny(kind))  # first: it lets the libraries below import torchvision
        import trl.trainer.utils as trl_utils
        from transformers import Trainer, TrainingArguments

        monkeypatch.setattr(trl_utils, "_CHUNKED_LOGPROB_CHUNK_SIZE", 512)  # or one tile would be all of the memory
        monkeypatch.setattr(memory, "TILE", (4096, 512))
        sizes = {"samples_per_step": 1, "num_generations": 2, "rollout_batch": 2, "micro_batch": rows, "batch_size": 2}
        config = load_config("paper", {**GIVEN, "model": folder, **sizes, **settings})
        policy = load_policy(config, trainable=True)
        model = policy.model.train()
        trl_utils.add_fused_lm_head(model.get_base_model(), outputs=("log_probs", "entropy"))
        if config.gradient_checkpointing:
            model.get_base_model().model.visual.get_input_embeddings = lambda: None  # as training.build_trainer
            model.gradient_checkpointing_enable()
            model.enable_input_require_grads()
        patch = policy.processor.image_processor.patch_size
        ids = torch.randint(0, 300, (rows, prompt + completion))
        ids[:, 5:21] = policy.processor.image_token_id
        labels = ids.clone()
        labels[:, :prompt] = -100
        given = {
            "input_ids": ids, "labels": labels, "attention_mask": torch.ones_like(ids), "fused_lm_head": True,
            "pixel_values": torch.randn(rows * 64, 6 * patch**2), "image_grid_thw": torch.tensor([[1, 8, 8]] * rows),
            "mm_token_type_ids": (ids == policy.processor.image_token_id).long(),
        }  # fmt: skip
        known = [*model.parameters(), *model.buffers()]
        standing, kept = {t.untyped_storage()._cdata for t in known}, {}

        def pack(tensor):
            storage = tensor.untyped_storage()
            if storage._cdata not in standing:
                kept[storage._cdata] = storage.nbytes()
            return tensor

        with Live(known) as live, saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = -model(**given).log_probs.mean()
            saved = sum(kept.values())
            loss.backward()
        trained = [p for p in model.parameters() if p.requires_grad]
        kind, options = Trainer.get_optimizer_cls_and_kwargs(TrainingArguments(optim=config.optimizer, use_cpu=True))
        optimizer = kind(trained, **options)
        optimizer.step()
        state = [v for s in optimizer.state.values() for v in s.values() if torch.is_tensor(v)]
        gradients = sum(p.grad.nbytes for p in trained)
        return config, model, saved, live.peak - gradients, gradients, sum(v.nbytes for v in state)

    return run


def estimate(config, rows_prompt_completion=(0, 500)):
    """On the CPU numbers have 4 bytes, and TRL scores every position, so all of them count as completion."""
    shape = memory.shape_of(config.model)
    return memory.standing(config, shape, 4), memory.update(config, shape, *rows_prompt_completion, 64, 4)


def near(value):
    return pytest.approx(value, rel=TOLERANCE)


@pytest.mark.slow
def test_what_is_kept_for_backward_and_the_peak(step):
    config, _, saved, peak, *_ = step(gradient_checkpointing=False)
    _, update = estimate(config)
    assert update["activations"] == near(saved)
    assert sum(update.values()) == near(peak)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind, rows, prompt",
    [("qwen2_5_vl", 2, 300), ("qwen2_5_vl", 2, 900), ("qwen2_5_vl", 1, 300), ("qwen3_vl", 2, 300), ("qwen3_5", 2, 300)],
)
def test_the_peak_with_gradient_checkpointing(step, kind, rows, prompt):
    config, _, _, peak, *_ = step(rows, prompt, kind=kind)
    _, update = estimate(config, (0, prompt + 200))
    assert sum(update.values()) == near(peak)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adamw_torch", "paged_adamw_8bit"])
def test_what_stands(step, optimizer):
    config, model, _, _, gradients, state = step(
        optimizer=optimizer, lora_rank=128
    )  # 8-bit states need matrices of some size
    standing, _ = estimate(replace(config, beta=0.0))
    weights = sum(p.nbytes for n, p in model.named_parameters() if "lora_" not in n)
    scales = sum(
        q.absmax.nbytes + (q.state2.absmax.nbytes if q.nested else 0)
        for q in (getattr(p, "quant_state", None) for p in model.parameters()) if q is not None
    )  # fmt: skip
    assert standing["weights, NF4"] + standing["weights, kept"] == near(weights + scales)
    assert standing["adapter"] == gradients == standing["gradients"]
    assert standing["optimizer"] == near(state)


def test_published_shapes_have_the_published_sizes():
    sizes = {name: memory.shape_of(name) for name in memory.PUBLISHED}
    counted = {name: shape.parameters + second_token(shape) for name, shape in sizes.items()}
    assert {name.removeprefix("Qwen/"): round(count / 1e9, 2) for name, count in counted.items()} == {
        "Qwen2.5-VL-3B-Instruct": 3.75, "Qwen2.5-VL-7B-Instruct": 8.29,
        "Qwen3-VL-2B-Instruct": 2.13, "Qwen3-VL-4B-Instruct": 4.44, "Qwen3-VL-8B-Instruct": 8.77,
        "Qwen3.5-0.8B": 0.87, "Qwen3.5-2B": 2.27, "Qwen3.5-4B": 4.66, "Qwen3.5-9B": 9.65,
    }  # fmt: skip
    decays = 24 * (32 + 128)  # of each linear layer, stored in float32
    assert 2 * (counted["Qwen/Qwen3.5-9B"] + decays) == 19_306_216_416  # bytes of its weights


def second_token(shape) -> int:
    """Parameters of Qwen3.5's layer that predicts a second token, which transformers leaves out."""
    if shape.model.model_type != "qwen3_5":
        return 0
    text = shape.model.text_config
    hidden, heads, shared = text.hidden_size, text.num_attention_heads * 256, text.num_key_value_heads * 256
    attention = hidden * (2 * heads + 2 * shared) + heads * hidden + 2 * 256
    return attention + 3 * hidden * text.intermediate_size + 2 * hidden * hidden + 5 * hidden


@pytest.mark.parametrize("profile", LARGE)
def test_a_profile_follows_its_family(profile):
    """In 4 bits where its family is by default, and full prompts."""
    config = PROFILES[profile]
    shape = memory.shape_of(config.model)
    assert config.four_bit == (shape.parameters >= shape.family.four_bit_from) and config.prompt_style == "full"


def test_only_full_attention_keeps_a_cache():
    shapes = [memory.shape_of(name) for name in ("Qwen/Qwen3.5-4B", "Qwen/Qwen3-VL-4B-Instruct")]
    assert [shape.layers for shape in shapes] == [(8, 24), (36, 0)]
    hybrid, full = (memory.sampling(FITTED, shape, 700, 1500, 2708) for shape in shapes)
    assert hybrid["cache of keys and values"] == 16 * 2200 * 9 * 2 * 4 * 256 * 2
    assert hybrid["states of linear attention"] == 16 * 25 * (32 * 128 * 128 * 4 + 8192 * 4 * 2)
    assert "states of linear attention" not in full


@pytest.mark.parametrize("profile", LARGE)
@pytest.mark.parametrize("gigabytes", [8, 16, 24, 48, 80])
def test_auto_is_the_largest_that_fits(profile, gigabytes):
    """Nothing above its choice fits, its choice does (or nothing does), and the step stays what it is."""
    config, size = PROFILES[profile], gigabytes * memory.GB
    fitted, shape = fit.fitted(config, 1, size), memory.shape_of(config.model)

    def fits(**sizes):
        return memory.peak(memory.by_part(replace(fitted, **sizes), shape)) <= size

    assert replace(fitted, **{name: "auto" for name in SIZES}) == config
    sampled, micro = fitted.step_batches
    assert fits() or (sampled, micro, fitted.batch_size) == (8, 1, 1)
    assert sampled == 64 or not fits(rollout_batch=2 * sampled, micro_batch=1, batch_size=1)
    assert micro == sampled or not fits(micro_batch=2 * micro, batch_size=1)
    assert fitted.batch_size == 128 or not fits(batch_size=128)


def test_auto_is_shared_by_processes_and_given_sizes_stay():
    config = replace(PROFILES["qwen3-vl-4b"], samples_per_step=6, rollout_batch="auto")
    for count in (1, 2, 3):
        assert fit.fitted(config, count, 80e9).rollout_batch % count == 0
    given = replace(config, rollout_batch=16, micro_batch=4)
    fitted = fit.fitted(given, 1, 80e9)
    assert fitted.step_batches == (16, 4) and fitted.batch_size == 96
    plain = load_config("cpu")
    assert fit.fitted(plain) is plain
    with pytest.raises(ValueError, match="micro_batch='many' is str; expected int or 'auto'"):
        load_config("paper", {**GIVEN, "micro_batch": "many"})


def test_what_auto_stands_for_is_in_the_manifest(tmp_path):
    run = open_run("paper", "r", GIVEN, root=tmp_path)
    fit.note(run)
    noted = read_json(run.manifest)["auto"]
    assert noted == {"rollout_batch": 32, "micro_batch": 8, "batch_size": 32, "for GB of memory": 24.0}
    assert read_json(run.path / "config.json")["batch_size"] == "auto"


@pytest.mark.parametrize("profile, limit", [("paper", 16), ("qwen3-vl-2b", 12), ("qwen3-vl-4b", 16), ("paper-7b", 24)])
def test_the_large_profiles_fit(profile, limit):
    config = load_config(profile, GIVEN)
    shape = memory.shape_of(config.model)
    assert memory.peak(memory.by_part(fit.fitted(config, 1, limit * memory.GB), shape)) / memory.GB < limit
    whole = replace(config, micro_batch=0, rollout_batch=0, batch_size=16)
    assert memory.peak(memory.by_part(whole, shape)) / memory.GB > limit  # which is why they train in parts
