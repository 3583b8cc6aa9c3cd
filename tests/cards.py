"""What `auto` stands for on cards of some sizes, as docs/large-models.md has it.

`PYTHONPATH=. python tests/cards.py` prints that page's table; tests/test_docs.py holds it to the page.
"""

from mags_kit.config import PROFILES, load_config
from mags_kit import plan
from mags_kit.method import fit, memory

CARDS = 16, 24, 48, 80  # GB


def cell(profile: str, gigabytes: int) -> str:
    """`rollout_batch, micro_batch, batch_size`, what they need, and hours on a fast and on a slow card."""
    config = fit.fitted(load_config(profile), 1, gigabytes * memory.GB)
    shape = memory.shape_of(config.model)
    needs, (low, high) = memory.peak(memory.by_part(config, shape)) / memory.GB, plan.hours(config, shape)
    if needs > gigabytes:
        return f"needs {needs:.1f}"
    return (
        f"{config.rollout_batch}, {config.micro_batch}, {config.batch_size}: {needs:.1f} GB, {low:.0f} to {high:.0f} h"
    )


def rows() -> list[str]:
    """The table's lines, one for each profile of a large model."""
    large = [name for name, config in PROFILES.items() if config.model in memory.PUBLISHED]
    return [f"| `{name}` | {' | '.join(cell(name, size) for size in CARDS)} |" for name in large]


if __name__ == "__main__":
    print(*rows(), sep="\n")
