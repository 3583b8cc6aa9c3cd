"""Curriculum RL in one pass: TRL's GRPOTrainer on two-round episodes, stage by stage, resumable.

What is TRL's: sampling and the tool loop, group advantages, the loss, the mask that keeps tool tokens out of it, the
optimiser, checkpoints. How the kit departs from plain GRPO (Shao et al. 2024, arXiv 2402.03300):

1. A rollout is an episode of two rounds (`trl_environment`); only tokens that the policy wrote carry loss.
2. The reward is a weighted sum of rule-based parts (`rewards`); the advantage is that of the sum.
3. The loss is averaged over all tokens of a step (TRL's `loss_type: dapo`), and a batch is used for one update.
4. The KL penalty is against the adapter with which the stage began, not against the base.
5. Samples come in stages, easy ones first (`curriculum`); each stage begins with a fresh optimiser.
6. The adapter that is kept did best on a validation set (`monitoring`); it need not be the last.
7. With `cold_start`, a stage of supervised finetuning (TRL's SFTTrainer) comes first.
"""

import importlib.util
import math
import zipfile
from collections import Counter
from pathlib import Path

from mags_kit import compat
from mags_kit.config import Config
from mags_kit.method import cold_start, monitoring, parsing, processes
from mags_kit.method.curriculum import Stage
from mags_kit.method.episode import Agent
from mags_kit.method.policy import Policy, check_adapter, load_policy, precision, save_adapter
from mags_kit.method.trl_environment import Environment, reward_functions
from mags_kit.records import Sample, read_json, write_json
from mags_kit.run import Run


def train(run: Run, validation: list[Sample], stages: list[Stage]) -> Path:
    """Train a LoRA adapter through the stages and return the folder of the one that did best on `validation`.

    A finished stage is not done again; an interrupted one goes on from its last checkpoint. Under `accelerate launch`
    every process calls this, and they share the trajectories of each step.
    """
    state, adapter = {"stages": [], "log": [], "validation": [], "alarms": []}, run.config.adapter
    if run.training_log.exists():
        state |= read_json(run.training_log)
    first = [cold_start.stage(run)] if run.config.cold_start else []
    for stage in (stage for stage in first + stages if stage.steps):
        if stage.name not in state["stages"]:
            _train_stage(run, adapter, validation, stage, state)
            free_memory()  # or two models would be in memory while the next stage loads its own
        adapter = run.adapter(stage.name)
    return run.best


def _train_stage(run: Run, adapter: str | Path, validation: list[Sample], stage: Stage, state: dict) -> None:
    compat.transformers().set_seed(_seed(run.config, stage))  # a new adapter starts from random numbers
    policy = load_policy(run.config, adapter, trainable=True)
    monitor = monitoring.Validation(run, Agent.of(run, policy), validation, stage, state["validation"])
    trainer = (build_imitation if stage.imitated else build_trainer)(run, policy, stage, (monitor,))
    try:
        trainer.train(resume_from_checkpoint=last_checkpoint(run.stage(stage.name)))
    finally:
        state["alarms"] += monitor.raised.values()
        if processes.here().is_main_process:
            write_json(run.training_log, state)
    save_adapter(policy, run.adapter(stage.name))
    for row in trainer.state.log_history:  # JSON has no NaN
        row = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
        state["log"].append(row | {"step": row["step"] + stage.before, "stage": stage.name})
    state["validation"] += monitor.rows
    state["stages"].append(stage.name)
    processes.main_does(write_json, run.training_log, state)


def build_trainer(run: Run, policy: Policy, stage: Stage, callbacks: tuple = ()):
    """TRL's trainer for one stage, with the kit's environment and rewards; a row of its dataset names a sample."""
    from datasets import Dataset
    from trl import GRPOTrainer

    config, agent, args = run.config, Agent.of(run, policy), arguments(run, policy, stage)
    rows = [
        {"prompt": [*policy.opening_messages, {"role": "user", "content": ""}], "number": i}
        for i in range(len(stage.samples))
    ]
    groups = args.generation_batch_size // config.num_generations
    if groups < config.samples_per_step or len(rows) < groups:
        # else an epoch could end within a step, or be empty
        rows *= config.samples_per_step // math.gcd(len(rows), config.samples_per_step)
    compat.parse_replies_with(policy.processor.tokenizer, parsing.message)
    begun = Counter()

    class Trainer(GRPOTrainer):
        def _get_tool_suffix_ids(self, messages):  # a reply ends at its call: the end mark belongs to what follows
            return [policy.processor.tokenizer.eos_token_id, *super()._get_tool_suffix_ids(messages)]

        def _generate(self, prompts):
            with policy.sampling():
                return super()._generate(prompts)

    return _trainer(
        Trainer,
        policy,
        reward_funcs=reward_functions(agent),
        args=args,
        train_dataset=Dataset.from_list(rows),
        environment_factory=lambda: Environment(agent, stage.samples, begun),
        callbacks=list(callbacks),
    )


