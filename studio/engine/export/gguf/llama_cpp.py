"""llama.cpp itself, in a process of its own: it opens a file, splits text, computes logits, and answers.

The library is the one in the package xllamacpp, reached through llama.cpp's C interface (llama.h), which that package
keeps visible. Its own Python interface gives logits only for tokens that it generates itself. llama.cpp changes the
layout of its parameters now and then; `_Context` knows the layout of the pinned version, and the values that the
library puts there by default show whether it still fits.

Keys and values of attention are kept in F32, on the processor, without flash attention: what then differs from
transformers is the file and the arithmetic, not the settings.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.engine.control import Progress
from studio.engine.export.gguf.k_quants import library
from studio.errors import ExportError
from studio.i18n import tr

if TYPE_CHECKING:
    import numpy as np

_Integers = ctypes.POINTER(ctypes.c_int32)
_F16, _F32 = 1, 0  # of `ggml_type`
_AUTO, _OFF = -1, 0  # of `llama_flash_attn_type`


class _Context(ctypes.Structure):
    """`llama_context_params`."""

    _fields_ = (
        *((name, ctypes.c_uint32) for name in ("n_ctx", "n_batch", "n_ubatch", "n_seq_max", "n_rs_seq")),
        *((name, ctypes.c_uint32) for name in ("n_outputs_max", "n_outputs_max_per_seq")),
        *((name, ctypes.c_int32) for name in ("n_threads", "n_threads_batch", "ctx_type", "rope_scaling_type")),
        *((name, ctypes.c_int32) for name in ("pooling_type", "attention_type", "flash_attn_type")),
        *((name, ctypes.c_float) for name in ("rope_freq_base", "rope_freq_scale", "yarn_ext_factor")),
        *((name, ctypes.c_float) for name in ("yarn_attn_factor", "yarn_beta_fast", "yarn_beta_slow")),
        ("yarn_orig_ctx", ctypes.c_uint32),
        ("defrag_thold", ctypes.c_float),
        ("cb_eval", ctypes.c_void_p),
        ("cb_eval_user_data", ctypes.c_void_p),
        ("type_k", ctypes.c_int32),
        ("type_v", ctypes.c_int32),
        ("rest", ctypes.c_uint8 * 512),  # more than is there: the library reads its own part
    )


class _Model(ctypes.Structure):
    """`llama_model_params`."""

    _fields_ = (
        ("devices", ctypes.c_void_p),
        ("tensor_buft_overrides", ctypes.c_void_p),
        ("n_gpu_layers", ctypes.c_int32),
        ("rest", ctypes.c_uint8 * 512),
    )


class _Batch(ctypes.Structure):
    """`llama_batch`."""

    _fields_ = (
        ("n_tokens", ctypes.c_int32),
        ("token", ctypes.POINTER(ctypes.c_int32)),
        ("embd", ctypes.c_void_p),
        ("pos", ctypes.POINTER(ctypes.c_int32)),
        ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
        ("seq_id", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))),
        ("logits", ctypes.POINTER(ctypes.c_int8)),
    )


def why_not() -> str:
    """Return why llama.cpp cannot be asked here, in one sentence, or ""."""
    found = library()
    if found is None or not hasattr(found, "llama_model_load_from_file"):
        return tr(
            "llama.cpp is not there to open the file: install the package xllamacpp, which has it for Linux and macOS."
        )
    found.llama_context_default_params.restype = _Context
    usual = found.llama_context_default_params()
    expected = (512, 2048, 512, 1, _F16, _F16, _AUTO)
    if expected != (
        usual.n_ctx, usual.n_batch, usual.n_ubatch, usual.n_seq_max, usual.type_k, usual.type_v, usual.flash_attn_type,
    ):  # fmt: skip
        return tr("This version of xllamacpp is not known here; install the one that Finetune Studio asks for.")
    return ""


def measure(job: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Open a file and do everything that the certificate asks for. Runs in a child process (`run_in_child`).

    Args:
        job: `path`; `texts` to split, and `bare` ones without what the tokenizer puts around them; `rows` of token ids
            with `positions` whose logits are wanted; `ends`, tokens of which is asked whether they end an answer;
            `prompts`, token ids, with the `limit` of tokens of an answer; `logits`, the file to write.

    Returns:
        `tokens` and `bare` of the texts; `ends`: which of them end an answer; `answers`: for each prompt its tokens,
        and whether it ended; `template`; `parameters`. The file holds fp32 logits, one position after another.

    Raises:
        ExportError: llama.cpp does not open the file.
    """
    if reason := why_not():
        raise ExportError(reason)
    longest = max([len(row) for row in job["rows"]] + [len(row) + job["limit"] for row in job["prompts"]] + [1])
    with opened(Path(job["path"]), longest) as file:
        found = {
            "tokens": [file.split(text, whole=True) for text in job["texts"]],
            "bare": [file.split(text, whole=False) for text in job["bare"]],
            "ends": [token for token in job["ends"] if file.is_end(token)],
            "template": file.template(),
            "parameters": file.parameters(),
        }
        with Path(job["logits"]).open("wb") as out:
            for number, (row, positions) in enumerate(zip(job["rows"], job["positions"], strict=True)):
                progress("verifying", number, len(job["rows"]))
                file.logits(row)[positions].tofile(out)
        answers = []
        for number, prompt in enumerate(job["prompts"]):
            progress("verifying", number, len(job["prompts"]))
            answers.append(file.answer(prompt, job["limit"]))
        return found | {"answers": answers}


