"""Marks that say whether an answer is to be learnt: weights, switches and verdicts, of a message or of a whole row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from studio.engine.data.report import Remark, RowSkipped


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


WEIGHTS = _words(
    "weight loss_weight loss loss_mask compute_loss train train_mask training trainable do_train learn learnt "
    "supervised"
)
"""Names of marks that are 0 or false where nothing is to be learnt."""
VERDICTS = _words("label kto_tag accepted desirable verdict is_good good is_correct correct is_valid quality 质量")
"""Names of marks that tell a bad answer from a good one."""
MASKS = _words("mask masked loss_masked ignore ignored ignore_loss no_loss skip excluded")
"""Names of marks that are true where nothing is to be learnt."""
MARKS = WEIGHTS | VERDICTS | MASKS

_YES = _words(
    "true yes y t good ok right correct chosen accept accepted approved positive desirable like liked up thumbs_up "
    "keep pass passed 好 对 是 正确"
)
_NO = _words(
    "false no n f bad wrong incorrect rejected reject declined negative undesirable dislike disliked down thumbs_down "
    "discard drop fail failed 坏 差 错 否 不好 错误"
)


def is_filled(value: object) -> bool:
    """Return whether a cell holds something."""
    return value is not None and value not in ("", [], {}) and not (isinstance(value, str) and value.isspace())


def says_learn(name: str, value: Any) -> bool | None:
    """Return what a mark says: True to learn, False not to, None where it is not understood.

    Args:
        name: one of `MARKS`, in small letters.
    """
    word = str(value).strip().casefold().replace(" ", "_")
    number = _number(word)
    if word in _YES or (number is not None and (number == 1 or (number > 0 and name in WEIGHTS))):
        said = True
    elif word in _NO or (number is not None and number <= 0):
        said = False
    else:
        return None
    return not said if name in MASKS else said


def is_partial(name: str, value: Any) -> bool:
    """Return whether a mark asks for a part of the weight, or more than one."""
    number = _number(str(value)) if name in WEIGHTS else None
    return number is not None and number > 0 and number != 1


def is_learnt(message: Mapping[str, Any]) -> bool:
    """Return whether a message is to be learnt. Raises `RowSkipped` where a mark of it is not understood."""
    said = [learns(name, value) for name, value in _marks_of(message)]
    return all(said)


def learns(name: str, value: Any) -> bool:
    """Return what a mark of a message says. Raises `RowSkipped` where it is not understood."""
    says = says_learn(name, value)
    if says is None:
        raise RowSkipped(Remark.of("unknown_mark", field=name, value=str(value)[:20]))
    return says


def about_weights(messages: Any) -> tuple[Remark, ...]:
    """Return a remark where a message asks for a part of the weight, which no answer gets."""
    turns = [item for item in messages if isinstance(item, Mapping)] if isinstance(messages, list) else []
    partial = any(is_partial(name, value) for item in turns for name, value in _marks_of(item))
    return (Remark("weights_count_as_one"),) if partial else ()


def _marks_of(message: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    return ((name.lower(), value) for name, value in message.items() if name.lower() in MARKS and is_filled(value))


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None
