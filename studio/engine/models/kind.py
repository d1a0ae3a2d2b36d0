"""Base or Chat: a Chat model stops where its own template ends an answer. Everything else is weaker evidence.

A template alone proves little: Qwen 2.5 and 3 ship the Chat model's template with the Base model too. But
the Base model stops at `<|endoftext|>`, which that template never writes, so it would never end an answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from studio.engine.models.template import ANSWER, Trial
from studio.engine.models.tokenizer_files import TokenizerFiles
from studio.i18n import tr

_CHAT_NAME = re.compile(r"(^|[-_. ])(instruct|chat|it|sft|dpo|assistant)([-_. ]|$)", re.IGNORECASE)
_BASE_NAME = re.compile(r"(^|[-_. ])(base|pt|pretrained)([-_. ]|$)", re.IGNORECASE)


@dataclass(frozen=True)
class _Evidence:
    """A reason, a sentence, and how strongly it speaks for Chat (above zero) or Base (below)."""

    reason: str
    weight: int


def tell_kind(
    name: str, tokenizer: TokenizerFiles, trial: Trial | None
) -> tuple[Literal["base", "chat"], tuple[str, ...]]:
    """Return the kind of a model and the reasons, those that speak for it first.

    Args:
        name: of the model's folder, or its hub id.
        tokenizer: what the tokenizer files say.
        trial: what came of trying the chat template; None without a template.
    """
    evidence = [*_of_template(tokenizer, trial), *_of_name(name)]
    if trial is None or not trial.text:
        evidence = [piece for piece in evidence if piece.weight <= 0]
    kind: Literal["base", "chat"] = "chat" if sum(piece.weight for piece in evidence) > 0 else "base"
    ordered = sorted(evidence, key=lambda piece: (piece.weight > 0) != (kind == "chat"))
    return kind, tuple(piece.reason for piece in ordered)


def _of_template(tokenizer: TokenizerFiles, trial: Trial | None) -> list[_Evidence]:
    if trial is None:
        evidence = [_Evidence(tr("It has no chat template."), -3)]
        if tokenizer.chat_tokens:
            tokens = tr(", ").join(tokenizer.chat_tokens)
            evidence.append(
                _Evidence(tr("Its tokenizer knows {tokens}, but no template uses them.").format(tokens=tokens), 0)
            )
        return evidence
    if trial.problem:
        return [_Evidence(tr("Its chat template does not work."), -3)]
    evidence = [_Evidence(tr("It has a chat template."), 1)]
    if not tokenizer.stops:
        return evidence
    ending = trial.text.rpartition(ANSWER)[2]
    written = [token for token in tokenizer.stops if token in ending]
    if written:
        reason = tr("The template ends each answer with {token}, and there the model stops.").format(token=written[0])
        return [*evidence, _Evidence(reason, 1)]
    reason = tr("The model stops at {token}, which the template never writes after an answer.").format(
        token=tokenizer.stops[0]
    )
    return [*evidence, _Evidence(reason, -2)]


def _of_name(name: str) -> list[_Evidence]:
    if match := _CHAT_NAME.search(name):
        return [_Evidence(tr("Its name says {part}.").format(part=match[2]), 2)]
    if match := _BASE_NAME.search(name):
        return [_Evidence(tr("Its name says {part}.").format(part=match[2]), -2)]
    return []
