"""Which samples a training step visits where the curriculum weighs them: the ones that are solved now and then.

A group of rollouts that is all right or all wrong teaches GRPO nothing, and of a question that is solved with
probability p the answers' variance is p(1 - p). Questions are drawn with that weight, p being a running share of their
own rollouts in training, so that nothing is sampled beside. The idea is LILO's (Foster et al., NeurIPS 2025); the form
is chosen here.
"""

from pathlib import Path

import numpy as np

from mags_kit import compat
from mags_kit.method import processes
from mags_kit.method.curriculum import solve_rate
from mags_kit.records import Sample, read_json, write_json

FILE = "solve_rates.json"
RECENT = 0.5  # weight of a visit's rollouts in the running rate
FLOOR = 0.02  # added to every weight, so that no question is given up for good


class SolveRates(compat.transformers().TrainerCallback):
    """`history[k]` are the running solve rates after k batches of rollouts, `{sample id: rate}`.

    A loader draws one batch ahead, so a draw uses the rates of the batch before the last: the same whether training was
    interrupted or not. They lie beside every checkpoint.
    """

    def __init__(self, samples: tuple[Sample, ...], before: Path | None = None):
        measured = {sample.id: solve_rate(sample) for sample in samples}
        if before is not None and (before / FILE).exists():
            measured |= read_json(before / FILE)[-1]
        self.ids, self.history = [sample.id for sample in samples], [measured]

    def update(self, ids: list[str], right: list[bool]) -> None:
        """Take in a batch of rollouts, this process's share: the sample of each, and whether its answer is right."""
        pairs = processes.gathered(list(zip(ids, right, strict=True)))
        rates = dict(self.history[-1])
        for name in dict.fromkeys(name for name, _ in pairs):
            now = np.mean([hit for other, hit in pairs if other == name])
            rates[name] = float((1 - RECENT) * rates[name] + RECENT * now)
        self.history.append(rates)

    def draw(self, number: int, count: int, seed: int) -> list[int]:
        """The indices of `count` samples for batch `number` (from 0), none twice while there are enough."""
        rates = np.array([self.history[max(0, number - 1)][name] for name in self.ids])
        weights = rates * (1 - rates) + FLOOR
        rng = np.random.default_rng([seed, number])
        chosen = rng.choice(len(rates), count, replace=count > len(rates), p=weights / weights.sum())
        return chosen.tolist()

    def resume(self, checkpoint: str | Path) -> None:
        """Go on from what lay beside a checkpoint."""
        self.history = read_json(Path(checkpoint) / FILE)

    def on_save(self, args, state, control, **_):
        if processes.here().is_main_process:
            write_json(Path(args.output_dir, f"checkpoint-{state.global_step}", FILE), self.history)

    def on_train_end(self, args, state, control, **_):
        if processes.here().is_main_process:
            write_json(Path(args.output_dir, FILE), self.history)


class Visits:
    """A sampler for TRL: `draws` batches of `groups` samples, each `generations` times in a row, and the batch
    `repeats` times, as TRL's own sampler lays them out."""

    def __init__(self, rates: SolveRates, draws: int, groups: int, generations: int, repeats: int, seed: int):
        self.rates, self.draws, self.groups = rates, draws, groups
        self.generations, self.repeats, self.seed = generations, repeats, seed

    def __iter__(self):
        for number in range(self.draws):
            batch = np.repeat(self.rates.draw(number, self.groups, self.seed), self.generations)
            yield from np.tile(batch, self.repeats).tolist()

    def __len__(self) -> int:
        return self.draws * self.groups * self.generations * self.repeats
