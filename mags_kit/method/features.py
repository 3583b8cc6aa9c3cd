"""A cache of the features that the vision tower makes of an image.

The tower is frozen, and without this it is shown the same image up to four times in each trajectory of a group: in both
rounds of sampling, and for the log-probabilities of the policy and of its reference.
"""

from collections import OrderedDict

ROOM = 256 * 2**20  # bytes of features that are kept, the last ones used


class Features:
    """The forward pass of a frozen vision tower of transformers, without gradients. Each image goes through the tower
    alone, so that its features are the same to the last bit, kept or not."""

    def __init__(self, forward, room: int = ROOM):
        self.forward, self.room, self.kept = forward, room, OrderedDict()

    def __call__(self, hidden_states, grid_thw, **options):
        import torch

        if any(isinstance(option, torch.Tensor) for option in options.values()):
            return self.forward(hidden_states, grid_thw=grid_thw, **options)  # something of all images at once
        images = hidden_states.split(grid_thw.prod(-1).tolist())
        made = [self._of(*each, options) for each in zip(images, grid_thw, strict=True)]
        pooled, *deep = map(torch.cat, zip(*(parts for _, parts in made), strict=True))
        return made[0][0](pooler_output=pooled, **({"deepstack_features": deep} if deep else {}))

    def _of(self, pixels, grid, options) -> tuple:
        """For one image: the type of the output; what is pooled, and each level of deepstack `(tokens, hidden)`."""
        import torch
        import xxhash

        content = pixels.detach().contiguous().view(torch.uint8).cpu().numpy()
        key = (xxhash.xxh3_128_digest(content), pixels.dtype, *grid.tolist())
        if key not in self.kept:
            with torch.no_grad():
                out = self.forward(pixels, grid_thw=grid[None], **options)
            self.kept[key] = type(out), [out.pooler_output, *(getattr(out, "deepstack_features", None) or ())]
            while len(self.kept) > 1 and self.room < sum(p.nbytes for _, parts in self.kept.values() for p in parts):
                self.kept.popitem(last=False)
        self.kept.move_to_end(key)
        return self.kept[key]
