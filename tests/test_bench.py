"""The benchmark: its arithmetic, and that each part runs at its smallest. No time is asserted."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from mags_kit import __main__
from mags_kit.hardware import bench, clock, enlarging, floor, growth, loops, starting, stepping
from mags_kit.hardware.clock import Row
from mags_kit.hardware.ground import Ground
from mags_kit.method.networks import super_resolve
from mags_kit.records import read_json, write_json
from mags_kit.runs import open_run


@pytest.fixture(scope="module")
def ground(smoke_run, tmp_path_factory):
    """One repeat, two sizes of each series, in a run whose views may be thrown away."""
    settings = {"pool": 4, "curated": 1, "validation": 1, "test": 1, "tracker": "none"}
    run = open_run("smoke", "work", settings, root=tmp_path_factory.mktemp("bench") / "runs")
    run.path.joinpath("data").symlink_to(smoke_run.data.resolve())
    made = Ground(run, 1, quick=True)
    made.samples = made.samples[:4]
    return made


def test_the_exponent_of_known_times():
    assert clock.exponent([1, 2, 4, 8], [3, 6, 12, 24]) == pytest.approx(1)
    assert clock.exponent([10, 100], [0.5, 50]) == pytest.approx(2)
    assert clock.exponent([1, 7, 50], [2, 2, 2]) == pytest.approx(0)


def test_a_row_has_the_quartiles_of_its_repeats_in_its_unit():
    row = Row.timed("views", "bicubic", [1.0, 2.0, 4.0, 2.0, 2.0], "views/s", 8, floor=0.5)
    assert row.values == (8, 4, 2, 4, 4) and row.ratio == 4
    told = row.told()
    assert (told["q1"], told["median"], told["q3"], told["times the floor"]) == (4, 4, 4, 4)
    assert Row.timed("views", "one", [0.5], "ms", 2).values == (250,)
    assert Row("rollouts", "same", "", (True,)).told()["median"] is None
    json.dumps(told, allow_nan=False)


def test_tasks_take_turns():
    done, before = [], []
    tasks = {name: (lambda name=name: done.append(name)) for name in "ab"}
    seconds = clock.side_by_side(tasks, 2, lambda text: None, lambda: before.append(len(done)))
    assert done == [*"abab"] and before == [0, 1, 2, 3] and [*map(len, seconds.values())] == [2, 2]


def test_the_peak_is_that_of_a_part():
    clock.forget_peak()
    first = clock.peak()
    held = bytearray(200_000_000)
    held[::4096] = b"x" * len(held[::4096])
    assert first > 0
    if not torch.cuda.is_available():
        assert clock.peak() > first + 1e8
    del held
    clock.forget_peak()
    assert clock.peak() > 0


def test_products_are_counted_as_torch_counts_them_and_by_their_shapes():
    from torch.utils.flop_counter import FlopCounterMode

    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.Flatten(), torch.nn.Linear(512, 16))
    image = torch.randn(2, 3, 8, 8)
    with floor.Products() as products:
        model(image).sum().backward()
    with FlopCounterMode(display=False) as counter:
        model(image).sum().backward()
    assert products.total == counter.get_total_flops()
    assert products.flops[(1, 2 * 8 * 8, 3 * 3 * 3, 8, "torch.float32")] == 2 * (
        2 * 2 * 64 * 27 * 8
    )  # and its weights'
    assert products.flops[(1, 2, 512, 16, "torch.float32")] == 2 * 2 * 512 * 16


@pytest.mark.parametrize("gradient", [False, True])
def test_attention_and_four_bit_layers_count_wherever_they_are_computed(gradient):
    from bitsandbytes.nn import Linear4bit

    query, key = torch.randn(2, 4, 5, 16, requires_grad=gradient), torch.randn(2, 4, 7, 16)
    with floor.Products() as products:
        torch.nn.functional.scaled_dot_product_attention(query, key, key)
    assert products.total == 2 * (2 * 8 * 5 * 16 * 7)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    layer = Linear4bit(64, 32, bias=False, compute_dtype=torch.float32, quant_type="nf4").to(device)
    with floor.Products() as products:
        layer(torch.randn(3, 64, device=device, requires_grad=gradient))
    assert products.total == 2 * 3 * 64 * 32 and not products.open


def test_the_floor_is_flops_over_rates_and_shapes_that_hardly_differ_are_tried_once():
    products = floor.Products()
    products.flops.update({(1, 100, 64, 64, "torch.float32"): 2e6, (1, 101, 64, 64, "torch.float32"): 4e6})
    rates = floor.Rates({(1, 128, 64, 64, "torch.float32"): 1e6})
    assert rates.seconds(products) == pytest.approx(6) and len(rates.known) == 1
    assert floor.Rates().seconds(floor.Products()) == 0
    assert floor.Rates().rate((2, 3, 5, 7, "torch.float32")) > 0
    assert [floor.rounded(n) for n in (1, 2, 3, 5, 9, 13, 100)] == [1, 2, 3, 6, 12, 16, 128]


def test_parts_count_for_themselves_alone_and_methods_are_given_back(monkeypatch):
    ticks = iter([0, 1, 4, 10, 11, 13])
    monkeypatch.setattr(stepping, "now", lambda: next(ticks))

    class Work:
        def inner(self):
            return "done"

    work, parts = Work(), stepping.Parts()
    with parts.timed("outer"), parts.around(work, "inner", lambda: "inner" if parts.within("outer") else "alone"):
        assert work.inner() == "done"
    assert parts.seconds == {"outer": 10 - 3, "inner": 3}
    with parts.around(Work, "inner", lambda: "inner" if parts.within("outer") else "alone"):
        assert work.inner() == "done"
    assert parts.seconds["alone"] == 2 and not vars(work) and "timed" not in Work.inner.__qualname__


def test_three_ways_make_the_same_trajectories(ground):
    rows = [*loops.rows(ground)]
    same = [row for row in rows if row.name.startswith("same trajectories")]
    assert len(same) == 3 and all(row.values == (True,) for row in same), same
    timed = [row for row in rows if row not in same]
    assert [row.name for row in timed] == [
        "batch 1", "TRL's loop, batch 1", "batch 4", "TRL's loop, batch 4", "one call a sample",
    ]  # fmt: skip
    assert all(row.unit == "rollouts/s" and row.values[0] > 0 and row.ratio > 0.5 for row in timed)


@pytest.mark.long
def test_a_model_of_random_weights_is_measured_with_replies_that_are_given(ground, monkeypatch):
    text = {"vocab_size": 512, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "head_dim": 16}
    text |= {"num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": True}
    text["rope_parameters"] = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [4, 2, 2]}
    vision = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 64}
    vision |= {"num_position_embeddings": 256, "deepstack_visual_indexes": [0]}
    monkeypatch.setattr(loops, "LARGE", {"text_config": text, "vision_config": vision})
    rows = [*loops.large_rows(ground)]
    assert [row.name for row in rows][-1] == "one call a sample" and len(rows) == 5
    assert {row.part for row in rows} == {"rollouts, 0 million parameters"} and all(row.ratio > 0.5 for row in rows)


def test_trajectories_that_differ_are_a_sentence():
    wrong = Row("rollouts", "same trajectories in batches as one by one", "", (False,), note="7 of 8").told()
    said = "same trajectories in batches as one by one: only 7 of 8"
    assert bench.differ([wrong]) == ("" if torch.cuda.is_available() else said)
    assert bench.differ([wrong | {"values": [True]}, wrong | {"values": [0.0]}]) == ""


@pytest.mark.slow
def test_a_step_is_the_sum_of_its_parts(ground):
    whole, *parts, idle = stepping.rows(ground)
    assert {row.name for row in parts} == set(stepping.KINDS)
    assert sum(row.values[0] for row in parts) == pytest.approx(whole.values[0])
    certain = [row for row in parts if row.name != "super-resolution"]  # a large window is shown smaller than it is
    assert all(row.values[0] > 0 for row in certain) and 0 < idle.values[0] < 100 and whole.ratio > 0.5


def test_crops_lie_inside_and_one_call_draws_what_single_calls_draw(ground):
    from PIL import Image

    image = Image.linear_gradient("L").resize((90, 70)).convert("RGB")
    boxes = enlarging.crops_of(image, 32, 3)
    assert boxes[0] == (0, 0, 32, 32) and boxes[-1] == (38, 38, 70, 70)
    drawn = enlarging.together(image, boxes, "realesr-animevideov3", (64, 64))
    singles = [super_resolve(image.crop(box), "realesr-animevideov3").resize((64, 64), 3) for box in boxes]
    difference = np.asarray(drawn, int) - np.asarray(singles, int)
    assert len(drawn) == 3 and abs(difference).max() <= 1


def test_views_are_timed_by_network_size_and_call(ground, monkeypatch):
    monkeypatch.setattr(enlarging, "SIDES", {"realesr-animevideov3": (32,), "bicubic": (32, 48)})
    monkeypatch.setattr(enlarging, "CROPS", 2)
    rows = {row.name: row for row in enlarging.rows(ground)}
    assert [*rows] == [
        "realesr-animevideov3, 32x32 px, one call a crop", "realesr-animevideov3, 32x32 px, 2 in one call",
        "bicubic, 32x32 px, one call a crop", "bicubic, 48x48 px, one call a crop", "a view from the cache",
        "a blank view",
    ]  # fmt: skip
    assert all(row.ratio > 0 for name, row in rows.items() if "realesr" in name)
    assert rows["bicubic, 32x32 px, one call a crop"].floor is None and rows["a view from the cache"].unit == "ms"


@pytest.mark.long
def test_growth_has_an_exponent_for_each_series(ground, monkeypatch):
    monkeypatch.setattr(growth, "MEGAPIXELS", (0.25, 1))
    rows = [*growth.rows(ground)]
    exponents = [row for row in rows if row.name == "exponent"]
    assert len(exponents) == 7 and len({row.part for row in rows}) == 7
    assert len([row for row in rows if row.size]) == 14


def test_what_a_run_has_stored_is_shown(tmp_path):
    run = open_run("smoke", "r", root=tmp_path)
    assert [*starting.stored_rows(run)] == []
    write_json(run.notebooks / "01_data_curation.ipynb", {"metadata": {"papermill": {"duration": 12.5}}})
    write_json(run.notebooks / "failed_02_curriculum_rl.ipynb", {"metadata": {"papermill": {"duration": 1}}})
    cost = {"ms a question": 80.0, "peak bytes": 1.5e9}
    write_json(run.path / "costs.json", {"after": {"two rounds": cost}, "alone": {"one round": cost}})
    rows = [*starting.stored_rows(run)]
    assert [(row.name, row.values) for row in rows] == [
        ("notebook 01_data_curation", (12.5,)), ("after RL: two rounds", (80.0,)), ("one round", (80.0,)),
    ]  # fmt: skip
    assert rows[1].note == "r; 1.50 GB at the peak"


def test_a_command_that_fails_is_no_time(tmp_path):
    import sys

    with pytest.raises(RuntimeError, match="ended with 3: no"):
        starting._until(
            [sys.executable, "-c", "import sys; print('no', file=sys.stderr); sys.exit(3)"], tmp_path, False
        )
    with pytest.raises(RuntimeError, match="said nothing; expected a line of progress"):
        starting._until([sys.executable, "-c", "pass"], tmp_path, True)
    starting._until([sys.executable, "-c", "print('on', flush=True); import time; time.sleep(99)"], tmp_path, True)


def test_the_command_writes_a_table_numbers_and_a_picture(tmp_path, monkeypatch, capsys):
    """With parts that are done already: what they are is tested above."""

    def part(of):
        yield Row.timed("rollouts", "batch 1", [0.5, 0.25], "rollouts/s", floor=0.1)
        yield Row("rollouts", "same trajectories in batches as one by one", "", (True,), note="2 of 2, greedy")
        yield Row.timed("training step", "rewards", [0.5], note="10.0%, no model's compute")
        yield Row.timed("views", "bicubic, 32x32 px, one call a crop", [0.5], "views/s", 8)
        yield replace(Row.timed("growth: a rollout, by regions", "1 regions", [1.0]), size=1)
        yield replace(Row.timed("growth: a rollout, by regions", "2 regions", [2.0]), size=2)
        yield Row("growth: a rollout, by regions", "exponent", "", (1.0,))

    monkeypatch.setenv("MAGS_RUNS", str(tmp_path))
    monkeypatch.setattr(bench, "PARTS", {"rollouts": part})
    monkeypatch.setattr(bench, "FEW", 3)
    __main__.main(["bench", "--profile", "smoke", "--quick", "--repeats", "1"])
    said = capsys.readouterr()
    folder = tmp_path / "bench"
    result = read_json(folder / "bench.json")
    assert result["quick"] and result["differ"] == "" and len(result["rows"]) == 8
    assert result["rows"][0]["times the floor"] == pytest.approx(3.75) and result["made with"]["versions"]["torch"]
    assert {p.name for p in (folder / "figures").iterdir()} == {"bench.png", "bench.svg"}
    assert "batch 1" in said.out and "3.75 times" not in said.out and "3.8 times the floor" in said.out
    assert said.out.strip().endswith("bench.json") and "drawing scenes" in said.err
    assert not folder.joinpath("holder.json").exists() and sorted(p.name for p in tmp_path.iterdir()) == ["bench"]


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--repeats", "0"], "--repeats 0: expected at least 1"),
        (["--of", "never-made"], "NAME='never-made': expected the name of a folder under runs/"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(arguments, said, tmp_path, monkeypatch):
    monkeypatch.setenv("MAGS_RUNS", str(tmp_path))
    with pytest.raises(SystemExit, match=said):
        __main__.main(["bench", "--profile", "smoke", *arguments])