@contextlib.contextmanager
def opened(path: Path, longest: int, batch: int | None = None) -> Iterator[OpenFile]:
    """Yield a file that llama.cpp has open.

    Args:
        longest: tokens that there is room for.
        batch: tokens that are read at once; all of them when None.

    Raises:
        ExportError: llama.cpp does not open it.
    """
    llama = library()
    llama.llama_model_default_params.restype = _Model
    llama.llama_context_default_params.restype = _Context
    llama.llama_model_load_from_file.restype = ctypes.c_void_p
    llama.llama_model_load_from_file.argtypes = [ctypes.c_char_p, _Model]
    llama.llama_init_from_model.restype = ctypes.c_void_p
    llama.llama_init_from_model.argtypes = [ctypes.c_void_p, _Context]
    llama.llama_backend_init()
    said: list[str] = []

    def hear(level: int, text: bytes, _: Any) -> None:
        if level == 4:  # GGML_LOG_LEVEL_ERROR
            said.append(text.decode(errors="replace").strip())

    listener = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(hear)
    llama.llama_log_set(listener, None)
    chosen = llama.llama_model_default_params()
    chosen.n_gpu_layers = 0
    model = llama.llama_model_load_from_file(str(path).encode(), chosen)
    if not model:
        raise ExportError(
            tr("llama.cpp does not open the file: {reason}").format(reason=said[0] if said else "llama_model_load")
        )
    settings = llama.llama_context_default_params()
    settings.n_ctx = (longest + 31) // 32 * 32
    settings.n_batch = settings.n_ubatch = batch or settings.n_ctx
    settings.type_k = settings.type_v = _F32
    settings.flash_attn_type = _OFF
    context = llama.llama_init_from_model(model, settings)
    if not context:
        raise ExportError(tr("llama.cpp does not open the file: {reason}").format(reason=said[-1] if said else ""))
    try:
        yield OpenFile(llama, model, context)
    finally:
        llama.llama_free(ctypes.c_void_p(context))
        llama.llama_model_free(ctypes.c_void_p(model))
        llama.llama_log_set(None, None)


