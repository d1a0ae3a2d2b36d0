"""README.md of an export: the model card, with what was checked. English, like the certificate: it is passed on."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PureWindowsPath
from typing import Any

from studio.config.option import values_in_force
from studio.engine.data.findings import DETECTORS
from studio.engine.export.base import Target
from studio.engine.export.certificate import FILE_NAME as CERTIFICATE
from studio.engine.export.certificate import Check
from studio.engine.export.rounded_base import is_rounded
from studio.engine.export.source import Source
from studio.engine.export.stored import opening_class
from studio.engine.models.config import load_config
from studio.events import (
    DataPrepared,
    OverflowDiagnosed,
    RetentionMeasured,
    RetentionReported,
    RunFinished,
    StepCompleted,
)
from studio.i18n import untranslated
from studio.runs import RunFolder, read_journal, without_lost
from studio.text.data import remark_text
from studio.text.findings import finding_title, remedy_text
from studio.text.gguf import loss_headline
from studio.text.retention import report_text


@dataclass
class _Summary:
    """Figures of one run from its journal; None where it does not tell.

    Attributes:
        data: what the rows became.
        steps: attempted updates; `skipped` were not applied, because a gradient was not finite.
        grad_scale: the loss scale of the last step; None without loss scaling.
        verdicts: how often each class of verdict was given.
        retention: all measurements; `report` is what was said of them at the end.
    """

    data: DataPrepared | None = None
    steps: int = 0
    skipped: int = 0
    grad_scale: float | None = None
    verdicts: Counter[str] = field(default_factory=Counter)
    trainable_parameters: int | None = None
    retention: list[RetentionMeasured] = field(default_factory=list)
    report: RetentionReported | None = None


def _read_summary(folder: RunFolder) -> _Summary:
    """Return the figures of a run, from its journal."""
    summary = _Summary()
    for event in without_lost(read_journal(folder.journal)):
        if isinstance(event, StepCompleted):
            summary.steps += 1
            summary.skipped += event.skipped
            summary.grad_scale = event.grad_scale
        elif isinstance(event, DataPrepared):
            summary.data = event
        elif isinstance(event, OverflowDiagnosed):
            summary.verdicts[event.verdict] += 1
        elif isinstance(event, RetentionMeasured):
            summary.retention.append(event)
        elif isinstance(event, RetentionReported):
            summary.report = event
        elif isinstance(event, RunFinished):
            summary.trainable_parameters = event.trainable_parameters or None
    return summary


def _usage(source: Source, target: Target) -> str:
    """Return the code that opens the export, with what it has to name."""
    home = source.hub.repository if source.hub else f"path/to/{source.name}"
    opener = opening_class(load_config(source.base)).__name__
    return target.usage.replace("{base}", source.name).replace("{home}", home).replace("{model_class}", opener)


def write_card(source: Source, target: Target, dtype: str, checks: tuple[Check, ...]) -> str:
    """Return the model card as Markdown. It names no path and quotes no row of the dataset."""
    journal = _read_summary(source.folder)
    numerics, retention = _numerics(source, journal), _retention(journal)
    parts = [
        _front_matter(source, target),
        f"# {source.name}, fine-tuned",
        _summary(source, dtype),
        "## Use",
        _usage(source, target),
        *_notes(source, target),
        *_prompt(source),
        "## Data",
        _data(source, journal),
        "## Training",
        _training(source, journal),
        *(("## What the base could do", retention) if retention else ()),
        *(("## Numerics", numerics) if numerics else ()),
        "## What was checked",
        _checked(checks),
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(source: Source, target: Target) -> str:
    # The hub links `base_model` to the model of that id.
    known = {"base_model": source.hub.repository} if source.hub else {}
    values = known | {"library_name": target.library, "pipeline_tag": "text-generation"}
    tags = ("finetune-studio", *(() if target.plain_model else (source.method.name,)))
    lines = [*(f"{key}: {_quoted(value)}" for key, value in values.items()), "tags:"]
    return "\n".join(["---", *lines, *(f"- {_quoted(tag)}" for tag in tags), "---"])


def _quoted(text: str) -> str:
    """JSON's strings are valid YAML too; without quotes, YAML reads a folder called `7` as a number."""
    return json.dumps(text, ensure_ascii=False)


