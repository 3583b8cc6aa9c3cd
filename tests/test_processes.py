"""Two processes (gloo, CPU) do what one does: the same samples, steps, losses and adapter, the same evaluation.

Curation samples, each process with random numbers of its own: there, all processes must make one and the same choice.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import given_replies
import pytest
import torch
from safetensors.torch import load_file

from mags_kit import experiments
from mags_kit.config import load_config
from mags_kit.method import curriculum, processes, training
from mags_kit.records import read_json, read_samples, read_trajectories, write_jsonl
from mags_kit.evaluation.evaluate import MAIN
from mags_kit.run import open_run, reopen

SETTINGS = {  # two processes share the second of three groups; in batches of one, padding is the same
    "samples_per_step": 3, "num_generations": 4, "micro_batch": 4, "stage_steps": [1, 2], "batch_size": 1,
    "validate_every": 3, "magnifier": "bicubic", "learning_rate": 1e-3,
}  # fmt: skip
ROOT = Path(__file__).parents[1]
LAUNCH = "-m accelerate.commands.launch --num_processes 2 --main_process_port 0 --config_file".split()  # any free port


def launch(*arguments) -> None:
    """Two processes on the CPU."""
    environ = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    config = ROOT / "mags_kit" / "launch" / "ddp.yaml"
    command = [sys.executable, *LAUNCH, str(config), "--mixed_precision", "no", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environ)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def runs(smoke_run, tmp_path_factory):
    """The same run by this process and by two of `accelerate launch`."""
    made = []
    for count in (1, 2):
        project = tmp_path_factory.mktemp(f"processes-{count}")
        run = open_run("smoke", settings=SETTINGS, root=project / "runs")
        shutil.copytree(smoke_run.data, run.data)
        pool = read_samples(run.samples("pool"))
        chosen = curriculum.choose(pool, {s.id: 0.5 for s in pool}, run.config.curated, seed=0)
        write_jsonl(run.samples("curated"), chosen)
        for name in ("validation", "test"):
            write_jsonl(run.samples(name), read_samples(run.samples(name))[:3])
        made.append(run)
    with pytest.MonkeyPatch.context() as patch:
        given_replies.give(made[0].path.parents[1], patch.setattr)
        experiments.train(made[0])
        experiments.before_and_after(made[0])
    settings = ["--profile", "smoke", "--set", json.dumps(SETTINGS)]
    launch(given_replies.__file__, made[1].path.parents[1], *settings)
    return made


@pytest.mark.long
def test_a_step_holds_the_same_samples(runs):
    one, two = runs
    [whole] = [read_json(path) for path in one.path.parents[1].glob("seen-*.json")]
    halves = [read_json(two.path.parents[1] / f"seen-{i}-of-2.json") for i in (0, 1)]
    assert [len(ids) for ids in whole] == [12] * 3
    assert whole == [first + second for first, second in zip(*halves, strict=True)]


@pytest.mark.long
def test_losses_gradients_and_adapters_are_the_same(runs):
    """Adapters beside how far training moved them."""
    logs = [[row for row in read_json(run.training_log)["log"] if "reward" in row] for run in runs]
    names = ("step", "loss", "grad_norm", "reward", "reward_std", "look/call_rate", "tools/call_frequency")
    for one, two in zip(*logs, strict=True):
        for name in (*names, "groups/mixed_answers"):
            assert two[name] == pytest.approx(one[name], rel=1e-3, abs=1e-6), name
        assert one["grad_norm"] > 1e-3 and one["reward_std"] > 0
    assert [row["step"] for row in logs[0]] == [1, 2, 3]
    for stage in ("stage 1", "stage 2"):
        one, two = (load_file(run.adapter(stage) / "adapter_model.safetensors") for run in runs)
        assert one.keys() == two.keys()
        moved, apart = (
            sum(float((a - b).square().sum()) for a, b in pairs) ** 0.5
            for pairs in (((w, 0) for n, w in one.items() if "lora_B" in n), ((one[n], two[n]) for n in one))
        )
        assert apart < 0.01 * moved


@pytest.mark.long
def test_validation_and_evaluation_are_the_same(runs):
    states = [read_json(run.training_log) for run in runs]
    assert [s["stages"] for s in states] == [["stage 1", "stage 2"]] * 2
    looks = [[(row["step"], row["samples"], row["accuracy"]) for row in s["validation"]] for s in states]
    assert looks[0] == looks[1] and [look[0] for look in looks[0]] == [0, 1, 3]
    best = [read_json(run.best / "chosen.json") for run in runs]
    assert best[0] == pytest.approx(best[1])
    for checkpoint in ("base", "trained"):
        one, two = (read_trajectories(run.trajectories(checkpoint, MAIN)) for run in runs)
        assert [t.sample.id for t in two] == [t.sample.id for t in one] and len(two) == 3
        assert [t.replies for t in two] == [t.replies for t in one]


@pytest.mark.long
def test_one_command_curates_trains_and_evaluates(tmp_path):
    """Each candidate's two rollouts lie in different processes: with one seed for both they would be copies."""
    small = {"pool": 6, "curated": 3, "validation": 3, "test": 3, "stage_steps": [1], "magnifier": "bicubic"}
    start = "import sys; from pathlib import Path; from mags_kit import __main__, run; run.PROJECT = Path(sys.argv[1])"
    tmp_path.joinpath("start.py").write_text(f"{start}\n__main__.main(sys.argv[2:])")
    parts = ["curate", "train", "evaluate", "--profile", "smoke", "--set", json.dumps(small)]
    launch(tmp_path / "start.py", tmp_path, *parts)
    run = reopen("smoke", tmp_path / "runs")
    pool = read_trajectories(run.trajectories("pool"))
    assert [t.sample.id for t in pool] == [s.id for s in read_samples(run.samples("pool")) for _ in range(2)]
    assert any(one.replies != other.replies for one, other in zip(pool[::2], pool[1::2], strict=True))
    assert len(read_trajectories(run.trajectories("trained", MAIN))) == 3
    states = [run.stage("stage 1") / "checkpoint-1" / f"rng_state_{i}.pth" for i in (0, 1)]
    first, second = (torch.load(path, weights_only=False)["cpu"] for path in states)
    assert not torch.equal(first, second)  # each process goes on with its own after a resumption


def test_a_step_holds_the_same_trajectories_in_any_number_of_processes():
    for profile, settings in (("paper", {}), ("cpu", {}), ("cpu", {"micro_batch": 8})):
        config = load_config(profile, settings)
        sampled, micro = config.step_batches
        for count in (1, 2, 4, 8, 16):
            batch = training.batches(config, count)
            share, passes = batch["per_device_train_batch_size"], batch["gradient_accumulation_steps"]
            assert share * passes * count == config.samples_per_step * config.num_generations
            assert batch["generation_batch_size"] == sampled  # in TRL, that of all processes
            assert sampled % (share * count) == 0 and share <= micro
    with pytest.raises(ValueError, match="^3 processes cannot share the 32 trajectories sampled at once"):
        training.batches(load_config("paper"), 3)


def test_without_a_launcher_there_is_one_process():
    assert processes.here().num_processes == 1 and processes.here().is_main_process
    assert processes.dealt([3, 1, 2], lambda share: [n * 10 for n in share]) == [30, 10, 20]
