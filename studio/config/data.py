"""Section `[data]`: what to learn from, and what to rehearse so that old knowledge stays."""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, StringConstraints, field_validator

from studio.config.option import REQUIRED, Section, option
from studio.errors import ConfigError
from studio.i18n import gettext_noop, tr

TrainOn: TypeAlias = Literal["completions", "all"]
LeaveOut: TypeAlias = Literal[
    "duplicates",
    "near_duplicates",
    "empty_answers",
    "same_answers",
    "placeholders",
    "control_tokens",
    "language_mix",
    "contradictions",
    "leaked",
]
TRAIN_ON: TrainOn = "completions"
SystemTurns: TypeAlias = Literal["template", "question"]
SYSTEM_TURNS: SystemTurns = "template"
Mixing: TypeAlias = Literal["shuffle", "alternate", "blocks"]
RENDERING = {"max_length", "train_on", "prompt_template", "system_turns"}
"""Options of `[data]` that decide how a row is rendered."""
SHORTEST = 8  # tokens that rows may be cut to
MAX_LENGTH = 1024  # tokens
VALIDATION_FRACTION = 0.05
PLACEHOLDER = re.compile(r"\{([A-Za-z_]\w*)\}")
PLACEHOLDERS = ("question", "answer", "system")


class DataSource(Section):
    """One dataset, a file or of the hub: `[[data.sources]]`."""

    path: Annotated[str, StringConstraints(strip_whitespace=False)] = option(
        REQUIRED,
        "File",
        "A JSON, JSONL, CSV, Parquet, YAML or text file, or a dataset of the hub: owner/name, owner/name:split or "
        "owner/name:configuration:split. It is read, never changed.",
    )
    role: Literal["domain", "general"] = option(
        "domain",
        "Role",
        "Domain rows teach the new task. General rows are rehearsed beside them so that the model "
        "forgets less of what it could do before.",
        labels={"domain": gettext_noop("Domain (new task)"), "general": gettext_noop("General (rehearsal)")},
    )
    weight: float = option(
        1.0,
        "Weight",
        "How often a row of this file is seen beside the other files of its role. Domain rows: 2 means twice an epoch, "
        "0.5 half of the rows in every epoch, in turn. General rows: the general share is divided by rows × weight. "
        "0 leaves the file out.",
        ge=0.0,
        le=1000.0,
        advanced=True,
    )
    format: str = option(
        "auto", "Format", "How the rows are laid out. Automatic recognises it from the column names.", advanced=True
    )
    columns: dict[str, str] = Field(default_factory=dict)
    ignored_columns: tuple[str, ...] = option(
        (),
        "Columns to ignore",
        "Columns that are not needed. Other columns with values that are neither question nor answer are named.",
        advanced=True,
    )
    thoughts: Literal["auto", "answer", "omit"] = option(
        "auto",
        "Thoughts",
        "What becomes of thoughts that stand beside an answer, such as in reasoning_content. Automatic teaches them "
        "where the chat template of the model has a place for them. In the answer writes them before it, as "
        "<think>…</think>.",
        labels={
            "auto": gettext_noop("Automatic"),
            "answer": gettext_noop("In the answer"),
            "omit": gettext_noop("Leave out"),
        },
        advanced=True,
    )
    text_unit: Literal["auto", "line", "paragraph", "document"] = option(
        "auto",
        "Row of a text file",
        "What one row of a plain text or Markdown file is. Automatic takes lines, or paragraphs where blank lines part "
        "blocks of several lines, or the whole document where it is Markdown.",
        labels={
            "auto": gettext_noop("Automatic"),
            "line": gettext_noop("Line"),
            "paragraph": gettext_noop("Paragraph"),
            "document": gettext_noop("Document"),
        },
        advanced=True,
    )
    encoding: str = option(
        "auto",
        "Text encoding",
        "Automatic reads UTF-8. Take another, such as GBK or Latin-1, when the file is older.",
        advanced=True,
    )
    bad_rows: Literal["stop", "skip"] = option(
        "stop",
        "Broken lines",
        "Stop at the first line that cannot be read, or skip such lines and count them.",
        labels={"stop": gettext_noop("Stop and tell me"), "skip": gettext_noop("Skip and count")},
        advanced=True,
    )


