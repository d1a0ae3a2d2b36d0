"""Trying out a chat template before it is relied on: in a process of its own, with limits.

A template is a program of a stranger. The sandbox that transformers runs it in keeps it from files and from
Python, but not from looping for hours or writing without end.
"""

from __future__ import annotations

import functools
import json
import logging
import subprocess
import sys
from dataclasses import dataclass

from studio.i18n import tr

log = logging.getLogger(__name__)

SECONDS = 20
QUESTION, ANSWER = "What is the capital of France?", "Paris."
_MEMORY_BYTES = 1 << 28  # beyond what Python itself takes; not every system can limit it
_MAX_CHARACTERS = 100_000
_CHILD = f"""
import json, sys
import psutil
from transformers.utils.chat_template_utils import render_jinja_template
try:
    import resource
    limit = psutil.Process().memory_info().vms + {_MEMORY_BYTES}
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
except (ImportError, OSError, ValueError):
    pass
job = json.load(sys.stdin)
messages = [{{"role": "user", "content": job["question"]}}, {{"role": "assistant", "content": job["answer"]}}]
try:
    rendered, _ = render_jinja_template([messages], chat_template=job["template"], **job["tokens"])
    result = {{"text": rendered[0][:{_MAX_CHARACTERS}]}}
except BaseException as error:
    line = getattr(error, "lineno", None)
    result = {{"error": " ".join(f"{{type(error).__name__}}: {{error}}".split())[:300], "line": line}}
print(json.dumps(result))
"""


@dataclass(frozen=True)
class Trial:
    """What came of it: the rendered conversation, or why there is none (half a sentence)."""

    text: str = ""
    problem: str = ""


@functools.lru_cache(maxsize=16)
def try_template(template: str, tokens: tuple[tuple[str, str], ...]) -> Trial:
    """Render `QUESTION` and `ANSWER` with a template.

    Args:
        template: Jinja source.
        tokens: what the template may use, such as `("eos_token", "</s>")`.
    """
    job = {"template": template, "tokens": dict(tokens), "question": QUESTION, "answer": ANSWER}
    # ASCII only: what encoding the child takes its input to be in then does not matter.
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", _CHILD],
            input=json.dumps(job).encode("ascii"),
            capture_output=True,
            timeout=SECONDS,
            check=False,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except subprocess.TimeoutExpired:
        return Trial(problem=tr("it does not come to an end"))
    if done.returncode:
        log.warning("The trial of a chat template ended with %d: %s", done.returncode, done.stderr[-2000:])
        return Trial(problem=tr("it could not be run"))
    return _read(json.loads(done.stdout))


def _read(result: dict[str, str]) -> Trial:
    if "error" in result:
        place = tr("line {line}: ").format(line=result["line"]) if result["line"] else ""
        return Trial(problem=place + result["error"])
    if ANSWER not in result["text"]:
        return Trial(problem=tr("it leaves out what the assistant says"))
    return Trial(text=result["text"])
