"""Spoil the form of the embedded base: a base as a real model may be, which seldom calls the tool when asked to.

The embedded base writes nine replies in ten as it was asked to, so that a cold start would have nothing to teach it.
This samples its own replies under the two-round prompt, cuts all but one in `--cut` of them off before the tool call,
and finetunes all weights of its language model on both (the same tokens and the same trainer as in a cold start). So it
ends most of its replies without a call, and what it knows of pointing, reading and verifying stays. Model and processor
are written to `--folder`, for runs with `SET='{model: FOLDER}'`; then it says how often sampled replies still look:
with the defaults, 4 of 60.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from mags_kit.data import sets
from mags_kit.method import cold_start, curriculum, protocol, rollout, training
from mags_kit.method.episode import Agent
from mags_kit.method.policy import load_policy, save_processor
from mags_kit.run import mend_modes, open_run

read = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
read.add_argument("--folder", type=Path, default=Path("runs/spoiled"))
read.add_argument("--cut", type=int, default=10, help="one in so many replies keeps its call")
read.add_argument("--scenes", type=int, default=96)
read.add_argument("--steps", type=int, default=50)
read.add_argument("--rate", type=float, default=5e-4, help="step size")
options = read.parse_args()

settings = {"pool": options.scenes, "curated": 1, "validation": 60, "learning_rate": options.rate}
run = open_run("cpu", f"{options.folder.name}-made", settings, root=options.folder.parent)
samples = sets.prepare(run)
torch.manual_seed(0)


def sampled(policy, name: str):
    return rollout.rollout(Agent.of(run, policy), samples[name], temperature=1.0, condition=name)


policy = load_policy(replace(run.config, four_bit=False))
spoilt = []
for t in sampled(policy, "pool"):  # each both ways, or it would learn by heart which questions keep their call
    cut = replace(t, replies=(t.replies[0].split(protocol.CALL[0])[0],))
    spoilt += [t] + [cut] * (options.cut - 1)
policy.model.model.visual.requires_grad_(False)
stage = curriculum.Stage("spoil", (), options.steps, imitated=tuple(spoilt))
training.build_imitation(run, policy, stage).train()
policy.model.half().save_pretrained(options.folder)
save_processor(policy, options.folder)
mend_modes(options.folder)
again = load_policy(replace(run.config, model=str(options.folder)))  # in NF4, as a run has it
print(cold_start.summary(sampled(again, "validation")))