class DataConfig(Section):
    """What the rows become: mixing, splitting, length and loss mask."""

    sources: tuple[DataSource, ...] = Field(min_length=1)
    replay_ratio: float = option(
        0.0,
        "General share",
        "Share of general rows in training. A model forgets when the new data is narrow; mixing in "
        "10 to 30 % general rows is the customary remedy. Needs a source with the role General.",
        ge=0.0,
        le=0.9,
    )
    mixing: Mixing = option(
        "shuffle",
        "Mixing",
        "In which order domain and general rows come. Shuffle: at random; take it unless you have a reason. Alternate: "
        "general rows at even distances, so that every update rehearses. Blocks: a block of domain rows, then a block "
        "of general rows, in turn; a model that has drifted in one block is brought back by the next, and the loss "
        "shows both by themselves.",
        labels={
            "shuffle": gettext_noop("Shuffle"),
            "alternate": gettext_noop("Alternate"),
            "blocks": gettext_noop("Blocks"),
        },
    )
    block_rows: int = option(
        64,
        "Domain rows a block",
        "With blocks: so many domain rows come in a row. The general rows after them follow from the general share. "
        "64 rows are 8 updates of 8 rows; longer blocks drift further before they are brought back.",
        unit=gettext_noop("rows"),
        ge=1,
        le=1_000_000,
        when=("mixing", "blocks"),
    )
    validation_fraction: float = option(
        VALIDATION_FRACTION,
        "Held out for validation",
        "Share of domain rows never trained on. Their loss tells learning from memorising; 0 switches validation off.",
        ge=0.0,
        le=0.5,
    )
    max_length: int = option(
        MAX_LENGTH,
        "Longest row",
        "Longer rows are cut here. Memory grows with it; a cut answer teaches less.",
        unit=gettext_noop("tokens"),
        ge=SHORTEST,
        le=1_000_000,
    )
    train_on: TrainOn = option(
        TRAIN_ON,
        "Learn from",
        "Answers only is right for instructions and dialogue: the prompt is read, not learnt. "
        "Everything suits plain text.",
        labels={"completions": gettext_noop("Answers only"), "all": gettext_noop("Everything")},
    )
    prompt_template: Annotated[str, StringConstraints(strip_whitespace=False)] = option(
        "",
        "Prompt template",
        "How a Base model sees question and answer: text with {question} and, at the end, {answer}. {system} stands "
        "for instructions that a row may have. Without a template, headings such as ### User: stand between them.",
    )
    system_turns: SystemTurns = option(
        SYSTEM_TURNS,
        "System text",
        "Where a Chat model reads the system text of a row: where its chat template puts it, or before the next "
        "question, as a part of it. The second is for templates that refuse system text or leave it out; then put it "
        "there too when you use the model.",
        labels={
            "template": gettext_noop("As the chat template has it"),
            "question": gettext_noop("Before the next question"),
        },
        advanced=True,
    )
    leave_out: tuple[LeaveOut, ...] = option(
        (),
        "Leave out",
        "Findings about the rows, such as duplicates or placeholders; rows that have them are not used. Of rows that "
        "repeat one another the first stays. Leaked rows are left out of validation alone, and trained on.",
        advanced=True,
    )

    @field_validator("prompt_template")
    @classmethod
    def _has_placeholders(cls, template: str) -> str:
        if problem := prompt_template_problem(template):
            raise ConfigError(tr("data.prompt_template: {problem}").format(problem=problem))
        return template


def prompt_template_problem(template: str) -> str:
    """Return what is wrong with a prompt template, in a sentence, or nothing. An empty one is right."""
    names = PLACEHOLDER.findall(template)
    strange = [name for name in names if name not in PLACEHOLDERS]
    if not template:
        return ""
    if strange:
        words = tr("{{{name}}} is no placeholder; there are {{question}}, {{answer}} and {{system}}.")
        return words.format(name=strange[0])
    if names.count("answer") != 1:
        return tr("{answer} has to stand in it exactly once.")
    if not template.endswith("{answer}"):
        return tr("{answer} has to stand at the very end, without a space or a line end behind it.")
    if names.count("question") != 1:
        return tr("{question} has to stand in it exactly once.")
    if names.count("system") > 1:
        return tr("{system} may stand in it only once.")
    return ""
