"""GRPO's dials: settings of a run that TRL's GRPOConfig has under the same names, and what goes together.

When to turn which is said beside each in `config`. Imports none of the kit's other modules.
"""

import importlib.util
import math

AUTO = "auto"  # as many as the card has memory for, see `memory`; a step holds the same trajectories
SIZES = ("rollout_batch", "micro_batch", "batch_size")
DIALS = (
    "loss_type", "scale_rewards", "multi_objective_aggregation", "entropy_coef", "use_adaptive_entropy",
    "entropy_target", "mask_truncated_completions", "num_iterations",
)  # fmt: skip
VLLM_DIALS = ("vllm_gpu_memory_utilization", "vllm_enable_sleep_mode")
ALLOWED = {
    "loss_type": ("dapo", "grpo", "dr_grpo"),  # the others differ off-policy, or change with micro_batch
    "scale_rewards": ("group", "batch", "none"),
    "multi_objective_aggregation": ("sum_then_normalize", "normalize_then_sum"),  # the second is GDPO, 2601.05242
}


def check(config) -> None:
    """Raise a ValueError of one sentence for a dial that is out of range, or two that do not go together."""
    _check_step(config)
    if config.num_iterations < 1:
        raise ValueError(f"num_iterations={config.num_iterations}; expected at least 1")
    for name, value in vars(config).items():
        if isinstance(value, float) and not 0 <= value < math.inf:  # NaN compares False
            raise ValueError(f"{name}={value}; expected 0 or more")
    for name, value in config.rewards.items():
        if type(value) not in (int, float) or not math.isfinite(value):
            raise ValueError(f"rewards: {name}={value!r}; expected a number as its weight")
    if min(config.stage_steps, default=0) < 0:
        raise ValueError(f"stage_steps={list(config.stage_steps)}; expected 0 or more each")
    if not 0 < config.vllm_gpu_memory_utilization <= 1:
        raise ValueError(
            f"vllm_gpu_memory_utilization={config.vllm_gpu_memory_utilization}; expected a share over 0, up to 1"
        )
    if config.vllm and config.four_bit:  # TRL merges the adapter into the weights that it hands to vLLM
        raise ValueError("vllm: true wants four_bit: false; merged into NF4, the adapter would be rounded away")
    if config.vllm and not importlib.util.find_spec("vllm"):
        raise ValueError("vllm: true, but vllm is not installed; install it, or set vllm: false")
    if config.vllm_enable_sleep_mode and not config.vllm:
        raise ValueError("vllm_enable_sleep_mode: true wants vllm: true; without vLLM there is nothing to put to sleep")
    if config.multi_objective_aggregation == "normalize_then_sum" and config.scale_rewards != "group":
        raise ValueError(  # TRL would not look at it
            f"scale_rewards={config.scale_rewards!r} has no effect with multi_objective_aggregation: "
            "normalize_then_sum; expected scale_rewards: group"
        )
    whole = config.samples_per_step * config.num_generations
    if config.num_iterations > 1 and config.rollout_batch not in (0, whole):
        raise ValueError(  # TRL repeats each part within the step, before any update
            f"num_iterations={config.num_iterations} wants a step's {whole} trajectories sampled at once, and "
            f"rollout_batch={config.rollout_batch} may sample them in parts; expected rollout_batch: 0"
        )


def _check_step(config) -> None:
    """The sizes of an optimisation step: whole groups sampled at once, whole passes of these."""
    if config.num_generations < 2:
        raise ValueError("num_generations=1; a group needs at least 2 trajectories to have an advantage")
    whole = config.samples_per_step * config.num_generations
    sampled = whole if config.rollout_batch in (0, AUTO) else config.rollout_batch
    micro = sampled if config.micro_batch in (0, AUTO) else config.micro_batch
    if sampled < 1 or whole % sampled or sampled % config.num_generations:
        raise ValueError(
            f"rollout_batch={sampled}; expected a multiple of num_generations={config.num_generations} that divides "
            f"the {whole} trajectories of a step"
        )
    if micro < 1 or sampled % micro:
        raise ValueError(f"micro_batch={micro}; expected a divisor of the {sampled} trajectories sampled at once")
