"""`latency`: how fast the model of a run answers, compared with its base."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from pathlib import Path

from studio.commands.console import Commands, Console, add_command, at_least, table_lines
from studio.engine.inference.figures import LEAST_ROUNDS, ROUNDS, Latency, Spread
from studio.i18n import tr
from studio.runner import actions, words
from studio.runs import open_run


def add_to(commands: Commands) -> None:
    parser = add_command(commands, "latency", tr("tokens/s of base, trained and merged model, in one run"), _latency)
    parser.add_argument("run", type=Path, metavar="RUN_DIR", help=tr("the run folder"))
    for option, default, least, text in (
        ("--prompt", None, 1, tr("tokens of the prompt (default: 128, or what fits)")),
        ("--tokens", 32, 3, tr("tokens generated in each round (default: 32)")),
        ("--rounds", ROUNDS, LEAST_ROUNDS, tr("rounds (default: 9, least: 6); each measures every form once")),
    ):
        parser.add_argument(option, type=at_least(least), default=default, metavar="N", help=text)
    parser.add_argument("--device", default="auto", metavar="D", help=tr("auto, cpu, cuda, cuda:N or mps"))


def _latency(args: argparse.Namespace, console: Console) -> int:
    found = actions.latency(
        open_run(args.run),
        prompt_tokens=args.prompt,
        new_tokens=args.tokens,
        rounds=args.rounds,
        device=args.device,
        progress=console.progress,
    )
    console.result(dataclasses.asdict(found), "\n".join(_lines(found)))
    return 0


def _lines(found: Latency) -> Iterator[str]:
    header = (tr("Form"), tr("Prompt, ms"), tr("ms/token"), tr("Tokens/s"), tr("Prompt vs base"), tr("Token vs base"))
    figures = (
        (
            words.form_text(form.form),
            _spread(form.prefill_ms, 1),
            _spread(form.token_ms, 2),
            f"{form.tokens_per_second:.1f}",
            _spread(form.prefill_ratio, 2),
            _spread(form.token_ratio, 2),
        )
        for form in found.forms
    )
    yield from table_lines([header, *figures])
    yield ""
    yield words.latency_sentence(found)
    yield words.latency_conditions(found)


def _spread(figure: Spread, digits: int) -> str:
    low, median, high = (f"{value:.{digits}f}" for value in (figure.low, figure.median, figure.high))
    return tr("{median} ({low} to {high})").format(median=median, low=low, high=high)
