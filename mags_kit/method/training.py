"""Curriculum RL: TRL's GRPOTrainer with the magnifying glass as its environment, stage by stage, resumable.

What is TRL's: the group advantages, the loss, the optimiser, the tool loop, the mask that keeps tool tokens out of
the loss. What is here: the stages, and how they are resumed; beside it, the guards (`environment`), the
alarms, and the choice of the best checkpoint by the validation set (`validation`).
"""

import gc
import importlib.util
import math
from dataclasses import replace
from pathlib import Path

from mags_kit import compat
from mags_kit.config import Config
from mags_kit.config import GRPO_SETTINGS, VLLM_SETTINGS
from mags_kit.method import alarms, fit, processes
from mags_kit.method.adapters import save_adapter
from mags_kit.method.curriculum import Stage
from mags_kit.method.trl_environment import Environment, reward_functions, trainer_class
from mags_kit.method.keeping import Kept
from mags_kit.method.episode import Agent
from mags_kit.method.policy import Policy, load_policy, precision
from mags_kit.method.validation import Validation
from mags_kit.method.visits import SolveRates
from mags_kit.records import Sample, read_json, write_json
from mags_kit.run import Run


def train(run: Run, validation: list[Sample], stages: list[Stage]) -> Path:
    """Train a LoRA adapter through the stages and return the folder of the one that did best on `validation`.

    A finished stage is not done again; an interrupted one goes on from its last checkpoint. Under `accelerate launch`
    every process calls this; a step stays what it is in one process, and the main one alone writes.
    """
    set_seed = compat.transformers().set_seed
    config, state = run.config, {"stages": [], "log": [], "validation": [], "alarms": []}
    if run.training_log.exists():
        state |= read_json(run.training_log)
    for number, stage in enumerate(stages):
        if stage.name in state["stages"] or not stage.steps:
            continue
        before = run.adapter(stages[number - 1].name) if number else config.adapter
        set_seed(config.seed * 100 + number)  # a new adapter starts from random numbers
        policy = load_policy(config, before, trainable=True)
        looks = Validation(run, Agent.of(run, policy), validation, stage, number, state["validation"])
        checkpoint, rates = last_checkpoint(run.stage(stage.name)), None
        if config.curriculum == "learnable":
            rates = SolveRates(stage.samples, run.stage(stages[number - 1].name) if number else None)
            if checkpoint:
                rates.resume(checkpoint)
        trainer = build_trainer(run, policy, stage, number, [looks], rates)
        try:
            trainer.train(resume_from_checkpoint=checkpoint)
        finally:
            raised = [{"stage": stage.name, **alarm} for alarm in alarms.summary(trainer.state.log_history)]
            state["alarms"] = [alarm for alarm in state["alarms"] if alarm["stage"] != stage.name] + raised
            _write(run, state)
        save_adapter(policy, run.adapter(stage.name))
        log = [{**row, "step": row["step"] + looks.offset, "stage": stage.name} for row in trainer.state.log_history]
        state["log"] += map(alarms.finite, log)
        state["validation"] += looks.rows
        state["stages"].append(stage.name)
        _write(run, state)
        processes.here().wait_for_everyone()
        del trainer, policy, looks  # or two models would be in memory while the next stage loads its own
        free_memory()
    return run.best


def _write(run: Run, state: dict) -> None:
    if processes.here().is_main_process:
        write_json(run.training_log, state)


def batches(config: Config, count: int) -> dict[str, int]:
    """TRL's batch settings in `count` processes, so that an optimisation step holds the same trajectories as in one."""
    sampled, micro = fit.fitted(config, count).step_batches
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
    longest = config.first_view_pixels // policy.factor**2 + config.completion_budget(policy.factor)
    return {
        "use_vllm": True,
        "vllm_max_model_length": longest + 1024,  # the prompt's text
        "generation_kwargs": {
            "max_tokens": config.round_tokens, "logit_bias": dict.fromkeys(policy.vision_ids, -100.0)
        },
    }  # fmt: skip


