"""Trying a model on a few prompts in English and Chinese. Choice is greedy, so that every try gives the same."""

from __future__ import annotations

import torch

from studio.engine.control import Progress, no_progress
from studio.engine.data.render import Renderer
from studio.engine.device import resolve_device
from studio.engine.dtypes import DTYPES
from studio.engine.export.carry import last_learnt, stop_ids
from studio.engine.export.merge import release
from studio.engine.export.stopping import greedy_answer
from studio.engine.inference.behaviour import Behaviour, Manner, Tried
from studio.engine.models.info import ModelInfo
from studio.engine.models.load import load_model, load_tokenizer

LIMIT = 48

# Prompts, not words for the window: they are the same in every language of the app.
QUESTIONS = ("What is the capital of France? Answer in one word.", "法国的首都是哪座城市？请只回答一个词。")
PLAIN_QUESTIONS = (
    "Question: What is the capital of France?\nAnswer:",
    "问题：法国的首都是哪座城市？\n回答：",
)
BEGINNINGS = (
    "The old lighthouse stood at the end of the pier, and every evening",
    "春天来了，公园里的花都开了，孩子们",
)


@torch.no_grad()
def try_model(info: ModelInfo, progress: Progress = no_progress, device: str = "auto") -> Behaviour:
    """Ask a model some questions, and let it continue some texts, for at most `LIMIT` tokens each.

    Questions go through the chat template where there is one that works, otherwise they are plain text.

    Raises:
        ModelError: the model cannot be loaded.
        Cancelled: by `progress`.
    """
    tokenizer = load_tokenizer(info.path, info.chat_template)
    renderer = Renderer(tokenizer, "chat" if info.has_template else "base")
    asked: list[tuple[Manner, str, list[int]]] = []
    if info.has_template:
        asked += [("template", text, renderer.prompt([{"role": "user", "content": text}])) for text in QUESTIONS]
    else:
        asked += [("plain", text, tokenizer(text)["input_ids"]) for text in PLAIN_QUESTIONS]
    asked += [("text", text, tokenizer(text)["input_ids"]) for text in BEGINNINGS]
    model = load_model(
        info.path, info.dtype if info.dtype in DTYPES else "fp32", progress, device=resolve_device(device)
    )
    declared = {} if model.generation_config is None else model.generation_config.to_dict()
    ends = dict.fromkeys([tokenizer.eos_token_id, *stop_ids(declared), last_learnt(renderer)])
    tried = []
    for number, (manner, text, ids) in enumerate(asked):

        def report(stage: str, done: int, _total: int, before: int = number * LIMIT) -> None:
            progress(stage, before + done, len(asked) * LIMIT)

        answer = greedy_answer(model, ids, [end for end in ends if end is not None], LIMIT, report, "trying")
        words = str(tokenizer.decode(list(answer), skip_special_tokens=True))
        tried.append(
            Tried(manner=manner, prompt=text, text=words, tokens=len(answer), ended=bool(answer) and answer[-1] in ends)
        )
    release(model)
    return Behaviour(tuple(tried), LIMIT)
