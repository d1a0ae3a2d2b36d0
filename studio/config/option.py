"""One description per option: it feeds the form, the command line, the TOML file, messages and the docs."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo

from studio.i18n import sentences, tr

REQUIRED: Any = ...


class Section(BaseModel):
    """Base of every part of the configuration: immutable, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, str_strip_whitespace=True)

    def automatic(self) -> dict[str, Any]:
        """Return what options that are not set, and stay so, amount to with the others as they are, by key."""
        return {}

    def unusual(self) -> dict[str, str]:
        """Return of each value beyond what is customary why that is seldom wise, in a sentence, by key."""
        customs = {spec.key: spec.usual for spec in options(type(self)) if spec.usual}
        return {key: said for key, usual in customs.items() if (said := usual.judge(getattr(self, key)))}


@dataclass(frozen=True, kw_only=True)
class Usual:
    """The customary range of a number, and why to stay within it (not yet translated)."""

    low: float
    high: float
    why: str

    def judge(self, value: float | None) -> str:
        """Return in a sentence that a value is beyond the range, and why that matters, or nothing."""
        if value is None or self.low <= value <= self.high:
            return ""
        range_text = tr("{low} to {high} is customary.").format(low=f"{self.low:g}", high=f"{self.high:g}")
        return sentences((range_text, tr(self.why)))


def option(
    default: Any,
    title: str,
    help: str,
    *,
    unit: str = "",
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    labels: Mapping[str, str] | None = None,
    advanced: bool = False,
    when: tuple[str, Any] | None = None,
    suggestions: str = "",
    offers: Sequence[float] = (),
    usual: Usual | None = None,
) -> Any:
    """Declare one option of a section.

    Args:
        default: its value when it is not given, or `REQUIRED`.
        title, help: its label; what it does, what it costs, when to take it. The catalogue takes both from the call,
            by their places (`option:2,3` among the keywords of the extraction).
        unit: shown behind the value, such as "tokens".
        ge, gt, le, lt: its bounds.
        labels: a title for each choice of a `Literal`, or for each word that may stand in place of a list of names.
        advanced: shown only when the user asks for all options.
        when: the key of another option of the section, and the value of it that gives this one a meaning.
        suggestions: what the names of a list are chosen from, such as "linear_layers"; which those are depends on the
            model (`Suggestion`).
        offers: values that people mostly take, ascending; any other can be typed.
        usual: the customary range of the value; beyond it a form warns.
    """
    extra: JsonDict = {"unit": unit, "labels": dict(labels or {}), "advanced": advanced, "suggestions": suggestions}
    if when:
        extra["when"] = list(when)
    if offers:
        extra["offers"] = list(offers)
    if usual:
        extra["usual"] = asdict(usual)
    return Field(default, title=title, description=help, ge=ge, gt=gt, le=le, lt=lt, json_schema_extra=extra)


Kind = Literal["integer", "number", "text", "flag", "choice", "list", "names"]


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """A name that the chosen model offers for an option.

    `detail` is what is worth knowing of it; `within` are the choices of the option that take it in.
    """

    value: str
    detail: str = ""
    within: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class OptionSpec:
    """One option as a form or a manual needs it; titles and help are not yet translated.

    `minimum` and `maximum` are None where there is no bound; `optional` says that "not set" is a value. The kind
    "names" is a list of names, in place of which one of the choices may stand.
    """

    key: str
    title: str
    help: str
    unit: str
    kind: Kind
    default: Any
    optional: bool
    choices: tuple[tuple[str, str], ...]
    minimum: float | None
    maximum: float | None
    exclusive_minimum: bool
    exclusive_maximum: bool
    advanced: bool
    when: tuple[str, Any] | None
    suggestions: str
    offers: tuple[float, ...]
    usual: Usual | None


def options(section: type[BaseModel]) -> tuple[OptionSpec, ...]:
    """Return the declared options of a section, in the order of declaration."""
    return tuple(_spec(key, field) for key, field in section.model_fields.items() if field.title is not None)


def values_in_force(section: Section) -> dict[str, Any]:
    """Return the values of a section by key, without those that have no meaning with the others as they are.

    For an option that is not set stands what it amounts to, where the section knows that.
    """
    conditions = {spec.key: spec.when for spec in options(type(section)) if spec.when}
    idle = {key for key, (other, value) in conditions.items() if getattr(section, other) != value}
    values = section.model_dump(exclude=idle)
    return values | {key: value for key, value in section.automatic().items() if values.get(key) is None}


def _spec(key: str, field: FieldInfo) -> OptionSpec:
    extra: Any = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    annotation, optional = _without_none(field.annotation)
    bounds = {type(bound): bound for bound in field.metadata}
    lower, upper = bounds.get(Gt) or bounds.get(Ge), bounds.get(Lt) or bounds.get(Le)
    labels: dict[str, str] = extra.get("labels", {})
    values = get_args(annotation) if get_origin(annotation) is Literal else tuple(labels)
    return OptionSpec(
        key=key,
        title=field.title or key,
        help=field.description or "",
        unit=extra.get("unit", ""),
        kind=_kind(annotation, bool(values)),
        default=None if field.is_required() else field.get_default(call_default_factory=True),
        optional=optional,
        choices=tuple((value, labels.get(value, value)) for value in values),
        minimum=getattr(lower, "gt", getattr(lower, "ge", None)),
        maximum=getattr(upper, "lt", getattr(upper, "le", None)),
        exclusive_minimum=Gt in bounds,
        exclusive_maximum=Lt in bounds,
        advanced=extra.get("advanced", False),
        when=tuple(extra["when"]) if "when" in extra else None,
        suggestions=extra.get("suggestions", ""),
        offers=tuple(extra.get("offers", ())),
        usual=Usual(**extra["usual"]) if "usual" in extra else None,
    )


def _without_none(annotation: Any) -> tuple[Any, bool]:
    if get_origin(annotation) in (Union, types.UnionType):
        inner = [part for part in get_args(annotation) if part is not type(None)]
        return inner[0], len(inner) < len(get_args(annotation))
    return annotation, False


def _kind(annotation: Any, has_choices: bool) -> Kind:
    if has_choices:
        return "names" if get_origin(annotation) is tuple else "choice"
    kinds: dict[Any, Kind] = {bool: "flag", int: "integer", float: "number", str: "text"}
    return kinds.get(annotation, "list")
