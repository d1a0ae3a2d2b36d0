"""The certificate of an export (DESIGN.md 3.4): what was checked, with which result. Readable without torch.

The file holds codes, numbers and names, and English sentences for readers without this program. Whoever shows a check
takes `Check.text`, which is in the language of the session.
"""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from studio.engine.models.files import FilePrint, sha256
from studio.errors import ExportError
from studio.events import spell_non_finite
from studio.files import is_file, read_json
from studio.i18n import tr, untranslated
from studio.runs import write_atomically
from studio.schema import Moment, read_as
from studio.text.checks import check_text

FILE_NAME = "certificate.json"
FORMAT_VERSION = 1

Value: TypeAlias = bool | int | float | str | None


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was checked.

    Attributes:
        name: its name for programs.
        value: what was measured; a non-finite number is written as "nan", "inf" or "-inf".
        limit: what `value` may at most (or, for shares that should be high, must at least) be; None when the
            check is not a comparison with a number, or only informs.
        meaning: one sentence in English, with the reason when the check failed.
        evidence: what the sentence needs besides; None in certificates of earlier versions.
    """

    name: str
    passed: bool
    value: Value
    limit: float | None
    meaning: str
    evidence: dict[str, Any] | None = None

    @classmethod
    def of(cls, name: str, passed: bool, value: Value, limit: float | None = None, **evidence: Any) -> Check:
        """Return a check with its `meaning`, for which there are words in `studio.text.checks`."""
        with untranslated():
            meaning = check_text(name, {**evidence, "passed": passed, "value": value, "limit": limit})
        return cls(name=name, passed=passed, value=value, limit=limit, meaning=meaning, evidence=evidence)

    @property
    def text(self) -> str:
        """The sentence in the language of the session; `meaning` where an earlier or later version knows more."""
        if self.evidence is None:
            return self.meaning
        try:
            return check_text(self.name, {**self.evidence, **dataclasses.asdict(self)})
        except (KeyError, TypeError, ValueError):  # a check, or evidence, that this version does not know
            return self.meaning


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """What is known of one export: the checks, what it was made from, and the SHA-256 of each of its files.

    `base` holds the base model's name and the SHA-256 of its files; `prompts` says which rows the outputs were
    compared on. No text of the dataset and no path of this machine stands in it, so it can be passed on.
    """

    checks: tuple[Check, ...]
    base: dict[str, Any]
    target: str
    dtype: str
    prompts: tuple[dict[str, Any], ...]
    files: dict[str, FilePrint]
    run: str
    versions: dict[str, str]
    created: Moment = field(default_factory=time.time)

    @property
    def passed(self) -> bool:
        """Whether every check passed; an export without checks is not certified."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    def to_json(self) -> str:
        """Return the certificate as strict JSON."""
        values = {"passed": self.passed, **dataclasses.asdict(self), "format": FORMAT_VERSION}
        return json.dumps(spell_non_finite(values), ensure_ascii=False, allow_nan=False, indent=2) + "\n"

    def write(self, folder: Path) -> Path:
        """Write the certificate into an export folder and return its path."""
        path = folder / FILE_NAME
        write_atomically(path, self.to_json())
        return path


def read_certificate(folder: Path) -> Certificate:
    """Read the certificate of an export folder; keys of a later version are ignored.

    Raises:
        ExportError: there is none, or it is damaged.
    """
    try:
        values = read_json(folder / FILE_NAME)
        certificate: Certificate = read_as(Certificate, values)
        if values.get("passed") is not certificate.passed:
            raise ValueError("its verdict is not that of its checks")  # noqa: TRY301
    except (OSError, ValueError) as error:
        raise ExportError(
            tr(
                "{folder} has no readable certificate.json, so it is not an export of this app, or it is damaged."
            ).format(folder=folder)
        ) from error
    return certificate


def fingerprint_files(folder: Path) -> dict[str, FilePrint]:
    """Return size and SHA-256 of every file below `folder` but the certificate and hidden files, by relative path.

    A pipe, a device or a link that leads nowhere has no sum, so that it is none of the files that were certified.
    """
    files = sorted(file for file in folder.rglob("[!.]*") if not file.is_dir() and file != folder / FILE_NAME)
    return {file.relative_to(folder).as_posix(): _print(file) for file in files}


def _print(file: Path) -> FilePrint:
    return {"bytes": file.stat().st_size, "sha256": sha256(file)} if is_file(file) else {"bytes": 0, "sha256": ""}
