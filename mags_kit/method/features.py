"""A cache of what was computed from an image, above all of the features of the vision tower.

The tower is frozen, and without this it is shown the same image up to four times in each trajectory of a group: in both
rounds of sampling, and for the log-probabilities of the policy and of its reference.
"""

from collections import OrderedDict
from collections.abc import Callable

ROOM = 256 * 2**20  # bytes of one kind that are kept, the last ones used


class Recent:
    """What was used last, by key, up to `room` bytes, or the last one alone."""

    def __init__(self, room: int = ROOM):
        self.room = room
        self.forget()

    def forget(self) -> None:
        self.kept, self.held = OrderedDict(), 0  # a key -> (what is kept, its bytes); bytes in all

    def get(self, key, make: Callable[[], tuple]):
        """What is kept under a key; else what `make` returns first, beside its bytes."""
        if key not in self.kept:
            self.kept[key] = made = make()
            self.held += made[1]
            while self.held > self.room and len(self.kept) > 1:
                self.held -= self.kept.popitem(last=False)[1][1]
        self.kept.move_to_end(key)
        return self.kept[key][0]


class Features:
    """The forward pass of a frozen vision tower of transformers, which keeps what it makes of an image; no gradients.

    Each image goes through the tower alone, so that its features are the same to the last bit, kept or not.
    """

    def __init__(self, forward, room: int = ROOM):
        self.forward, self.recent = forward, Recent(room)

    def forget(self) -> None:
        self.recent.forget()

    def __call__(self, hidden_states, grid_thw, **options):
        import torch

        if any(isinstance(option, torch.Tensor) for option in options.values()):
            return self.forward(hidden_states, grid_thw=grid_thw, **options)  # something of all images at once
        images = hidden_states.split(grid_thw.prod(-1).tolist())
        kinds, parts = zip(*(self._made(*each, options) for each in zip(images, grid_thw, strict=True)), strict=True)
        pooled, *deep = map(torch.cat, zip(*parts, strict=True))
        return kinds[0](pooler_output=pooled, **({"deepstack_features": deep} if deep else {}))

    def _made(self, pixels, grid, options) -> tuple:
        """For one image: what is pooled, and one for each level of deepstack, `(tokens, hidden)` each."""
        import torch
        import xxhash

        content = pixels.detach().contiguous().view(torch.uint8).cpu().numpy()

        def make() -> tuple:
            with torch.no_grad():
                out = self.forward(pixels, grid_thw=grid[None], **options)
            parts = [out.pooler_output, *(getattr(out, "deepstack_features", None) or ())]
            return (type(out), parts), sum(part.nbytes for part in parts)

        return self.recent.get((xxhash.xxh3_128_digest(content), pixels.dtype, *grid.tolist()), make)


def remember(tower, room: int = ROOM) -> Features:
    """Let a frozen vision tower keep features, up to `room` bytes."""
    tower.forward = Features(tower.forward, room)
    return tower.forward
