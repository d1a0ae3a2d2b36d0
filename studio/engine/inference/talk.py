"""The process in which llama.cpp answers: it reads tokens, and chooses the next one or rates those that it is given.

It keeps what it has read: of a conversation that goes on, only what is new is read.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from studio.engine.control import Progress
from studio.engine.export.gguf import llama_cpp
from studio.engine.inference.answers import ChatSettings
from studio.engine.inference.choice import choose, probability

BATCH = 512
_stack = ExitStack()  # closed when the process ends
_held: list[tuple[llama_cpp.OpenFile, list[int]]] = []
"""The one file that is open, and the tokens that it has read."""


def talk(job: dict[str, Any], _progress: Progress) -> Any:
    """Do one step of a conversation. Runs in a child process.

    Args:
        job: `path` of the file and `room` for tokens; `row` of token ids. Either `settings`, and `drawn`, a random
            number, to choose the token that follows; or `rated`, how many tokens at the end of the row are to be rated.

    Returns:
        The token and its probability; or the probability of each token that was to be rated.

    Raises:
        ExportError: llama.cpp does not open the file.
    """
    if not _held:
        _held.append((_stack.enter_context(llama_cpp.opened(Path(job["path"]), job["room"], BATCH)), []))
    file, before = _held[0]
    row, rated = job["row"], job.get("rated", 0)
    # The last token is not read where it is rated: nothing follows it.
    read = row[: len(row) - 1] if rated else row
    known = next((place for place, pair in enumerate(zip(read, before, strict=False)) if pair[0] != pair[1]), None)
    _held[0] = (file, [])  # what it holds is not known where reading fails
    logits = file.read(read, min(len(read), len(before)) if known is None else known, max(1, rated), BATCH)
    _held[0] = (file, read)
    if rated:
        return [probability(one, token) for one, token in zip(logits, row[-rated:], strict=True)]
    token = choose(logits[-1], ChatSettings(**job["settings"]), job["drawn"])
    return [token, probability(logits[-1], token)]
