"""A GGUF file in which one thing is not as it was to be written is not certified."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gguf import GGUFReader

from studio.engine.control import no_progress
from studio.engine.export.gguf import llama_cpp, make
from studio.engine.export.gguf.convert import Plan, convert
from studio.engine.export.gguf.written import check_settings, check_weights
from studio.engine.export.run import export_run
from studio.runs import RunFolder

Damage = Callable[[GGUFReader], None]


def _text(file: GGUFReader, key: str, number: int = 0) -> Any:
    """Return the bytes of a text in the file, or of one of several; they can be changed in place."""
    field = file.fields[key]
    return field.parts[field.data[number]]


def another_token(file: GGUFReader) -> None:
    tokens = file.fields["tokenizer.ggml.tokens"].contents()
    rare = max((number for number, token in enumerate(tokens) if token.isascii() and token.isalpha()), key=lambda n: n)
    _text(file, "tokenizer.ggml.tokens", rare)[-1] ^= 1


def swapped_merges(file: GGUFReader) -> None:
    merges = file.fields["tokenizer.ggml.merges"].contents()
    last = len(merges) - 1
    other = next(n for n in range(last - 1, 0, -1) if len(merges[n].encode()) == len(merges[last].encode()))
    one, two = (_text(file, "tokenizer.ggml.merges", number) for number in (other, last))
    one[:], two[:] = two.copy(), one.copy()


def another_end(file: GGUFReader) -> None:
    _text(file, "tokenizer.ggml.eos_token_id")[0] += 1


def another_kind_of_token(file: GGUFReader) -> None:
    types = file.fields["tokenizer.ggml.token_type"]
    kinds = types.contents()
    types.parts[types.data[kinds.index(3)]][0] = 1


def another_base_of_rotation(file: GGUFReader) -> None:
    _text(file, "llama.rope.freq_base")[0] *= 1.5


def shorter_template(file: GGUFReader) -> None:
    _text(file, "tokenizer.chat_template")[-8:] = ord(" ")


def flipped_bits(file: GGUFReader) -> None:
    data = next(tensor.data for tensor in file.tensors if tensor.name == "blk.1.ffn_up.weight")
    data.reshape(-1).view("uint8")[41:43] ^= 4


CASES = {
    "another token": (another_token, "gguf_settings", "tokenizer.ggml.tokens"),
    "swapped merges": (swapped_merges, "gguf_settings", "tokenizer.ggml.merges"),
    "another end": (another_end, "gguf_settings", "tokenizer.ggml.eos_token_id"),
    "another kind of token": (another_kind_of_token, "gguf_settings", "tokenizer.ggml.token_type"),
    "another base of rotation": (another_base_of_rotation, "gguf_settings", "llama.rope.freq_base"),
    "shorter template": (shorter_template, "gguf_settings", "tokenizer.chat_template"),
    "flipped bits": (flipped_bits, "gguf_weights", "blk.1.ffn_up.weight"),
}


@pytest.fixture(scope="module")
def written(bases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Plan]:
    file = tmp_path_factory.mktemp("written") / "model.gguf"
    return file, convert(bases["llama-tied"], file, "q8_0", "model")


@pytest.mark.parametrize("case", CASES)
def test_one_change_of_the_file_fails_its_check(
    bases: dict[str, Path], written: tuple[Path, Plan], tmp_path: Path, case: str
) -> None:
    (whole, plan), (damage, expected, what) = written, CASES[case]
    file = Path(shutil.copy(whole, tmp_path))

    def failed() -> dict[str, Any]:
        found = check_settings(file, plan), check_weights(bases["llama-tied"], file, plan, no_progress)
        return {check.name: check.evidence for check in found if not check.passed}

    assert failed() == {}
    damage(GGUFReader(file, "r+"))
    (evidence,) = [found for name, found in failed().items() if name == expected]
    assert evidence["settings" if expected == "gguf_settings" else "weights"] == [what]


@pytest.mark.skipif(bool(llama_cpp.why_not()), reason="xllamacpp is not installed")
def test_a_file_that_was_changed_before_it_is_checked_is_not_certified(
    make_run: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    """llama.cpp opens it, and splits all texts that it is asked for in the right way."""

    def damaged(folder: Path, path: Path, *rest: Any) -> Plan:
        plan = convert(folder, path, *rest)
        if path.parent == folder.parent:  # the export itself, and nothing that it is measured beside
            swapped_merges(GGUFReader(path, "r+"))
        return plan

    monkeypatch.setattr(make, "convert", damaged)
    result = export_run(make_run("llama-tied", kind="chat"), "gguf", "q8_0")
    wrong = [check for check in result.checks if not check.passed]
    assert [check.name for check in wrong] == ["gguf_settings"]
    assert wrong[0].meaning == "Settings in the file are not those that were to be written: tokenizer.ggml.merges."
