"""Checking an export again, any time later: that its files are those that were certified, and what they say."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open
from torch import Tensor

from studio.engine.control import Progress, no_progress
from studio.engine.export import TARGETS, by_parts, memory
from studio.engine.export.base import ModelTarget
from studio.engine.export.certificate import Certificate, Check, fingerprint_files, read_certificate
from studio.engine.export.checks.weights import finite_check, unloadable
from studio.engine.export.gguf.convert import read_plain_tensors
from studio.engine.export.measure import examine
from studio.engine.export.merge import count_non_finite, no_collections, release
from studio.engine.export.prefix import Prefix
from studio.engine.export.reference import gather
from studio.engine.export.source import Source, open_source
from studio.engine.models.load import load_tokenizer
from studio.errors import Cancelled, StudioError
from studio.files import expand_user, is_file
from studio.runs import RunFolder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def verify_export(path: Path, progress: Progress = no_progress) -> Certificate:
    """Check an export again and return a new certificate; the one in the folder stays as it is.

    Files that are not those that were certified end the check: nothing of them is opened. An export inside its run
    folder is measured again in full. One that lies elsewhere, or whose base is gone, keeps the measurements of its
    certificate, which are those of the same bytes; only its weights are read again.

    Raises:
        ExportError: `path` is not an export, or its certificate is damaged.
        Cancelled: through `progress`.
    """
    path = expand_user(path).absolute()
    certified = read_certificate(path)
    progress("verifying", 0, 0)
    files = _files_check(certified, path)
    if not files.passed:
        return dataclasses.replace(certified, checks=(files,))
    run = RunFolder(path.parent.parent)
    reason = ""
    if run.name == certified.run and run.state.exists():
        try:
            source = open_source(run, progress)
            parts = memory.needs_parts(source, TARGETS.get(certified.target).made_of(source.method))
            with no_collections():
                measured = (*source.origin, *_measure(source, certified, path, progress, parts=parts))
            return dataclasses.replace(certified, checks=(files, Check.of("measured_again", True, True), *measured))
        except Cancelled:
            raise
        except StudioError as error:  # about the run or its base; the export can be in order all the same
            reason = str(error)
    apart = Check.of("measured_again", True, False, reason=reason)
    try:
        again = finite_check(count_non_finite(_weights(path)))
    except SafetensorError as error:
        again = unloadable(error)
    kept = (check for check in certified.checks if check.name != again.name)
    return dataclasses.replace(certified, checks=(files, apart, again, *kept))


def _files_check(certified: Certificate, path: Path) -> Check:
    before, now = certified.files, fingerprint_files(path)
    evidence = {
        "missing": sorted(before.keys() - now.keys()),
        "changed": sorted(name for name in before.keys() & now.keys() if before[name] != now[name]),
        "added": sorted(now.keys() - before.keys()),
    }
    wrong = sum(map(len, evidence.values()))
    return Check.of("files_unchanged", not wrong, wrong, 0, **evidence)


def _weights(path: Path) -> Iterator[Tensor]:
    """Yield every weight in the export's files, one tensor in memory at a time."""
    for file in sorted(filter(is_file, path.rglob("*.safetensors"))):
        with safe_open(file, framework="pt") as weights:
            yield from map(weights.get_tensor, weights.keys())
    for file in sorted(filter(is_file, path.glob("*.gguf"))):
        yield from read_plain_tensors(file)


def _measure(
    source: Source, certified: Certificate, path: Path, progress: Progress, *, parts: bool
) -> tuple[Check, ...]:
    target = TARGETS.get(certified.target)
    tokenizer = load_tokenizer(source.base, source.config.model.chat_template)
    prefix = target.prefix(source, tokenizer)
    dtype = certified.dtype
    inner = target.made_of(source.method)
    if inner is not target:
        return _measure_gguf(source, certified, inner, tokenizer, prefix, path, progress, parts=parts)
    # Another machine may round a merge differently in the last bit; that the files are the same was just seen.
    if parts:
        reference = by_parts.gather(source, inner, dtype, prefix, tokenizer, None, progress)
        reference = dataclasses.replace(reference, weights=None)
        return by_parts.examine(source, inner, dtype, tokenizer, reference, path, progress)
    reference, model = gather(source, inner, dtype, prefix, tokenizer, progress, read_back=False)
    release(model)
    return examine(source, inner, dtype, tokenizer, reference, path, progress)


def _measure_gguf(
    source: Source,
    certified: Certificate,
    inner: ModelTarget,
    tokenizer: PreTrainedTokenizerBase,
    prefix: Prefix,
    path: Path,
    progress: Progress,
    *,
    parts: bool,
) -> tuple[Check, ...]:
    """Do the same with a GGUF file, which is made of what `inner` makes.

    What only its making could show is kept from the certificate, which is of the same bytes.
    """
    from studio.engine.export.gguf import llama_cpp
    from studio.engine.export.gguf.checks import MADE
    from studio.engine.export.gguf.checks import examine as examine_gguf
    from studio.engine.export.gguf.convert import find_file
    from studio.engine.export.gguf.formats import FORMATS
    from studio.engine.export.gguf.make import base_outputs

    if parts:
        reference = by_parts.gather(source, inner, "fp32", prefix, tokenizer, None, progress)
    else:
        reference, model = gather(source, inner, "fp32", prefix, tokenizer, progress, read_back=False)
        release(model)
    base, dtype = None, certified.dtype
    if FORMATS[dtype].quantised and not llama_cpp.why_not():
        with tempfile.TemporaryDirectory() as work:
            base = base_outputs(source, dtype, tokenizer, reference, Path(work), progress)
    measured = examine_gguf(source, dtype, tokenizer, reference, find_file(path), None, base, progress)
    names = {check.name for check in measured}
    return (*(check for check in certified.checks if check.name in MADE - names), *measured)
