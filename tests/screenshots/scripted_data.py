"""Datasets for pictures of the Data card and the X-ray: rows of our own, read for real with a small tokenizer."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from studio.config import DataConfig, DataSource
from studio.config.data import RENDERING
from studio.engine.control import Progress
from studio.engine.data.inspect import DataInspection, inspect_data
from studio.engine.data.xray import XRay, open_xray
from studio.runner import actions
from studio.ui import job

_THINGS = ("kettle", "bicycle chain", "sourdough starter", "wool sweater", "door hinge", "cast-iron pan", "houseplant")
_STEPS = (
    "Begin by cleaning it with warm water and a soft cloth.",
    "Let it dry completely; moisture is what does the damage.",
    "Work slowly and check the result after each pass.",
    "If it still squeaks, add a drop of oil and wipe off the rest.",
    "Keep it in a dry place and look at it once a month.",
)
NO_SYSTEM = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}<|im_start|>{{ 'model' if m.role == 'assistant' else m.role }}\n"
    "{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>model\n{% endif %}"
)
"""A chat template that refuses system text, as that of Gemma does."""
_CHINESE = (
    ("怎么保养铁锅?", "用完趁热洗净,擦干后薄薄涂一层油。"),
    ("自行车链条多久上一次油?", "大约每骑两百公里一次,雨后也要上油。"),
)


def write_repairs(path: Path, count: int = 412) -> Path:
    """Write questions and answers about repairs as CSV with odd headers; some are long, one has no answer."""
    chance = random.Random(5)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["№", "Was der Kunde fragt", "Unsere Antwort (final)", "Abteilung", "geprüft von"])
        for number in range(1, count + 1):
            question = f"How do I look after my {chance.choice(_THINGS)}?"
            steps = 40 if number % 29 == 3 else chance.randint(1, 9)
            answer = " ".join(chance.choice(_STEPS) for _ in range(steps))
            if number % 7 == 5:
                question, answer = chance.choice(_CHINESE)
            if number in (4, 118):
                answer = ""
            writer.writerow([number, question, answer, chance.choice(["Küche", "Fahrrad"]), "mk"])
    return path


def write_chinese(path: Path, count: int = 60) -> Path:
    """Write Chinese conversations as JSON Lines."""
    lines = []
    for number in range(count):
        question, answer = _CHINESE[number % 2]
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        lines.append(json.dumps({"messages": turns}, ensure_ascii=False))
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def write_with_system(path: Path, count: int = 60) -> Path:
    """Write conversations with a system text as JSON Lines."""
    write_chinese(path, count)
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    for row in rows:
        row["messages"].insert(0, {"role": "system", "content": "请用一句话回答。"})
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    return path


@contextmanager
def small_tokenizer(template: str) -> Iterator[None]:
    """Let data be read with a tokenizer of the tests instead of that of the model, which is not there.

    Args:
        template: its chat template; "" for ChatML.
    """
    from tests.engine.data.conftest import CHATML, build_tokenizer

    tokenizer = build_tokenizer(template or CHATML)

    def settings(config: DataConfig | None) -> dict[str, Any]:
        return config.model_dump(include=RENDERING) if config else {}

    def read(source: DataSource, model: Any, config: Any, rows: int, progress: Progress, seed: int) -> DataInspection:
        read_with = tokenizer if model else None
        return inspect_data(source, read_with, "chat", rows=rows, progress=progress, seed=seed, **settings(config))

    def look(source: DataSource, _model: Any, config: Any, progress: Progress) -> XRay:
        return open_xray(source, tokenizer, "chat", progress=progress, **settings(config))

    with ExitStack() as stack:
        for name, answer in (("open_data", read), ("open_xray", look)):
            stack.enter_context(patch.object(actions, name, answer))
        stack.enter_context(patch.object(job, "PAUSE_MILLISECONDS", 0))
        yield
