"""Chat templates, rendered in a process of their own with limits on time and memory.

A template is a program of a stranger. The sandbox that transformers runs it in keeps it from files and from Python,
but not from looping for hours, nor from one computation in C that nothing can interrupt, such as `9**(9**9)`.
"""

from __future__ import annotations

import atexit
import functools
import logging
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from studio.engine.child import Child, ChildFailed
from studio.engine.control import Progress
from studio.errors import ModelError
from studio.i18n import tr

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)

SECONDS = 20.0
"""Time limit of one call of `render`, without the start of the process. Usual templates need milliseconds."""
MEMORY_BYTES = 1 << 29
"""Memory that the process may take beyond what Python itself takes."""
QUESTION, ANSWER = "What is the capital of France?", "Paris."
_GROWTH = 1_000_000  # characters that a template may add to a conversation
_PYTHON_BYTES = 1 << 28  # what Python and the libraries take at most

Turn: TypeAlias = dict[str, str]


class Wanted(NamedTuple):
    """One rendering of a conversation.

    Attributes:
        turns: how many of its turns are rendered, from the first on.
        ask: whether the template is to ask for an answer at the end.
        answer: a further answer, rendered after these turns.
    """

    turns: int
    ask: bool = False
    answer: str | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a conversation could not be rendered.

    Attributes:
        error: the kind of the error: the name of its class, or "growth" for far too much text.
        words: what the error says.
        line: the line of the template, where the error knows it.
    """

    error: str
    words: str
    line: int | None = None


Job: TypeAlias = tuple[Sequence[Turn], Sequence[Wanted]]

_lock = threading.Lock()
_child: Child | None = None


def render(template: str, tokens: Mapping[str, str], jobs: Sequence[Job]) -> list[list[str | Refused]]:
    """Render conversations with a template, as `apply_chat_template` does. All threads share one process.

    Args:
        template: Jinja source.
        tokens: what the template may use, such as `{"eos_token": "</s>"}`.
        jobs: conversations, each with the renderings that are wanted of it.

    Raises:
        ModelError: the template does not come to an end, takes too much memory, or ends the process.
    """
    wanted = {"template": template, "tokens": dict(tokens), "jobs": jobs}
    with _lock:
        try:
            answers = _ask(wanted)
        except TimeoutError as error:
            words = tr(
                "The chat template of the model does not come to an end in {seconds} seconds; choose another model."
            )
            raise ModelError(words.format(seconds=round(SECONDS))) from error
        except MemoryError as error:
            words = tr("The chat template of the model takes more than {megabytes} MB of memory; choose another model.")
            raise ModelError(words.format(megabytes=MEMORY_BYTES >> 20)) from error
        except ChildFailed as error:
            log.warning("A chat template ended its process with %d: %s", error.code, error)
            raise ModelError(tr("The chat template of the model could not be run; choose another model.")) from error
    return [[one if isinstance(one, str) else Refused(*one) for one in answer] for answer in answers]


def _ask(wanted: dict[str, Any]) -> list[list[Any]]:
    """Give the process a job, and start it where there is none, also where it was ended from outside."""
    global _child
    served = _child is not None
    _child = _child or Child(_work)
    try:
        answers: list[list[Any]] = _child.ask(wanted, seconds=SECONDS, memory=MEMORY_BYTES + _PYTHON_BYTES)
    except BaseException as error:
        _child.close()
        _child = None
        if served and isinstance(error, ChildFailed):
            return _ask(wanted)
        raise
    return answers


def close_process() -> None:
    """End the process that renders; the next call of `render` starts another."""
    global _child
    with _lock:
        if _child:
            _child.close()
            _child = None


def _forget_process() -> None:
    """Leave the process to the parent that this one was forked from: only one may write into its pipe."""
    global _child, _lock
    _lock = threading.Lock()
    _inherited.append(_child)  # kept, because a `Popen` that is collected complains
    _child = None


_inherited: list[Child | None] = []
atexit.register(close_process)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_process)


def default_template(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """Return the template that conversations are rendered with; None where the tokenizer has none."""
    template = tokenizer.chat_template
    return template.get("default") if isinstance(template, dict) else template


def template_tokens(tokenizer: PreTrainedTokenizerBase) -> dict[str, str]:
    """Return the special tokens that a template may use, by name."""
    found: dict[str, Any] = tokenizer.special_tokens_map
    return {name: str(token) for name, token in found.items() if not isinstance(token, list)}


@dataclass(frozen=True)
class Trial:
    """What came of trying a template out: the rendered conversation, or why there is none (half a sentence)."""

    text: str = ""
    problem: str = ""


@functools.lru_cache(maxsize=16)
def try_template(template: str, tokens: tuple[tuple[str, str], ...]) -> Trial:
    """Render `QUESTION` and `ANSWER` with a template.

    Args:
        template: Jinja source.
        tokens: what the template may use, such as `("eos_token", "</s>")`.
    """
    turns = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": ANSWER}]
    try:
        result = render(template, dict(tokens), [(turns, [Wanted(2)])])[0][0]
    except ModelError as error:
        if isinstance(error.__cause__, TimeoutError):
            return Trial(problem=tr("it does not come to an end"))
        if isinstance(error.__cause__, MemoryError):
            return Trial(problem=tr("it takes too much memory"))
        return Trial(problem=tr("it could not be run"))
    if isinstance(result, Refused):
        place = tr("line {line}: ").format(line=result.line) if result.line else ""
        return Trial(problem=f"{place}{result.error}: {result.words}")
    if ANSWER not in result:
        return Trial(problem=tr("it leaves out what the assistant says"))
    return Trial(text=result)


def _work(job: dict[str, Any], progress: Progress) -> list[list[str | tuple[str, str, int | None]]]:
    """Render conversations, in the child."""
    import transformers.utils.chat_template_utils  # noqa: F401  takes seconds on a slow machine, and counts for nothing

    _limit_this_process()
    progress("rendering", 0, 0)  # from here on the time is limited
    return [
        [_rendered(job["template"], job["tokens"], turns, Wanted(*wanted)) for wanted in all_wanted]
        for turns, all_wanted in job["jobs"]
    ]


def _rendered(
    template: str, tokens: dict[str, str], turns: list[Turn], wanted: Wanted
) -> str | tuple[str, str, int | None]:
    from transformers.utils.chat_template_utils import render_jinja_template

    shown = turns[: wanted.turns]
    if wanted.answer is not None:
        shown = [*shown, {"role": "assistant", "content": wanted.answer}]
    most = 2 * sum(map(len, (text for turn in shown for text in turn.values()))) + _GROWTH
    try:
        settings: dict[str, Any] = {"chat_template": template, "add_generation_prompt": wanted.ask, **tokens}
        rendered: Any = render_jinja_template([shown], **settings)
        text: str = rendered[0][0]
    except MemoryError:
        return "growth", "", None
    except Exception as error:  # noqa: BLE001  a stranger's program may raise anything; all of it is shown
        return type(error).__name__, " ".join(str(error).split())[:300], getattr(error, "lineno", None)
    return text if len(text) <= most else ("growth", "", None)


@functools.cache
def _limit_memory() -> None:
    import resource

    import psutil

    limit = psutil.Process().memory_info().vms + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _limit_this_process() -> None:
    """Let the system limit memory, and the time of this job, where it can. It does so even when the parent has died."""
    try:
        import resource

        _limit_memory()
        used = resource.getrusage(resource.RUSAGE_SELF)
        _, most = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime + SECONDS) + 2, most))
    except (ImportError, OSError, ValueError):
        log.info("This system does not limit a process; the parent does")
