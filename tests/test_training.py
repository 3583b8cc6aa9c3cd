"""The RL step is real: what is trained, on which tokens, from which prompts. Uses the embedded model and TRL itself."""

import dataclasses
import json
import shutil
from dataclasses import replace

import pytest
import torch
from PIL import Image
from test_records import of_another_mode

from mags_kit.config import GRPO_SETTINGS
from mags_kit.method import curriculum, rewards, training
from mags_kit.method.episode import Agent, Episode
from mags_kit.method.monitoring import TrainingStopped
from mags_kit.method.parsing import parse_reply
from mags_kit.method.policy import load_policy
from mags_kit.method.rollout import prompt_ids, suffix_ids
from mags_kit.method.trl_environment import check_views
from mags_kit.records import read_json, read_samples, write_json
from mags_kit.run import open_run
from mags_kit.viz import replay


@pytest.fixture(scope="module")
def stages(smoke_run):
    pool = read_samples(smoke_run.samples("pool"))
    chosen = curriculum.choose(pool, {s.id: 0.5 for s in pool}, 6, seed=0)
    return curriculum.stages(chosen, smoke_run.config)


@pytest.fixture(scope="module")
def sampled(smoke_run, stages):
    """A trainer and one batch of its rollouts."""
    policy = load_policy(smoke_run.config, trainable=True)
    trainer = training.build_trainer(smoke_run, policy, stages[-1])
    rows = [trainer.train_dataset[i // 4] for i in range(8)]
    trainer.model.train()
    return policy, trainer, rows, trainer._generate_and_score_completions(rows)


def run_in(tmp_path, smoke_run, name, **settings):
    """A run with some settings and the data of the smoke run."""
    run = open_run("smoke", name, settings, root=tmp_path)
    if not run.data.exists():
        run.data.symlink_to(smoke_run.data.resolve())
    return run


def test_training_and_rollout_feed_the_model_the_same_tokens_and_the_loss_covers_the_policys_own(
    sampled, stages, smoke_run
):  # fmt: skip
    policy, _, rows, batch = sampled
    two_rounds = 0
    for i, row in enumerate(rows):
        mask, tool = batch["completion_mask"][i].bool(), batch["tool_mask"][i].bool()
        prompt = batch["prompt_ids"][i][batch["prompt_mask"][i].bool()].tolist()
        completion = batch["completion_ids"][i][mask].tolist()
        episode = Episode(Agent.of(smoke_run, policy), stages[-1].samples[row["number"]])
        assert prompt_ids(policy, episode.prompt()) == prompt
        end = next((at for at, token in enumerate(completion, 1) if token in policy.stops), len(completion))
        own = first = completion[:end]
        if call := parse_reply(policy.text(first)).call:
            between = suffix_ids(policy, [episode.magnify(**call)])
            assert completion[len(first) : len(first) + len(between)] == between
            own = first + completion[len(first) + len(between) :]
            two_rounds += 1
        assert batch["completion_ids"][i][mask & tool].tolist() == own and not set(own) & set(policy.vision_ids)
    assert two_rounds > 0


def test_a_dropped_view_is_an_error(sampled):
    episode = next(e.episode for e in sampled[1].environments if e.episode.views)
    with pytest.raises(RuntimeError, match="^sample .*max_completion_length is too small"):
        check_views(episode, [{"role": "assistant", "content": ""}], [])


def test_the_budget_holds_two_full_rounds_and_all_views(smoke_run, policy):
    config = smoke_run.config
    side = int(config.view_pixels**0.5)
    views = [{"type": "image", "image": Image.new("RGB", (side, side))}] * config.max_regions
    longest = 2 * config.round_tokens + len(suffix_ids(policy, [views]))
    assert longest <= training.sampling(config, policy)["max_completion_length"]


def test_vllm_is_asked_for_the_same_as_the_model_itself(smoke_run, policy, monkeypatch):
    from trl import GRPOConfig

    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)  # as if vllm were installed
    config = replace(smoke_run.config, vllm=True, four_bit=False)
    here, there = (training.sampling(c, policy) for c in (smoke_run.config, config))
    assert there["generation_kwargs"]["max_tokens"] == here["generation_kwargs"]["max_new_tokens"]
    banned = dict.fromkeys(here["generation_kwargs"]["suppress_tokens"], -100.0)
    assert banned and there["generation_kwargs"]["logit_bias"] == banned
    assert there["generation_kwargs"]["stop_token_ids"] == policy.stops == policy.model.generation_config.eos_token_id
    assert there["use_vllm"] and there["vllm_max_model_length"] > there["max_completion_length"]
    assert set(there) <= {field.name for field in dataclasses.fields(GRPOConfig)}


def test_a_reward_that_raises_stops_training(sampled, monkeypatch):
    _, trainer, rows, _ = sampled
    monkeypatch.setitem(rewards.REWARDS, "answer", lambda t: 1 / 0)
    with pytest.raises(RuntimeError, match="sample '.*': reward answer failed with ZeroDivisionError: division"):
        trainer._generate_and_score_completions(rows)


def test_the_log_holds_the_rewards_that_trl_was_given(sampled):
    trainer = sampled[1]
    given = list(trainer._logs["rewards"]["answer"])[:8]
    mixed = (torch.tensor(given).reshape(2, 4).std(1) > 0).float().mean().item()
    assert trainer._metrics["train"]["groups/mixed_answers"][0] == mixed


def test_fewer_samples_than_a_step_has_groups_still_make_its_batches(smoke_run, stages):
    alone = replace(stages[-1], samples=stages[-1].samples[:1])
    trainer = training.build_trainer(smoke_run, load_policy(smoke_run.config, trainable=True), alone)
    batches = list(trainer.get_train_dataloader())
    assert batches and all([row["number"] for row in batch] == [0] * 8 for batch in batches)  # two groups of four


def test_every_setting_of_grpo_reaches_trl(smoke_run, policy, stages, tmp_path):
    grpo = {"loss_type": "grpo", "entropy_coef": 0.01, "mask_truncated_completions": True, "num_iterations": 2}
    run = run_in(tmp_path, smoke_run, "grpo", scale_rewards="none", grpo=grpo)
    args = training.arguments(run, policy, stages[-1])
    assert {name: getattr(args, name) for name in grpo} == grpo and args.scale_rewards == "none"
    assert {*GRPO_SETTINGS} <= {field.name for field in dataclasses.fields(args)}


@pytest.mark.slow
def test_training_moves_lora_alone_and_resumes_by_stage(smoke_run, stages, tmp_path, monkeypatch):
    run = run_in(tmp_path, smoke_run, "train", learning_rate=1e-3, rewards={"format": 1.0})
    validation = read_samples(run.samples("validation"))
    loaded, real = [], training.load_policy

    def spy(*args, **kwargs):
        policy = real(*args, **kwargs)
        loaded.append((policy.model, {n: p.detach().clone() for n, p in policy.model.named_parameters()}))
        return policy

    monkeypatch.setattr(training, "load_policy", spy)
    best = training.train(run, validation, stages)
    changed = {
        n
        for model, before in loaded
        for n, p in model.named_parameters()
        if n in before and not torch.equal(p.float(), before[n].float())
    }
    assert changed and all("lora_" in n for n in changed)
    for model, before in loaded:  # the start of the stage, which the KL penalty is measured against, stays
        copies = {n: p for n, p in model.named_parameters() if n not in before}
        assert copies and all(".ref." in n for n in copies)
        for name, copy in copies.items():
            torch.testing.assert_close(copy.float(), before[name.replace(".ref.", ".default.")], rtol=0.01, atol=0)
    state = read_json(run.training_log)
    assert [r["step"] for r in state["log"] if "reward" in r] == [1, 2] and state["alarms"] == []
    watched = {"loss", "grad_norm", "kl", "frac_reward_zero_std", "completions/clipped_ratio", "tools/call_frequency"}
    assert watched <= {*state["log"][0]}
    assert read_json(best / "chosen.json")["samples"] == len(validation)
    assert [[step for step, _ in found] for found in replay.frames(run).values()] == [[0, 1, 2]] * len(validation)
    json.dumps(state, allow_nan=False)
    assert list(run.path.rglob("checkpoint-*/*.safetensors")) and of_another_mode(run.path / "training") == []
    count = len(loaded)
    training.train(run, validation, stages)
    assert len(loaded) == count  # finished stages are not done again


@pytest.mark.slow
def test_a_loss_that_is_no_number_stops_training_and_is_noted(smoke_run, stages, tmp_path, monkeypatch):
    from trl import GRPOTrainer

    real = GRPOTrainer._compute_loss
    monkeypatch.setattr(GRPOTrainer, "_compute_loss", lambda *given: real(*given) * float("nan"))
    run = run_in(tmp_path, smoke_run, "nan")
    with pytest.raises(TrainingStopped, match="^stage 1, step 1: loss is nan"):
        training.train(run, read_samples(run.samples("validation"))[:2], stages)
    state = json.loads(run.training_log.read_text(), parse_constant=pytest.fail)
    assert [(a["stage"], a["name"], a["step"]) for a in state["alarms"]] == [("stage 1", "not a number", 1)]
    assert state["stages"] == [] and not list(run.stage("stage 1").glob("checkpoint-*"))


def test_the_last_whole_checkpoint_is_gone_on_from_and_others_are_named(smoke_run, tmp_path, capsys):
    """The trainer writes its state last, and may be killed before or in that; disks and copies lose the rest."""

    def whole(step):
        folder = tmp_path / f"checkpoint-{step}"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(tmp_path / "adapter", folder)
        for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
            torch.save({"state": torch.arange(999.0)}, folder / name)
        write_json(folder / "trainer_state.json", {"global_step": step})
        return folder

    def without(name):
        return lambda folder: (folder / name).unlink()

    def cut(name):
        return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:999])

    def flipped(name):
        return lambda folder: (folder / name).write_bytes((folder / name).read_bytes().replace(b"@?", b"@@"))

    def state(text):
        return lambda folder: (folder / "trainer_state.json").write_text(text)

    files = ("optimizer.pt", "scheduler.pt", "rng_state.pth", "adapter_model.safetensors", "trainer_state.json")
    cases = {f"without {name}": without(name) for name in (*files, "adapter_config.json")}
    cases |= {f"{name} cut short": cut(name) for name in files[:4]}
    cases |= {f"{name} flipped": flipped(name) for name in files[:3]}
    cases |= {f"state {text}": state(text) for text in ("", '{"global_', "{}", "[]", '{"global_step": null}')}
    cases |= {"rng state is text": lambda folder: (folder / files[2]).write_text("broken")}
    cases |= {"empty": lambda folder: (shutil.rmtree(folder), folder.mkdir())}
    load_policy(smoke_run.config, trainable=True).model.save_pretrained(tmp_path / "adapter")
    assert training.last_checkpoint(tmp_path) is None and not capsys.readouterr().out
    before, wrong = whole(9), []
    for name, damage in cases.items():
        damage(whole(10))
        found, said = training.last_checkpoint(tmp_path), capsys.readouterr().out
        if found != str(before) or said.count("checkpoint-10 is passed over, for") != 1 or said.count("\n") != 1:
            wrong.append((name, found, said))
    assert wrong == [] and training.last_checkpoint(tmp_path) == str(before)
    whole(10)
    whole(100)
    (tmp_path / "checkpoint-old").mkdir()
    capsys.readouterr()
    assert training.last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-100") and not capsys.readouterr().out
    for step in (9, 10, 100):
        cut("optimizer.pt")(tmp_path / f"checkpoint-{step}")
    assert training.last_checkpoint(tmp_path) is None
    assert capsys.readouterr().out.count("over, for an earlier one or the stage's start: its optimizer.pt") == 3


