"""Checking an export again, any time later: that its files are those that were certified, and what they say."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path

from studio.engine.control import Progress, no_progress
from studio.engine.export import TARGETS
from studio.engine.export.certificate import Certificate, Check, print_files, read_certificate
from studio.engine.export.measure import examine
from studio.engine.export.merge import release
from studio.engine.export.prompts import choose_prompts
from studio.engine.export.reference import gather
from studio.engine.export.source import Source, open_source
from studio.engine.models.load import load_tokenizer
from studio.i18n import tr
from studio.runs import RunFolder


def verify_export(path: Path, progress: Progress = no_progress) -> Certificate:
    """Check an export again and return a new certificate; the one in the folder stays as it is.

    Files that are not those that were certified end the check: nothing of them is opened. An export inside its run
    folder is measured again in full. One that was taken elsewhere, away from its run, keeps the measurements of its
    certificate, which are those of the same bytes.

    Raises:
        ExportError: `path` is not an export, or its run can no longer be opened.
        Cancelled: through `progress`.
    """
    path = path.expanduser().absolute()
    certified = read_certificate(path)
    progress("verifying", 0, 0)
    files = _files_check(certified, path)
    run = RunFolder(path.parent.parent)
    if not files.passed:
        checks: tuple[Check, ...] = (files,)
    elif run.name == certified.run and run.state.exists():
        checks = (files, *_measure(open_source(run, progress), certified, path, progress))
    else:
        checks = (files, *certified.checks)
    return dataclasses.replace(certified, checks=checks)


def _files_check(certified: Certificate, path: Path) -> Check:
    found = print_files(path)
    differing = sorted(
        name for name in found.keys() | certified.files.keys() if found.get(name) != certified.files.get(name)
    )
    described = ", ".join(_describe(name, certified, found.keys()) for name in differing)
    meaning = (
        tr("Files of the export are not those that were certified: {files}; export again.").format(files=described)
        if differing
        else tr("Every file of the export is, byte for byte, the one that was certified.")
    )
    return Check(name="files_unchanged", passed=not differing, value=len(differing), limit=0, meaning=meaning)


def _describe(name: str, certified: Certificate, found: Collection[str]) -> str:
    if name not in found:
        return tr("{file} is missing").format(file=name)
    return (tr("{file} has changed") if name in certified.files else tr("{file} was added")).format(file=name)


def _measure(source: Source, certified: Certificate, path: Path, progress: Progress) -> tuple[Check, ...]:
    target = TARGETS.get(certified.target)
    tokenizer = load_tokenizer(source.base)
    prompts = choose_prompts(source, tokenizer, progress)
    prefix = target.prefix(source, tokenizer)
    reference, model = gather(source, target, certified.dtype, prefix, tokenizer, prompts, progress)
    release(model)
    # Another machine may round a merge differently in the last bit; that the files are the same was just seen.
    reference = dataclasses.replace(reference, weights=None)
    return examine(source, target, certified.dtype, tokenizer, reference, path, progress)
