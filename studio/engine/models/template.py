"""Trying out a chat template before it is relied on: in a process of its own, with limits.

A template is a program of a stranger. The sandbox that transformers runs it in keeps it from files and from
Python, but not from looping for hours or writing without end.
"""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass
from typing import Any

from studio.engine.child import ChildFailed, run_in_child
from studio.engine.control import Progress
from studio.i18n import tr

log = logging.getLogger(__name__)

SECONDS = 20
QUESTION, ANSWER = "What is the capital of France?", "Paris."
_MEMORY_BYTES = 1 << 28  # beyond what Python itself takes; not every system can limit it
_MAX_CHARACTERS = 100_000


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
    try:
        result = run_in_child(_render, {"template": template, "tokens": dict(tokens)}, seconds=SECONDS)
    except TimeoutError:
        return Trial(problem=tr("it does not come to an end"))
    except ChildFailed as error:
        log.warning("The trial of a chat template ended with %d: %s", error.code, error)
        return Trial(problem=tr("it could not be run"))
    if "error" in result:
        place = tr("line {line}: ").format(line=result["line"]) if result["line"] else ""
        return Trial(problem=place + result["error"])
    if ANSWER not in result["text"]:
        return Trial(problem=tr("it leaves out what the assistant says"))
    return Trial(text=result["text"])


def _render(job: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Render the conversation, in the child: the text, or the error and the line of the template where it arose."""
    import psutil
    from transformers.utils.chat_template_utils import render_jinja_template

    try:
        import resource

        limit = psutil.Process().memory_info().vms + _MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    except (ImportError, OSError, ValueError):
        log.info("This system does not limit the memory of a process")
    messages = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": ANSWER}]
    progress("rendering", 0, 0)  # from here on the time is limited
    try:
        rendered: Any = render_jinja_template([messages], chat_template=job["template"], **job["tokens"])
    except BaseException as error:  # noqa: BLE001  a stranger's program may raise anything; all of it is shown
        words = f"{type(error).__name__}: {error}".split()
        return {"error": " ".join(words)[:300], "line": getattr(error, "lineno", None)}
    return {"text": rendered[0][0][:_MAX_CHARACTERS]}