def _summary(source: Source, dtype: str) -> str:
    kind = "a Chat model, through its chat template" if source.kind == "chat" else "a Base model, on plain text"
    method = source.method.title
    return f"{source.name} was fine-tuned with Finetune Studio as {kind}; method {method}, saved as {dtype}."


def _notes(source: Source, target: Target) -> list[str]:
    file = CERTIFICATE if target.plain_model else "base_model.json"
    notes = [f"The SHA-256 of the base's files, by which to know it, stand in {file}."]
    if target.adds_tokens:
        notes.append(_opening(source))
    if is_rounded(source):
        notes.append(_rounding(source, target))
    return notes


def _prompt(source: Source) -> list[str]:
    """How the model wants to be asked, where the run decided that and not the base."""
    template = source.config.data.prompt_template
    if source.kind == "chat":
        installed = (
            "The base spoke through no chat template. The one in the tokenizer here was installed for this training; "
            "answers end with the tokenizer's `eos_token`."
        )
        moved = (
            "System text was no turn of its own in training: it stood before the question, as a part of it, with an "
            "empty line between the two. Put it there too."
        )
        given = {installed: source.config.model.chat_template, moved: source.config.data.system_turns == "question"}
        return ["## Prompt", *(words for words, holds in given.items() if holds)] if any(given.values()) else []
    if not template:
        return []
    prompt = template.removesuffix("{answer}")
    filled = [f".replace({_quoted(name)}, {name[1:-1]})" for name in ("{system}", "{question}") if name in prompt]
    code = "\n    ".join(["prompt = (", _quoted(prompt), *filled]) + "\n)"
    return [
        "## Prompt",
        "The model was trained on text of this form, and continues it with the answer and its end token.",
        f"```python\n{code}\n```",
    ]


def _opening(source: Source) -> str:
    count = source.method.virtual_tokens(source.config.method)
    place = (
        "The chat template writes them in front of a conversation; text that does not come from the template has to "
        "begin with them to be answered so."
        if source.kind == "chat"
        else "The tokenizer puts them in front of every text, as it does with BOS; tokens that do not come from it "
        "have to begin with them to be continued so."
    )
    return (
        f"What was learnt are {count} tokens of the vocabulary. {place} They are not to be generated: the generation "
        "config suppresses them, and below stands how unlikely they are."
    )


def _rounding(source: Source, target: Target) -> str:
    base_dtype = source.config.precision.base_dtype
    experts = ", but for its experts," if source.info.shapes.experts else ""
    trained = (
        f"The base{experts} was rounded to {base_dtype} for training, and what was learnt makes up for that rounding. "
    )
    if target.plain_model:
        return (
            f"{trained}The weights here are therefore the rounded ones; the certificate says under quantisation_loss "
            "how far they are from the original ones."
        )
    return (
        f"{trained}Load the base rounded likewise: pass `quantization_config=BitsAndBytesConfig({_BITS[base_dtype]})` "
        "to from_pretrained. On the base as it is the result is close, but not the one that was checked."
    )


# As studio.engine.models.quantise rounds.
_BITS = {
    "nf4": 'load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True',
    "int8": "load_in_8bit=True",
}


def _data(source: Source, journal: _Summary) -> str:
    # The last part of a path of either kind: the card must not tell where the data lies.
    rows = [(PureWindowsPath(data.path).name or data.path, data.role) for data in source.config.data.sources]
    table = _table(("File", "Role"), rows)
    prepared = journal.data
    if prepared is None:
        return table
    counts = (
        f"Rows: {prepared.train_rows} for training, {prepared.general_rows} of them general, "
        f"{prepared.validation_rows} held out, {prepared.skipped_rows} skipped; {prepared.tokens} tokens, "
        f"{prepared.supervised_tokens} of them learnt. Rows are cut at {source.config.data.max_length} tokens."
    )
    with untranslated():
        return "\n\n".join([table, counts, *_about_rows(prepared)])


