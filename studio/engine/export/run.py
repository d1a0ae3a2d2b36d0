"""One export from the run folder to the certificate. Nothing is called exported until it was read back and compared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from studio.engine.control import Progress, no_progress
from studio.engine.device import library_versions
from studio.engine.export import TARGETS, Target, by_parts, memory
from studio.engine.export.base import ModelTarget
from studio.engine.export.card import write_card
from studio.engine.export.carry import carry_over, carry_terms
from studio.engine.export.certificate import FILE_NAME, Certificate, Check, fingerprint_files
from studio.engine.export.destination import (
    check_destination,
    explained,
    put_in_place,
    put_under_own_name,
    staged,
)
from studio.engine.export.measure import examine
from studio.engine.export.merge import no_collections, release
from studio.engine.export.prefix import Prefix
from studio.engine.export.reference import Reference, gather
from studio.engine.export.source import Source, open_source
from studio.engine.export.targets.gguf import Gguf
from studio.engine.models.load import load_tokenizer
from studio.errors import ConfigError, ExportError
from studio.i18n import sentences, tr
from studio.runs import RunFolder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """Where the export and its certificate lie (absolute), and whether it may be called exported.

    Attributes:
        restored: the sentence that says from which checkpoint the run's result was taken first; empty where it had one.
    """

    path: Path
    certificate: Path
    passed: bool
    checks: tuple[Check, ...]
    restored: str = ""


def export_run(
    folder: RunFolder, target: str, dtype: str = "auto", out: Path | None = None, progress: Progress = no_progress
) -> ExportResult:
    """Export a run, read the export back, compare, and certify.

    Files of an export that fails a check stay, with a certificate that says so. A cancelled one leaves nothing.

    Args:
        target: an entry of `TARGETS`.
        dtype: the save format; `auto` is the base's own.
        out: the folder to write; by default a new one in the run's `exports`.

    Raises:
        ConfigError: there is no such target, or it has no such format.
        ExportError: the run, the target or the place cannot be used.
        Cancelled: through `progress`.
    """
    spec = TARGETS.get(target)
    if dtype != "auto" and spec.choose_dtype(dtype, "") not in spec.dtypes:
        raise ConfigError(
            tr("The export target {target} cannot be saved as {dtype}; choose auto or {known}.").format(
                target=spec.name, dtype=dtype, known=tr(", ").join(spec.dtypes)
            )
        )
    source = open_source(folder, progress)
    _refuse_unsuited(spec, source)
    dtype = spec.choose_dtype(dtype, source.info.dtype)
    tokenizer = load_tokenizer(source.base, source.config.model.chat_template)
    prefix = spec.prefix(source, tokenizer)
    asked = check_destination(out)
    with explained(folder.exports):
        wanted = asked or folder.inside(folder.exports) / f"{spec.name}-{dtype}"
    parts = memory.needs_parts(source, spec.made_of(source.method))
    with staged(wanted, spec.weight_bytes(source, dtype)) as place, no_collections():
        certificate = _make(source, spec, dtype, tokenizer, prefix, place, progress, parts=parts)
        with explained(wanted):
            certificate.write(place)
        if asked:
            put_in_place(place, asked)
        path = asked or put_under_own_name(place, wanted)
    return ExportResult(path=path, certificate=path / FILE_NAME, passed=certificate.passed, checks=certificate.checks)


def _refuse_unsuited(target: Target, source: Source) -> None:
    reason = target.refuse(source.method)
    if reason:
        suited = [other.name for other in TARGETS if not other.refuse(source.method)]
        advice = tr("Export the run as {targets}.").format(targets=tr(" or ").join(suited))
        raise ExportError(sentences((reason, advice)) if suited else reason)


def _make(
    source: Source,
    target: Target,
    dtype: str,
    tokenizer: PreTrainedTokenizerBase,
    prefix: Prefix,
    place: Path,
    progress: Progress,
    *,
    parts: bool,
) -> Certificate:
    """Make the finished model, write everything but the certificate, and check what was written."""
    inner = target.made_of(source.method)
    if isinstance(target, Gguf):
        from studio.engine.export.gguf.make import make

        def write_plain(folder: Path) -> Reference:
            return _write(source, inner, "fp32", tokenizer, prefix, folder, progress, parts=parts, read_back=False)

        with explained(place.parent):
            reference, checks = make(source, target, dtype, tokenizer, write_plain, place, progress)
    else:
        reference = _write(source, inner, dtype, tokenizer, prefix, place, progress, parts=parts, read_back=True)
        check = by_parts.examine if parts else examine
        checks = check(source, inner, dtype, tokenizer, reference, place, progress)
    with explained(place.parent):
        (place / "README.md").write_text(write_card(source, target, dtype, checks), encoding="utf-8")
    return Certificate(
        checks=(*source.origin, *checks),
        base={"name": source.name, "kind": source.kind, "files": source.base_files},
        target=target.name,
        dtype=dtype,
        prompts=tuple(prompt.describe() for prompt in reference.prompts),
        files=fingerprint_files(place),
        run=source.folder.name,
        versions=library_versions(),
    )


def _write(
    source: Source,
    target: ModelTarget,
    dtype: str,
    tokenizer: PreTrainedTokenizerBase,
    prefix: Prefix,
    place: Path,
    progress: Progress,
    *,
    parts: bool,
    read_back: bool,
) -> Reference:
    """Write the model with all that belongs to it, and return what it has to live up to.

    `read_back` says whether `examine` will measure what is written.
    """
    if parts:
        with explained(place.parent):
            reference = by_parts.gather(source, target, dtype, prefix, tokenizer, place, progress)
            carry_terms(source.base, place)
            carry_over(source, tokenizer, prefix, place)
        return reference
    reference, model = gather(source, target, dtype, prefix, tokenizer, progress, read_back=read_back)
    progress("writing", 0, 1)
    with explained(place.parent):
        target.write(model, source, place)
        carry_over(source, tokenizer, prefix, place)
    release(model)
    progress("writing", 1, 1)
    return reference
