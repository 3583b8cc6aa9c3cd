"""Every setting of a run, the profiles, and the checks of what goes together."""

import difflib
import importlib.util
import math
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import yaml

# Networks that enlarge a region, which `method.magnifier` knows by name
NETWORKS = ("realesr-animevideov3", "realesrgan-x4plus", "realesrgan-x4plus-anime")
BLANK = "blank"  # a magnifier that shows plain grey: a control of what an answer owes to the view's content
MAGNIFIERS = (*NETWORKS, "bicubic", "none", BLANK)  # `none`: a view is not enlarged
BENCHMARKS = ("vsr", "tallyqa", "gqa")
CURRICULA = ("easy_first", "shuffled", "hard_first", "learnable")
COLD_START = "cold start"  # name of the stage before RL that the setting `cold_start` asks for
# transformers' name -> bytes of state per trainable parameter; paged states move to the host when GPU memory is full
OPTIMIZERS = {"adamw_torch_fused": 8, "adamw_torch": 8, "adamw_8bit": 2, "paged_adamw_8bit": 2, "paged_adamw_32bit": 8}
WEIGHTS = {"answer": 1.0, "format": 0.2, "regions": 0.3, "draft": 0.15, "verify": 0.05}  # of rewards, by default
COSTS = ("look_cost", "token_cost")  # further rewards, of weight 0: for each look, for each image token of the views
ASKED = ("question", "max_regions", "frame", "example")
# The texts of method.protocol, and what each may hold in braces
PROMPTS = dict.fromkeys(("two", "free", "reason", "direct", "options", "boxes"), ASKED)
PROMPTS |= {"view": ("number", "box", "times"), "again": (), "due": ()}
# What the setting `grpo` may hold, which goes to TRL's GRPOConfig as it is; docs/large-models.md says when to use it
GRPO_SETTINGS = (
    "loss_type", "multi_objective_aggregation", "entropy_coef", "use_adaptive_entropy", "entropy_target",
    "mask_truncated_completions", "num_iterations", "vllm_gpu_memory_utilization", "vllm_enable_sleep_mode",
)  # fmt: skip
CHOICES = {
    "curriculum": CURRICULA, "selection": ("even", "hardest", "varied", "random"), "optimizer": tuple(OPTIMIZERS),
    "vsr": ("random", "zeroshot"), "grid": ("short", "full"), "prompt_style": ("compact", "full"),
    "data": ("scenes", "benchmarks"), "test_sets": ("grit", "full", "highres", "highres-8k"),
    "tracker": ("", "none", "tensorboard", "wandb", "trackio"),
    "scale_rewards": ("group", "batch", "none"), "gate": ("answer", "always", "none"),
    "sample_in": ("auto", "nf4", "full"), "magnifier": MAGNIFIERS,
}  # fmt: skip
LEAST = {
    "test": 0, "batch_size": 1, "num_generations": 2, "samples_per_step": 1, "validate_every": 1, "cold_start": 0,
    "pass_k": 0, "pass_questions": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Config:
    """Every setting of a run. Sizes of images are pixels, of texts tokens."""

    # policy
    model: str = "embedded"  # `embedded`, a local folder, or a hub id of a Qwen2.5-VL, Qwen3-VL or Qwen3.5
    adapter: str = ""  # folder of a PEFT adapter to start from; empty: a new one
    prompt_style: str = "compact"  # `compact` for the embedded model's small vocabulary, `full` otherwise
    prompts: dict = field(default_factory=dict)  # texts in place of the style's own, see PROMPTS above
    four_bit: bool = True  # NF4 with double quantisation, by bitsandbytes; the vision tower keeps its precision
    sample_in: str = "full"  # replies from a full copy of the 4-bit weights, or slower from `nf4`; `auto`: by memory
    lora_rank: int = 16
    lora_alpha: int = 32
    # views
    first_view_pixels: int = 192 * 192  # budget of the whole image in round 1
    view_pixels: int = 128 * 128  # budget of one magnified view
    magnifier: str = "realesr-animevideov3"  # see MAGNIFIERS above
    margin: float = 0.1  # added around a region on each side, as a share of its side
    max_regions: int = 2  # regions that a reply may ask for
    max_looks: int = 1  # tool calls in an episode, 1 to 4; the paper has one
    must_look: bool = True  # else an answer in round 1 ends the episode, and is no fault
    round_tokens: int = 40  # the policy's own tokens per round, at most
    # data
    data: str = "scenes"  # `scenes` (procedural) or `benchmarks` (VSR, TallyQA, GQA)
    benchmarks: tuple[str, ...] = BENCHMARKS  # which of them
    mirror: str = ""  # a folder with the hub's files of the benchmarks (`repo/file`), and photos under `images`
    test_sets: str = "grit"  # GRIT's subsets, the closest published numbers; `full`; `highres`, `highres-8k` (V*, HR)
    vsr: str = "random"  # VSR's split for training; `zeroshot` holds other concepts in its test set
    revisions: dict = field(default_factory=dict)  # of models and data sets on the hub: {repo: commit}
    own: str = ""  # a JSONL of image, question, answer: takes the place of the test set
    train: str = ""  # another, of which pool and validation are made: `pool`, `curated`, `validation` of it at most
    curated_ids: str = ""  # a file of ids, one a line: these candidates are the pool, and all are training samples
    pool: int = 240  # candidates to curate from; 0, with `curated` and `validation` 0: evaluation only
    solve_rollouts: int = 4  # rollouts per candidate that measure its solve rate
    curated: int = 40  # training samples
    validation: int = 90  # questions that choose the checkpoint
    test: int = 300  # questions that results are measured on; 0: every row of the benchmarks, or of `own`
    # curriculum RL
    cold_start: int = 0  # steps of finetuning on the base's own good trajectories of the pool, before RL; 0: none
    selection: str = "even"  # spread evenly over solve rates; the `hardest`, the most `varied`; `random`, the baseline
    curriculum: str = "easy_first"  # order of the samples over the stages, see method.curriculum
    stage_steps: tuple[int, ...] = (10, 35)  # optimisation steps of each stage; 0 steps in all: no training
    samples_per_step: int = 8  # groups in one step
    num_generations: int = 8  # trajectories in a group (G)
    rollout_batch: int = 0  # trajectories of a step sampled at once, whole groups; 0: all
    micro_batch: int = 0  # trajectories in one forward and backward pass; 0: all sampled at once
    optimizer: str = "adamw_torch_fused"  # see OPTIMIZERS above
    learning_rate: float = 1e-3
    temperature: float = 1.0
    vllm: bool = False  # training's rollouts by vLLM, beside the policy on its GPU; wants `four_bit: false`
    gradient_checkpointing: bool = False  # less memory, more time; for models of useful size
    beta: float = 0.05  # weight of the KL penalty against what the stage began with
    scale_rewards: str = "none"  # divides advantages by their deviation in a `group`, a `batch`, or not at all
    grpo: dict = field(default_factory=dict)  # further settings of TRL's trainer, see GRPO_SETTINGS above
    rewards: dict = field(default_factory=WEIGHTS.copy)  # weights; 0: log only. `my_rewards.py:name` is one of your own
    gate: str = "answer"  # `regions` pays where the `answer` is right, `always`, or never (`none`)
    validate_every: int = 10  # steps between two evaluations on the validation set
    # what the reference results and the ablations vary
    other_seeds: tuple[int, ...] = (1, 2)  # further seeds: another choice from the same pool, another training
    sizes: tuple[int, ...] = (10, 20, 80)  # numbers of samples beside `curated`
    orders: tuple[str, ...] = CURRICULA  # compared with `curriculum`
    look_costs: tuple[float, ...] = (0.0, 0.1, 0.3, 0.4)  # of a look, beside 0.2, in notebook 07
    # the embedded base model, trained from scratch by notebook 00
    base_steps: tuple[int, ...] = (1000, 1200, 700, 700, 900)  # steps of its phases, see tiny_base.lessons.PHASES
    # evaluation, and all
    grid: str = "short"  # conditions to measure: the main ones, or `full` (see evaluation.conditions)
    pass_k: int = 0  # sampled answers to a question for pass@k, by base and trained policy; 0: not measured
    pass_questions: int = 300  # of the test set, drawn at random, for pass@k; it takes `pass_k` times as long as greedy
    batch_size: int = 48  # trajectories sampled at once outside training
    tracker: str = ""  # tensorboard, wandb or trackio; `none`; empty: tensorboard if it is installed
    seed: int = 0

    @property
    def step_batches(self) -> tuple[int, int]:
        """(trajectories sampled at once, trajectories in one forward and backward pass) of an optimisation step."""
        sampled = self.rollout_batch or self.samples_per_step * self.num_generations
        return sampled, self.micro_batch or sampled

    @property
    def model_name(self) -> str:
        """The model as figures name it."""
        return "tiny model" if self.model == "embedded" else Path(self.model).name

    def completion_budget(self, factor: int) -> int:
        """Tokens that all rounds and the views between them can take; TRL drops a view that does not fit, silently.

        `factor` is the side in pixels that one image token covers.
        """
        own = {name: len(self.prompts.get(name, "")) for name in ("view", "again", "due")}  # a token a letter at most
        words = own["view"] or 48 * (self.prompt_style == "full")
        views = self.max_regions * (self.view_pixels // factor**2 + 2 + words)
        frame = 64 + max(own["again"], own["due"])  # of the tool message
        return (self.max_looks + 1) * self.round_tokens + self.max_looks * (views + frame)

    def __post_init__(self):
        _check_each(self)
        _check_together(self)


def expect(holds, config: Config, name: str, expected: str) -> None:
    """Raise a ValueError that names a setting, its value, and what was expected, unless it holds."""
    if not holds:
        raise ValueError(f"{name}={getattr(config, name)!r}; expected {expected}")


def _check_each(config: Config) -> None:
    """Raise a ValueError for a setting that is wrong whatever the others are."""
    for name, allowed in CHOICES.items():
        expect(getattr(config, name) in allowed, config, name, f"one of {', '.join(v or repr(v) for v in allowed)}")
    for name, bound in LEAST.items():
        expect(getattr(config, name) >= bound, config, name, f"at least {bound}")
    for name, value in vars(config).items():
        if isinstance(value, float):
            expect(0 <= value < math.inf, config, name, "0 or more")  # NaN compares False
    expect({*config.orders} <= {*CURRICULA}, config, "orders", f"some of {', '.join(CURRICULA)}")
    some = config.benchmarks and {*config.benchmarks} <= {*BENCHMARKS}
    expect(some, config, "benchmarks", f"some of {', '.join(BENCHMARKS)}")
    expect(1 <= config.max_looks <= 4, config, "max_looks", "1 to 4")
    expect(min(config.stage_steps, default=0) >= 0, config, "stage_steps", "0 or more each")
    rewards = [name for name in config.rewards if ".py:" not in name]
    for what, given, known in (
        ("reward", rewards, (*WEIGHTS, *COSTS, "my_rewards.py:name")),
        ("prompt", config.prompts, PROMPTS),
        ("grpo setting", config.grpo, GRPO_SETTINGS),
    ):
        if unknown := sorted({*given} - {*known}):
            raise ValueError(f"{what} {unknown[0]!r} is unknown; expected one of {', '.join(known)}")
    for name, text in config.prompts.items():
        try:
            text.format(**dict.fromkeys(PROMPTS[name], ""))
        except (AttributeError, LookupError, ValueError):
            blanks = f"some of {', '.join(PROMPTS[name])}" if PROMPTS[name] else "nothing"
            expected = f"expected a text with {blanks} in braces, and two for a brace itself"
            raise ValueError(f"prompt {name!r} is {text!r:.60}; {expected}") from None
    for name, weight in config.rewards.items():
        file = name.rpartition(":")[0]
        if ".py:" in name and not Path(file).is_file():
            raise ValueError(f"rewards: {file}: no such file; expected one that defines a function of a trajectory")
        if type(weight) not in (int, float) or not math.isfinite(weight):
            raise ValueError(f"rewards: {name}={weight!r}; expected a number as its weight")
    if config.mirror and not Path(config.mirror).is_dir():
        expected = "expected one with files like cambridgeltl/vsr_random/train.jsonl"
        raise ValueError(f"mirror={config.mirror!r}: no such folder; {expected}")
    if config.tracker not in ("", "none") and not importlib.util.find_spec(config.tracker):
        raise ValueError(f"tracker={config.tracker!r} is not installed; install it, or set tracker: none")
    rows, ids = "a JSONL with image, question and answer a row", "ids of candidates, one a line"
    files = ("DATA", config.own, rows), ("TRAIN", config.train, rows), ("CURATED", config.curated_ids, ids)
    for name, file, expected in files:
        if file and not Path(file).is_file():
            raise ValueError(f"{name}={file}: no such file; expected {expected}")


def _check_together(config: Config) -> None:
    """Raise a ValueError for settings that do not go together."""
    steps = sum(config.stage_steps)
    if config.pool or config.curated or config.validation or steps:
        for name in ("pool", "curated", "validation"):
            expect(getattr(config, name) >= 1, config, name, "at least 1")
    some = config.test or config.own or config.data == "benchmarks"
    expect(some, config, "test", "at least 1; 0, all rows, is for benchmarks and for DATA=")
    if config.cold_start and not steps:
        raise ValueError(f"cold_start={config.cold_start} is a start for RL; expected 0 where stage_steps has no steps")
    if config.curated > config.pool:
        raise ValueError(f"curated={config.curated} samples cannot come from a pool of {config.pool}")
    if config.train and config.own and Path(config.train).samefile(config.own):
        raise ValueError(f"TRAIN and DATA are both {config.train}; expected two files, with other pictures in each")
    if (config.train or config.curated_ids) and not config.pool:
        raise ValueError("pool=0 trains nothing; expected it without TRAIN and CURATED")
    # an optimisation step samples whole groups at once, and trains on whole micro-batches of these
    whole, group = config.samples_per_step * config.num_generations, config.num_generations
    sampled, micro = config.step_batches
    if sampled < 1 or whole % sampled or sampled % group:
        expected = f"a multiple of num_generations={group} that divides the {whole} trajectories of a step"
        raise ValueError(f"rollout_batch={sampled}; expected {expected}")
    if micro < 1 or sampled % micro:
        raise ValueError(f"micro_batch={micro}; expected a divisor of the {sampled} trajectories sampled at once")
    if config.vllm and config.four_bit:  # TRL merges the adapter into the weights that it hands to vLLM
        raise ValueError("vllm: true needs four_bit: false; merged into NF4, the adapter would be rounded away")
    if config.vllm and not importlib.util.find_spec("vllm"):
        raise ValueError("vllm: true, but vllm is not installed; install it, or set vllm: false")


def model_path(name: str) -> str:
    """`embedded` -> the folder that the kit ships; a local folder or a hub id stays."""
    return str(Path(__file__).parent / "assets" / "base") if name == "embedded" else name


_PAPER = Config(
    prompt_style="full", data="benchmarks", first_view_pixels=640 * 28 * 28 // 2, view_pixels=384 * 384,
    magnifier="realesrgan-x4plus", max_regions=3, round_tokens=512, pool=400, solve_rollouts=8, test=1288,
    stage_steps=(60, 100), learning_rate=1e-5, lora_rank=32, lora_alpha=64, beta=0.01, gradient_checkpointing=True,
    optimizer="paged_adamw_8bit", sample_in="auto", pass_k=8, validate_every=20,
)  # fmt: skip
# The largest batches that fit a GPU of 24 GB, by the count of `memory`
_large = partial(replace, _PAPER)
PROFILES = {
    "smoke": Config(
        pool=12, solve_rollouts=2, curated=6, validation=6, test=12, stage_steps=(1, 1), samples_per_step=2,
        num_generations=4, validate_every=1, batch_size=16, other_seeds=(1,), sizes=(3,), orders=("learnable",),
        look_costs=(0.4,), base_steps=(2, 2, 2, 2, 2), pass_k=2,
    ),
    "cpu": Config(),
    "rule": Config(must_look=False, test=600, curriculum="shuffled", stage_steps=(60,)),
    "reference": Config(pool=2000, validation=180, test=900, grid="full", other_seeds=(1, 2, 3, 4), pass_k=16),
    "paper": _large(model="Qwen/Qwen2.5-VL-3B-Instruct", rollout_batch=32, micro_batch=8, batch_size=32),
    "paper-7b": _large(model="Qwen/Qwen2.5-VL-7B-Instruct", rollout_batch=16, micro_batch=4, batch_size=16),
    "qwen3-vl-2b": _large(model="Qwen/Qwen3-VL-2B-Instruct", rollout_batch=16, micro_batch=16, batch_size=24),
    "qwen3-vl-4b": _large(model="Qwen/Qwen3-VL-4B-Instruct", rollout_batch=16, micro_batch=8, batch_size=24),
    "qwen3-vl-8b": _large(model="Qwen/Qwen3-VL-8B-Instruct", rollout_batch=8, micro_batch=4, batch_size=8),
    # up to 4B in full weights, see method.families
    "qwen3.5-0.8b": _large(model="Qwen/Qwen3.5-0.8B", rollout_batch=32, micro_batch=16, batch_size=32, four_bit=False),
    "qwen3.5-2b": _large(model="Qwen/Qwen3.5-2B", rollout_batch=32, micro_batch=8, batch_size=32, four_bit=False),
    "qwen3.5-4b": _large(model="Qwen/Qwen3.5-4B", rollout_batch=8, micro_batch=2, batch_size=8, four_bit=False),
    "qwen3.5-9b": _large(model="Qwen/Qwen3.5-9B", rollout_batch=8, micro_batch=2, batch_size=8),
}  # fmt: skip


def profile_of(model: str) -> str:
    """The profile that a model has of its own, else `paper`."""
    return next((name for name, config in PROFILES.items() if config.model == model and name != "smoke"), "paper")


def load_config(profile: str = "cpu", settings: dict | str | None = None) -> Config:
    """A profile with some settings changed; `settings` is a dict or its YAML text, e.g. `{seed: 1, test: 90}`."""
    if profile not in PROFILES:
        raise ValueError(f"PROFILE={profile!r} is unknown; expected one of {', '.join(PROFILES)}")
    settings = parse_settings(settings) if isinstance(settings, str) else settings or {}
    defaults = vars(PROFILES[profile])
    for name in settings:
        if name not in defaults:
            near = difflib.get_close_matches(str(name), defaults, 1)
            hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(defaults)}"
            raise ValueError(f"setting {name!r} is unknown; {hint}")
    return Config(**defaults | {name: _typed(name, value, defaults[name]) for name, value in settings.items()})


def parse_settings(text: str) -> dict:
    """YAML of a mapping -> dict; empty text -> {}."""
    try:
        settings = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"SET={text!r} is not YAML like '{{seed: 1}}': {str(error).splitlines()[0]}") from None
    if not isinstance(settings, dict):
        raise ValueError(f"SET={text!r}; expected a mapping like '{{seed: 1, test: 90}}'")
    return settings


def _typed(name, value, default):
    """The value in the type of the default, or an error that names both."""
    if isinstance(default, tuple):
        return tuple(_typed(name, v, default[0]) for v in (value if isinstance(value, (list, tuple)) else [value]))
    if isinstance(default, float) and isinstance(value, (int, str)) and not isinstance(value, bool):
        with suppress(ValueError):
            return float(value)  # YAML reads 1e-4 as text
    if type(value) is not type(default):
        expected = f"expected {type(default).__name__}, as {default!r}"
        raise ValueError(f"{name}={value!r} is {type(value).__name__}; {expected}")
    return {**default, **value} if isinstance(default, dict) else value
