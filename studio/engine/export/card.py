"""README.md of an export: the model card, with what was checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from studio.engine.export.base import Target
from studio.engine.export.certificate import Check
from studio.engine.export.source import Source
from studio.i18n import tr


def write_card(source: Source, target: Target, dtype: str, checks: tuple[Check, ...]) -> str:
    """Return the model card as Markdown. It names no path and quotes no row of the dataset."""
    parts = [
        _front_matter(source, target),
        f"# {source.name}, {tr('fine-tuned')}",
        _summary(source, dtype),
        f"## {tr('Use')}",
        target.usage.replace("{base}", source.name),
        f"## {tr('Training')}",
        _training(source),
        f"## {tr('What was checked')}",
        _checked(checks),
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(source: Source, target: Target) -> str:
    tags = () if target.finish else (source.method.name,)
    lines = ["---", f"base_model: {source.name}", f"library_name: {target.library}", "pipeline_tag: text-generation"]
    return "\n".join([*lines, "tags:", *(f"- {tag}" for tag in ("finetune-studio", *tags)), "---"])


def _summary(source: Source, dtype: str) -> str:
    kind = tr("a Chat model, through its chat template") if source.kind == "chat" else tr("a Base model, on plain text")
    return tr("{name} was fine-tuned with Finetune Studio as {kind}; method {method}, saved as {dtype}.").format(
        name=source.name, kind=kind, method=tr(source.method.title), dtype=dtype
    )


def _training(source: Source) -> str:
    state = source.folder.read_state()
    rows: list[tuple[str, Any]] = [(f"method.{key}", value) for key, value in source.config.method.model_dump().items()]
    rows += [("precision", state.get("precision", source.config.precision.name)), ("updates", state.get("updates"))]
    rows += [
        (f"training.{key}", getattr(source.config.training, key)) for key in ("learning_rate", "batch_size", "seed")
    ]
    losses = state.get("validation_loss") or {}
    rows += [(f"validation_loss.{key}", losses[key]) for key in ("first", "last") if losses.get(key) is not None]
    return _table((tr("Setting"), tr("Value")), [(key, _shown(value)) for key, value in rows if value is not None])


def _checked(checks: tuple[Check, ...]) -> str:
    verdict = (
        tr("The export was opened from disk again and compared with the trained model; every check passed.")
        if all(check.passed for check in checks)
        else tr("This export FAILED its checks and should not be used.")
    )
    rows = [(check.name, tr("passed") if check.passed else tr("FAILED"), check.meaning) for check in checks]
    return f"{verdict}\n\n{_table((tr('Check'), tr('Result'), tr('Meaning')), rows)}"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return ", ".join(str(part) for part in value) if isinstance(value, list | tuple) else str(value)
