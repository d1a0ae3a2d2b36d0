"""Downloading files that can be broken off at any byte: in a process of its own, which is simply killed.

huggingface_hub 2 begins a file again that it could not finish, and hf_xet does so too. Here a file is received into
`DIGEST.part`, goes on from its last byte (RFC 9110, section 14), and is called `DIGEST` once its checksum is right. A
name that is the checksum cannot be mistaken for another version of the file.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from studio.engine.control import Progress
from studio.engine.hub.address import Kind
from studio.engine.hub.api import HubError, refusal
from studio.engine.hub.repository import RemoteFile
from studio.engine.hub.sources import source_of
from studio.files import open_regular
from studio.i18n import tr

log = logging.getLogger(__name__)
_THREADS = 4
_PIECE = 1 << 20
_MOST_MISMATCHES = 2
_REPORT_SECONDS = 0.1
_LONGEST_WAIT_SECONDS = 60.0
_BUSY = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Patience:
    """How long a silent line is waited for.

    Attributes:
        silence: seconds without a byte after which a line counts as lost.
        pauses: seconds to wait before each new attempt. When as many in a row have brought nothing, the download ends.
    """

    silence: float = 20.0
    pauses: tuple[float, ...] = (1.0, 2.0, 5.0, 10.0, 20.0)


def download_job(
    repository: str, kind: Kind, revision: str, files: Sequence[RemoteFile], store: Path, patience: Patience
) -> dict[str, Any]:
    """Return what `receive_files` is to do, as a JSON value. It holds no token: the process reads that by itself."""
    return {
        "repository": repository,
        "kind": kind,
        "revision": revision,
        "files": [asdict(file) for file in files],
        "store": str(store),
        "patience": asdict(patience),
    }


def receive_files(job: Mapping[str, Any], progress: Progress) -> str:
    """Receive every file into the store; return "", or half a sentence that says why that failed. Work of a child."""
    patience = Patience(job["patience"]["silence"], tuple(job["patience"]["pauses"]))
    files = {file["digest"]: RemoteFile(**file) for file in job["files"]}.values()  # the same bytes only once
    receiver = _Receiver(job["repository"], job["kind"], job["revision"], Path(job["store"]), patience)
    total = sum(file.size for file in files)
    pool = ThreadPoolExecutor(_THREADS)
    pending = {pool.submit(receiver.receive, file) for file in sorted(files, key=lambda file: -file.size)}
    try:
        while pending:
            done, pending = wait(pending, _REPORT_SECONDS, return_when=FIRST_EXCEPTION)
            for one in done:
                one.result()
            received = min(receiver.received, total)
            if received < total:
                progress("downloading", received, total)
            else:
                progress("verifying", 0, 0)
    except HubError as error:
        return str(error)
    finally:
        # Those that still receive end with this process.
        pool.shutdown(wait=False, cancel_futures=True)
    return ""


class _LineLostError(Exception):
    """The line broke, or the hub is busy; another attempt may succeed. `seconds`: how long the hub asks to wait."""

    def __init__(self, reason: str, seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.seconds = seconds


class _OtherFileError(Exception):
    """What the hub sends is not the file that it announced."""


class _Receiver:
    """Receives files of one revision into a folder; its threads share one HTTP client.

    Attributes:
        received: bytes that are there by now, of all files.
    """

    def __init__(self, repository: str, kind: Kind, revision: str, store: Path, patience: Patience) -> None:
        self._source, self._repository, self._revision = source_of(kind), repository, revision
        self._store, self._patience = store, patience
        # An answer that is packed on the way has other lengths and ranges than the file.
        self._headers = self._source.headers() | {"Accept-Encoding": "identity"}
        self._lock = threading.Lock()
        self.received = 0

    def receive(self, file: RemoteFile) -> None:
        """Return once the file is there and its checksum right. Raises `HubError`."""
        whole = self._store / file.digest
        if whole.exists():
            self._count(file.size)
            return
        part = whole.with_name(f"{file.digest}.part")
        self._count(_size(part))
        failures = mismatches = 0
        while True:
            before, seconds = _size(part), 0.0
            try:
                self._attempt(file, part)
                part.replace(whole)
                return
            except _OtherFileError:
                reason = tr("what it sends of {file} is not what it announced").format(file=file.name)
                mismatches += 1
            except _LineLostError as error:
                reason, seconds = str(error), error.seconds
            failures = 0 if _size(part) > before else failures + 1
            log.warning("%s: %s; %d of %d bytes are here", file.name, reason, _size(part), file.size)
            if mismatches >= _MOST_MISMATCHES or failures > len(self._patience.pauses):
                raise HubError(reason)
            time.sleep(max(seconds, self._patience.pauses[max(0, failures - 1)]))

    def _attempt(self, file: RemoteFile, part: Path) -> None:
        """Receive what is missing of a file and check it. Raises `_LineLostError`, `_OtherFileError`, `HubError`."""
        try:
            if _size(part) < file.size or not part.exists():
                self._request(file, part)
            if _size(part) < file.size:
                raise _LineLostError(_broken())
            if _digest(part, file) != file.digest:
                self._drop(part)
                raise _OtherFileError
        except OSError as error:
            words = tr("{folder} cannot be written: {reason}")
            raise HubError(words.format(folder=self._store, reason=error.strerror or error)) from error

    def _request(self, file: RemoteFile, part: Path) -> None:
        from huggingface_hub import get_session
        from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

        begun = _size(part)
        url = self._source.address_of(self._repository, self._revision, file.name)
        headers = self._headers | ({"Range": f"bytes={begun}-"} if begun else {})
        try:
            with get_session().stream("GET", url, headers=headers, timeout=self._patience.silence) as response:
                self._refuse(response)
                if begun and response.status_code in (206, 416) and not _continues(response, begun):
                    self._drop(part)  # the next attempt asks for the whole file
                    raise _LineLostError(_broken())
                # A hub that cannot go on sends the whole file, with status 200.
                self._write(response, file, part, begun if response.status_code == 206 else 0)
        except HTTPError as error:
            raise _LineLostError(_broken()) from error

    def _refuse(self, response: Any) -> None:
        """Raise `_LineLostError` and `HubError` for an answer that is not the file."""
        if response.status_code in _BUSY:
            wait_for = response.headers.get("Retry-After", "")
            seconds = min(_LONGEST_WAIT_SECONDS, float(wait_for)) if wait_for.isdecimal() else 0.0
            raise _LineLostError(refusal(response.status_code, self._source.hub), seconds)
        if response.is_error and response.status_code != 416:
            response.read()
            self._source.check(response, self._repository)

    def _write(self, response: Any, file: RemoteFile, part: Path, begins: int) -> None:
        left = file.size - begins
        if response.headers.get("Content-Length", str(left)) != str(left):
            raise _OtherFileError
        if not begins:
            self._drop(part)
        with part.open("ab") as out:
            for piece in response.iter_raw():
                out.write(piece)
                self._count(len(piece))
                left -= len(piece)
                if left < 0:
                    break  # longer than it was announced; the checksum will not agree
            out.flush()
            os.fsync(out.fileno())

    def _drop(self, part: Path) -> None:
        self._count(-_size(part))
        part.unlink(missing_ok=True)

    def _count(self, amount: int) -> None:
        with self._lock:
            self.received += amount


def _broken() -> str:
    return tr("the line broke again and again")


def _continues(response: Any, begun: int) -> bool:
    """Return whether an answer begins at the byte that was asked for."""
    unit, _, extent = response.headers.get("Content-Range", "").partition(" ")
    return bool(response.status_code == 206 and unit == "bytes" and extent.partition("-")[0] == str(begun))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _digest(path: Path, file: RemoteFile) -> str:
    """Return the checksum of a file, of the kind that the hub gave; what is longer or shorter has none."""
    if _size(path) != file.size:
        return ""
    if len(file.digest) == 64:
        digest = hashlib.sha256()
    else:
        digest = hashlib.sha1(f"blob {file.size}\0".encode(), usedforsecurity=False)
    with open_regular(path) as content:
        while piece := content.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()
