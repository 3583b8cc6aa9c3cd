"""The cold start: what is kept, that its tokens are the rollout's own, and that RL begins with its adapter."""

from dataclasses import replace

import pytest
import torch
from test_training import run_in

from mags_kit.method import cold_start, curriculum, rollout, training
from mags_kit.method.episode import Agent
from mags_kit.records import read_json, read_samples, write_jsonl


@pytest.fixture(scope="module")
def sampled(smoke_run, policy):
    """Sampled trajectories, two of a question, and the token ids and images that the model had been given in each
    round, with what it then wrote."""
    agent, calls, real = Agent.of(smoke_run, policy), [], policy.generate

    def spy(prompts, images, *rest):
        calls.append(list(zip(prompts, images, replies := real(prompts, images, *rest), strict=True)))
        return replies

    policy.generate = spy
    torch.manual_seed(0)
    samples = [sample for sample in read_samples(smoke_run.samples("pool"))[:8] for _ in range(2)]
    made = rollout.rollout(agent, samples, temperature=1.0, progress=False)
    del policy.generate
    return agent, made, calls


def test_tokens_images_and_labels_are_those_of_the_rollout(sampled):
    agent, made, (_, second) = sampled
    looked = [t for t in made if len(t.replies) == 2]
    assert len(looked) == len(second) > 8
    for t, (prompt, images, reply) in zip(looked, second, strict=True):
        ids, labels, seen = cold_start.tokens(agent, t)
        assert ids == prompt + reply
        assert [image.tobytes() for image in seen] == [image.tobytes() for image in images]
        own = [token for token, label in zip(ids, labels, strict=True) if label != -100]
        assert own == [label for label in labels if label != -100] and len(own) == sum(t.lengths)
        assert own[-len(reply) :] == reply and not set(own) & set(agent.policy.vision_ids)
    padded = cold_start.batch(agent, looked[:3])
    longest = max(len(cold_start.tokens(agent, t)[0]) for t in looked[:3])
    assert padded["input_ids"].shape == padded["labels"].shape == (3, longest)
    assert ((padded["labels"] == padded["input_ids"]) | (padded["labels"] == -100)).all()


def test_only_well_formed_right_looks_are_kept_and_few_of_a_question(sampled):
    good = next(t for t in sampled[1] if cold_start.well_formed(t))
    good = replace(good, answer=good.sample.answer)
    first, last = good.replies
    table = {
        "wrong": replace(good, answer="nothing"),
        "no region": replace(good, regions=()),
        "no call": replace(good, replies=(first.split("<tool_call>")[0], last)),
        "no verdict": replace(good, replies=(first, last.replace("verdict", "b"))),
    }
    assert {name for name, t in table.items() if cold_start.keep([t])} == set()
    other = replace(good, sample=replace(good.sample, id="other", boxes=()))
    assert cold_start.keep([*table.values(), good, good, good, other]) == [good, good, other]
    assert "cold_start" not in cold_start.advice([good])
    assert cold_start.advice([good, *[table["no call"]] * 9]).startswith("1 of 10 sampled trajectories call the tool")
    assert "cold_start: 20" in cold_start.advice([good, *[table["no call"]] * 9])


@pytest.mark.slow
def test_a_cold_start_comes_first_moves_lora_alone_and_goes_on_after_an_interruption(
    sampled, smoke_run, tmp_path, monkeypatch
):
    from trl import SFTTrainer

    settings = {"cold_start": 3, "stage_steps": [1, 0], "learning_rate": 1e-3, "magnifier": "bicubic"}
    run = run_in(tmp_path, smoke_run, "cold", **settings)
    right = [replace(t, answer=t.sample.answer) for t in sampled[1]]
    write_jsonl(run.trajectories("pool"), right)
    pool = read_samples(run.samples("pool"))
    stages = curriculum.stages([replace(s, meta=s.meta | {"solve_rate": 0.5}) for s in pool[:6]], run.config)
    loaded, load, steps, step = [], training.load_policy, [], SFTTrainer.training_step

    def spy(config, adapter, **options):
        policy = load(config, adapter, **options)
        loaded.append((adapter, policy.model, {n: p.detach().clone() for n, p in policy.model.named_parameters()}))
        return policy

    def killed_once(trainer, *given):
        steps.append(trainer.state.global_step)
        if steps.count(1) == 1:
            raise KeyboardInterrupt
        return step(trainer, *given)

    monkeypatch.setattr(training, "load_policy", spy)
    monkeypatch.setattr(SFTTrainer, "training_step", killed_once)
    with pytest.raises(KeyboardInterrupt):
        training.train(run, pool[:2], stages)
    assert read_json(run.training_log)["stages"] == []
    training.train(run, pool[:2], stages)
    assert steps == [0, 0, 1, 1, 1, 2, 2] and [str(a) for a, *_ in loaded] == ["", "", str(run.adapter("cold start"))]
    _, model, before = loaded[1]
    moved = {n: p for n, p in model.named_parameters() if not torch.equal(p.float(), before[n].float())}
    assert moved and all("lora_" in n and p.dtype == torch.float32 for n, p in moved.items())
    state = read_json(run.training_log)
    assert state["stages"] == ["cold start", "stage 1"]
    rows = [(r["stage"], r["step"]) for r in state["log"] if "loss" in r]
    assert rows == [("cold start", 1), ("cold start", 2), ("cold start", 3), ("stage 1", 4)]
    losses = [r["loss"] for r in state["log"] if r["stage"] == "cold start" and "loss" in r]
    assert losses[-1] < losses[0]
    assert [row["step"] for row in state["validation"]] == [0, 1, 2, 3, 4]
    training.train(run, pool[:2], stages)
    assert len(loaded) == 3  # it is made once


def test_nothing_to_imitate_is_one_sentence_before_a_model_is_loaded(sampled, smoke_run, tmp_path):
    run = run_in(tmp_path, smoke_run, "none", cold_start=2)
    write_jsonl(run.trajectories("pool"), [replace(t, answer=None) for t in sampled[1]])
    with pytest.raises(ValueError, match="^cold_start: .* of 16 sampled trajectories call the tool .* more solve_roll"):
        training.train(run, [], [])
