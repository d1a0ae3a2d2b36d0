"""The precision probe: a few updates of the chosen model, data and method in one precision, measured against fp32.

Every precision starts from the same weights and sees the same rows and the same random numbers, so that what differs
is the arithmetic alone. Each is meant to have a process of its own: its peak memory is then its own, too.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from typing_extensions import override

from studio.config import RunConfig, parse_config
from studio.engine.autocast import tf32
from studio.engine.control import Progress
from studio.engine.data.prepare import PreparedData, prepare_data
from studio.engine.device import peak_memory, resolve_device
from studio.engine.estimate.plan import place_of, plan, with_rows, with_storage
from studio.engine.kernels.products import cpu_has_bf16, cpu_has_fp16
from studio.engine.models.info import as_configured
from studio.engine.models.inspect import inspect_model
from studio.engine.models.load import load_tokenizer
from studio.engine.numerics.facts import FirstNonFinite
from studio.engine.numerics.locate import locate_first
from studio.engine.numerics.lost_updates import LostUpdates
from studio.engine.precision import PRECISIONS, Precision
from studio.engine.precision.choose import choose_precision, has_bf16, remark
from studio.engine.probe.recommend import REFERENCE, ProbeRow
from studio.engine.training.model import check_positions, load_trainable
from studio.engine.training.trainer import StepObserver, Trainer
from studio.errors import ConfigError
from studio.exponents import FP16
from studio.i18n import tr

# Entries of two gradients that are compared, evenly spread over all: 64 MB in fp32.
COMPARED = 1 << 24


def measure(config: RunConfig, name: str, steps: int, reference: Path, progress: Progress) -> ProbeRow:
    """Do `steps` updates in the precision called `name` and return what they were like.

    Args:
        config: the run; its precision is replaced, its model is a folder. The learning rate is the full one from the
            first update on, because a few updates of a warm-up would hardly move a weight.
        reference: a file that fp32 writes and the others read, where it is there.

    Raises:
        StudioError: model, data or method cannot be used, whatever the precision.
    """
    device = resolve_device(config.training.device)
    info = as_configured(inspect_model(Path(config.model.path), progress), config.model)
    try:
        config = in_precision(config, name)
        precision, _ = choose_precision(config.precision, device, info.dtype)
    except ConfigError as error:
        return ProbeRow(precision=name, status="unavailable", sentence=str(error), device=str(device))
    tokenizer = load_tokenizer(info.path, info.chat_template)
    data = prepare_data(config.data, tokenizer, info.kind, config.training.seed, progress)
    check_positions(config, info, data)
    with tf32(config.precision.tf32):
        found = plan(info, with_rows(config, data.longest), place_of(config))
        config = with_storage(config, found.base_dtype)
        model = load_trainable(info.path, config, precision, device, found.fit, progress)
        trainer = Trainer(config, model, precision, token_budget=found.fit.micro_batch_tokens)
        probe = _Probe(trainer, data, steps)
        probe.go(progress)
    row = _row(name, precision, device, probe, reference)
    return dataclasses.replace(row, remark=remark(name, device, info.dtype, config.precision.stochastic_rounding))


def in_precision(config: RunConfig, name: str) -> RunConfig:
    """Return the configuration in another precision, without what belongs to its own alone.

    Raises:
        ConfigError: the remaining settings contradict the precision.
    """
    tables = config.model_dump(exclude_none=True)
    precision = tables["precision"]
    if name != precision["name"]:
        precision["name"] = name
        precision["stochastic_rounding"] = precision["stochastic_rounding"] and name == "bf16-pure"
        formats = ("fp32", "fp16", "bf16") if PRECISIONS.get(name).pure else ("fp16", "bf16")
        if precision["base_dtype"] in formats:
            precision["base_dtype"] = "auto"
    return parse_config(tables)


class _Probe(StepObserver):
    """The updates, and what was seen of them.

    Attributes:
        gradient: of the first update, unscaled, fp32, (entries,), on the processor; None while there is none.
        scale: of the last attempt, None where the loss is not scaled; `first_scale`: of the first update.
        lost: what the last update left as it was, where rounding may do that.
        located: where the first non-finite value appeared, once no smaller loss scale can help; empty while `broken`
            but not to be seen when a micro-batch is repeated alone.
    """

    def __init__(self, trainer: Trainer, data: PreparedData, steps: int) -> None:
        self._trainer = trainer
        self._data = data
        self._steps = steps
        self.lost: LostUpdates | None = None
        self.losses: list[float] = []
        self.speeds: list[tuple[int, float]] = []
        self.attempts = 0
        self.gradient: Tensor | None = None
        self.scale: float | None = None
        self.first_scale: float | None = None
        self.broken = False
        self.located: FirstNonFinite | None = None

    def go(self, progress: Progress) -> None:
        """Apply the updates; stop at the first that no smaller loss scale makes finite."""
        for update in range(self._steps):
            progress("training", update, self._steps)
            while not self._attempt(update):
                progress("training", update, self._steps)
                if self.broken:
                    return
        progress("training", self._steps, self._steps)

    @property
    def tokens_per_second(self) -> float | None:
        """The speed; the first update also warms up, so that it counts only where it is alone."""
        timed = self.speeds[1:] or self.speeds
        return sum(tokens for tokens, _ in timed) / sum(seconds for _, seconds in timed) if timed else None

    @override
    def see_gradients(self, step: int) -> None:
        if step == 1:
            self.gradient, self.first_scale = sample_gradients(self._trainer.model.parameters), self.scale

    @override
    def optimizer_step(self, step: int) -> AbstractContextManager[object]:
        # In the last update: half of LoRA's weights do not move in the first, because the other half is still zero.
        if not self._trainer.rounds_updates or step < self._steps:
            return nullcontext()
        self.lost = LostUpdates(self._trainer.model.parameters)
        return self.lost

    def _attempt(self, update: int) -> bool:
        """Try an update and return whether it was applied. Another try draws the same random numbers."""
        self.attempts += 1
        trainer, training = self._trainer, self._trainer.config.training
        self.scale = trainer.scaler.scale if trainer.scaler else None
        rows = self._data.batch(update, training.batch_size)
        started = time.monotonic()
        attempt = trainer.attempt(rows, step=update + 1, learning_rate=training.learning_rate, observer=self)
        if trainer.device.type == "cuda":
            torch.cuda.synchronize(trainer.device)  # the optimizer's step is only queued
        if not attempt.skipped:
            self.losses.append(attempt.loss)
            self.speeds.append((sum(batch.tokens for batch in attempt.batches), time.monotonic() - started))
        elif not attempt.retry:
            self.broken = True
            replay = trainer.replay(attempt.batches, attempt.grad_scale)
            places = (locate_first(replay, batch.to(trainer.device)) for batch in attempt.batches)
            self.located = next(filter(None, places), None)
        return not attempt.skipped


def _row(name: str, precision: Precision, device: torch.device, probe: _Probe, reference: Path) -> ProbeRow:
    located = probe.located
    row = ProbeRow(
        precision=name,
        status="not_finite" if probe.broken else "measured",
        sentence=_where(probe) if probe.broken else "",
        device=str(device),
        losses=tuple(probe.losses),
        attempts=probe.attempts,
        updates_lost=probe.lost.share if probe.lost else None,
        grad_scale=probe.scale,
        tokens_per_second=probe.tokens_per_second,
        peak_memory=peak_memory(device),
        module=located.module if located else "",
        direction=located.direction if located else "",
        largest_before=located.largest_before if located else None,
        native=_computes(precision, device),
    )
    if probe.gradient is None or not probe.losses:
        return row
    if name == REFERENCE:
        losses = torch.tensor(probe.losses, dtype=torch.float64)
        save_file({"gradient": probe.gradient, "losses": losses}, reference)
    found = load_file(reference) if reference.exists() else None
    wide = probe.gradient if found is None else found["gradient"]
    if precision.autocast == "fp16":
        subnormal = subnormal_share(probe.gradient, probe.first_scale or 1.0, wide)
        row = dataclasses.replace(row, gradients_subnormal=subnormal)
    if found is None:
        return row
    cosine, lost = compare_gradients(probe.gradient, wide)
    pairs = zip(probe.losses, found["losses"].tolist(), strict=False)
    differences = tuple(abs(loss - exact) / abs(exact) if exact else abs(loss) for loss, exact in pairs)
    return dataclasses.replace(row, loss_differences=differences, gradient_cosine=cosine, gradients_lost=lost)


def _where(probe: _Probe) -> str:
    update = len(probe.losses) + 1
    if probe.located is None:
        return tr("Not finite in update {update}.").format(update=update)
    words = {
        "forward": tr("Not finite in update {update}: the output of {module} (forward)."),
        "backward": tr("Not finite in update {update}: the gradient in {module} (backward)."),
        "weights": tr("Not finite before update {update}: the weights of {module}."),
        "loss": tr("Not finite in update {update}: the loss itself."),
    }[probe.located.direction]
    return words.format(update=update, module=probe.located.module)


def _computes(precision: Precision, device: torch.device) -> bool:
    """Whether the device itself multiplies in the precision's format."""
    if precision.autocast == "bf16":
        return cpu_has_bf16() if device.type == "cpu" else has_bf16(device)
    return precision.autocast is None or device.type != "cpu" or cpu_has_fp16()