def _about_rows(prepared: DataPrepared) -> Iterator[str]:
    """Yield why rows were skipped, what was found in the rows, and what was done about it."""
    if prepared.skipped and isinstance(prepared.skipped, list):
        skipped = sorted(prepared.skipped, key=lambda reason: -reason["count"])
        yield _table(("Skipped", "Because"), [(str(reason["count"]), _reason(reason)) for reason in skipped])
    if prepared.left_out is None:
        return
    if prepared.findings:
        found = [(finding_title(finding["name"]), str(finding["count"])) for finding in prepared.findings]
        yield _table(("Found in the rows", "Rows"), found)
    else:
        yield "Nothing was found in the rows that were used, such as repeated rows, contradictions or placeholders."
    if prepared.left_out:
        mended = [
            (finding_title(name), str(count), remedy_text(DETECTORS.get(name).remedy, {}))
            for name, count in prepared.left_out.items()
        ]
        yield _table(("Mended before", "Rows", "Remedy"), mended)


def _reason(skipped: dict[str, Any]) -> str:
    """Return why rows were skipped, without what stands in them."""
    values = {key: value if key in ("field", "number") else "…" for key, value in skipped["values"].items()}
    return remark_text(skipped["code"], values)


def _retention(journal: _Summary) -> str:
    """What was kept, in words and figures; empty where it was not measured."""
    report = journal.report
    if report is None:
        return ""
    measured = next((one for one in reversed(journal.retention) if one.update <= report.result_update), None)
    rows: list[tuple[str, Any]] = [("retention", report.retention), ("kl", report.kl)]
    if measured:
        rows += [("perplexity.base", measured.base_perplexity), ("perplexity", measured.perplexity)]
        rows += [("tokens", measured.tokens)]
    if report.questions:
        rows += [("questions", report.questions), ("right.base", report.right_before), ("right", report.right_after)]
    with untranslated():
        words = report_text(dataclasses.asdict(report))
    about = (
        "Measured on general texts that were not trained on. Retention is the base's perplexity divided by the "
        "model's: 1 is as good as the base. KL is the mean divergence of the next-token distributions, base to model, "
        "in nats a token."
    )
    return f"{words}\n\n{about}\n\n{_table(('Figure', 'Value'), [(key, _shown(value)) for key, value in rows])}"


def _numerics(source: Source, journal: _Summary) -> str:
    precision = source.config.precision
    if journal.steps == 0:
        return ""
    rows: list[tuple[str, Any]] = [("steps", journal.steps), ("skipped", journal.skipped)]
    if journal.grad_scale is not None:
        rows += [("loss_scaling", precision.loss_scaling), ("loss_scale.last", journal.grad_scale)]
    rows += [
        (f"verdict.{name}", "once" if count == 1 else f"{count} times") for name, count in journal.verdicts.items()
    ]
    return _table(("Figure", "Value"), [(key, _shown(value)) for key, value in rows])


def _training(source: Source, journal: _Summary) -> str:
    state, precision = source.folder.read_state(), source.config.precision
    method = values_in_force(source.config.method)
    rows: list[tuple[str, Any]] = [(f"method.{key}", value) for key, value in method.items()]
    rows += [("precision", state.get("precision", precision.name)), ("precision.base_dtype", precision.base_dtype)]
    rows += [("updates", state.get("updates")), ("trainable_parameters", journal.trainable_parameters)]
    rows += [
        (f"training.{key}", getattr(source.config.training, key)) for key in ("learning_rate", "batch_size", "seed")
    ]
    losses = state.get("validation_loss") or {}
    rows += [(f"validation_loss.{key}", losses[key]) for key in ("first", "last") if losses.get(key) is not None]
    return _table(("Setting", "Value"), [(key, _shown(value)) for key, value in rows if value not in (None, "")])


def _checked(checks: tuple[Check, ...]) -> str:
    verdict = (
        "The export was opened from disk again and compared with the trained model; every check passed."
        if all(check.passed for check in checks)
        else "This export FAILED its checks and should not be used."
    )
    with untranslated():
        loss = loss_headline(checks)
    verdict = f"{verdict} **{loss}**" if loss else verdict
    rows = [(check.name, "passed" if check.passed else "FAILED", check.meaning) for check in checks]
    table = _table(("Check", "Result", "Meaning"), rows)
    return f"{verdict} All figures stand in certificate.json.\n\n{table}"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return ", ".join(str(part) for part in value) if isinstance(value, list | tuple) else str(value)
