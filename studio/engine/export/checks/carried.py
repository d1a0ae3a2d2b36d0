"""Checks of what goes along with the weights: tokenizer, template, and the ends of generation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.engine.export.carry import (
    GENERATION_CONFIG,
    base_generation_config,
    ending_ids,
    generation_config,
    stop_ids,
)
from studio.engine.export.certificate import Check
from studio.engine.export.prefix import SAMPLES, Prefix, differing, renders_as_before, splits_as_before
from studio.engine.export.reload import reload_tokenizer
from studio.engine.export.source import Source
from studio.i18n import tr

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def carried_checks(
    source: Source, tokenizer: PreTrainedTokenizerBase, prefix: Prefix, folder: Path
) -> tuple[Check, ...]:
    """Return the checks of tokenizer, chat template, end tokens and generation config in `folder`."""
    exported = _open_tokenizer(folder)
    config = read_json(folder / GENERATION_CONFIG)
    return (
        _tokenizer(tokenizer, prefix, exported),
        _template(tokenizer, prefix, exported),
        _end(source, tokenizer, exported, config),
        _generation(source, tokenizer, prefix, config),
    )


def _open_tokenizer(folder: Path) -> PreTrainedTokenizerBase | None:
    try:
        return reload_tokenizer(folder)
    except Exception:  # noqa: BLE001  # tokenizers raises bare Exceptions; None is reported as a failed check
        return None


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the table in a JSON file; None where there is none that can be read."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return values if isinstance(values, dict) else None


def _tokenizer(base: PreTrainedTokenizerBase, prefix: Prefix, exported: PreTrainedTokenizerBase | None) -> Check:
    wrong = len(SAMPLES) if exported is None else len(differing(prefix, base, exported))
    passed = exported is not None and splits_as_before(prefix, base, exported)
    if exported is None:
        meaning = tr("The tokenizer is missing from the export or cannot be opened.")
    elif wrong:
        meaning = tr("The exported tokenizer splits text differently from the base's ({count} of {all} samples).")
    elif not passed:
        meaning = tr("The exported tokenizer does not know the virtual tokens, or not as single tokens.")
    elif prefix.ids:
        meaning = tr("The exported tokenizer splits text like the base's, and knows {tokens} virtual tokens besides.")
    else:
        meaning = tr("The exported tokenizer splits text exactly like the base's.")
    return Check(
        name="tokenizer_carried",
        passed=passed,
        value=wrong,
        limit=0,
        meaning=meaning.format(count=wrong, all=len(SAMPLES), tokens=len(prefix.ids)),
    )


def _template(base: PreTrainedTokenizerBase, prefix: Prefix, exported: PreTrainedTokenizerBase | None) -> Check:
    passed = exported is not None and exported.chat_template == prefix.tokenizer.chat_template
    passed = passed and exported is not None and renders_as_before(prefix, base, exported)
    if not passed:
        meaning = tr("The chat template is missing from the export, or is not the one the model was trained with.")
    elif prefix.ids and prefix.in_template:
        meaning = tr("The chat template in the export writes the virtual tokens, and then what the base's writes.")
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


def _generation(
    source: Source, tokenizer: PreTrainedTokenizerBase, prefix: Prefix, config: dict[str, Any] | None
) -> Check:
    before = base_generation_config(source)
    passed = config == generation_config(source, tokenizer, prefix)
    added = [token for token in stop_ids(config or {}) if token not in stop_ids(before)]
    if not passed:
        meaning = tr("The generation config is missing from the export, or is not the base's.")
    elif added:
        meaning = tr(
            "The generation config is the base's, mended: {tokens} was missing among the tokens that end an answer."
        )
    else:
        meaning = tr("The generation config is the base's.")
    if passed and prefix.ids:
        meaning = f"{meaning} {tr('It suppresses the virtual tokens besides.')}"
    names = ", ".join(str(name) for name in tokenizer.convert_ids_to_tokens(added))
    return Check(
        name="generation_config_carried", passed=passed, value=passed, limit=None, meaning=meaning.format(tokens=names)
    )
