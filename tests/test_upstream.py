"""What the kit relies on in the libraries beneath it, by library.

A failure lists what changed upstream and the module of the kit that relies on it. test_policy, test_rollout and
test_qwen run transformers, PEFT and bitsandbytes themselves; what is worked around is in test_compat.
"""

import dataclasses
import importlib.util
import inspect
import re

import pytest

from mags_kit import compat
from mags_kit.config import VLLM_SETTINGS
from mags_kit.method import protocol, training
from mags_kit.method.curriculum import Stage
from mags_kit.method.families import FAMILIES
from mags_kit.method.parsing import text_of
from mags_kit.method.policy import load_policy
from mags_kit.pipeline import NOTEBOOKS
from mags_kit.records import read_samples
from mags_kit.report import page

compat.transformers()
CALL = protocol.tool_call_text([(120, 120, 320, 320)])
FIRST = f"<think>the red disc</think><draft>1</draft>{CALL}"
SECOND = f"<rethink>the view shows 2, the draft was wrong</rethink><answer>2</answer>{CALL}"


def relied(*rows: tuple[bool, str, str]) -> None:
    """Each row: whether it holds, what the kit relies on, and where."""
    changed = [f"{what} (mags_kit/{module})" for holds, what, module in rows if not holds]
    assert not changed, "changed upstream: " + "; ".join(changed)


class Stepped:
    """TRL's own trainer of the embedded model, after a step of given replies that call the tool in both rounds."""

    def __init__(self, run):
        import trl

        self.policy = load_policy(run.config, trainable=True)
        samples = tuple(read_samples(run.samples("pool"))[:2])
        self.trainer = training.build_trainer(run, self.policy, Stage("all", samples, 1, 1))
        self.given, self.turns = [], []  # to rewards; of sampling
        tokenizer = self.policy.processor.tokenizer
        reply = {4: FIRST, 1: SECOND}  # by the number of generations that TRL asks for

        def turn(trainer, prompts, images, fields, num_generations, has_tool_images=False):
            self.turns.append((num_generations, len(prompts), has_tool_images))
            return [[*tokenizer.encode(reply[num_generations]), tokenizer.eos_token_id] for _ in prompts], None

        def reward(**given):
            self.given.append(given)
            return [float(len(self.given) % 2)] * len(given["completions"])

        spies = [lambda **given: reward(**given) for _ in self.trainer.reward_funcs]
        self.trainer.reward_funcs, self.trainer.reward_func_names = spies, [f"r{i}" for i in range(len(spies))]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(trl.GRPOTrainer, "_generate_single_turn", turn)
            self.trainer.model.train()
            rows = [self.trainer.train_dataset[i // 4] for i in range(8)]
            self.batch = self.trainer._generate_and_score_completions(rows)


@pytest.fixture(scope="module")
def stepped(smoke_run):
    return Stepped(smoke_run)


def test_trls_tool_loop(stepped):
    environments, tokenizer = stepped.trainer.environments, stepped.policy.processor.tokenizer
    ids, mask, tool = (stepped.batch[k][0] for k in ("completion_ids", "completion_mask", "tool_mask"))
    trained, masked = ids[(mask * tool).bool()].tolist(), ids[(mask * (1 - tool)).bool()].tolist()
    relied(
        ([t.__name__ for t in stepped.trainer.tools] == ["magnify"], "public methods are tools", "method/trl_environment"),
        (len({id(e) for e in environments}) == 8, "one environment per rollout", "method/trl_environment"),
        (stepped.turns == [(4, 8, False), (1, 8, True)], "max_tool_calling_iterations=1: two turns", "method/training"),
        (text_of(tokenizer, trained) == FIRST + SECOND, "the policy's own tokens carry loss", "method/training"),
        ("<tool_response>" in text_of(tokenizer, masked), "the tool's tokens carry none", "method/training"),
    )


def test_trls_rewards_and_log(stepped):
    keys = {"completions", "completion_ids", "environments", "log_metric", "trainer_state"}
    lists = {id(given["completion_ids"]) for given in stepped.given}
    content = stepped.given[0]["completions"][0][1]["content"]
    logged = {"reward", "frac_reward_zero_std", "completions/clipped_ratio", "tools/call_frequency"}
    adapters = {n.split(".")[-2] for n, _ in stepped.policy.model.named_parameters() if "lora_" in n}
    relied(
        (all(keys <= set(given) for given in stepped.given), "arguments of rewards", "method/trl_environment"),
        (len(stepped.given) > 1 and len(lists) == 1, "one list of ids for all rewards", "method/trl_environment"),
        (content[0]["type"] == "image", "tool messages keep their images", "method/trl_environment"),
        (logged <= set(stepped.trainer._metrics["train"]), "names of metrics", "method/monitoring"),
        (adapters == {"default", "ref"}, "the KL penalty's adapter is called `ref`", "method/adapters"),
    )


def test_callbacks_see_the_new_row_of_the_log(stepped):
    from transformers import TrainerCallback

    class Spy(TrainerCallback):
        def on_log(self, args, state, control, logs=None, **_):
            self.same = state.log_history[-1]["reward"] == logs["reward"]

    spy = Spy()
    stepped.trainer.add_callback(spy)
    stepped.trainer.log({"reward": 0.25, "loss": float("nan")})
    stepped.trainer.remove_callback(spy)
    loss = stepped.trainer.state.log_history[-1]["loss"]
    relied((spy.same, "on_log", "method/monitoring"), (loss != loss, "a NaN loss is logged as one", "method/monitoring"))


def test_trls_settings_and_templates():
    from trl import GRPOConfig
    from trl import chat_template_utils as templates

    names = {field.name for field in dataclasses.fields(GRPOConfig)}
    marks = [mark.split("\n")[0] for mark in (*protocol.CALL, "<tool_response>", protocol.HEADER)]
    written = [getattr(templates, n) for f in FAMILIES.values() for n in (f.template, f.thinking) if n]
    relied(
        ({"use_vllm", "vllm_max_model_length", *VLLM_SETTINGS} <= names, "vLLM's settings", "method/training"),
        (all(m in t for m in marks for t in written), "templates with tool calls and messages", "method/families"),
    )


def test_papermill_nbconvert_and_the_hub():
    import papermill
    from huggingface_hub import constants
    from nbconvert import HTMLExporter
    from papermill.iorw import load_notebook_node
    from papermill.parameterize import parameterize_notebook

    filled = parameterize_notebook(load_notebook_node(str(NOTEBOOKS / "04_regions.ipynb")), {"name": "x"}).cells
    tagged = [i for i, cell in enumerate(filled) if "parameters" in cell.metadata.get("tags", [])]
    failure = inspect.signature(papermill.PapermillExecutionError.__init__).parameters
    exporter, blocks = HTMLExporter(), re.findall(r"block (\w+)", page.HERE.joinpath("notebook.html.j2").read_text())
    loader = exporter.environment.loader
    theirs = "".join(loader.get_source(exporter.environment, f"{n}.html.j2")[0] for n in ("index", "base"))
    relied(
        ('name = "x"' in filled[tagged[0] + 1].source, "the cell of parameters", "pipeline"),
        ({"exec_count", "ename", "evalue"} <= set(failure), "PapermillExecutionError", "pipeline"),
        (all(f"block {name}" in theirs for name in blocks), f"nbconvert's blocks {blocks}", "report/page"),
        (constants.HF_HUB_DISABLE_TELEMETRY, "HF_HUB_DISABLE_TELEMETRY", "__init__"),
        (importlib.util.find_spec("bitsandbytes.backends.cpu.ops"), "the name of bitsandbytes' logger", "__init__"),
    )
