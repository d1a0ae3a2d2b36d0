"""What an export takes along besides weights: tokenizer, chat template, and how generation begins and ends."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.engine.data.formats.base import Example
from studio.engine.data.formats.values import exchange, layout
from studio.engine.data.render import Renderer
from studio.engine.data.report import RowSkipped
from studio.engine.export.prefix import Prefix
from studio.engine.export.source import Source
from studio.engine.models.files import terms_files

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

GENERATION_CONFIG = "generation_config.json"


def carry_over(source: Source, tokenizer: PreTrainedTokenizerBase, prefix: Prefix, folder: Path) -> None:
    """Write the tokenizer with its chat template, and the generation config, into the export's folder."""
    prefix.tokenizer.save_pretrained(folder)
    text = json.dumps(generation_config(source, tokenizer, prefix), ensure_ascii=False, indent=2) + "\n"
    (folder / GENERATION_CONFIG).write_text(text, encoding="utf-8")


def carry_terms(base: Path, folder: Path) -> None:
    """Copy the files with the terms on which the base may be used."""
    for file in terms_files(base):
        shutil.copyfile(file, folder / file.name)


def generation_config(source: Source, tokenizer: PreTrainedTokenizerBase, prefix: Prefix) -> dict[str, Any]:
    """Return the base's generation config, with every token that ends an answer among its `eos_token_id`.

    Chat models often end a turn with another token than the text, and often only one of them is in the base's
    config; a model that was taught to end with the other one would never stop. Tokens of the prefix are suppressed.
    """
    config = base_generation_config(source)
    given = stop_ids(config)
    ends = [*given, *(token for token in ending_ids(source, tokenizer) if token not in given)]
    silent = [*(config.get("suppress_tokens") or []), *prefix.ids]
    ending = {"eos_token_id": ends if len(ends) > 1 else ends[0]} if ends else {}
    return config | ending | ({"suppress_tokens": silent} if prefix.ids else {})


def base_generation_config(source: Source) -> dict[str, Any]:
    """Return the base's generation_config.json; a base without one keeps these ids in its config.json."""
    path = source.base / GENERATION_CONFIG
    if path.exists():
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return config
    keys = ("bos_token_id", "eos_token_id", "pad_token_id")
    return {key: source.info.shapes.config[key] for key in keys if source.info.shapes.config.get(key) is not None}


def stop_ids(config: dict[str, Any]) -> list[int]:
    """Return the tokens at which a generation config ends generation."""
    ids = config.get("eos_token_id")
    return [] if ids is None else [ids] if isinstance(ids, int) else list(ids)


def ending_ids(source: Source, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the tokens that end an answer of this run: the end of text, and what training puts behind an answer."""
    renderer = Renderer(tokenizer, source.kind, prompt_template=source.config.data.prompt_template)
    ends = [tokenizer.eos_token_id, last_learnt(renderer)]
    special = {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
    return list(dict.fromkeys(token for token in ends if token in special))


def last_learnt(renderer: Renderer) -> int | None:
    """Return the last token that a rendered answer teaches; for Chat, its template's end of turn.

    None where the template wants another conversation than question and answer.
    """
    messages = exchange("Hello?", "Yes")
    try:
        row = renderer.encode(Example(layout(messages), messages))[-1]
    except RowSkipped:
        return None
    return next(
        (token for token, learnt in zip(row.input_ids[::-1], row.supervised[::-1], strict=True) if learnt), None
    )
