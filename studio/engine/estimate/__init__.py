"""How much memory training takes, and how it is made to fit, before anything is loaded."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from studio.config import PrecisionConfig, RunConfig
from studio.engine.dtypes import BYTES
from studio.engine.estimate.formula import micro_batch, storage_for
from studio.engine.estimate.plan import Place, place_of, plan, with_storage
from studio.engine.estimate.remedies import Remedy, remedies
from studio.engine.methods import METHODS
from studio.engine.methods.base import BytesPerWeight
from studio.engine.models.info import ModelInfo
from studio.engine.precision import Precision
from studio.engine.precision.choose import QUANTISED, choose_storage


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a configuration will need. Sizes are in bytes.

    Attributes:
        patch_bytes: size of the file that training will save.
        bytes: memory of training by component (`formula.components`), and `total_bytes` their sum.
        expert_bytes: of the weights, those of experts, where they are not quantised as the rest of the base is.
        rows: how many rows of the greatest length are computed at a time.
        row_tokens: that length, the longest that the configuration allows.
        available_bytes: memory that is free on the device now; `device_bytes`: all that it has.
        device: its type: cpu, cuda or mps.
        choices: what `auto` became, the attributes of `fit.Fit`, `base_dtype`, and `shards`, the number of processes
            that the weights are spread over; 1 where each has all of them.
        remedies: where it does not fit, what would lower the memory.
    """

    trainable_parameters: int
    total_parameters: int
    patch_bytes: int
    bytes: dict[str, int]
    total_bytes: int
    available_bytes: int
    device_bytes: int
    device: str
    rows: int
    choices: dict[str, Any]
    expert_bytes: int = 0
    row_tokens: int = 0
    remedies: tuple[Remedy, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether the memory that is free now is enough."""
        return self.total_bytes <= self.available_bytes


def estimate(
    info: ModelInfo,
    config: RunConfig,
    place: Place | None = None,
    *,
    processes: int = 1,
    with_remedies: bool = True,
) -> Estimate:
    """Return what training will need, where every row is as long as the configuration allows.

    Memory is that of the process on a processor, and that of the tensors on a GPU; that of one where several train
    together.

    Args:
        place: where it would run; None: on the device that the configuration asks for.
        processes: how many train together, each on a device of its own; without a `place`.
        with_remedies: whether to look for remedies where it does not fit.

    Raises:
        TrainingError: this machine has no such device.
        ConfigError: the precision does not work on it, or the method does not fit the model.
    """
    place = place or place_of(config, processes)
    method = METHODS.get(config.method.name)
    method.check(info, config.method)
    trainable = method.trainable_parameters(info.shapes, config.method)
    found = plan(info, config, place)
    stored = with_storage(config, found.base_dtype)
    sizes = bytes_per_weight(stored.precision, found.precision)
    quantised = found.base_dtype in QUANTISED
    return Estimate(
        trainable_parameters=trainable,
        total_parameters=info.parameters + (0 if method.form == "model" else trainable),
        patch_bytes=method.patch_bytes(info.shapes, config.method, sizes),
        bytes=found.bytes,
        total_bytes=found.total_bytes,
        available_bytes=found.place.available,
        device_bytes=found.place.total,
        device=place.kind,
        rows=micro_batch(config, found.fit.micro_batch_tokens).rows,
        expert_bytes=storage_for(stored, found.precision).expert_bytes(info.shapes) if quantised else 0,
        row_tokens=config.data.max_length,
        choices=asdict(found.fit) | {"base_dtype": found.base_dtype, "shards": place.processes if found.sharded else 1},
        remedies=remedies(info, config, place) if with_remedies and not found.fits else (),
    )


def bytes_per_weight(config: PrecisionConfig, precision: Precision) -> BytesPerWeight:
    """Return how wide the weights are in training (`training.model`), and so in what is saved of them."""
    return BytesPerWeight(trained=BYTES[precision.parameters], frozen=BYTES[choose_storage(config, precision)])
