"""What llama.cpp is asked about a GGUF file when it is checked, and whether it answers as training had it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from studio.engine.child import run_in_child
from studio.engine.control import Progress
from studio.engine.export import stopping
from studio.engine.export.carry import generation_config, stop_ids
from studio.engine.export.certificate import Check
from studio.engine.export.checks.stop import STRAY, stop_check, taught_stop_check
from studio.engine.export.compare import Outputs, kept_positions
from studio.engine.export.gguf import llama_cpp
from studio.engine.export.prefix import CONVERSATIONS, SAMPLES
from studio.engine.export.prompts import built_in_prompts
from studio.engine.export.reference import Reference
from studio.engine.export.source import Source
from studio.engine.export.stopping import Stops, taught_stops

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Built-in prompts whose answers are shown.
_SHOWN = 3


@dataclass(frozen=True)
class Rows:
    """The held-out rows as a file computes them, and where their logits are wanted.

    Attributes:
        ids: tokens of each row, with those that the export puts in front.
        positions: in each row, those that are compared, and then those in front of the end of an answer.
        ends: how many of the latter each row has.
    """

    ids: list[list[int]]
    positions: list[list[int]]
    ends: list[int]

    @classmethod
    def of(cls, reference: Reference) -> Rows:
        opening = list(reference.prefix.ids)
        vocabulary = reference.trained.rows[0].shape[-1]
        ids, positions, ends = [], [], []
        for number, prompt in enumerate(reference.prompts):
            last = [place for row, place in reference.asked if row == number]
            kept = kept_positions(prompt.ids, vocabulary)
            ids.append([*opening, *prompt.ids])
            positions.append([len(opening) + place for place in (*kept, *last)])
            ends.append(len(last))
        return cls(ids, positions, ends)


@dataclass(frozen=True)
class Answers:
    """What llama.cpp says.

    Attributes:
        said: what `llama_cpp.measure` returns.
        logits: at all positions of all rows, (positions, vocabulary), fp32.
        outputs: the same without the tokens that the export has and the trained model has not.
    """

    said: dict[str, Any]
    logits: torch.Tensor
    outputs: Outputs


class Asking:
    """What llama.cpp is asked about one file, and what its answers should be."""

    def __init__(
        self, source: Source, tokenizer: PreTrainedTokenizerBase, reference: Reference, *, brief: bool = False
    ) -> None:
        self._source, self._base, self._reference, self._brief = source, tokenizer, reference, brief
        prefix = reference.prefix
        self._own = prefix.tokenizer
        self._ends = stop_ids(generation_config(source, tokenizer, prefix))
        self._shown = built_in_prompts(source, tokenizer)[:_SHOWN]
        ending = {row for row, _ in reference.asked}
        known = [prompt for row, prompt in enumerate(reference.prompts) if row in ending or not ending]
        self._prompts = sorted(known, key=lambda prompt: len(prompt.ids) - prompt.answer)[: stopping.TRIES]
        rendered = (prefix.render(tokenizer, conversation, True) for conversation in CONVERSATIONS)
        rows = (list(prompt.ids) for prompt in reference.prompts)
        self._bare = [self._text(ids) for ids in (*rows, *filter(None, rendered))]

    def measure(self, path: Path, progress: Progress) -> Answers:
        """Return what llama.cpp says, and its logits over the held-out rows. Raises what `run_in_child` raises."""
        rows, opening = Rows.of(self._reference), list(self._reference.prefix.ids)
        prompts = [] if self._brief else [*self._prompts, *self._shown]
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "logits"
            job = {
                "path": str(path),
                "texts": [] if self._brief else list(SAMPLES),
                "bare": [] if self._brief else self._bare,
                "rows": rows.ids,
                "positions": rows.positions,
                "ends": self._ends,
                "prompts": [[*opening, *prompt.ids[: prompt.answer]] for prompt in prompts],
                "limit": stopping.LIMIT,
                "logits": str(place),
            }
            said = run_in_child(llama_cpp.measure, job, progress)
            found = np.fromfile(place, dtype=np.float32)
        logits = torch.from_numpy(found).view(sum(map(len, rows.positions)), -1)
        return Answers(said, logits, self._outputs(logits, rows))

    def _outputs(self, logits: torch.Tensor, asked: Rows) -> Outputs:
        left_out = list(self._reference.prefix.ids)
        columns = torch.ones(logits.shape[-1], dtype=torch.bool)
        columns[left_out] = False
        rows, ends = [], []
        for part, last in zip(logits.split([len(places) for places in asked.positions]), asked.ends, strict=True):
            rows.append(part[: len(part) - last])
            ends.append(part[len(part) - last :])
        stray = 0.0
        if left_out:
            shares = [(row[:, left_out].logsumexp(-1) - row.logsumexp(-1)).max().double().exp() for row in rows]
            stray = float(torch.stack(shares).max())
        at_ends = torch.cat(ends)
        return Outputs(tuple(row[:, columns] for row in rows), stray, at_ends if len(at_ends) else None)

    def _text(self, ids: Sequence[int]) -> str:
        return str(self._own.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def tokens(self, said: dict[str, Any]) -> Check:
        expected = [list(self._own(text)["input_ids"]) for text in SAMPLES]
        bare = [list(self._own(text, add_special_tokens=False)["input_ids"]) for text in self._bare]
        pairs = [*zip(said["tokens"], expected, strict=True), *zip(said["bare"], bare, strict=True)]
        wrong = sum(found != wanted for found, wanted in pairs)
        return Check.of("gguf_tokens", not wrong, wrong, 0, texts=len(pairs))

    def template(self, said: dict[str, Any]) -> Check:
        from studio.engine.models.template import default_template

        wanted = default_template(self._own)
        return Check.of("gguf_template", said["template"] == wanted, said["template"] == wanted, has_one=bool(wanted))

    def ends(self, said: dict[str, Any]) -> Check:
        missing = [token for token in self._ends if token not in said["ends"]]
        return Check.of("gguf_ends", not missing, self._names(self._ends), missing=self._names(missing))

    def stops(self, said: dict[str, Any], outputs: Outputs) -> tuple[Check, ...]:
        """Return whether the file ends an answer by itself, and never says a virtual token."""
        reference = self._reference
        answers = said["answers"][: len(self._prompts)]
        ended = [len(answer["tokens"]) for answer in answers if answer["ended"]]
        prompt, longest = self._prompts[0], max(len(answer["tokens"]) for answer in answers)
        if ended or not reference.asked:
            stops = Stops(prompt, ended[0] if ended else None, tuple(answers[0]["tokens"]))
            stopped = stop_check(stops, None, stopping.LIMIT)
        else:
            found, trained = taught_stops(outputs, self._ends), taught_stops(reference.trained, self._ends)
            stopped = taught_stop_check(found, trained, generated=longest)
        if not reference.prefix.ids:
            return (stopped,)
        told = any(set(answer["tokens"]) & set(reference.prefix.ids) for answer in said["answers"])
        name, passed = "virtual_tokens_never_generated", outputs.stray <= STRAY and not told
        return stopped, Check.of(name, passed, outputs.stray, STRAY, said=told)

    def answers(self, said: dict[str, Any]) -> Check:
        """Only informs; the prompts are the built-in ones, so that no text of the dataset gets into the certificate."""
        from studio.engine.export.prompts import BUILT_IN

        told = said["answers"][len(self._prompts) :]
        shown = [
            {"asked": asked, "answer": self._answer(answer["tokens"])}
            for asked, answer in zip(BUILT_IN[:_SHOWN], told, strict=True)
        ]
        return Check.of("gguf_answers", True, None, answers=shown)

    def _answer(self, tokens: Sequence[int]) -> str:
        return " ".join(str(self._own.decode(list(tokens), skip_special_tokens=True)).split())[:300]

    def _names(self, tokens: Sequence[int]) -> str:
        return ", ".join(str(name) for name in self._base.convert_ids_to_tokens(list(tokens)))
