"""What a report about a problem carries: a zip of facts about machine, versions, log and the last run.

Of the run no data go along, and of every text no tokens, no names of folders and no answers: `hidden` and
`without_data` take them out. It is only written, never sent.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import tomli_w

from studio.engine.control import Progress
from studio.errors import StudioError
from studio.files import read_tail, read_text
from studio.i18n import gettext_noop, tr, untranslated
from studio.licences import versions
from studio.logs import log_folder
from studio.runs import RunFolder, list_runs

log = logging.getLogger(__name__)

MOST_BYTES = 1 << 20
"""Of each log, the last of them."""
SECONDS = 300
CONTENTS = {
    "doctor.txt": gettext_noop("hardware, driver and what works here"),
    "versions.txt": gettext_noop("versions of the program and of its libraries"),
    "studio.log": gettext_noop("the end of the program's log, with error messages"),
    "run/config.toml": gettext_noop("settings of the last run, without paths and texts"),
    "run/state.json": gettext_noop("how the last run ended"),
    "run/run.log": gettext_noop("the end of the last run's log"),
    "run/process.log": gettext_noop("what the last run's process left behind, where it had one"),
}
"""The files that there may be, and what each is, to be translated where it is shown."""
_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSW|API_?KEY|CREDENTIAL", re.IGNORECASE)
_SECRETS = (
    (re.compile(r"\b(hf|api_org|sk|ghp|github_pat|glpat)[-_][A-Za-z0-9_-]{8,}"), r"\1_(hidden)"),
    (re.compile(r"(?i)\b(bearer|basic) +[A-Za-z0-9+/=._~-]{8,}"), r"\1 (hidden)"),
    (re.compile(r"(?<=://)[^/\s@]+@"), "(hidden)@"),
    (re.compile(r"(?i)([?&](?:token|key|signature|x-amz-[a-z-]+)=)[^&\s\"']+"), r"\1(hidden)"),
)
# Settings that hold words of the user, or name files of theirs.
_TEXTS = {"prompt_template", "init_text", "prompts"}
_PATHS = {"path", "start_from", "probes"}


def write_bundle(path: Path, doctor: str, run: RunFolder | None) -> list[str]:
    """Write the zip and return the names in it.

    Args:
        doctor: what `doctor` says about the machine.
        run: the run that the report is about, if there is one.

    Raises:
        StudioError: it cannot be written.
    """
    half = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    names = []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(half, "w", zipfile.ZIP_DEFLATED) as bundle:
            for name, text in _parts(doctor, run):
                bundle.writestr(name, hidden(text))
                names.append(name)
        half.replace(path)
    except OSError as error:
        words = tr("The report cannot be written to {path}: {reason}.")
        raise StudioError(words.format(path=path, reason=error.strerror)) from error
    finally:
        # What went wrong above is what is raised, also where the draft cannot be removed.
        with contextlib.suppress(OSError):
            half.unlink(missing_ok=True)
    return names


def hidden(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return a text without tokens and passwords, and with `~` for the user's home folder."""
    for name, value in environment.items():
        if _SECRET_NAME.search(name) and len(value) >= 8:
            text = text.replace(value, "(hidden)")
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    for home in {str(Path.home()), Path.home().as_posix(), str(Path.home()).replace("\\", "\\\\")}:
        text = text.replace(home, "~") if len(home) > 3 else text
    return text


def without_data(settings: Any) -> Any:
    """Return settings with the last part of every path, and with the length of every text of the user."""
    if isinstance(settings, list):
        return [without_data(inner) for inner in settings]
    if not isinstance(settings, dict):
        return settings
    return {key: _told(key, value) for key, value in settings.items()}


def _told(key: str, value: Any) -> Any:
    if key in _TEXTS:
        return f"({len(value)} characters)" if isinstance(value, str) else [f"({len(one)} characters)" for one in value]
    if key in _PATHS and isinstance(value, str):
        return value.replace("\\", "/").rstrip("/").rpartition("/")[2] if _is_place(value) else value
    return without_data(value)


def _is_place(path: str) -> bool:
    """Whether this names a place on a disk; the id of a model or dataset on the hub is worth knowing whole."""
    return path.count("/") > 1 or path[:1] in "/~." or "\\" in path or path[1:2] == ":"


def _parts(doctor: str, run: RunFolder | None) -> Iterator[tuple[str, str]]:
    with untranslated():
        yield "doctor.txt", doctor
        yield "versions.txt", versions()
    found: list[tuple[str, Callable[[], str]]] = [("studio.log", lambda: _end_of(log_folder() / "studio.log"))]
    if run is not None:
        found += [
            ("run/config.toml", lambda: tomli_w.dumps(without_data(tomllib.loads(read_text(run.inside(run.config)))))),
            ("run/state.json", lambda: read_text(run.inside(run.state))),
            ("run/run.log", lambda: _end_of(run.inside(run.log))),
            ("run/process.log", lambda: _end_of(run.inside(run.output))),
        ]
    for name, read in found:
        try:
            yield name, read()
        except (OSError, ValueError, RecursionError) as error:
            log.info("The report goes without %s: %s", name, error)


def _end_of(file: Path) -> str:
    return read_tail(file, MOST_BYTES).decode("utf-8", errors="replace")


def bundle_in_child(path: Path, run: RunFolder | None, runs_root: Path, progress: Progress) -> None:
    """Let a process of its own write the report, as `doctor --bundle` does: it imports torch, and may crash doing so.

    Raises:
        StudioError: it was not written.
    """
    progress("writing", 0, 0)
    chosen = run or next(iter(list_runs(runs_root)), None)
    about = ["--run", str(chosen.path)] if chosen else []
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "studio", "doctor", "--bundle", str(path), *about],
            capture_output=True,
            timeout=SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StudioError(tr("The report was not written: {reason}.").format(reason=error)) from error
    if ended.returncode:
        said = ended.stderr.decode("utf-8", errors="replace").strip().splitlines()
        reason = said[-1].rstrip(".") if said else str(ended.returncode)
        raise StudioError(tr("The report was not written: {reason}.").format(reason=reason))
