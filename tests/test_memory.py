"""The estimate against what a real training step on the CPU keeps, and the promises of the paper profiles."""

import weakref
from dataclasses import replace

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mags_kit.config import load_config
from mags_kit.hardware import memory
from mags_kit.hardware.random_model import save_random
from mags_kit.method.policy import load_policy

GIVEN = {"data": "scenes"}
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
    return save_random("qwen2_5_vl", tmp_path_factory.mktemp("tiny"), hidden=128, layers=4)


@pytest.fixture
def step(tiny, monkeypatch):
    """One forward and backward pass as TRL does it: config, model, bytes kept for backward, peak, optimizer bytes."""

    def run(rows=2, prompt=300, completion=200, **settings):
        import trl.trainer.utils as trl_utils
        from transformers import Trainer, TrainingArguments

        monkeypatch.setattr(trl_utils, "_CHUNKED_LOGPROB_CHUNK_SIZE", 512)  # or one tile would be all of the memory
        monkeypatch.setattr(memory, "TILE", (4096, 512))
        sizes = {"samples_per_step": 1, "num_generations": 2, "rollout_batch": 2, "micro_batch": rows}
        config = load_config("paper", {**GIVEN, "model": str(tiny), **sizes, **settings})
        policy = load_policy(config, trainable=True)
        model = policy.model.train()
        trl_utils.add_fused_lm_head(model.get_base_model(), outputs=("log_probs", "entropy"))
        if config.gradient_checkpointing:
            model.get_base_model().model.visual.get_input_embeddings = lambda: None  # as training.build_trainer
            model.gradient_checkpointing_enable()
            model.enable_input_require_grads()
        ids = torch.randint(0, 300, (rows, prompt + completion))
        ids[:, 5:21] = policy.processor.image_token_id
        labels = ids.clone()
        labels[:, :prompt] = -100
        given = {
            "input_ids": ids, "labels": labels, "attention_mask": torch.ones_like(ids), "fused_lm_head": True,
            "pixel_values": torch.randn(rows * 64, 1176), "image_grid_thw": torch.tensor([[1, 8, 8]] * rows),
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
@pytest.mark.parametrize("rows, prompt", [(2, 300), (2, 900), (1, 300)])
def test_the_peak_with_gradient_checkpointing(step, rows, prompt):
    config, _, _, peak, *_ = step(rows, prompt)
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
    sizes = {name: memory.shape_of(name).parameters / 1e9 for name in memory.PUBLISHED}
    assert [round(size, 2) for size in sizes.values()] == [3.75, 8.29]  # as their model cards count them


@pytest.mark.parametrize("profile, limit", [("paper", 16), ("paper-7b", 24)])
def test_the_paper_profiles_fit(profile, limit):
    config = load_config(profile, GIVEN)
    shape = memory.shape_of(config.model)
    needed = memory.peak(memory.by_part(config, shape)) / memory.GB
    assert needed < limit
    whole = replace(config, micro_batch=0, rollout_batch=0)
    assert memory.peak(memory.by_part(whole, shape)) / memory.GB > limit  # which is why they train in parts
