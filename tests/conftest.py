import dataclasses
import os
from pathlib import Path

import hypothesis
import pytest

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the tests run in a process a core, and threads wait for each other
hypothesis.settings.register_profile("kit", deadline=None)  # other processes' work would count
hypothesis.settings.load_profile("kit")
REAL_PHOTOS = Path(__file__).parents[2] / "shared" / "real_photos"


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory):
    """A run of the smoke profile with its data made."""
    from mags_kit.data import sets
    from mags_kit.run import open_run

    run = open_run("smoke", "smoke", root=tmp_path_factory.mktemp("runs"))
    sets.prepare(run)
    return run


@pytest.fixture(scope="session")
def policy(smoke_run):
    """The embedded model as every profile loads a model: NF4, no adapter."""
    from mags_kit.method.policy import load_policy

    return load_policy(smoke_run.config)


@pytest.fixture
def scripted(policy):
    """`scripted([[first replies], [second replies]])`: the real processor, replies from lists instead of a model."""

    def make(rounds):
        turns = iter(rounds)
        encode = policy.processor.tokenizer.encode
        end = policy.processor.tokenizer.eos_token_id

        class Scripted(type(policy)):
            def generate(self, prompts, images, max_tokens, temperature=0.0):
                replies = [encode(text) + [end] * (not text.endswith("</tool_call>")) for text in next(turns)]
                assert len(replies) == len(prompts) == len(images)
                return replies

        return Scripted(**{f.name: getattr(policy, f.name) for f in dataclasses.fields(policy)})

    return make


@pytest.fixture
def real_photos():
    if not REAL_PHOTOS.is_dir():
        pytest.skip(f"no real photos at {REAL_PHOTOS}")
    return REAL_PHOTOS