@pytest.fixture
def steps_of(smoke_run, stages, tmp_path):
    """Train two steps with some settings: the trainer, and the sample ids of each batch of rollouts, in order."""

    def run_steps(name, **settings):
        run = run_in(tmp_path, smoke_run, name, **{"rewards": {"format": 1.0}, "magnifier": "bicubic", **settings})
        stage = curriculum.Stage("all", stages[-1].samples[:4], 2, 1)
        torch.manual_seed(0)  # LoRA starts at random
        trainer = training.build_trainer(run, load_policy(run.config, trainable=True), stage)
        asked, real = [], trainer._generate_and_score_completions

        def spy(rows):
            torch.manual_seed(1)  # the same replies, whatever was drawn before
            batch = real(rows)
            asked.append([environment.episode.sample.id for environment in trainer.environments])
            return batch

        trainer._generate_and_score_completions = spy
        trainer.train()
        return trainer, asked

    return run_steps


@pytest.mark.slow
def test_batches_in_parts_leave_the_step_and_its_samples_as_they_are(steps_of):
    """Two passes a step give the same gradient; sampled in parts, a step has the same samples in whole groups."""
    whole, asked = steps_of("whole")
    passes, asked_in_passes = steps_of("passes", micro_batch=2)
    assert asked == asked_in_passes and [len(ids) for ids in asked] == [8, 8]
    norms = [[row["grad_norm"] for row in t.state.log_history if "grad_norm" in row] for t in (whole, passes)]
    assert len(norms[0]) == len(norms[1]) == 2 and norms[0][0] == pytest.approx(norms[1][0], rel=1e-3) and norms[0][0]
    parts, asked_in_parts = steps_of("parts", rollout_batch=4, micro_batch=2)
    assert parts.state.global_step == whole.state.global_step == 2
    assert [len(set(ids)) for ids in asked_in_parts] == [1] * 4  # one whole group of four at a time
    assert sorted(sum(asked, [])) == sorted(sum(asked_in_parts, []))
    assert [row["step"] for row in parts.state.log_history if "reward" in row] == [1, 2]
