"""Whether every row fits into the positions that the model has, with what the method puts in front of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from studio.config import RunConfig
from studio.engine.data.prepare import PreparedData
from studio.engine.methods import METHODS
from studio.errors import ConfigError
from studio.i18n import tr

if TYPE_CHECKING:
    from studio.engine.models.info import ModelInfo


def check_positions(config: RunConfig, info: ModelInfo, data: PreparedData) -> None:
    """Refuse rows that are too long.

    A table of learnt positions ends where it ends. Rotary positions go on, and a row that is longer than the model was
    made for is the user's choice; but virtual tokens, which nobody counts, should not be what makes it so.

    Raises:
        ConfigError: with the length that fits.
    """
    taken = METHODS.get(config.method.name).positions(config.method)
    most = info.context_length
    if most is None or not (taken or info.shapes.learnt_positions):
        return
    # The last token of a row is predicted, and never read.
    longest = max(int(store.lengths.max()) for store in (data.train, data.validation) if len(store)) - 1
    if longest + taken <= most:
        return
    if taken >= most:
        raise ConfigError(
            tr("method.virtual_tokens = {taken}: the model has {most} positions in all; take fewer.").format(
                taken=taken, most=most
            )
        )
    raise ConfigError(
        tr(
            "data.max_length = {length}: the model has {most} positions, of which virtual tokens take {taken}; "
            "set it to {fits} or less."
        ).format(length=config.data.max_length, most=most, taken=taken, fits=most - taken + 1)
    )
