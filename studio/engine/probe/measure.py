"""The precision probe: a few updates of the chosen model, data and method in one precision, measured against fp32.

Every precision starts from the same weights and sees the same rows and the same random numbers, so that what differs
is the arithmetic alone. Each is meant to have a process of its own: its peak memory is then its own, too.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from studio.config import RunConfig, parse_config
from studio.engine.control import Progress
from studio.engine.data.batching import MicroBatch, collate, group_by_length
from studio.engine.data.prepare import PreparedData, prepare_data
from studio.engine.device import default_token_budget, peak_memory, resolve_device
from studio.engine.kernels.products import cpu_has_bf16, cpu_has_fp16
from studio.engine.models.inspect import inspect_model
from studio.engine.models.load import load_tokenizer
from studio.engine.numerics.facts import FirstNonFinite
from studio.engine.numerics.locate import locate_first
from studio.engine.numerics.lost_updates import LostUpdates
from studio.engine.numerics.replay import Replay
from studio.engine.precision import PRECISIONS, Precision
from studio.engine.precision.choose import choose_precision, has_bf16, remark
from studio.engine.precision.tf32 import tf32
from studio.engine.probe.compare import compare_gradients, sample_gradients, subnormal_share
from studio.engine.probe.recommend import REFERENCE, ProbeRow
from studio.engine.seed import seed_step
from studio.engine.training.assemble import Machinery, Trained, assemble, attach
from studio.engine.training.positions import check_positions
from studio.errors import ConfigError
from studio.i18n import tr

if TYPE_CHECKING:
    from studio.engine.data.rows import TokenizedRow


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
    info = inspect_model(Path(config.model.path), progress)
    try:
        config = in_precision(config, name)
        precision, _ = choose_precision(config.precision, device, info.dtype)
    except ConfigError as error:
        return ProbeRow(precision=name, status="unavailable", sentence=str(error), device=str(device))
    kind = info.kind if config.model.kind == "auto" else config.model.kind
    data = prepare_data(config.data, load_tokenizer(info.path), kind, config.training.seed, progress)
    check_positions(config, info, data)
    with tf32(config.precision.tf32):
        trained = attach(info.path, config, precision, device, progress)
        probe = _Probe(config, data, trained, assemble(config, trained, precision))
        probe.go(steps, progress)
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


class _Probe:
    """The updates, and what was seen of them.

    Attributes:
        gradient: of the first update, unscaled, fp32, (entries,), on the processor; None while there is none.
        scale: of the last attempt, None where the loss is not scaled; `first_scale`: of the first update.
        located: where the first non-finite value appeared, once no smaller loss scale can help; empty while `broken`
            but not to be seen when a micro-batch is repeated alone.
    """

    def __init__(self, config: RunConfig, data: PreparedData, trained: Trained, machinery: Machinery) -> None:
        self._config = config
        self._data = data
        self._trained = trained
        self._updater = machinery.updater
        self._scaler = machinery.scaler
        self._budget = default_token_budget(machinery.updater.device)
        self._last = 0
        self.losses: list[float] = []
        self.speeds: list[tuple[int, float]] = []
        self.attempts = 0
        self.gradient: Tensor | None = None
        self.scale: float | None = None
        self.first_scale: float | None = None
        self.updates_lost: float | None = None
        self.broken = False
        self.located: FirstNonFinite | None = None

    def go(self, steps: int, progress: Progress) -> None:
        """Apply so many updates; stop at the first that no smaller loss scale makes finite."""
        self._last = steps - 1
        for update in range(steps):
            progress("training", update, steps)
            batches = [batch.to(self._updater.device) for batch in self._batches(update)]
            while not self._attempt(update, batches):
                progress("training", update, steps)
                if self.broken:
                    return
        progress("training", steps, steps)

    @property
    def tokens_per_second(self) -> float | None:
        """The speed; the first update also warms up, so that it counts only where it is alone."""
        timed = self.speeds[1:] or self.speeds
        return sum(tokens for tokens, _ in timed) / sum(seconds for _, seconds in timed) if timed else None

    def _batches(self, update: int) -> list[MicroBatch]:
        """The rows of an update, as the run itself would take them."""
        order, size = self._data.order, self._config.training.batch_size
        epoch, number = divmod(update, math.ceil(order.rows_per_epoch / size))
        indices = order.epoch(epoch)[number * size : (number + 1) * size]
        rows: list[TokenizedRow] = [self._data.train[int(index)] for index in indices]
        lengths = [len(row.input_ids) + self._trained.loss.virtual_tokens for row in rows]
        groups = group_by_length(lengths, self._budget)
        return [collate([rows[i] for i in group], pad_id=0) for group in groups]  # padding is masked by position

    def _attempt(self, update: int, batches: Sequence[MicroBatch]) -> bool:
        """Try an update and return whether it was applied. Another try draws the same random numbers."""
        self.attempts += 1
        seed_step(self._config.training.seed, update + 1)
        could_back_off = self._scaler is not None and self._scaler.can_back_off
        self.scale = self._scaler.scale if self._scaler else None
        started = time.monotonic()
        loss = self._updater.accumulate(batches, sum(batch.supervised for batch in batches))
        see = None if update else self._see_gradients
        lost = self._watch_updates(update)
        attempt = self._updater.apply(loss, self._config.training.learning_rate, see, lost or nullcontext())
        self._wait_for_device()
        if attempt.finite:
            self.losses.append(attempt.loss)
            self.speeds.append((sum(batch.tokens for batch in batches), time.monotonic() - started))
            self.updates_lost = lost.share if lost and not math.isnan(lost.share) else self.updates_lost
        elif not (could_back_off and math.isfinite(attempt.loss)):
            self.broken = True
            self.located = self._locate(batches)
        return attempt.finite

    def _watch_updates(self, update: int) -> LostUpdates | None:
        # In the last update: half of LoRA's weights do not move in the first, because the other half is still zero.
        rounds = self._updater.precision.pure and not self._config.precision.stochastic_rounding
        return LostUpdates(self._trained.parameters) if rounds and update == self._last else None

    def _see_gradients(self) -> None:
        self.gradient, self.first_scale = sample_gradients(self._trained.parameters), self.scale

    def _wait_for_device(self) -> None:
        if self._updater.device.type == "cuda":
            torch.cuda.synchronize(self._updater.device)

    def _locate(self, batches: Sequence[MicroBatch]) -> FirstNonFinite | None:
        replay = Replay(
            model=self._trained.model,
            base=self._trained.base,
            loss=self._trained.loss,
            autocast=self._updater.autocast,
            scale=self.scale,
            supervised=sum(batch.supervised for batch in batches),
        )
        return next(filter(None, (locate_first(replay, batch) for batch in batches)), None)


def _row(name: str, precision: Precision, device: torch.device, probe: _Probe, reference: Path) -> ProbeRow:
    located = probe.located
    row = ProbeRow(
        precision=name,
        status="not_finite" if probe.broken else "measured",
        sentence=_where(probe) if probe.broken else "",
        device=str(device),
        losses=tuple(probe.losses),
        attempts=probe.attempts,
        updates_lost=probe.updates_lost,
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
    return _compared(row, probe, precision, load_file(reference) if reference.exists() else None)


def _compared(row: ProbeRow, probe: _Probe, precision: Precision, found: dict[str, Tensor] | None) -> ProbeRow:
    assert probe.gradient is not None
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
    if precision.autocast is None:
        return True
    if device.type == "cpu":
        return cpu_has_bf16() if precision.autocast == "bf16" else cpu_has_fp16()
    return precision.autocast == "fp16" or has_bf16(device)
