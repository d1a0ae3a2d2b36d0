"""What an export takes along besides weights: tokenizer, chat template, and how generation begins and ends."""

from __future__ import annotations

import copy
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
from studio.engine.export.tokenizer import carry_tokenizer
from studio.engine.models.config import read_config, sanitised
from studio.engine.models.files import GENERATION_CONFIG, read_json, terms_files

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# What config.json says of the base's own files, and not of the model.
OF_THE_FILES = {"quantization_config", "torch_dtype", "dtype", "transformers_version"}


def carry_over(source: Source, tokenizer: PreTrainedTokenizerBase, prefix: Prefix, folder: Path) -> None:
    """Write the tokenizer with its chat template, and the generation config, into the export's folder."""
    carry_tokenizer(source.base, prefix, folder)
    text = json.dumps(generation_config(source, tokenizer, prefix), ensure_ascii=False, indent=2) + "\n"
    (folder / GENERATION_CONFIG).write_text(text, encoding="utf-8")
    keep_readable(source, folder)


def keep_readable(source: Source, folder: Path) -> None:
    """Add to config.json what transformers 4 needs, beside what transformers 5 has written.

    transformers 5 moves `rope_theta` into `rope_parameters`: version 4 then takes 10000 and says nothing.
    """
    written = read_json(folder, "config.json")
    if written is None:
        return
    older = written | older_keys(read_config(source.base), written)
    if says_the_same(written, older):
        (folder / "config.json").write_text(json.dumps(older, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def older_keys(base: dict[str, Any], written: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of the base's config.json that transformers 5 has left out, and those that it renamed."""
    safe = sanitised(base)
    older = {
        key: value
        for key, value in base.items()
        if key not in written and key not in OF_THE_FILES and safe.get(key) == value
    }
    rope = written.get("rope_parameters")
    if isinstance(rope, dict) and "rope_theta" in rope:
        older.setdefault("rope_theta", rope["rope_theta"])
        if rope.get("rope_type", "default") != "default":
            older.setdefault("rope_scaling", {key: value for key, value in rope.items() if key != "rope_theta"})
    return older | ({"torch_dtype": written["dtype"]} if "dtype" in written else {})


def says_the_same(written: dict[str, Any], older: dict[str, Any]) -> bool:
    """Return whether this version of transformers reads the same out of two configurations."""
    from transformers import CONFIG_MAPPING

    make = CONFIG_MAPPING[written["model_type"]].from_dict
    before, after = (make(copy.deepcopy(sanitised(values))).to_dict() for values in (written, older))
    return all(after.get(key) == value for key, value in before.items())


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
    if (config := read_json(source.base, GENERATION_CONFIG)) is not None:
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
