"""An Ollama export: its Modelfile writes conversations as the chat template does, and a server takes it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from studio.engine.export.gguf import llama_cpp, modelfile, ollama
from studio.engine.export.gguf.modelfile import translate
from studio.engine.export.gguf.ollama import create_in_ollama, find_server
from studio.engine.export.run import export_run
from studio.errors import ExportError
from studio.runs import RunFolder
from tests.tiny import CHAT_TEMPLATE, tokenizer

MakeRun = Callable[..., RunFolder]
LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n"
    "{{ m['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
# As SmolLM2's and Qwen2.5's: without a system prompt, one stands there all the same.
DEFAULT_SYSTEM = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nBe helpful.<|im_end|>\n{% endif %}" + CHAT_TEMPLATE
)
# As Gemma's: no system prompt, and another name for the assistant.
GEMMA = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}{{ bos_token }}"
    "{% for m in messages %}<start_of_turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
    "{{ m['content'] }}<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)


def _tokenizer(template: str) -> Any:
    found = tokenizer()
    found.chat_template = template
    return found


def test_a_translated_template_is_ollamas_customary_one() -> None:
    found = translate(_tokenizer(CHAT_TEMPLATE), drop_bos=False)

    assert found is not None
    assert found.in_go() == (
        "{{ if .System }}<|im_start|>system\n{{ .System }}<|im_end|>\n<|im_start|>user\n{{ else }}<|im_start|>user\n"
        '{{ end }}{{ range $i, $turn := .Messages }}{{ if eq $turn.Role "user" }}{{ $turn.Content }}<|im_end|>\n'
        '<|im_start|>assistant\n{{ else if eq $turn.Role "assistant" }}{{ $turn.Content }}'
        "{{ if ne (len (slice $.Messages $i)) 1 }}<|im_end|>\n<|im_start|>user\n{{ end }}{{ end }}{{ end }}"
    )


@pytest.mark.parametrize(
    ("template", "opening"),
    [
        (LLAMA3, "<|start_header_id|>user<|end_header_id|>\n\n"),
        (DEFAULT_SYSTEM, "<|im_start|>system\nBe helpful.<|im_end|>\n<|im_start|>user\n"),
        (GEMMA, "<start_of_turn>user\n"),
    ],
    ids=["llama3", "default-system", "gemma"],
)
def test_what_stands_in_front_of_the_first_question_comes_without_the_bos_that_ollama_adds(
    template: str, opening: str
) -> None:
    found = translate(_tokenizer(template), drop_bos=template != DEFAULT_SYSTEM)

    assert found is not None
    assert found.opening == opening
    assert (found.system is None) == (template == GEMMA)


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}[{{ loop.index }}] {{ m['content'] }}\n{% endfor %}> ",
        "{% for m in messages %}{{ m['content'] }} {{ '{{' }}\n{% endfor %}> ",
        "{{ messages[-1]['content'] }}\nA: ",
    ],
    ids=["counts", "braces", "forgets"],
)
def test_a_template_that_ollama_cannot_express_is_not_guessed(template: str) -> None:
    assert translate(_tokenizer(template), drop_bos=False) is None


class _Server(ThreadingHTTPServer):
    """A server that speaks as much of Ollama's API as is used, and checks what it is sent."""

    blobs: dict[str, bytes]
    models: dict[str, dict[str, Any]]
    answer = "Paris."
    refuse = ""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _reply(self, values: dict[str, Any], status: int = 200) -> None:
        body = json.dumps(values).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self._reply({"version": "0.99"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.startswith("/api/blobs/sha256:"):
            digest = self.path.removeprefix("/api/blobs/")
            good = digest == f"sha256:{hashlib.sha256(body).hexdigest()}"
            self.server.blobs[digest] = body
            self._reply({} if good else {"error": "digest mismatch"}, 201 if good else 400)
        elif self.path == "/api/create":
            values = json.loads(body)
            known = set(values["files"].values()) <= self.server.blobs.keys()
            self.server.models[values["model"]] = values
            error = self.server.refuse or ("" if known else "no such blob")
            self._reply({"error": error} if error else {"status": "success"}, 400 if error else 200)
        else:
            values = json.loads(body)
            assert values["model"] in self.server.models
            self._reply({"message": {"role": "assistant", "content": self.server.answer}})


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Server]:
    found = _Server(("127.0.0.1", 0), _Handler)
    found.blobs, found.models = {}, {}
    monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{found.server_port}")
    thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    found.shutdown()
    thread.join()
    found.server_close()


@pytest.mark.skipif(bool(llama_cpp.why_not()), reason="xllamacpp is not installed")
def test_an_export_becomes_a_model_on_the_server_that_is_asked_once(make_run: MakeRun, server: _Server) -> None:
    result = export_run(make_run("gpt2"), "ollama", "f16")
    assert [check.meaning for check in result.checks if not check.passed] == []
    assert 'PARAMETER stop "<|endoftext|>"' in (result.path / "Modelfile").read_text(encoding="utf-8")

    made = create_in_ollama(result.path, "my/tiny:1")

    asked = server.models["my/tiny:1"]
    assert list(asked["files"]) == ["gpt2-F16.gguf"]
    assert asked["template"].startswith("{{ if .System }}<|im_start|>system\n")
    assert asked["parameters"]["stop"] == ["<|endoftext|>", "<|im_end|>"]
    assert (made.answer, made.expected, made.same) == ("Paris.", "", False)
    server.refuse = "unsupported architecture"
    with pytest.raises(ExportError, match="Ollama did not take the model: unsupported architecture"):
        create_in_ollama(result.path, "other")


def test_no_server_and_another_computer_are_told(monkeypatch: pytest.MonkeyPatch, server: _Server) -> None:
    assert find_server() == "0.99"
    monkeypatch.setenv("OLLAMA_HOST", "ollama.example.org")
    assert find_server() is None
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:1")
    assert find_server() is None


def test_a_chat_template_without_translation_fails_and_settings_are_numbers_or_left_out(
    make_run: MakeRun, bases: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = Path(shutil.copytree(bases["llama-tied"], tmp_path / "a\nFROM other"))
    settings = {"do_sample": True, "top_k": 20, "temperature": "1\nADAPTER /etc/passwd", "top_p": True}
    (base / "generation_config.json").write_text(json.dumps(settings), encoding="utf-8")
    monkeypatch.setattr(modelfile, "translate", lambda tokenizer, drop_bos: None)
    monkeypatch.setattr(llama_cpp, "why_not", lambda: "not asked")

    result = export_run(make_run(base), "ollama", "f16")

    assert "ollama_template" in {check.name for check in result.checks if not check.passed}
    lines = (result.path / "Modelfile").read_text(encoding="utf-8").splitlines()
    stops = [f'PARAMETER stop "{end}"' for end in ("<|endoftext|>", "<|im_end|>")]
    assert lines == ["FROM ./a-FROM-other-F16.gguf", *stops, "PARAMETER top_k 20"]


def test_a_pipe_in_place_of_the_modelfile_holds_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "Modelfile")
    with pytest.raises(OSError, match="not a regular file"):
        ollama._read_modelfile(tmp_path / "Modelfile")
