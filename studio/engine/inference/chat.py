"""A conversation with a trained model and its base: one model in memory answers as both.

The trained part is a patch that is switched (`patches`). Full fine-tuning has changed the weights themselves, so two
models are in memory then. Tokens are chosen inside `generate`, which knows the cache of every architecture and every
kind of virtual tokens; the choice is our own, because `generate` samples with the global generator of torch, which
belongs to a training that may be under way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor, nn
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from studio.engine.control import Progress, no_progress
from studio.engine.data.render import Renderer
from studio.engine.device import resolve_device
from studio.engine.dtypes import DTYPES, torch_dtype
from studio.engine.export.carry import base_generation_config, ending_ids, last_learnt, stop_ids
from studio.engine.export.rounded_base import load_base
from studio.engine.export.source import open_source
from studio.engine.inference.answers import ChatAnswer, ChatSettings, Token
from studio.engine.inference.patches import Patches
from studio.engine.models.inspect import inspect_model
from studio.engine.models.load import load_model, load_tokenizer
from studio.engine.models.quiet import ignore_positions
from studio.runs import RunFolder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

BASE, TUNED = "base", "tuned"
Receive: TypeAlias = Callable[[str], None]


def ignore_text(_text: str) -> None:
    """Drop what streams by."""


@dataclass(frozen=True)
class Chat:
    """Models that are ready to answer; what one of them says depends on nothing that was asked before.

    Attributes:
        models: for each name a function that puts this model in place and returns it.
        renderer: turns a conversation into tokens, the same for all.
        ends: tokens that end an answer.
    """

    models: Mapping[str, Callable[[], nn.Module]]
    tokenizer: PreTrainedTokenizerBase
    renderer: Renderer
    ends: tuple[int, ...]

    @torch.no_grad()
    def answer(
        self,
        name: str,
        messages: Sequence[Mapping[str, str]],
        settings: ChatSettings | None = None,
        receive: Receive = ignore_text,
        progress: Progress = no_progress,
    ) -> ChatAnswer:
        """Let one model answer a conversation.

        Args:
            messages: `role` and `content` of each turn; the last one is the user's.
            receive: gets each piece of text as soon as its characters are complete.
            progress: called after each token; what it raises ends the answer.

        Raises:
            DataError: the conversation cannot be shown to the model.
            Cancelled: through `progress`.
        """
        settings = settings or ChatSettings()
        model = self.models[name]()
        ids = torch.tensor([self.renderer.prompt(messages)], device=next(model.parameters()).device)
        choice = _Choice(self.tokenizer, settings, self.ends, receive, progress)
        config = GenerationConfig(
            max_new_tokens=settings.limit,
            do_sample=False,  # `choice` leaves one token
            eos_token_id=list(self.ends) or None,
            pad_token_id=self.ends[0] if self.ends else None,
        )
        ignore_positions()
        started = time.perf_counter()
        model.generate(  # type: ignore[operator]
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            generation_config=config,
            logits_processor=LogitsProcessorList([choice]),
        )
        tokens = choice.finish()
        return ChatAnswer(
            model=name,
            text="".join(token.text for token in tokens),
            tokens=tokens,
            ended=tokens[-1].id in self.ends,
            first_token_seconds=choice.first - started,
            seconds=time.perf_counter() - started,
        )

    @torch.no_grad()
    def compare(self, answer: ChatAnswer, messages: Sequence[Mapping[str, str]], other: str) -> ChatAnswer:
        """Return an answer with the probability of each of its tokens by another model, which is led through it."""
        model = self.models[other]()
        chosen = [token.id for token in answer.tokens]
        prompt = self.renderer.prompt(messages)
        ids = torch.tensor([[*prompt, *chosen[:-1]]], device=next(model.parameters()).device)
        # Virtual tokens may stand in front, so the rows are counted from the end. (tokens of the answer, vocabulary)
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, -len(chosen) :].float()
        places = torch.tensor(chosen, device=logits.device)[:, None]
        found = logits.softmax(-1).gather(1, places)[:, 0].tolist()
        tokens = (replace(token, other=value) for token, value in zip(answer.tokens, found, strict=True))
        return replace(answer, tokens=tuple(tokens))


def open_chat(path: Path, progress: Progress = no_progress, device: str = "auto") -> Chat:
    """Return the models of a run folder (base and tuned), or the one of a plain model folder.

    Raises:
        StudioError: it is neither, or its files cannot be used.
        Cancelled: through `progress`.
    """
    place = resolve_device(device)
    folder = RunFolder(path.absolute())
    return _open_run(folder, place, progress) if folder.state.is_file() else _open_model(path, place, progress)


def _open_run(folder: RunFolder, place: torch.device, progress: Progress) -> Chat:
    source = open_source(folder, progress)
    dtype = _dtype(source.info.dtype, place)
    loaded = load_base(source, progress)
    base: nn.Module = loaded
    models: dict[str, Callable[[], nn.Module]]
    if source.method.form == "model":
        base.to(place, dtype).eval()
        tuned: nn.Module = source.method.load(load_base(source, progress), folder.adapter)
        tuned.to(place, dtype).eval()
        models = {BASE: lambda: base, TUNED: lambda: tuned}
    else:
        patches = Patches(loaded)
        patches.add(TUNED, source)
        patches.switch(TUNED)  # what is trained is moved with the base that contains it
        patches.model.to(place, dtype)
        patches.switch(None)
        base.to(place, dtype)

        def switched(name: str | None) -> nn.Module:
            patches.switch(name)
            return patches.model

        models = {BASE: lambda: switched(None), TUNED: lambda: switched(TUNED)}
    tokenizer = load_tokenizer(source.base, source.config.model.chat_template)
    data = source.config.data
    renderer = Renderer(tokenizer, source.kind, prompt_template=data.prompt_template, system_turns=data.system_turns)
    ends = [*stop_ids(base_generation_config(source)), *ending_ids(source, tokenizer)]
    return Chat(models, tokenizer, renderer, tuple(dict.fromkeys(ends)))


def _open_model(path: Path, place: torch.device, progress: Progress) -> Chat:
    info = inspect_model(path, progress)
    tokenizer = load_tokenizer(info.path, info.chat_template)
    loaded = load_model(info.path, "fp32", progress)
    model: nn.Module = loaded
    model.to(place, _dtype(info.dtype, place)).eval()
    renderer = Renderer(tokenizer, "chat" if info.has_template else "base")
    declared = {} if loaded.generation_config is None else loaded.generation_config.to_dict()
    ends = dict.fromkeys([*stop_ids(declared), tokenizer.eos_token_id, last_learnt(renderer)])
    return Chat({info.name: lambda: model}, tokenizer, renderer, tuple(end for end in ends if end is not None))


def _dtype(stored: str, place: torch.device) -> torch.dtype:
    return torch_dtype("fp32" if place.type == "cpu" or stored not in DTYPES else stored)


class _Choice(LogitsProcessor):
    """Chooses each token, notes its probability, and hands on the text that it completes."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        settings: ChatSettings,
        ends: Sequence[int],
        receive: Receive,
        progress: Progress,
    ) -> None:
        self._settings, self._ends, self._receive, self._progress = settings, ends, receive, progress
        self._generator: torch.Generator | None = None
        self._pieces = TextPieces(tokenizer)
        self._tokens: list[Token] = []
        self.first = 0.0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Take scores of one answer, (1, vocabulary), and return them with all tokens but one shut out."""
        logits = scores[0].float()
        token = self._choose(logits)
        probability = float(torch.exp(logits[token] - torch.logsumexp(logits, 0)))
        text = self._pieces.add(token)
        if not self._tokens:
            self.first = time.perf_counter()
        self._tokens.append(Token(id=token, text=text, probability=probability))
        if text:
            self._receive(text)
        self._progress("asking", len(self._tokens), self._settings.limit)
        only = torch.full_like(scores, -torch.inf)
        only[0, token] = 0
        return only

    def finish(self) -> tuple[Token, ...]:
        """Return all tokens; what is left of a character that was never completed goes to the last one."""
        rest = self._pieces.rest()
        if rest:
            self._receive(rest)
            self._tokens[-1] = replace(self._tokens[-1], text=self._tokens[-1].text + rest)
        return tuple(self._tokens)

    def _choose(self, logits: Tensor) -> int:
        if self._settings.temperature == 0:
            return int(logits.argmax())
        # Drawn on the processor: the same seed gives the same draw on every device.
        ordered, places = (logits.cpu() / self._settings.temperature).softmax(-1).sort(descending=True)
        before = ordered.cumsum(-1) - ordered  # the likeliest one has 0 before it, so that it always stays
        kept = ordered.where(before < self._settings.top_p, 0)
        if self._generator is None:
            self._generator = torch.Generator().manual_seed(self._settings.seed)
        return int(places[torch.multinomial(kept, 1, generator=self._generator)])


class TextPieces:
    """Turns tokens into text as they come, never a part of a character.

    A token is decoded together with the ones before it, because many tokenizers put a space in front of a word only
    where something stands before it. A character of several tokens ends in U+FFFD until it is complete.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._start = self._told = 0  # decoding begins at the first; text of tokens before the second was told

    def add(self, token: int) -> str:
        """Return the text that this token completes, "" where a character is still open."""
        self._ids.append(token)
        text = self._new_text()
        if not text or text.endswith("\N{REPLACEMENT CHARACTER}"):
            return ""
        self._start, self._told = self._told, len(self._ids)
        return text

    def rest(self) -> str:
        """Return what was held back."""
        text = self._new_text()
        self._told = len(self._ids)
        return text

    def _new_text(self) -> str:
        before = self._decode(self._ids[self._start : self._told])
        return self._decode(self._ids[self._start :])[len(before) :]

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))
