"""Checks of what goes along with the weights: tokenizer, template, and the ends of generation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from studio.engine.control import Progress
from studio.engine.export import stopping
from studio.engine.export.carry import (
    GENERATION_CONFIG,
    base_generation_config,
    ending_ids,
    generation_config,
    stop_ids,
)
from studio.engine.export.certificate import Check
from studio.engine.export.prompts import BUILT_IN
from studio.engine.export.reference import Reference
from studio.engine.export.reload import reload_tokenizer
from studio.engine.export.source import Source
from studio.engine.export.stopping import first_stop
from studio.i18n import tr

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Digits, spaces, line ends, accents and emoji: where tokenizers that look alike part.
_SAMPLES = (*BUILT_IN, "x = 1234567.890\n\tif a  != b:", "naïve café — “quoted”", "👩‍💻 🇨🇳")


def carried_checks(source: Source, tokenizer: PreTrainedTokenizerBase, folder: Path) -> tuple[Check, ...]:
    """Return the checks of tokenizer, chat template, end tokens and generation config in `folder`."""
    exported = _open_tokenizer(folder)
    config = _read_json(folder / GENERATION_CONFIG)
    return (
        _tokenizer(tokenizer, exported),
        _template(tokenizer, exported),
        _end(source, tokenizer, exported, config),
        _generation(source, tokenizer, config),
    )


def _open_tokenizer(folder: Path) -> PreTrainedTokenizerBase | None:
    try:
        return reload_tokenizer(folder)
    except Exception:  # noqa: BLE001  # tokenizers raises bare Exceptions; None is reported as a failed check
        return None


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return values if isinstance(values, dict) else None


def _tokenizer(base: PreTrainedTokenizerBase, exported: PreTrainedTokenizerBase | None) -> Check:
    differing = [
        text for text in _SAMPLES if exported is None or exported(text)["input_ids"] != base(text)["input_ids"]
    ]
    if exported is None:
        meaning = tr("The tokenizer is missing from the export or cannot be opened.")
    elif differing:
        meaning = tr("The exported tokenizer splits text differently from the base's ({count} of {all} samples).")
    else:
        meaning = tr("The exported tokenizer splits text exactly like the base's.")
    return Check(
        name="tokenizer_carried",
        passed=not differing,
        value=len(differing),
        limit=0,
        meaning=meaning.format(count=len(differing), all=len(_SAMPLES)),
    )


def _template(base: PreTrainedTokenizerBase, exported: PreTrainedTokenizerBase | None) -> Check:
    passed = exported is not None and exported.chat_template == base.chat_template
    if not passed:
        meaning = tr("The chat template is missing from the export, or is not the one the model was trained with.")
    elif base.chat_template:
        meaning = tr("The chat template in the export is the one the model was trained with.")
    else:
        meaning = tr("The base has no chat template, so there is none to carry over.")
    return Check(name="template_carried", passed=passed, value=passed, limit=None, meaning=meaning)


def _end(
    source: Source,
    base: PreTrainedTokenizerBase,
    exported: PreTrainedTokenizerBase | None,
    config: dict[str, Any] | None,
) -> Check:
    ends = ending_ids(source, base)
    missing = [token for token in ends if token not in stop_ids(config or {})]
    passed = not missing and exported is not None and exported.eos_token == base.eos_token
    if not ends:
        meaning = tr("The base names no token that ends a text, so generation can only end at a length.")
    elif passed:
        meaning = tr("Generation ends at {tokens}, as in training.")
    else:
        meaning = tr("Generation would not end at {tokens}, though answers end there in training.")
    names = ", ".join(str(name) for name in base.convert_ids_to_tokens(ends))
    return Check(name="eos_carried", passed=passed, value=names, limit=None, meaning=meaning.format(tokens=names))


def _generation(source: Source, tokenizer: PreTrainedTokenizerBase, config: dict[str, Any] | None) -> Check:
    before = base_generation_config(source)
    passed = config == generation_config(source, tokenizer)
    added = [token for token in stop_ids(config or {}) if token not in stop_ids(before)]
    if not passed:
        meaning = tr("The generation config is missing from the export, or is not the base's.")
    elif added:
        meaning = tr(
            "The generation config is the base's, mended: {tokens} was missing among the tokens that end an answer."
        )
    else:
        meaning = tr("The generation config is the base's.")
    names = ", ".join(str(name) for name in tokenizer.convert_ids_to_tokens(added))
    return Check(
        name="generation_config_carried", passed=passed, value=passed, limit=None, meaning=meaning.format(tokens=names)
    )


def stop_check(model: nn.Module, reference: Reference, folder: Path, progress: Progress) -> Check:
    """Generate greedily and see whether the export ends an answer by itself, if base + trained part did.

    Rounding may lead another way round, so the export has twice as long, and the same number of tries. A model that
    never learnt to stop is not the export's fault: it passes, and the sentence says so.
    """
    live = reference.stops
    limit = stopping.LIMIT if live.tokens is None else 2 * live.tokens + 32
    others = [prompt for prompt in reference.prompts if prompt is not live.prompt and live.tokens is not None]
    ends = stop_ids(_read_json(folder / GENERATION_CONFIG) or {})
    tokens = first_stop(model, [live.prompt, *others], ends, limit, progress, "verifying").tokens
    return Check(
        name="stops_by_itself",
        passed=tokens is not None or live.tokens is None,
        value=tokens,
        limit=limit,
        meaning=_stopping(tokens, live.tokens).format(tokens=tokens, live=live.tokens, limit=limit),
    )


def _stopping(tokens: int | None, live: int | None) -> str:
    if tokens is not None:
        return tr("Asked a held-out question, the export ends its answer by itself, after {tokens} tokens.")
    if live is None:
        return tr("Neither the trained model nor the export ends its answer within {limit} tokens: it was not learnt.")
    return tr("The trained model ends its answer after {live} tokens, but the export does not within {limit}.")
