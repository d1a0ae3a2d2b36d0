"""Models to talk with: a run's result beside its base, another run or an export; or a plain model.

Trained parts of the same base share one model in memory, as patches that are switched (`patches`). Full fine-tuning
has changed the weights themselves, and an export is a model of its own, so two models are in memory then. Tokens are
chosen inside `generate`, which knows the cache of every architecture and every kind of virtual tokens; the choice is
our own, because `generate` samples with the global generator of torch, which belongs to a training that may be under
way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from studio.engine.control import Progress, no_progress
from studio.engine.data.render import Renderer
from studio.engine.device import release_memory, resolve_device
from studio.engine.dtypes import DTYPES, torch_dtype
from studio.engine.export.carry import base_generation_config, ending_ids, last_learnt, stop_ids
from studio.engine.export.merge import release
from studio.engine.export.rounded_base import load_base
from studio.engine.export.source import Source, open_source
from studio.engine.inference.answers import BASE, BESIDE, TUNED, ChatAnswer, ChatSettings
from studio.engine.inference.dialogue import (
    Answering,
    ChatModel,
    Dialogue,
    Messages,
    OpenChat,
    Receive,
    ignore_token,
)
from studio.engine.inference.gguf import open_gguf
from studio.engine.inference.patches import Patches
from studio.engine.models.inspect import inspect_model
from studio.engine.models.load import load_model, load_tokenizer
from studio.engine.models.quiet import ignore_positions
from studio.engine.training.result import restore_result, under_way
from studio.runs import RunFolder
from studio.runs.folder import UNDER_WAY

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model of torch. `put_in_place` makes it the one in memory where several share their weights, and returns it."""

    name: str
    dialogue: Dialogue
    put_in_place: Callable[[], nn.Module]

    @property
    def weights(self) -> dict[object, int]:
        return {weight.data_ptr(): weight.nbytes for weight in self.put_in_place().parameters()}

    @torch.no_grad()
    def answer(
        self,
        messages: Messages,
        settings: ChatSettings | None = None,
        receive: Receive = ignore_token,
        progress: Progress = no_progress,
    ) -> ChatAnswer:
        settings = settings or ChatSettings()
        model = self.put_in_place()
        prompt = self.dialogue.prompt(messages, settings)
        ids = _row(prompt, model)
        ends = self.dialogue.ends
        answering = Answering(self.dialogue, settings, receive, progress, self.name)
        config = GenerationConfig(
            max_new_tokens=self.dialogue.longest(prompt, settings),
            do_sample=False,  # `_Choice` leaves one token
            eos_token_id=list(ends) or None,
            pad_token_id=ends[0] if ends else None,
        )
        ignore_positions()
        model.generate(  # type: ignore[operator]
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            generation_config=config,
            logits_processor=LogitsProcessorList([_Choice(answering)]),
        )
        return answering.finish()

    @torch.no_grad()
    def probabilities(self, messages: Messages, tokens: Sequence[int], settings: ChatSettings) -> list[float]:
        model = self.put_in_place()
        ids = _row([*self.dialogue.prompt(messages, settings), *tokens[:-1]], model)
        # Virtual tokens may stand in front, so the rows are counted from the end. (tokens of the answer, vocabulary)
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, -len(tokens) :].float()
        places = torch.tensor(tokens, device=logits.device)[:, None]
        found: list[float] = logits.softmax(-1).gather(1, places)[:, 0].tolist()
        return found

    def close(self) -> None:
        model = self.put_in_place()
        device = next(model.parameters()).device
        release(model)
        release_memory(device)


def open_chat(
    path: Path, progress: Progress = no_progress, device: str = "auto", beside: Path | None = None
) -> OpenChat:
    """Load the models of a conversation.

    A run that is under way, or that ended without its result, answers as its newest checkpoint has it; `note` says so.

    Args:
        path: a run folder, or a plain model folder.
        beside: the folder of another run, or of an export of this run; None: the run's own base.

    Returns:
        The models `base` and `tuned`; `tuned` and `beside`; or one under the name of the plain model.

    Raises:
        StudioError: it is neither, or its files cannot be used.
        Cancelled: through `progress`.
    """
    place = resolve_device(device)
    folder = RunFolder(path.absolute())
    if not folder.state.is_file():
        return _open_model(path, place, progress)
    with ExitStack() as stack:
        note, source = _source(folder, progress, stack)
        if beside is None:
            return OpenChat.of(_open_run(source, place, progress), note=note)
        other = RunFolder(beside.absolute())
        if not other.state.is_file():
            tuned = _open_run(source, place, progress, only_tuned=True)
            return OpenChat.of([*tuned, _open_export(source, beside, place, progress)], note=note)
        second_note, second = _source(other, progress, stack)
        notes = " ".join(filter(None, (note, second_note)))
        return OpenChat.of(_open_runs(source, second, place, progress), note=notes)


def _source(folder: RunFolder, progress: Progress, stack: ExitStack) -> tuple[str, Source]:
    """Return a run's result, and what stands for it where it has none; what is there for a while, `stack` removes."""
    if folder.read_state()["status"] in UNDER_WAY:
        copy, note = stack.enter_context(under_way(folder, progress))
        return note, open_source(copy, progress)
    return restore_result(folder, progress), open_source(folder, progress)


