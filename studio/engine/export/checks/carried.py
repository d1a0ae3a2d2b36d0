"""Checks of what goes along with the weights: tokenizer, template, and the ends of generation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.engine.export.base import ModelTarget
from studio.engine.export.carry import base_generation_config, ending_ids, generation_config, stop_ids
from studio.engine.export.certificate import Check
from studio.engine.export.checks.files import file_checks, read_table
from studio.engine.export.prefix import SAMPLES, Prefix, differing, renders_as_before, splits_as_before
from studio.engine.export.source import Source
from studio.engine.export.tokenizer import try_reload
from studio.engine.models.files import GENERATION_CONFIG

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def carried_checks(
    source: Source, target: ModelTarget, dtype: str, tokenizer: PreTrainedTokenizerBase, prefix: Prefix, folder: Path
) -> tuple[Check, ...]:
    """Return the checks of all in `folder` but its weights: tokenizer, template, ends of generation, other files."""
    exported = try_reload(folder)
    config = read_table(folder / GENERATION_CONFIG)
    return (
        _tokenizer(tokenizer, prefix, exported),
        _template(tokenizer, prefix, exported),
        _end(source, tokenizer, exported, config),
        _generation(source, tokenizer, prefix, config),
        *file_checks(source, target, dtype, prefix, folder),
    )


def _tokenizer(base: PreTrainedTokenizerBase, prefix: Prefix, exported: PreTrainedTokenizerBase | None) -> Check:
    wrong = len(SAMPLES) if exported is None else len(differing(prefix, base, exported))
    passed = exported is not None and splits_as_before(prefix, base, exported)
    evidence = {"opens": exported is not None, "samples": len(SAMPLES), "virtual_tokens": len(prefix.ids)}
    return Check.of("tokenizer_carried", passed, wrong, 0, **evidence)


def _template(base: PreTrainedTokenizerBase, prefix: Prefix, exported: PreTrainedTokenizerBase | None) -> Check:
    passed = (
        exported is not None
        and exported.chat_template == prefix.tokenizer.chat_template
        and renders_as_before(prefix, base, exported)
    )
    evidence = {
        "base_has_one": bool(base.chat_template),
        "writes_virtual_tokens": bool(prefix.ids) and prefix.in_template,
    }
    return Check.of("template_carried", passed, passed, **evidence)


def _end(
    source: Source,
    base: PreTrainedTokenizerBase,
    exported: PreTrainedTokenizerBase | None,
    config: dict[str, Any] | None,
) -> Check:
    ends = ending_ids(source, base)
    missing = [token for token in ends if token not in stop_ids(config or {})]
    passed = not missing and exported is not None and exported.eos_token == base.eos_token
    return Check.of("eos_carried", passed, _names(base, ends))


def _generation(
    source: Source, tokenizer: PreTrainedTokenizerBase, prefix: Prefix, config: dict[str, Any] | None
) -> Check:
    before = base_generation_config(source)
    passed = config == generation_config(source, tokenizer, prefix)
    added = [token for token in stop_ids(config or {}) if token not in stop_ids(before)]
    return Check.of(
        "generation_config_carried",
        passed,
        passed,
        added=_names(tokenizer, added),
        suppresses_virtual_tokens=bool(prefix.ids),
    )


def _names(tokenizer: PreTrainedTokenizerBase, tokens: list[int]) -> str:
    return ", ".join(str(name) for name in tokenizer.convert_ids_to_tokens(tokens))
