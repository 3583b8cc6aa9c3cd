"""The floor under a time: what its matrix products alone would take at the rate that this machine reaches on them.

Linear layers, convolutions and attention count, by the very shapes that went through them. The rate of each shape is
that of `torch.matmul` on it, the best of several; its matrices are at hand then, which they are not in a model larger
than the processor's caches. So the floor is low, and what is measured over it is what could be won at most.
"""

import math
import time
from collections import Counter
from dataclasses import dataclass, field

SECONDS = 0.02  # for which one shape is tried
LARGEST = 4e9  # FLOP of one try, at most
MOST = 48  # shapes of one count that are tried; of the others, the mean rate of these is taken

Shape = tuple[int, int, int, int, str]  # matrices, rows, inner, columns, type of number


class Products:
    """What was multiplied while it was open: FLOP by shape. Counting takes time, so it is never timed.

    torch's counter sees operations, and not what bitsandbytes does inside its own on 4-bit weights, nor the CPU's
    attention: the first is counted from the layer's sizes wherever less was seen than they say, the second by its
    shapes as on other devices.
    """

    def __init__(self):
        self.flops: Counter[Shape] = Counter()
        self.open = []

    @property
    def total(self) -> float:
        return sum(self.flops.values())

    def __enter__(self):
        from torch.nn.modules import module
        from torch.utils.flop_counter import FlopCounterMode

        self.counter = FlopCounterMode(display=False, custom_mapping=self._noting())
        self.hooks = [module.register_module_forward_pre_hook(self._before)]
        self.hooks += [module.register_module_forward_hook(self._after)]
        self.counter.__enter__()
        return self

    def __exit__(self, *error):
        self.counter.__exit__(*error)
        for hook in self.hooks:
            hook.remove()

    def _noting(self) -> dict:
        """Operation -> its FLOP, which are noted by shape, for all that torch's counter knows and what it lacks."""
        import torch
        from torch.utils import flop_counter

        aten, known = torch.ops.aten, dict(flop_counter.flop_registry)
        known[aten._scaled_dot_product_flash_attention_for_cpu] = known[aten._scaled_dot_product_flash_attention]
        backward = known[aten._scaled_dot_product_flash_attention_backward]
        known[aten._scaled_dot_product_flash_attention_for_cpu_backward] = backward

        def noting(operation, count):
            def noted(*arguments, out_val=None, **options):
                flops = count(*arguments, out_val=out_val, **options)
                self.flops[_shape(operation, arguments, flops)] += flops
                return flops

            noted._get_raw = True  # with tensors instead of their shapes
            return noted

        return {each: noting(str(each).split(".")[-1], count) for each, count in known.items()}

    def _before(self, layer, inputs) -> None:
        if type(layer).__name__ == "Linear4bit":
            self.open.append(self.total)

    def _after(self, layer, inputs, output) -> None:
        if type(layer).__name__ != "Linear4bit":
            return
        rows = inputs[0].numel() // layer.in_features
        missing = 2 * rows * layer.in_features * layer.out_features - (self.total - self.open.pop())
        if missing > 0:
            number = str(layer.compute_dtype or inputs[0].dtype)
            self.flops[(1, rows, layer.in_features, layer.out_features, number)] += missing


def _shape(operation: str, arguments: tuple, flops: int) -> Shape:
    """The shape of the product that an operation is; a convolution's is that of its unfolded picture."""
    import torch

    tensors = [a for a in arguments if isinstance(a, torch.Tensor)]
    later = operation.endswith("backward") or operation in ("addmm", "baddbmm")  # another tensor comes before the two
    left, right = tensors[1:3] if later else tensors[:2]
    number = str(right.dtype if right.is_floating_point() else torch.float32)
    if "attention" in operation:  # queries by keys, and what that gives by values, which is as large
        return left.shape[:2].numel(), left.shape[2], left.shape[3], right.shape[2], number
    if "convolution" in operation:
        matrices, columns, inner = 1, right.shape[0], right.shape[1:].numel()
    else:
        matrices, (inner, columns) = right.shape[0] if right.ndim == 3 else 1, right.shape[-2:]
    return matrices, max(1, flops // (2 * matrices * inner * columns)), inner, columns, number


def rounded(size: int) -> int:
    """The next of 1, 2, 3, 4, 6, 8, 12, 16, …, so that shapes that hardly differ are tried once.

    >>> [rounded(n) for n in (1, 5, 9, 13, 100)]
    [1, 6, 12, 16, 128]
    """
    power = 2 ** math.floor(math.log2(size))
    return next(step for step in (power, power * 3 // 2, power * 2) if step >= size)


@dataclass
class Rates:
    """FLOP a second that `torch.matmul` reaches here, by shape; each shape is tried once, and then known."""

    known: dict[Shape, float] = field(default_factory=dict)

    def seconds(self, products: Products) -> float:
        """What the products take at those rates: a floor under the time of what made them."""
        largest = products.flops.most_common(MOST)
        needed = sum(flops / self.rate(shape) for shape, flops in largest)
        tried = sum(flops for _, flops in largest)
        return needed * products.total / tried if tried else 0.0

    def rate(self, shape: Shape) -> float:
        near = (*map(rounded, shape[:4]), shape[4])
        if near not in self.known:
            self.known[near] = reached(near)
        return self.known[near]


def reached(shape: Shape) -> float:
    """FLOP a second of `torch.matmul` on matrices of a shape, fewer or shorter ones where that would take long."""
    import torch

    from mags_kit.hardware.clock import now

    matrices, rows, inner, columns, number = shape
    device = "cuda" if torch.cuda.is_available() else "cpu"
    most = max(1, int(LARGEST // (2 * inner * columns)))
    rows = min(rows, most)
    matrices = min(matrices, max(1, most // rows))
    of = {"device": device, "dtype": getattr(torch, number.removeprefix("torch."))}
    left, right = torch.randn(matrices, rows, inner, **of), torch.randn(matrices, inner, columns, **of)
    left, right = (left[0], right[0]) if matrices == 1 else (left, right)
    best, begun, tries = math.inf, time.perf_counter(), 0
    with torch.no_grad():
        while tries < 4 or time.perf_counter() - begun < SECONDS:
            start = now()
            torch.matmul(left, right)
            best, tries = min(best, now() - start), tries + 1
    return 2 * matrices * rows * inner * columns / best
