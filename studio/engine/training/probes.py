"""What retention is measured on: general texts, and questions whose answers are known."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from studio.config import DataSource, RetentionConfig
from studio.config.retention import SHIPPED
from studio.engine.control import Progress
from studio.engine.data.control_tokens import ControlTokens
from studio.engine.data.encoder import Encoder, Rendered
from studio.engine.data.render import Renderer
from studio.engine.data.report import RowSkipped
from studio.engine.data.rows import IGNORED, RowStore, TokenizedRow
from studio.engine.data.tokenise import tokenise
from studio.errors import ConfigError, DataError
from studio.i18n import tr
from studio.paths import resource

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# A text of the shipped set is measured on its first tokens: more texts tell more than long ones.
LONGEST = 128
# How a Base model, which continues text, is asked a question.
_ASKED = {"en": "Question: {question}\nAnswer:", "zh": "问题：{question}\n答案："}


@dataclass(frozen=True)
class Question:
    """A prompt, and what is known of its answer.

    Attributes:
        prompt: as a person reads it.
        ids: as the model reads it.
        accepted: spellings of the right answer; none for a prompt of the user's own.
        one_line: whether the answer ends with its line, because the model would go on with text of its own.
    """

    prompt: str
    ids: tuple[int, ...]
    accepted: tuple[str, ...] = ()
    one_line: bool = False

    @property
    def own(self) -> bool:
        return not self.accepted

    def judge(self, answer: str) -> bool | None:
        """Return whether an answer holds one of the accepted spellings; None where nobody knows."""
        if self.own:
            return None
        words = _plain(answer)
        return any(_holds(words, _plain(accepted)) for accepted in self.accepted)


@dataclass(frozen=True)
class Probes:
    """What one run is measured on.

    Attributes:
        rows: texts in the order in which they are taken; a run with little time takes the first ones.
        questions: general ones, likewise in order.
        prompts: the user's own.
    """

    rows: Sequence[TokenizedRow]
    questions: Sequence[Question]
    prompts: Sequence[Question]


def load_probes(
    config: RetentionConfig,
    tokenizer: PreTrainedTokenizerBase,
    kind: Literal["base", "chat"],
    longest: int,
    questions: int,
    progress: Progress,
    prompt_template: str = "",
) -> Probes:
    """Read and tokenise what a run is measured on.

    Args:
        longest: the most tokens of a row or a prompt.
        questions: how many general questions to ask, where the shipped set is measured on.
        prompt_template: how a Base model is taught to be asked; the user's own prompts are asked so.

    Raises:
        ConfigError: `retention.probes` is no file.
        DataError: it cannot be read, or has no row that can be used.
    """
    renderer = Renderer(tokenizer, kind, max_length=longest)
    plain = Encoder(tokenizer, ControlTokens(tokenizer), min(longest, LONGEST))
    shipped = config.probes == SHIPPED
    rows = _shipped_rows(plain) if shipped else _rows_of_file(config.probes, renderer, progress)
    lines = _lines(resource("retention", "questions.jsonl"))[:questions] if shipped else []
    known = [
        _asked(line["question"], _ASKED[line["language"]], plain, renderer, kind, tuple(line["answers"]))
        for line in lines
    ]
    layout = prompt_template.removesuffix("{answer}").replace("{system}", "") or "{question}"
    own = [_asked(prompt, layout, plain, renderer, kind) for prompt in config.prompts]
    return Probes(
        rows=rows,
        questions=[question for question in known if len(question.ids) <= longest],
        prompts=[prompt for prompt in own if len(prompt.ids) <= longest],
    )


def _shipped_rows(encoder: Encoder) -> list[TokenizedRow]:
    """Every token but the first is predicted. No end token is put behind: few models were taught one there."""
    path = resource("retention", "texts.jsonl")
    texts = [line["text"] for line in _lines(path)]
    encoded = encoder.encode([Rendered(text, ((0, len(text)),), opened=True) for text in texts])
    return [
        TokenizedRow(
            np.array(rows[0].input_ids, np.int32),
            np.where(rows[0].supervised, rows[0].input_ids, IGNORED).astype(np.int32),
            str(path),
            number,
        )
        for number, rows in enumerate(encoded, 1)
        if not isinstance(rows, RowSkipped)
    ]


def _rows_of_file(path: str, renderer: Renderer, progress: Progress) -> list[TokenizedRow]:
    """Rows from all over the file, in an order that is the same each time."""
    if not Path(path).is_file():
        raise ConfigError(
            tr("retention.probes = {path} is no file; take auto, or a file that can be trained on.").format(path=path)
        )
    try:
        part = tokenise(DataSource(path=path), renderer, progress)
    except DataError as error:
        raise DataError(
            tr("Retention cannot be measured on retention.probes. {reason}").format(reason=error)
        ) from error
    count = len(part.rows)
    store = RowStore(part.dataset(), np.arange(count), [(path, "general")], np.zeros(count, np.int64))
    order = np.random.default_rng(0).permutation(count)[:_MOST_ROWS]
    return [store[int(place)] for place in order]


_MOST_ROWS = 1000


def _asked(
    prompt: str, layout: str, plain: Encoder, renderer: Renderer, kind: str, accepted: tuple[str, ...] = ()
) -> Question:
    """A Chat model is asked through its template. A Base model goes on with text, laid out as `layout` says."""
    text = Rendered(layout.replace("{question}", prompt), (), opened=True)
    if kind == "base":
        return Question(prompt, tuple(plain.ids(text)), accepted, one_line=bool(accepted))
    try:
        return Question(prompt, tuple(renderer.prompt([{"role": "user", "content": prompt}])), accepted)
    except DataError:  # the template wants another kind of conversation; the model is asked without it
        return Question(prompt, tuple(plain.ids(text)), accepted)


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def _plain(text: str) -> str:
    """Small letters, full-width ones made narrow, with a space for all that is no letter or digit."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join("".join(c if c.isalnum() else " " for c in folded).split())


def _holds(words: str, accepted: str) -> bool:
    """Whole words, so that 12 is not found in 120; Chinese has no spaces between words."""
    if any(ord(c) > 0x2E80 for c in accepted):
        return accepted.replace(" ", "") in words.replace(" ", "")
    return f" {accepted} " in f" {words} " or _among_chinese(words, accepted)


def _among_chinese(words: str, accepted: str) -> bool:
    """Whether letters or digits stand between Chinese characters, as in 一年有12个月."""
    spaced = "".join(c if ord(c) < 0x2E80 else " " for c in words)
    return f" {accepted} " in f" {' '.join(spaced.split())} "