def dialogue_of(source: Source, tokenizer: PreTrainedTokenizerBase) -> Dialogue:
    """Return how a run's model is asked: as it was in training."""
    data = source.config.data
    renderer = Renderer(tokenizer, source.kind, prompt_template=data.prompt_template, system_turns=data.system_turns)
    ends = [*stop_ids(base_generation_config(source)), *ending_ids(source, tokenizer)]
    room = source.info.context_length
    room = room and room - source.method.positions(source.config.method)
    return Dialogue(tokenizer=tokenizer, renderer=renderer, ends=tuple(dict.fromkeys(ends)), room=room)


def _open_run(
    source: Source, place: torch.device, progress: Progress, *, only_tuned: bool = False
) -> list[LoadedModel]:
    """Return the base and what a run made of it, or that alone."""
    dialogue = dialogue_of(source, load_tokenizer(source.base, source.config.model.chat_template))
    base = load_base(source, progress)
    if source.method.form == "model":
        tuned = source.method.load(load_base(source, progress) if not only_tuned else base, source.folder.adapter)
        models = {TUNED: _keep(tuned, source, place)} | ({} if only_tuned else {BASE: _keep(base, source, place)})
    else:
        models = _patched(base, {TUNED: source}, place)
        if only_tuned:
            models.pop(BASE)
    return [LoadedModel(name=name, dialogue=dialogue, put_in_place=models[name]) for name in sorted(models)]


def _open_runs(source: Source, other: Source, place: torch.device, progress: Progress) -> list[LoadedModel]:
    """Return what two runs made: of the same base, as two patches of one model; otherwise as two models."""
    sources = {TUNED: source, BESIDE: other}
    patches = all(one.method.form != "model" for one in sources.values())
    same = source.base == other.base and source.config.precision.base_dtype == other.config.precision.base_dtype
    if patches and same:
        models = _patched(load_base(source, progress), sources, place)
        return [
            LoadedModel(
                name=name,
                dialogue=dialogue_of(one, load_tokenizer(one.base, one.config.model.chat_template)),
                put_in_place=models[name],
            )
            for name, one in sources.items()
        ]
    (first,) = _open_run(source, place, progress, only_tuned=True)
    (second,) = _open_run(other, place, progress, only_tuned=True)
    return [first, LoadedModel(name=BESIDE, dialogue=second.dialogue, put_in_place=second.put_in_place)]


def _open_export(source: Source, folder: Path, place: torch.device, progress: Progress) -> ChatModel:
    """Return an export of a run, asked as the run is."""
    if any(folder.glob("*.gguf")):
        dialogue = dialogue_of(source, load_tokenizer(source.base, source.config.model.chat_template))
        return open_gguf(source, dialogue, folder, progress)
    info = inspect_model(folder, progress)
    model = _loaded(load_model(info.path, "fp32", progress), info.dtype, place)
    dialogue = dialogue_of(source, load_tokenizer(info.path, info.chat_template))
    return LoadedModel(name=BESIDE, dialogue=dialogue, put_in_place=lambda: model)


def _open_model(path: Path, place: torch.device, progress: Progress) -> OpenChat:
    info = inspect_model(path, progress)
    tokenizer = load_tokenizer(info.path, info.chat_template)
    loaded = load_model(info.path, "fp32", progress)
    declared = {} if loaded.generation_config is None else loaded.generation_config.to_dict()
    model = _loaded(loaded, info.dtype, place)
    renderer = Renderer(tokenizer, "chat" if info.has_template else "base")
    ends = dict.fromkeys([*stop_ids(declared), tokenizer.eos_token_id, last_learnt(renderer)])
    known = tuple(end for end in ends if end is not None)
    dialogue = Dialogue(tokenizer=tokenizer, renderer=renderer, ends=known, room=info.context_length)
    one = LoadedModel(name=info.name, dialogue=dialogue, put_in_place=lambda: model)
    return OpenChat.of([one])


def _patched(
    base: PreTrainedModel, sources: dict[str, Source], place: torch.device
) -> dict[str, Callable[[], nn.Module]]:
    """Return one model that is switched: to the base, and to each trained part."""
    patches = Patches(base)
    whole: nn.Module = base
    for name, source in sources.items():
        patches.add(name, source)
    dtype = _dtype(next(iter(sources.values())).info.dtype, place)
    for one in (*sources, None):
        patches.switch(one)  # what is trained is moved with the base that contains it
        patches.model.to(place, dtype)
    whole.to(place, dtype)

    def switched(name: str | None) -> Callable[[], nn.Module]:
        def put_in_place() -> nn.Module:
            patches.switch(name)
            return patches.model

        return put_in_place

    return {BASE: switched(None)} | {name: switched(name) for name in sources}


def _keep(model: nn.Module, source: Source, place: torch.device) -> Callable[[], nn.Module]:
    model = _loaded(model, source.info.dtype, place)
    return lambda: model


def _loaded(model: nn.Module, stored: str, place: torch.device) -> nn.Module:
    return model.to(place, _dtype(stored, place)).eval()


def _row(ids: Sequence[int], model: nn.Module) -> Tensor:
    """Return one row of tokens, (1, tokens), where the model is."""
    return torch.tensor([ids], device=next(model.parameters()).device)


def _dtype(stored: str, place: torch.device) -> torch.dtype:
    return torch_dtype("fp32" if place.type == "cpu" or stored not in DTYPES else stored)


class _Choice(LogitsProcessor):
    """Lets an answer choose each token."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Take scores of one answer, (1, vocabulary), and return them with all tokens but one shut out."""
        token = self._answering.choose(scores[0].float().cpu().numpy())
        only = torch.full_like(scores, -torch.inf)
        only[0, token] = 0
        return only
