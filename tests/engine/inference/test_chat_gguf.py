"""A GGUF export answers through llama.cpp beside the run that it was made of."""

from __future__ import annotations

from typing import Any

import pytest

from studio.engine.child import ChildFailed
from studio.engine.export.gguf import llama_cpp
from studio.engine.export.run import export_run
from studio.engine.inference import talk
from studio.engine.inference.answers import BESIDE, TUNED, ChatSettings
from studio.engine.inference.chat import open_chat
from studio.engine.inference.gguf import GgufModel
from studio.errors import Cancelled, DataError, ExportError
from studio.runs import RunFolder

pytestmark = pytest.mark.skipif(bool(llama_cpp.why_not()), reason="xllamacpp is not installed")

QUESTION = [{"role": "user", "content": "Which colour has the sky?"}]
SAMPLED = ChatSettings(temperature=1.2, top_p=0.95, limit=8, seed=5)


@pytest.mark.parametrize(
    ("base", "method"),
    [("llama-tied", {}), ("llama-leaning", {"name": "prompt-tuning", "virtual_tokens": 4})],
    ids=["merged", "baked"],
)
def test_the_file_answers_as_the_run_does(make_run: Any, base: str, method: dict[str, Any]) -> None:
    run: RunFolder = make_run(base, kind="chat", method=method)
    chat = open_chat(run.path, device="cpu", beside=export_run(run, "gguf", "f32").path)
    try:
        tuned, gguf = chat.models[TUNED], chat.models[BESIDE]
        assert chat.vocabulary_shared
        turns = [*QUESTION]
        for settings in (ChatSettings(limit=8), SAMPLED):
            expected, found = (model.answer(turns, settings) for model in (tuned, gguf))
            ids = [token.id for token in found.tokens]
            assert ids == [token.id for token in expected.tokens]
            shares = [token.probability for token in expected.tokens]
            assert [token.probability for token in found.tokens] == pytest.approx(shares, rel=1e-3)
            # Led through an answer it gives the same probabilities; what it had read before does not matter.
            assert gguf.probabilities(turns, ids, settings) == pytest.approx(shares, rel=1e-3)
            turns += [{"role": "assistant", "content": found.text}, {"role": "user", "content": "And at night?"}]
    finally:
        chat.close()


def test_stop_leaves_the_process_ready_for_the_next_question(make_run: Any) -> None:
    run: RunFolder = make_run()
    chat = open_chat(run.path, device="cpu", beside=export_run(run, "gguf", "f32").path)
    try:
        gguf = chat.models[BESIDE]
        whole = gguf.answer(QUESTION, SAMPLED)

        def stop_at_two(_stage: str, done: int, _total: int) -> None:
            if done == 2:
                raise Cancelled("enough")

        with pytest.raises(Cancelled):
            gguf.answer(QUESTION, SAMPLED, progress=stop_at_two)
        again = gguf.answer(QUESTION, SAMPLED)
        assert [token.id for token in again.tokens] == [token.id for token in whole.tokens]
    finally:
        chat.close()


def test_what_has_no_room_is_refused_and_a_process_that_ends_is_told(make_run: Any) -> None:
    run: RunFolder = make_run()
    chat = open_chat(run.path, device="cpu", beside=export_run(run, "gguf", "f32").path)
    gguf = chat.models[BESIDE]
    assert isinstance(gguf, GgufModel)
    try:
        with pytest.raises(DataError, match="begin a new one"):
            gguf.answer([{"role": "user", "content": "very long " * talk.BATCH}], SAMPLED)
        assert gguf.answer(QUESTION, SAMPLED).tokens
    finally:
        chat.close()
    with pytest.raises((ExportError, ChildFailed, ValueError)):
        gguf.answer(QUESTION, SAMPLED)