class OpenFile:
    """A file that llama.cpp has open."""

    def __init__(self, llama: Any, model: int, context: int) -> None:
        self._llama, self._model, self._context = llama, ctypes.c_void_p(model), ctypes.c_void_p(context)
        for name in ("llama_model_get_vocab", "llama_get_memory", "llama_get_logits", "llama_model_chat_template"):
            getattr(llama, name).restype = ctypes.c_void_p
        llama.llama_vocab_is_eog.restype = ctypes.c_bool
        llama.llama_model_n_params.restype = ctypes.c_uint64
        llama.llama_decode.argtypes = [ctypes.c_void_p, _Batch]
        self._vocabulary = ctypes.c_void_p(llama.llama_model_get_vocab(self._model))
        self._tokens = int(llama.llama_vocab_n_tokens(self._vocabulary))

    def split(self, text: str, *, whole: bool) -> list[int]:
        """Return the tokens of a text; `whole` puts BOS and EOS around it where the file asks for that."""
        data = text.encode()
        room = len(data) + 16
        ids = (ctypes.c_int32 * room)()
        count = self._llama.llama_tokenize(
            self._vocabulary, data, len(data), ids, room, ctypes.c_bool(whole), ctypes.c_bool(True)
        )
        return list(ids[:count])

    def is_end(self, token: int) -> bool:
        """Return whether an answer ends at a token."""
        return bool(self._llama.llama_vocab_is_eog(self._vocabulary, token))

    def template(self) -> str | None:
        """Return the chat template in the file."""
        found = self._llama.llama_model_chat_template(self._model, None)
        return ctypes.string_at(found).decode() if found else None

    def parameters(self) -> int:
        return int(self._llama.llama_model_n_params(self._model))

    def logits(self, row: Sequence[int]) -> np.ndarray:
        """Return fp32 logits at every token of a row, (tokens, vocabulary)."""
        self._llama.llama_memory_clear(ctypes.c_void_p(self._llama.llama_get_memory(self._context)), True)
        return self._decode(row, 0, len(row))

    def answer(self, prompt: Sequence[int], limit: int) -> dict[str, Any]:
        """Return the tokens that follow a prompt, the likeliest each time, and whether they end by themselves."""
        self._llama.llama_memory_clear(ctypes.c_void_p(self._llama.llama_get_memory(self._context)), True)
        said: list[int] = []
        logits = self._decode(prompt, 0, 1)
        while True:
            said.append(int(logits[-1].argmax()))
            ended = self.is_end(said[-1])
            if ended or len(said) == limit:
                return {"tokens": said, "ended": ended}
            logits = self._decode(said[-1:], len(prompt) + len(said) - 1, 1)

    def read(self, row: Sequence[int], known: int, wanted: int, batch: int) -> np.ndarray:
        """Read a row whose first tokens have been read already, and return fp32 logits, (wanted, vocabulary).

        Args:
            known: tokens that this row has in common with the row before.
            wanted: tokens at the end of the row whose logits are returned.
            batch: tokens that are read at once.
        """
        import numpy as np

        start = min(known, len(row) - wanted)
        memory = ctypes.c_void_p(self._llama.llama_get_memory(self._context))
        self._llama.llama_memory_seq_rm.restype = ctypes.c_bool
        if not self._llama.llama_memory_seq_rm(memory, 0, start, -1):  # a model with states instead of keys
            self._llama.llama_memory_clear(memory, True)
            start = 0
        found = []
        for begin in range(start, len(row), batch):
            part = row[begin : begin + batch]
            last = max(0, min(len(part), begin + len(part) - (len(row) - wanted)))
            found.append(self._decode(part, begin, last))
        return np.concatenate(found)

    def _decode(self, row: Sequence[int], start: int, wanted: int) -> np.ndarray:
        """Return the logits at the last tokens of a row, as many as are wanted."""
        import numpy as np

        count = len(row)
        sequence = (ctypes.c_int32 * 1)(0)
        batch = _Batch(
            n_tokens=count,
            token=(ctypes.c_int32 * count)(*row),
            pos=(ctypes.c_int32 * count)(*range(start, start + count)),
            n_seq_id=(ctypes.c_int32 * count)(*[1] * count),
            seq_id=(ctypes.POINTER(ctypes.c_int32) * count)(*[ctypes.cast(sequence, _Integers)] * count),
            logits=(ctypes.c_int8 * count)(*[int(place >= count - wanted) for place in range(count)]),
        )
        if code := self._llama.llama_decode(self._context, batch):
            raise ExportError(tr("llama.cpp does not compute: {reason}").format(reason=f"llama_decode {code}"))
        if not wanted:
            return np.empty((0, self._tokens), dtype=np.float32)
        values = ctypes.cast(self._llama.llama_get_logits(self._context), ctypes.POINTER(ctypes.c_float))
        return np.ctypeslib.as_array(values, shape=(wanted, self._tokens)).copy()