def sample_gradients(parameters: Sequence[nn.Parameter], most: int = COMPARED) -> Tensor:
    """Return about `most` gradient entries at most, fp32, on the processor; the same places for the same shapes."""
    # An odd stride visits all columns of a matrix whose width is even.
    stride = math.ceil(sum(parameter.numel() for parameter in parameters) / most) | 1
    some = []
    for parameter in parameters:
        values = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        some.append(values.detach().reshape(-1)[::stride].float().cpu())
    return torch.cat(some)


def compare_gradients(gradient: Tensor, reference: Tensor) -> tuple[float | None, float | None]:
    """Return the cosine of the angle between two gradients, and the share of `reference`'s entries lost to zero.

    None stands for what is not defined, because one of them is zero everywhere.
    """
    wide, other = gradient.double(), reference.double()
    lengths = float(wide.norm() * other.norm())
    there = reference != 0
    count = int(there.sum())
    lost = int((there & (gradient == 0)).sum())
    return (float(wide @ other) / lengths if lengths > 0 else None), (lost / count if count else None)


def subnormal_share(gradient: Tensor, scale: float, reference: Tensor) -> float | None:
    """Return the share of `reference`'s entries, not zero, that fp16 at the loss scale keeps with less detail."""
    there = reference != 0
    count = int(there.sum())
    magnitudes = gradient.abs() * scale
    subnormal = there & (magnitudes > 0) & (magnitudes < 2.0**FP16.smallest_normal)
    return int(subnormal.sum()) / count if count else None
