"""What the kit relies on in the libraries beneath it. A failure here says: changed upstream, and which module to mend.

A version pinned in requirements.lock fails none of these; a newer one that does is to be met in the module named.
"""

import ast
import dataclasses
import importlib
import importlib.util
import inspect
import re
from pathlib import Path

import pytest
import torch

from mags_kit import compat
from mags_kit.method import alarms, trl_environment as environment, protocol, training
from mags_kit.method.curriculum import Stage
from mags_kit.method.families import FAMILIES
from mags_kit.method.policy import load_policy
from mags_kit.method.parsing import text_of
from mags_kit.records import read_samples
from mags_kit.report import page
from mags_kit.pipeline import NOTEBOOKS

compat.transformers()
CALL = protocol.tool_call_text([(120, 120, 320, 320)])
FIRST = f"<think>the red disc</think><draft>1</draft>{CALL}"
SECOND = f"<rethink>the view shows 2, the draft was wrong</rethink><answer>2</answer>{CALL}"


def relied(holds, what: str, module: str) -> None:
    """Fail with the sentence that says what changed, and where it matters."""
    assert holds, f"changed upstream: {what}, which mags_kit/{module} relies on"


class Stepped:
    """TRL's own trainer of the embedded model, after a step of given replies that call the tool in both rounds."""

    def __init__(self, run):
        import trl
        from trl.chat_template_utils import parse_response

        self.policy = load_policy(run.config, trainable=True)
        samples = tuple(read_samples(run.samples("pool"))[:2])
        self.trainer = training.build_trainer(run, self.policy, Stage("all", samples, 1), 1, [])
        self.seen, self.turns, self.parse = [], [], parse_response
        tokenizer = self.policy.processor.tokenizer
        reply = {4: FIRST, 1: SECOND}  # by the number of generations that TRL asks for
        end = tokenizer.eos_token_id

        def turn(trainer, prompts, images, fields, num_generations, has_tool_images=False):
            self.turns.append((num_generations, len(prompts), has_tool_images))
            return [[*tokenizer.encode(reply[num_generations]), end] for _ in prompts], None

        def spy(**given):
            self.seen.append(given)
            return [float(len(self.seen) % 2)] * len(given["completions"])

        spies = [lambda **given: spy(**given) for _ in self.trainer.reward_funcs]
        self.trainer.reward_funcs, self.trainer.reward_func_names = spies, [f"r{i}" for i in range(len(spies))]
        real, trl.GRPOTrainer._generate_single_turn = trl.GRPOTrainer._generate_single_turn, turn
        try:
            self.trainer.model.train()
            rows = [self.trainer.train_dataset[i // 4] for i in range(8)]
            self.batch = self.trainer._generate_and_score_completions(rows)
        finally:
            trl.GRPOTrainer._generate_single_turn = real


@pytest.fixture(scope="module")
def stepped(smoke_run):
    return Stepped(smoke_run)


# TRL


def test_trl_offers_every_public_method_of_an_environment_but_reset_as_a_tool(stepped):
    names = [tool.__name__ for tool in stepped.trainer.tools]
    public = [name for name, _ in inspect.getmembers(environment.Environment, inspect.isfunction) if name[0] != "_"]
    relied(
        names == ["magnify"] and set(public) == {"reset", "magnify"}, "which methods are tools", "method/environment"
    )


def test_trl_gives_the_row_to_reset_and_takes_its_content_as_the_prompt(stepped):
    looks = [e.look for e in stepped.trainer.environments]
    relied(len(looks) == 8 and len({look.sample.id for look in looks}) == 2, "reset(**row)", "method/environment")
    relied(len({id(e) for e in stepped.trainer.environments}) == 8, "an environment a rollout", "method/environment")


def test_trl_samples_two_turns_and_no_third_where_one_iteration_is_allowed(stepped):
    asked = [(4, 8, False), (1, 8, True)]
    relied(stepped.turns == asked, "max_tool_calling_iterations=1 ends after round 2", "method/training")


def test_trl_masks_what_the_tool_says(stepped):
    tokenizer = stepped.policy.processor.tokenizer
    ids, mask, tool = (stepped.batch[k][0] for k in ("completion_ids", "completion_mask", "tool_mask"))
    trained, given = ids[(mask * tool).bool()].tolist(), ids[(mask * (1 - tool)).bool()].tolist()
    relied(text_of(tokenizer, trained) == FIRST + SECOND, "the policy's own tokens are trained on", "method/training")
    relied("<tool_response>" in text_of(tokenizer, given), "the tool's tokens are not", "method/training")


def test_trl_hands_environments_and_the_same_lists_to_every_reward(stepped):
    keys = {"completions", "completion_ids", "environments", "log_metric"}
    relied(all(keys <= set(given) for given in stepped.seen), "what rewards are given", "method/environment")
    lists = {id(given["completion_ids"]) for given in stepped.seen}
    relied(len(stepped.seen) > 1 and len(lists) == 1, "one list of ids for all rewards", "method/environment")
    content = stepped.seen[0]["completions"][0][1]["content"]
    relied(content[0]["type"] == "image", "tool messages keep their images", "method/environment")


def test_trl_asks_the_tokenizer_to_parse_and_takes_its_message(stepped):
    tokenizer = stepped.policy.processor.tokenizer
    asked = []

    class Own:
        response_template, eos_token = {}, "<|im_end|>"

        def parse_response(self, ids, **more):
            asked.append((ids, sorted(more)))
            return {"role": "assistant", "content": "x", "tool_calls": []}

    read = stepped.parse(Own(), [1], prefix=[2], tools=[])
    relied(asked == [([1], ["prefix", "tools"])] and read["content"] == "x", "parse_response", "method/environment")
    relied(stepped.trainer._tokenizer is tokenizer, "the processor's tokenizer parses", "method/environment")


def test_trl_turns_an_error_of_a_tool_into_text():
    from trl import GRPOTrainer

    source = inspect.getsource(GRPOTrainer._tool_call_loop)
    relied("except Exception as e:" in source, "a tool's error is no error", "method/look")


def test_trl_keeps_the_adapters_start_beside_it_for_the_kl_penalty(stepped):
    names = {n for n, _ in stepped.policy.model.named_parameters() if "lora_" in n}
    relied({n.split(".")[-2] for n in names} == {"default", "ref"}, "the copy is called `ref`", "method/policy")


def test_trl_logs_what_the_alarms_read(stepped):
    logged = set(stepped.trainer._metrics["train"])
    read = {"reward", "frac_reward_zero_std", "completions/clipped_ratio", "tools/call_frequency"}
    relied(read <= logged, f"the log has no {read - logged}", "method/alarms")


def test_the_log_ends_in_the_row_that_callbacks_are_told_of(stepped):
    from transformers import TrainerCallback

    class Spy(TrainerCallback):
        def on_log(self, args, state, control, logs=None, **_):
            self.same = state.log_history[-1]["reward"] == logs["reward"]

    spy = Spy()
    stepped.trainer.add_callback(spy)
    stepped.trainer.log({"reward": 0.25, "loss": float("nan")})
    stepped.trainer.remove_callback(spy)
    relied(spy.same, "on_log sees the new row in the state", "method/validation")
    relied(alarms.alarms(stepped.trainer.state.log_history)[0].stop, "a NaN loss is logged as one", "method/alarms")


def test_trl_takes_the_settings_that_the_kit_passes(smoke_run, policy):
    from trl import GRPOConfig

    tree = ast.parse(inspect.getsource(training))
    [call] = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "GRPOConfig"]
    passed = {keyword.arg for keyword in call.keywords if keyword.arg} | set(training.batches(smoke_run.config, 1))
    passed |= set(training.sampling(smoke_run.config, policy)) | {"use_vllm", "vllm_max_model_length"}
    unknown = passed - {field.name for field in dataclasses.fields(GRPOConfig)}
    relied(not unknown, f"GRPOConfig no longer has {unknown}", "method/training")


def test_trls_template_for_qwen3_vl_shows_tool_calls_and_tool_messages(policy):
    from trl.chat_template_utils import qwen3_vl_chat_template as template

    marks = (*protocol.CALL, "<tool_response>", protocol.HEADER.strip())
    relied(all(mark.split("\n")[0] in template for mark in marks), "qwen3_vl_chat_template", "method/policy")


# transformers


def test_an_image_keeps_its_size_where_smart_resize_made_it(policy):
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

    names = list(inspect.signature(smart_resize).parameters)
    relied(names == ["height", "width", "factor", "min_pixels", "max_pixels"], "smart_resize", "method/policy")
    height, width = smart_resize(480, 640, 32, 32 * 32, 192 * 192)
    relied((height < width) and height % 32 == width % 32 == 0, "smart_resize gives height, width", "method/policy")
    images = policy.processor.image_processor
    patches = images.get_number_of_image_patches(height, width, {})
    relied(patches == height * width // images.patch_size**2, "patches of an image", "method/environment")


def test_a_qwen_takes_the_kinds_of_its_tokens():
    from transformers import Qwen2_5_VLForConditionalGeneration, Qwen3VLForConditionalGeneration

    for model in (Qwen2_5_VLForConditionalGeneration, Qwen3VLForConditionalGeneration):
        names = inspect.signature(model.forward).parameters
        relied({"mm_token_type_ids", "image_grid_thw"} <= set(names), model.__name__, "method/policy")


def test_suppressed_tokens_and_end_marks_are_settings_of_generation():
    from transformers import GenerationConfig

    config = GenerationConfig(suppress_tokens=[3], max_new_tokens=4, eos_token_id=1)
    relied((config.suppress_tokens, config.max_new_tokens) == ([3], 4), "GenerationConfig", "method/policy")


def test_a_tokenizer_spells_special_tokens_out_where_asked_and_leaves_them_out_of_texts(policy):
    tokenizer = policy.processor.tokenizer
    ids = tokenizer.encode(f"{CALL}<|image_pad|>", split_special_tokens=True)
    relied(tokenizer.encode("<|image_pad|>")[0] not in ids, "split_special_tokens", "method/rollout")
    relied(text_of(tokenizer, tokenizer.encode(f"{CALL}<|im_end|>")) == CALL, "skip_special_tokens", "method/replies")
    relied(text_of(tokenizer, []) == "", "no token is no text", "method/replies")


def test_the_types_that_have_frames_are_types_of_transformers():
    from transformers import CONFIG_MAPPING

    for kind in FAMILIES:
        relied(kind in CONFIG_MAPPING, f"model type {kind}", "method/families")


# PEFT


def test_only_language_layers_match_the_pattern(policy):
    linear = [name for name, module in policy.model.named_modules() if "Linear" in type(module).__name__]
    hit = {name for name in linear if re.fullmatch(FAMILIES["qwen3_vl"].lora, name)}
    language = {name for name in linear if "language_model" in name}
    relied(hit and hit == language, "names of the language layers", "method/policy")
    relied(any("visual" in name for name in linear), "the vision tower is called `visual`", "method/policy")


def test_peft_saves_one_adapter_from_a_given_state(stepped, tmp_path):
    names = inspect.signature(stepped.policy.model.save_pretrained).parameters
    relied({"selected_adapters"} <= set(names), "save_pretrained(selected_adapters=…)", "method/policy")
    from peft import PeftModel

    relied("is_trainable" in inspect.signature(PeftModel.from_pretrained).parameters, "is_trainable", "method/policy")
    relied(hasattr(stepped.policy.model, "merge_and_unload"), "merge_and_unload", "report/export")


# bitsandbytes


def test_nf4_weights_work_on_the_cpu_forwards_and_backwards():
    import bitsandbytes

    layer = bitsandbytes.nn.Linear4bit(64, 32, bias=False, compute_dtype=torch.float32, quant_type="nf4").to("cpu")
    x = torch.ones(2, 64, requires_grad=True)
    layer(x).sum().backward()
    relied(x.grad is not None and layer.weight.dtype == torch.uint8, "NF4 on the CPU", "method/policy")
    relied(hasattr(layer, "support_avx512bf16_for_cpu"), "the switch of its repacking", "method/policy")


def test_bitsandbytes_speaks_through_the_logger_that_is_silenced():
    relied(importlib.util.find_spec("bitsandbytes.backends.cpu.ops"), "its CPU module's name", "__init__")


# basicsr, papermill, nbconvert


def test_basicsr_asks_for_a_module_that_torchvision_lacks():
    folder = Path(importlib.util.find_spec("basicsr").submodule_search_locations[0])
    asks = any("torchvision.transforms.functional_tensor" in p.read_text() for p in folder.rglob("*.py"))
    gone = importlib.util.find_spec("torchvision.transforms").submodule_search_locations[0]
    relied(asks and not Path(gone, "functional_tensor.py").exists(), "basicsr's import of torchvision", "compat")


def test_basicsrs_networks_enlarge_four_times():
    RRDBNet, SRVGGNetCompact = compat.basicsr_archs()
    for network in (RRDBNet(3, 3, num_block=1), SRVGGNetCompact(num_conv=2)):
        relied(network(torch.zeros(1, 3, 8, 8)).shape == (1, 3, 32, 32), type(network).__name__, "method/networks")


def test_papermill_puts_parameters_behind_their_cell_and_says_where_it_failed():
    import papermill
    from papermill.iorw import load_notebook_node
    from papermill.parameterize import parameterize_notebook

    filled = parameterize_notebook(load_notebook_node(str(NOTEBOOKS / "04_regions.ipynb")), {"name": "x"}).cells
    tagged = [i for i, cell in enumerate(filled) if "parameters" in cell.metadata.get("tags", [])]
    relied('name = "x"' in filled[tagged[0] + 1].source, "the cell of parameters", "pipeline")
    names = inspect.signature(papermill.PapermillExecutionError.__init__).parameters
    relied({"exec_count", "ename", "evalue"} <= set(names), "PapermillExecutionError", "pipeline")


def test_nbconverts_page_has_the_blocks_that_the_kit_empties():
    from nbconvert import HTMLExporter

    ours = page.HERE.joinpath("notebook.html.j2").read_text()
    exporter = HTMLExporter()
    theirs = exporter.environment.loader.get_source(exporter.environment, "index.html.j2")[0]
    theirs += exporter.environment.loader.get_source(exporter.environment, "base.html.j2")[0]
    blocks = re.findall(r"block (\w+)", ours)
    relied(all(f"block {name}" in theirs for name in blocks), f"the blocks {blocks}", "report/page")


def test_no_library_reports_a_run_to_the_hub():
    from huggingface_hub import constants

    relied(constants.HF_HUB_DISABLE_TELEMETRY, "HF_HUB_DISABLE_TELEMETRY", "__init__")