def build_trainer(run: Run, policy: Policy, stage: Stage, number: int, callbacks: list, rates=None):
    """TRL's trainer for one stage, with the kit's rewards, environment and guards; `callbacks` join its own, and
    `rates` (see `visits`) say which samples a step visits."""
    from datasets import Dataset
    from transformers import PrinterCallback
    from transformers.trainer_utils import set_seed

    config, agent = run.config, Agent.of(run, policy)
    if stage.first_view_pixels:
        agent = replace(agent, config=replace(agent.config, first_view_pixels=stage.first_view_pixels))
    set_seed(config.seed * 100 + number)
    rows = [{"prompt": [{"role": "user", "content": ""}], "sample": i} for i in range(len(stage.samples))]
    # else an epoch could end in a step
    if agent.config.step_batches[0] < config.samples_per_step * config.num_generations:
        rows *= config.samples_per_step // math.gcd(len(rows), config.samples_per_step)
    # With gradient checkpointing TRL makes the embeddings' output require gradients, and Qwen2.5-VL names its patch
    # embedding as one: the frozen vision tower would be differentiated through, at over a GB in the 3B model.
    policy.model.get_base_model().model.visual.get_input_embeddings = lambda: None
    adapter = {n: p.data.float().clone() for n, p in policy.model.named_parameters() if p.requires_grad}
    trainer = trainer_class(rates)(
        model=policy.model,
        reward_funcs=reward_functions(agent, Kept(run, stage, number).add, rates),
        args=_arguments(run, policy, stage, number),
        train_dataset=Dataset.from_list(rows),
        processing_class=policy.processor,
        environment_factory=lambda: Environment(agent, stage.samples),
    )
    for name, parameter in policy.model.named_parameters():
        if name in adapter:  # TRL rounds adapters of quantised models to bf16, which loses small updates
            parameter.data = adapter[name]
    for callback in [rates, *callbacks] if rates else callbacks:
        trainer.add_callback(callback)
    trainer.remove_callback(PrinterCallback)
    return trainer


def _arguments(run: Run, policy: Policy, stage: Stage, number: int):
    from trl import GRPOConfig

    config = run.config
    return GRPOConfig(
        output_dir=str(run.stage(stage.name)),
        max_steps=stage.steps,
        learning_rate=config.learning_rate,
        lr_scheduler_type="constant",
        **batches(config, processes.here().num_processes),
        num_generations=config.num_generations,
        max_completion_length=config.completion_budget(policy.factor),
        max_tool_calling_iterations=1,
        **sampling(config, policy),
        temperature=config.temperature,
        top_k=0,
        beta=config.beta,
        **{name: getattr(config, name) for name in (*GRPO_SETTINGS, *(VLLM_SETTINGS if config.vllm else ()))},
        optim=config.optimizer,
        reward_weights=[float(w) for w in config.rewards.values()],
        gradient_checkpointing=config.gradient_checkpointing,
        logging_steps=1,
        logging_nan_inf_filter=False,  # or a loss that is no number would be logged as one
        save_strategy="steps",
        save_steps=config.validate_every,
        save_total_limit=1,
        seed=config.seed * 100 + number,
        use_cpu=policy.model.device.type == "cpu",
        bf16=precision() == "bfloat16",
        fp16=precision() == "float16",
        report_to=_trackers(config),
        disable_tqdm=True,  # `Validation` shows one bar with the reward
    )


def _trackers(config: Config) -> list[str]:
    """Where the trainer reports to, beside its own log. Config has checked that a tracker it names is installed."""
    if config.tracker:
        return [config.tracker] if config.tracker != "none" else []
    return ["tensorboard"] if importlib.util.find_spec("tensorboard") else []


def last_checkpoint(folder: Path) -> str | None:
    """The last that is whole: the trainer writes its state last, and a process may be killed before or in that."""
    whole = []
    for state in folder.glob("checkpoint-*/trainer_state.json"):
        try:
            whole.append((read_json(state)["global_step"], str(state.parent)))
        except ValueError:
            pass
    return max(whole)[1] if whole else None


def free_memory() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