def build_imitation(run: Run, policy: Policy, stage: Stage, callbacks: tuple = ()):
    """TRL's trainer for a stage that imitates trajectories; a row of its dataset is the number of one."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    agent, share = Agent.of(run, policy), max(1, cold_start.BATCH // processes.here().num_processes)
    micro = math.gcd(share, run.config.step_batches[1])
    args = SFTConfig(
        **_common(run, policy, stage),
        learning_rate=max(run.config.learning_rate, cold_start.RATE),
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=share // micro,
        dataset_kwargs={"skip_prepare_dataset": True},  # `cold_start.batch` makes the tokens, the same as in RL
        remove_unused_columns=False,
    )
    return _trainer(
        SFTTrainer,
        policy,
        args=args,
        train_dataset=Dataset.from_list([{"number": i} for i in range(len(stage.imitated))]),
        data_collator=lambda rows: cold_start.batch(agent, [stage.imitated[row["number"]] for row in rows]),
        callbacks=list(callbacks),
    )


def _trainer(kind, policy: Policy, **options):
    """A trainer of TRL's class `kind` for the policy's adapter, in float32, and nothing else."""
    from transformers import PrinterCallback

    compat.keep_vision_frozen(policy.model)
    adapter = {n: p.data.float().clone() for n, p in policy.model.named_parameters() if p.requires_grad}
    trainer = kind(model=policy.model, processing_class=policy.processor, **options)
    for name, parameter in policy.model.named_parameters():
        if name in adapter:  # TRL rounds adapters of quantised models to bf16, which loses small updates
            parameter.data = adapter[name]
    trainer.remove_callback(PrinterCallback)
    return trainer


def arguments(run: Run, policy: Policy, stage: Stage):
    from trl import GRPOConfig

    config = run.config
    options = dict(
        **_common(run, policy, stage),
        learning_rate=config.learning_rate,
        **batches(config, processes.here().num_processes),
        num_generations=config.num_generations,
        max_tool_calling_iterations=config.max_looks,
        **sampling(config, policy),
        temperature=config.temperature,
        top_k=0,
        beta=config.beta,
        scale_rewards=config.scale_rewards,
        reward_weights=[float(w) for w in config.rewards.values()],
    )
    return GRPOConfig(**options | config.grpo)


def _common(run: Run, policy: Policy, stage: Stage) -> dict:
    """What every stage asks of transformers' Trainer."""
    config = run.config
    return dict(
        output_dir=str(run.stage(stage.name)),
        max_steps=stage.steps,
        lr_scheduler_type="constant",
        optim=config.optimizer,
        gradient_checkpointing=config.gradient_checkpointing,
        logging_steps=1,
        logging_nan_inf_filter=False,  # or a loss that is no number would be logged as one
        save_strategy="steps",
        save_steps=config.validate_every,
        save_total_limit=1,
        seed=_seed(config, stage),
        use_cpu=policy.model.device.type == "cpu",
        bf16=precision() == "bfloat16",
        fp16=precision() == "float16",
        report_to=config.tracker or ("tensorboard" if importlib.util.find_spec("tensorboard") else "none"),
        disable_tqdm=True,  # `monitoring.Validation` shows one bar with the reward
    )


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
    """TRL's limits of tokens, for a round and for a completion; image tokens are never sampled, by either engine."""
    budget, limit = config.completion_budget(policy.factor), config.round_tokens
    if not config.vllm:
        generation = {"max_new_tokens": limit, "suppress_tokens": policy.vision_ids}
        return {"max_completion_length": budget, "generation_kwargs": generation}
    generation = {"max_tokens": limit, "stop_token_ids": policy.stops}
    generation["logit_bias"] = dict.fromkeys(policy.vision_ids, -100.0)
    prompt = config.first_view_pixels // policy.factor**2 + 1024  # image tokens, and the prompt's text
    engine = {"use_vllm": True, "vllm_max_model_length": prompt + budget}
    return {"max_completion_length": budget, "generation_kwargs": generation, **engine}


def last_checkpoint(folder: Path) -> str | None:
    """The last checkpoint that is whole; a line says which later ones are passed over, and why."""
    steps = {int(p.name.split("-")[1]): p for p in folder.glob("checkpoint-*") if p.name.split("-")[1].isdigit()}
    for _, checkpoint in sorted(steps.items(), reverse=True):
        try:
            _check_checkpoint(checkpoint)
            return str(checkpoint)
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            print(f"{checkpoint} is passed over, for an earlier one or the stage's start: {error}", flush=True)
    return None


def _check_checkpoint(folder: Path) -> None:
    """Raise an error unless all its files are whole: training may be killed while it writes, and copies end early."""
    state = read_json(folder / "trainer_state.json")
    if not isinstance(state, dict) or type(state.get("global_step")) is not int:
        raise ValueError("its trainer_state.json names no global_step")
    check_adapter(folder)
    for name in ("optimizer.pt", "scheduler.pt", "rng_state*.pth"):  # zip archives, as torch writes them
        files = [*folder.glob(name)]
        if not files or not all(map(zipfile.is_zipfile, files)) or any(zipfile.ZipFile(f).testzip() for f in files):
            raise ValueError(f"its {name} is missing or damaged")


def free_memory() -> None:
    from accelerate.utils.memory import clear_device_cache

    clear_device_cache(garbage_collection=True)


def _seed(config: Config, stage: Stage) -> int:
    return config.seed * 100 + stage.number

