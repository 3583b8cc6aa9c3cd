import json

import pytest

from mags_kit import __main__

SETTINGS = {
    "round_tokens": 64, "view_pixels": 112**2, "first_view_pixels": 112**2, "samples_per_step": 2,
    "num_generations": 4, "rollout_batch": 4, "micro_batch": 2, "magnifier": "realesr-animevideov3",  # the small one
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("quick", [[], ["--quick"]])
def test_the_measurement_runs_through_on_a_tiny_shape(quick, capsys):
    """Loading, a step, its resumption, a view and a merge, on whatever is here; the numbers are for a GPU."""
    arguments = ["measure", "--profile", "paper", "--tiny", *quick, "--set", json.dumps(SETTINGS)]
    __main__.main(arguments)
    printed = capsys.readouterr().out
    result = json.loads(printed[printed.index("\n{") :] if "\n{" in printed else printed)
    assert result["trajectories a step"] == 8 and result["tokens sampled a second"] > 0
    assert set(result["seconds"]) == {"load", "sampling, with rewards", "step", "resume and a short step", "merge"}
    assert all(seconds > 0 for seconds in result["seconds"].values())
    assert result["quick"] == bool(quick) and len(result["seconds a token, all rows"]) == 4  # two batches, two rounds


def test_a_profile_without_a_published_shape_is_one_sentence():
    with pytest.raises(SystemExit, match="mags_kit: profile 'cpu': expected one whose model has a published shape"):
        __main__.main(["measure", "--profile", "cpu"])
