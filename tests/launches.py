"""Operations that a GPU would launch in a training step, counted while it runs on a processor.

Which operations are launched does not depend on how large tensors are, so a narrow model tells it in a second.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from studio.engine.data.batching import MicroBatch, micro_batches
from studio.engine.fit import in_fp32
from studio.engine.kernels import lora

KINDS = ("products", "copies", "elementwise", "reductions", "others", "optimizer")
_PRODUCTS = ("mm", "addmm", "bmm", "baddbmm")
_COPIES = (
    "_to_copy",
    "copy_",
    "clone",
    "cat",
    "stack",
    "slice_backward",
    "select_backward",
    "_foreach_copy_",
    "repeat",
)
_REDUCTIONS = ("sum", "mean", "amax", "max", "any", "all", "logsumexp", "linalg_vector_norm", "_foreach_norm")
_METADATA = ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "_unsafe_view", "detach", "set_")
# What a processor would wait for a GPU for: reading a value, and finding out how many there are of something.
_WAITS = ("_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select")
_READS = (Tensor.tolist, Tensor.cpu, Tensor.numpy)
# So many tensors go into one launch of an operation over lists, by the number of lists (torch's `MultiTensorApply.cuh`).
_IN_ONE_LAUNCH = (110, 64, 48, 36, 30)


class Launches(TorchDispatchMode):
    """Counts the operations that run inside it, other than views and those on metadata.

    Attributes:
        launched: by kind.
        names: by name of the operation.
        waits: by what a processor would wait for.
        optimizing: whether what is launched counts as part of the optimizer.
    """

    def __init__(self) -> None:
        super().__init__()
        self.launched: Counter[str] = Counter()
        self.names: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()
        self.optimizing = False
        self._paused = False
        self._reads = _Reads(self)

    @property
    def total(self) -> int:
        return sum(self.launched.values())

    def __enter__(self) -> Launches:
        super().__enter__()
        self._reads.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._reads.__exit__(*error)
        super().__exit__(*error)

    def reset(self) -> None:
        """Begin anew."""
        for counts in (self.launched, self.names, self.waits):
            counts.clear()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out what a GPU has no part in."""
        before, self._paused = self._paused, True
        try:
            yield
        finally:
            self._paused = before

    def launch(self, name: str, kind: str, count: int = 1) -> None:
        """Count an operation."""
        if not self._paused:
            self.launched["optimizer" if self.optimizing else kind] += count
            self.names[name] += count

    def wait(self, name: str) -> None:
        """Count a wait."""
        self.waits[name] += not self._paused

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs, name = kwargs or {}, func.overloadpacket.__name__
        by_mask = name == "index" and any(leaf.dtype is torch.bool for leaf in _tensors(args[1]))
        if name in _WAITS or by_mask:
            self.wait(name)
        result = func(*args, **kwargs)
        if not func.is_view and name not in (*_METADATA, *_WAITS) and func.namespace == "aten":
            self.launch(name, _kind(func, name), _launches_of(name, args, result))
        return result


class _Reads(TorchFunctionMode):
    """Counts reads that are no operations of a processor, which has the values already."""

    def __init__(self, launches: Launches) -> None:
        super().__init__()
        self._launches = launches

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in _READS:
            self._launches.wait(func.__name__)
        return func(*args, **(kwargs or {}))


def _tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]


def _kind(func: Any, name: str) -> str:
    if name in _PRODUCTS or name.startswith("_scaled_dot_product"):
        return "products"
    if name in _COPIES:
        return "copies"
    if name in _REDUCTIONS:
        return "reductions"
    return "elementwise" if torch.Tag.pointwise in func.tags else "others"


def _launches_of(name: str, args: Sequence[Any], result: Any) -> int:
    """Return the launches of an operation: one, or for lists of tensors one for each few dozens of them."""
    if not name.startswith(("_foreach", "_fused", "_amp_foreach")):
        return 1
    lists = [value for value in (*args, result) if isinstance(value, list | tuple) and len(value) == len(args[0])]
    return math.ceil(len(args[0]) / _IN_ONE_LAUNCH[min(len(lists), len(_IN_ONE_LAUNCH)) - 1])


@contextmanager
def as_on_a_gpu() -> Iterator[Launches]:
    """Count what our training launches, and let it take the ways that it takes on a GPU."""
    launches = Launches()

    def uncounted(*args: Any) -> list[MicroBatch]:
        with launches.paused():
            return micro_batches(*args)

    instead = {
        "studio.engine.training.trainer.micro_batches": uncounted,
        "studio.engine.training.model.widen_attention": lambda base: None,
        "studio.engine.kernels.lora.drop": lora._drop_on_gpu,
        "studio.engine.kernels.lora.drop_likewise_": lora._drop_likewise_on_gpu_,
        "studio.engine.kernels.cross_entropy.in_fp32": lambda device: in_fp32("cuda"),
        "torch.nn.functional.rms_norm": lambda *args: _Norm.apply(launches, *args),
    }
    with ExitStack() as stack:
        for name, function in instead.items():
            stack.enter_context(patch(name, function))
        yield stack.enter_context(launches)


class _Norm(torch.autograd.Function):
    """A norm that a GPU computes in one launch forward and one backward, with one more where its weight is trained."""

    @staticmethod
    def forward(
        ctx: Any, launches: Launches, x: Tensor, shape: Sequence[int], weight: Tensor, epsilon: float
    ) -> Tensor:
        ctx.launches = launches
        launches.launch("rms_norm", "reductions")
        with launches.paused(), torch.enable_grad():
            ctx.given = x.detach().requires_grad_(), weight.detach().requires_grad_()
            ctx.made = torch.rms_norm(ctx.given[0], shape, ctx.given[1], epsilon)
        return ctx.made.detach()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        ctx.launches.launch("rms_norm_backward", "reductions", 2 if ctx.needs_input_grad[3] else 1)
        with ctx.launches.paused():
            of_x, of_weight = torch.autograd.grad(ctx.made, ctx.given, gradient)
        return None, of_x, None, of_weight if ctx.needs_input_grad[3] else None, None
