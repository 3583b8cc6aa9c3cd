"""What the vision tower makes of an image, computed once.

The tower is frozen, and without this it is shown the same image up to four times in each trajectory of a group: in both
rounds of sampling, and for the log-probabilities of the policy and of its reference.
"""

from collections import OrderedDict

ROOM = 256 * 2**20  # bytes of features that are kept, the last ones used


def remember(tower, room: int = ROOM) -> None:
    """Let a frozen vision tower of transformers keep what it makes of an image, up to `room` bytes; no gradients.

    Each image goes through the tower alone, so that its features are the same to the last bit, kept or not.
    """
    import torch
    import xxhash

    forward, kept, held = tower.forward, OrderedDict(), 0

    def size(entry: tuple) -> int:
        return sum(part.nbytes for part in entry[1])

    def made(pixels, grid, options) -> tuple:
        """The tower's kind of output, and its parts for one image: pooled, and one for each level of deepstack."""
        nonlocal held
        content = pixels.detach().contiguous().view(torch.uint8).cpu().numpy()
        key = xxhash.xxh3_128_digest(content), pixels.dtype, *grid.tolist()
        if key not in kept:
            with torch.no_grad():
                out = forward(pixels, grid_thw=grid[None], **options)
            kept[key] = type(out), [out.pooler_output, *(getattr(out, "deepstack_features", None) or ())]
            held += size(kept[key])
            while held > room and len(kept) > 1:
                held -= size(kept.popitem(last=False)[1])
        kept.move_to_end(key)
        return kept[key]

    def remembered(hidden_states, grid_thw, **options):
        if any(isinstance(option, torch.Tensor) for option in options.values()):
            return forward(hidden_states, grid_thw=grid_thw, **options)  # something of all images at once
        images = hidden_states.split(grid_thw.prod(-1).tolist())
        kinds, parts = zip(*(made(*each, options) for each in zip(images, grid_thw, strict=True)), strict=True)
        pooled, *deep = map(torch.cat, zip(*parts, strict=True))
        return kinds[0](pooler_output=pooled, **({"deepstack_features": deep} if deep else {}))

    tower.forward = remembered
