"""What the embedded base can do, by forcing its region, and its model card."""

import numpy as np

from mags_kit.method.episode import Agent
from mags_kit.method.metrics import grounding, right
from mags_kit.method.protocol import THINK
from mags_kit.method.rollout import rollout
from mags_kit.records import Sample, Trajectory
from mags_kit.data import scenes
from mags_kit.tiny_base.lessons import BATCH, LOOKS, PHASES, POINTINGS, SEEN_AGAIN
from mags_kit.tiny_base.vision import CLOSE_UPS, GRID, SCENES


def abilities(agent: Agent, samples: list[Sample]) -> dict[str, list[Trajectory]]:
    """`{condition: trajectories}` of greedy rollouts: one round, and two with the region that the condition says."""
    forced = {
        "the whole image": [[(0, 0, scenes.SIZE, scenes.SIZE)] for _ in samples],
        "the region it chooses": None,
        "the true box": [list(sample.boxes) for sample in samples],
    }
    trajectories = {"one round": rollout(agent, samples, rounds=1, condition="one round")}
    for name, regions in forced.items():
        trajectories[name] = rollout(agent, samples, regions=regions, condition=name)
    return trajectories


def choices(agent: Agent, samples: list[Sample], seed: int) -> dict[str, dict[str, float]]:
    """`by_choice` of the two rounds that are sampled as in training."""
    import torch

    torch.manual_seed(seed)
    return by_choice(rollout(agent, samples, temperature=agent.config.temperature, condition="sampled"))


def by_choice(trajectories: list[Trajectory]) -> dict[str, dict[str, float]]:
    """For the rationale's first word, `Point` or `Episode`: how often, how much of the target its regions cover on
    average, and the share of right answers. Of sampled two-round trajectories this tells what RL can find."""
    found = {}
    for word in ("Point", "Look"):
        those = [t for t in trajectories if t.replies[0].startswith(f"<{THINK}>{word}")]
        covered = [grounding(t)["coverage"] for t in those]
        found[word] = {
            "share": len(those) / len(trajectories),
            "coverage": float(np.mean(covered)) if those else 0.0,
            "right": float(right(those).mean()) if those else 0.0,
        }
    return found


def model_card(steps: dict[str, int], table, choices: dict, environment: dict) -> str:
    """The README of the saved model, from what was done and measured. `table`: accuracies by condition; `choices`:
    `by_choice` of sampled two-round replies."""
    point, look = choices["Point"], choices["Look"]
    return f"""---
license: apache-2.0
library_name: transformers
pipeline_tag: image-text-to-text
tags: [mags-rl, tiny, procedural]
---
# The embedded base model of the Mags-RL kit

A `Qwen3VLForConditionalGeneration` of 2.7 million parameters with a word-level tokenizer, trained from scratch
on procedural scenes (`mags_kit/tiny/scenes.py`, train split) by `notebooks/00_embedded_base.ipynb`. It stands in for a
vision-language model of useful size where there is no GPU; it knows no photos and few words.

- **Training**: {", ".join(f"{n} steps of `{phase}`" for phase, n in steps.items())}; {SCENES} scenes
  with {CLOSE_UPS} close-ups a step in `see`, {POINTINGS} questions in `point`, {sum(LOOKS)} in `look`, about {BATCH}
  in the others; AdamW; stored in half precision. Finished and measured on {environment["device"]}.
  Scenes are ever new, but in `point`: {SEEN_AGAIN} with one or two cards and {SEEN_AGAIN} with more, which come back.
- **It learned from sharp pictures**, as large models did: every close-up in its lessons was drawn at its full size. No
  lesson holds a close-up cut from a degraded source, nor a super-resolved view.
- **It drafts what the first view shows**, and says “too small” where that can't be read: then its draft is a guess. Its
  second round says what the view shows, names the draft beside it, and gives a verdict.
- **Its regions are poor by construction.** {PHASES["settle"].loose:.0%} of the two-round demonstrations look at a
  window an eighth of the image large (“Look at …”), the others at the right card (“Point at …”). Reinforcement learning
  has room to improve on that; a gain over this base says that the method works, not how much it helps a large model.
  Sampled, it looks in {look["share"]:.0%} of its replies and is right in {look["right"]:.0%} of these; it points in
  {point["share"]:.0%}, covers {point["coverage"]:.0%} of the target and is right in {point["right"]:.0%}.
- **Prompts**: `QUESTION Answer now.` (one round), `QUESTION Look twice.` (two rounds).
- **Boxes**: thousandths of width and height, in multiples of {GRID}.

Accuracy on {int(table["n"].iloc[0])} validation questions, greedy, NF4, by what round 1 looks at (`low`
and `high` are the 95% Wilson interval):

{table.to_string()}

Chance is 50% for relations, 25% for counts and attributes. A third of the questions ask for what is large.
"""
