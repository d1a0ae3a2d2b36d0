"""`chat`: one answer of a trained or plain model, beside its base if asked, or a conversation on a terminal."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from studio.commands.console import Commands, Console, add_command
from studio.config import options
from studio.config.run import validated
from studio.engine.inference.answers import ChatAnswer, ChatSettings
from studio.errors import ConfigError
from studio.files import expand_user
from studio.i18n import tr
from studio.runner import actions


def add_to(commands: Commands) -> None:
    parser = add_command(commands, "chat", tr("ask a trained model, or the model beside its base"), _chat)
    parser.add_argument("path", type=Path, metavar="RUN_DIR|MODEL_DIR", help=tr("the run folder or model folder"))
    parser.add_argument("--prompt", metavar="TEXT", help=tr("one question (default: a conversation on the terminal)"))
    parser.add_argument("--compare", action="store_true", help=tr("let the base answer too"))
    parser.add_argument(
        "--beside", type=Path, metavar="RUN_DIR|EXPORT_DIR", help=tr("let this answer too, not the base")
    )
    for spec in options(ChatSettings):
        help_text = tr("{help} (default: {default})").format(help=tr(spec.help), default=repr(spec.default))
        parser.add_argument(
            f"--{spec.key.replace('_', '-')}", dest=spec.key, metavar="V", help=help_text.replace("%", "%%")
        )
    parser.add_argument("--device", default="auto", metavar="D", help=tr("auto, cpu, cuda, cuda:N or mps"))


def _chat(args: argparse.Namespace, console: Console) -> int:
    if args.prompt is None and console.as_json:
        raise ConfigError(tr("chat --json answers one question; give it with --prompt."))
    given = {spec.key: value for spec in options(ChatSettings) if (value := getattr(args, spec.key)) is not None}
    settings = validated("", ChatSettings.model_validate, given, ChatSettings)
    beside = None if args.beside is None else expand_user(args.beside)
    models = actions.open_chat(expand_user(args.path), console.progress, args.device, beside).models
    names = list(models)
    compares = args.compare or beside is not None
    if compares and len(names) == 1:
        raise ConfigError(tr("{path} is a plain model without a base; leave out --compare.").format(path=args.path))
    asked = names if compares else names[-1:]
    turns: dict[str, list[dict[str, str]]] = {name: [] for name in asked}  # each model sees its own answers
    for question in _questions(args.prompt):
        answers = []
        for name in asked:
            turns[name].append({"role": "user", "content": question})
            answers.append(models[name].answer(turns[name], settings, progress=console.progress))
            turns[name].append({"role": "assistant", "content": answers[-1].text})
        values = [{"model": answer.model, "text": answer.text} for answer in answers]
        console.result({"answers": values}, "\n\n".join(_text(answer, len(asked) > 1) for answer in answers))
    return 0


def _questions(prompt: str | None) -> Iterator[str]:
    """Yield the one question, or what is typed until the end of the input; empty lines are passed over."""
    if prompt is not None:
        yield prompt
        return
    while True:
        try:
            question = input("> ")
        except EOFError:
            return
        if question.strip():
            yield question


def _text(answer: ChatAnswer, named: bool) -> str:
    return f"{answer.model}: {answer.text}" if named else answer.text
