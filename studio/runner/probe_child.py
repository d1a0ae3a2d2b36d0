"""What runs in the process of one precision: `python -m studio.runner.probe_child JOB.json`.

It tells by appending to a file, a JSON value a line: `["progress", stage, done, total]` now and then, and at last
`["row", {…}]`, or `["refused", kind, sentence]` when nothing can be probed in any precision.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

from studio.config import parse_config
from studio.engine.control import Progress
from studio.engine.probe.recommend import ProbeRow
from studio.errors import StudioError
from studio.i18n import set_language, tr
from studio.logs import log_to_file

log = logging.getLogger(__name__)


def main(job_file: Path) -> None:
    """Measure one precision, as the job says, and tell."""
    job = json.loads(job_file.read_text(encoding="utf-8"))
    set_language(job["language"])
    log_to_file()
    parent = os.getppid()
    with Path(job["told"]).open("a", encoding="utf-8") as told:

        def tell(*words: Any) -> None:
            print(json.dumps(words), file=told, flush=True)

        def progress(stage: str, done: int, total: int) -> None:
            if os.getppid() != parent:  # whoever asked was killed, and nobody else would end this process
                sys.exit(1)
            tell("progress", stage, done, total)

        try:
            row = _measure(job, progress)
        except StudioError as error:
            tell("refused", type(error).__name__, str(error))
        else:
            tell("row", dataclasses.asdict(row))


def _measure(job: dict[str, Any], progress: Progress) -> ProbeRow:
    name = job["precision"]
    try:
        from studio.engine.probe.measure import measure

        return measure(parse_config(job["config"]), name, job["steps"], Path(job["reference"]), progress)
    except StudioError:
        raise
    except Exception as error:
        log.exception("The probe of %s failed", name)
        return ProbeRow(precision=name, status="failed", sentence=_sentence(error))


def _sentence(error: Exception) -> str:
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower() or "can't allocate" in str(error):
        return tr("The memory was not enough.")
    reason = str(error).split("\n")[0][:200].rstrip(".")
    return tr("An unexpected {kind}: {reason}. The log has the details.").format(
        kind=type(error).__name__, reason=reason
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
