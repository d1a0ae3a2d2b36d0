"""An Ollama server on this computer: a model is created there from an export, and asked once.

Only an address of this computer is spoken to: the model goes nowhere else. (Ollama's API, docs/api.md.)
"""

from __future__ import annotations

import http.client
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from studio import files
from studio.engine.control import Progress, no_progress
from studio.engine.export.certificate import read_certificate
from studio.engine.export.gguf.convert import find_file
from studio.engine.export.prompts import BUILT_IN
from studio.engine.models.files import sha256
from studio.errors import ExportError
from studio.i18n import tr

MODELFILE = "Modelfile"
_LOCAL = ("localhost", "127.0.0.1", "::1", "0.0.0.0")
_PORT = 11434
_SECONDS = 600  # a large model is loaded first
_CHUNK = 2**20
_NAME = re.compile(r"[A-Za-z0-9][\w.\-/]*(:[\w.\-]+)?")


@dataclass(frozen=True, kw_only=True)
class Created:
    """A model that an Ollama server has now, and what it answered.

    Attributes:
        expected: what llama.cpp answered to the same question when the export was checked; None where it was not.
    """

    name: str
    asked: str
    answer: str
    expected: str | None

    @property
    def same(self) -> bool:
        """Whether both answers are equal. Other processors may take another way at two equally likely words."""
        return self.answer == self.expected


def find_server() -> str | None:
    """Return the version of the Ollama server on this computer; None where none answers."""
    try:
        return str(_ask("GET", "/api/version", seconds=1)["version"])
    except (ExportError, KeyError, TypeError):
        return None


def create_in_ollama(folder: Path, name: str, progress: Progress = no_progress) -> Created:
    """Create a model from an Ollama export, and ask it the first built-in question.

    Raises:
        ExportError: no server answers, it refuses, or the export did not pass its certificate.
        Cancelled: through `progress`.
    """
    if not _NAME.fullmatch(name):
        raise ExportError(
            tr("{name} is no name that Ollama takes; use letters, digits, . - _ and /.").format(name=name)
        )
    certificate = read_certificate(folder)
    if not certificate.passed:
        raise ExportError(tr("The export failed its checks; do not use it."))
    file = find_file(folder)
    told = _read_modelfile(folder / MODELFILE)
    digest = f"sha256:{sha256(file)}"
    size = file.stat().st_size
    _ask("POST", f"/api/blobs/{digest}", body=_parts(file, progress), length=size)
    request = {"model": name, "files": {file.name: digest}, "stream": False, **told}
    status = _ask("POST", "/api/create", request).get("status")
    if status != "success":
        raise ExportError(_failed(status))
    expected = _expected(certificate)
    options = {"temperature": 0, "num_predict": 128, "seed": 0}
    messages = [{"role": "user", "content": BUILT_IN[0]}]
    progress("verifying", 0, 1)
    found = _ask("POST", "/api/chat", {"model": name, "messages": messages, "stream": False, "options": options})
    answer = " ".join(str((found.get("message") or {}).get("content", "")).split())[:300]
    return Created(name=name, asked=BUILT_IN[0], answer=answer, expected=expected)


def _expected(certificate: Any) -> str | None:
    for check in certificate.checks:
        if check.name == "gguf_answers" and check.evidence and check.evidence["answers"]:
            return str(check.evidence["answers"][0]["answer"])
    return None


def _read_modelfile(path: Path) -> dict[str, Any]:
    """Return the template and the parameters of a Modelfile of ours, as the API takes them."""
    text = files.read_text(path)
    found: dict[str, Any] = {}
    if template := re.search(r'^TEMPLATE """(.*?)"""$', text, re.MULTILINE | re.DOTALL):
        found["template"] = template[1]
        text = text.replace(template[0], "")
    parameters: dict[str, Any] = {}
    for name, value in re.findall(r"^PARAMETER (\w+) (.+)$", text, re.MULTILINE):
        if name == "stop":
            parameters.setdefault("stop", []).append(json.loads(value))
        else:
            parameters[name] = json.loads(value)
    return found | {"parameters": parameters}


def _parts(file: Path, progress: Progress) -> Iterator[bytes]:
    size, done = file.stat().st_size, 0
    with files.open_regular(file) as data:
        while part := data.read(_CHUNK):
            progress("writing", done, size)
            yield part
            done += len(part)


def _ask(
    method: str,
    path: str,
    values: dict[str, Any] | None = None,
    *,
    body: Iterator[bytes] | None = None,
    length: int = 0,
    seconds: float = _SECONDS,
) -> dict[str, Any]:
    """Return the server's answer. Raises `ExportError` where there is none, or it refuses."""
    host, port = _address()
    connection = http.client.HTTPConnection(host, port, timeout=seconds)
    try:
        if body is not None:
            connection.request(method, path, body=body, headers={"Content-Length": str(length)})
        else:
            connection.request(method, path, json.dumps(values) if values else None)
        response = connection.getresponse()
        data = response.read()
        found = json.loads(data) if data.strip() else {}
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ExportError(
            tr("No Ollama server answers on this computer ({reason}); start Ollama.").format(reason=error)
        ) from error
    finally:
        connection.close()
    if response.status >= 400 or not isinstance(found, dict):
        raise ExportError(_failed(found.get("error") if isinstance(found, dict) else response.status))
    return found


def _failed(reason: Any) -> str:
    return tr("Ollama did not take the model: {reason}.").format(reason=reason)


def _address() -> tuple[str, int]:
    """Return where Ollama listens, as OLLAMA_HOST says. Raises `ExportError` for another computer."""
    given = os.environ.get("OLLAMA_HOST") or "127.0.0.1"
    parts = urlsplit(given if "://" in given else f"//{given}")
    host = parts.hostname or "127.0.0.1"
    if host not in _LOCAL:
        raise ExportError(
            tr("OLLAMA_HOST names another computer ({host}); models are not sent there.").format(host=host)
        )
    return ("127.0.0.1" if host == "0.0.0.0" else host), parts.port or _PORT
