"""Curriculum RL: TRL's GRPOTrainer with the magnifying glass as its environment, stage by stage, resumable.

What is TRL's: the group advantages, the loss, the optimiser, the tool loop, the mask that keeps tool tokens out of
the loss. What is here: the stages, the guards against three silent failures, and the choice of the best checkpoint
by the validation set.
"""

import importlib.util
import math
from pathlib import Path

import numpy as np

from mags_kit import processes, rewards
from mags_kit.config import Config
from mags_kit.curriculum import Stage, choose, stages
from mags_kit.policy import Policy, load_policy
from mags_kit.records import Sample, read_json, read_samples, to_json, write_json, write_jsonl
from mags_kit.rollout import MagnifyingGlass, magnifier_for, shared_rollout
from mags_kit.runs import Run, branch
from mags_kit.signals import behaviour, reward_functions


def completion_budget(config: Config, factor: int) -> int:
    """Tokens that two rounds and the views between them can take; TRL drops a view that does not fit, silently."""
    views = config.max_regions * (config.view_pixels // factor**2 + 2)
    return 2 * config.round_tokens + views + 64  # 64: the tool message's frame


def train(run: Run, samples: list[Sample], validation: list[Sample], plan: list[Stage]) -> Path:
    """Train a LoRA adapter through the stages of `plan` and return the folder of the one that did best on `validation`.

    A finished stage is not done again; an interrupted one goes on from its last checkpoint. Under `accelerate launch`
    every process calls this; a step stays what it is in one process, and the main one alone writes.
    """
    from mags_kit.compat import import_torchvision

    import_torchvision()
    from transformers.trainer_utils import set_seed

    config = run.config
    state_file = run.file("training", "state.json")
    state = read_json(state_file) if state_file.exists() else {"stages": [], "log": [], "validation": []}
    for number, stage in enumerate(plan):
        if stage.name in state["stages"] or not stage.steps:
            continue
        before = run.file("training", plan[number - 1].name, "adapter") if number else config.adapter
        set_seed(config.seed * 100 + number)  # a new adapter starts from random numbers
        policy = load_policy(config, before, trainable=True)
        trainer = build_trainer(run, policy, stage, number, state, validation)
        last = _last_checkpoint(Path(trainer.args.output_dir))
        trainer.train(resume_from_checkpoint=last)
        save_adapter(policy, run.file("training", stage.name, "adapter"))
        offset = sum(s.steps for s in plan[:number])
        state["log"] += [
            {**row, "step": row["step"] + offset, "stage": stage.name} for row in trainer.state.log_history
        ]
        state["validation"] += trainer.looks.rows
        state["stages"].append(stage.name)
        if processes.here().is_main_process:
            write_json(state_file, state)
        processes.here().wait_for_everyone()
        del trainer, policy  # or two models would be in memory while the next stage loads its own
        _free_memory()
    return run.file("training", "best")


def save_adapter(policy: Policy, folder: Path, note: dict | None = None) -> None:
    """Write the adapter as PEFT saves it, with a `note` on why it was chosen; every process calls this.

    TRL keeps a copy of the adapter's start beside it for the KL penalty; that is not saved.
    """
    named = [(name, p.detach()) for name, p in policy.model.named_parameters() if "lora_" in name]
    whole = {name: p.full_tensor() if hasattr(p, "full_tensor") else p for name, p in named}  # FSDP has shares
    if processes.here().is_main_process:
        policy.model.save_pretrained(folder, state_dict=whole, selected_adapters=["default"])
        if note:
            write_json(folder / "chosen.json", note)
    processes.here().wait_for_everyone()


def batches(config: Config, count: int) -> dict[str, int]:
    """TRL's batch settings in `count` processes, so that an optimisation step holds the same trajectories as in one."""
    sampled, micro = config.step_batches
    if sampled % count:
        raise ValueError(
            f"{count} processes cannot share the {sampled} trajectories sampled at once; expected a divisor of them, "
            "or another rollout_batch"
        )
    micro = math.gcd(micro, sampled // count)
    return {
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": config.samples_per_step * config.num_generations // (micro * count),
        "generation_batch_size": sampled,  # over all processes, unlike the two above
    }


def sampling(config: Config, policy: Policy) -> dict:
    """TRL's settings of how round 1 and round 2 are sampled: a limit of tokens each, no image tokens."""
    if not config.vllm:
        return {"generation_kwargs": {"max_new_tokens": config.round_tokens, "suppress_tokens": policy.vision_ids}}
    longest = config.first_view_pixels // policy.factor**2 + completion_budget(config, policy.factor)
    return {
        "use_vllm": True,
        "vllm_max_model_length": longest + 1024,  # the prompt's text
        "generation_kwargs": {
            "max_tokens": config.round_tokens, "logit_bias": dict.fromkeys(policy.vision_ids, -100.0)
        },
    }  # fmt: skip


def _free_memory() -> None:
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def retrain(run: Run, name: str, pool: list[Sample], rates: dict[str, float], **changes) -> tuple[Run, Path]:
    """Choose from the same measured pool and train again with some settings changed: the branch, and its adapter."""
    inside = branch(run, name, **changes)
    chosen = choose(pool, rates, inside.config.curated, inside.config.seed)
    write_jsonl(inside.file("curated.jsonl"), chosen)
    validation = read_samples(inside.file("data", "validation.jsonl"))
    return inside, train(inside, chosen, validation, stages(chosen, inside.config))


def build_trainer(run: Run, policy: Policy, stage: Stage, number: int, state: dict, validation: list[Sample]):
    """TRL's trainer for one stage, with the kit's rewards, environment and guards."""
    from datasets import Dataset
    from transformers import PrinterCallback
    from transformers.trainer_utils import set_seed
    from trl import GRPOConfig, GRPOTrainer

    config, seed = run.config, run.config.seed * 100 + number
    set_seed(seed)
    magnifier = magnifier_for(config, policy, run.cache)
    rows = [{"prompt": [{"role": "user", "content": ""}], "sample": to_json(s)} for s in stage.samples]
    if config.step_batches[0] < config.samples_per_step * config.num_generations:  # else an epoch could end in a step
        rows *= config.samples_per_step // math.gcd(len(rows), config.samples_per_step)
    arguments = GRPOConfig(
        output_dir=str(run.file("training", stage.name)),
        max_steps=stage.steps,
        learning_rate=config.learning_rate,
        lr_scheduler_type="constant",
        **batches(config, processes.here().num_processes),
        num_generations=config.num_generations,
        max_completion_length=completion_budget(config, policy.factor),
        max_tool_calling_iterations=1,
        **sampling(config, policy),
        temperature=config.temperature,
        top_k=0,
        beta=config.beta,
        optim=config.optimizer,
        reward_weights=[float(w) for w in config.rewards.values()],
        gradient_checkpointing=config.gradient_checkpointing,
        logging_steps=1,
        save_strategy="steps",
        save_steps=config.validate_every,
        save_total_limit=1,
        seed=seed,
        use_cpu=policy.model.device.type == "cpu",
        bf16=policy.model.device.type == "cuda",
        report_to=_trackers(config),
        disable_tqdm=True,  # `looks` below shows one bar with the reward
    )
    # With gradient checkpointing TRL makes the embeddings' output require gradients, and Qwen2.5-VL names its patch
    # embedding as one: the frozen vision tower would be differentiated through, at over a GB in the 3B model.
    policy.model.get_base_model().model.visual.get_input_embeddings = lambda: None
    adapter = {n: p.data.float().clone() for n, p in policy.model.named_parameters() if p.requires_grad}
    trainer = GRPOTrainer(
        model=policy.model,
        reward_funcs=reward_functions(policy, config),
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        processing_class=policy.processor,
        environment_factory=lambda: MagnifyingGlass(policy, magnifier, config, run.file("data")),
    )
    for name, parameter in policy.model.named_parameters():
        if name in adapter:  # TRL rounds adapters of quantised models to bf16, which loses small updates
            parameter.data = adapter[name]
    trainer.looks = _validation_looks(run, policy, magnifier, validation, state, stage, number)
    trainer.add_callback(trainer.looks)
    trainer.remove_callback(PrinterCallback)
    return trainer


def _trackers(config: Config) -> list[str]:
    """Where the trainer reports to, beside its own log. Config has checked that a tracker it names is installed."""
    if config.tracker:
        return [config.tracker] if config.tracker != "none" else []
    return ["tensorboard"] if importlib.util.find_spec("tensorboard") else []


def _last_checkpoint(folder: Path) -> str | None:
    from transformers.trainer_utils import get_last_checkpoint

    return get_last_checkpoint(str(folder)) if folder.is_dir() else None


def _validation_looks(run: Run, policy: Policy, magnifier, validation, state, stage: Stage, number: int):
    """A trainer callback: greedy accuracy on the validation set every so many steps; the best adapter is kept."""
    from tqdm import tqdm
    from transformers import TrainerCallback

    config, folder, main = run.config, run.file("training", "best"), processes.here().is_main_process
    offset = sum(config.stage_steps[:number])

    class Looks(TrainerCallback):
        rows: list = []

        def look(self, step):
            made = shared_rollout(
                policy, validation, run.file("data"), config, magnifier, condition="validation", progress=False
            )
            right = float(np.mean([rewards.answer(t) for t in made]))
            best = max((row["accuracy"] for row in state["validation"] + self.rows), default=-1)
            self.rows.append({"step": offset + step, "accuracy": right, "samples": len(made), **behaviour(made)})
            if right > best:
                save_adapter(policy, folder, self.rows[-1])

        def on_train_begin(self, args, trainer_state, control, **_):
            self.rows = [r for r in _looks_of(args.output_dir) if r["step"] <= offset + trainer_state.global_step]
            if number == 0 and not self.rows:
                self.look(0)

            self.bar = tqdm(
                total=stage.steps, initial=trainer_state.global_step, desc=stage.name, mininterval=5,
                disable=not main,
            )  # fmt: skip

        def on_log(self, args, trainer_state, control, logs, **_):
            if "reward" in logs:
                self.bar.set_postfix(reward=f"{logs['reward']:.2f}")

        def on_train_end(self, args, trainer_state, control, **_):
            self.bar.close()

        def on_step_end(self, args, trainer_state, control, **_):
            step = trainer_state.global_step
            self.bar.update(1)
            if step % config.validate_every == 0 or step == stage.steps:
                self.look(step)
                if main:
                    write_json(Path(args.output_dir) / "validation.json", self.rows)

    def _looks_of(output):
        path = Path(output) / "validation.json"
        return read_json(path) if path.exists() else []

    return Looks()
