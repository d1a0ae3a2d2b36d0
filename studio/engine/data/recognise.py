"""Which format a table has, and which of its columns holds what."""

from __future__ import annotations

from collections.abc import Collection

from studio.config import DataSource
from studio.engine.data.formats import FORMATS, Format
from studio.engine.data.readers.files import printable
from studio.engine.data.readers.open import source_path
from studio.errors import DataError
from studio.i18n import tr


def recognise(source: DataSource, names: Collection[str]) -> tuple[Format, dict[str, str]]:
    """Return the format of a source and the column of each of its fields.

    Args:
        names: the columns of the table.

    Raises:
        DataError: no format fits, or a column that the source maps does not exist.
        ConfigError: the source names a format that there is not.
    """
    _refuse_absent_columns(source, names)
    if source.format == "auto":
        chosen = max(FORMATS, key=lambda candidate: candidate.score(names, source.columns))
        if not chosen.score(names, source.columns):
            raise _unknown_layout(source, names)
    else:
        chosen = FORMATS.get(source.format)
        _refuse_absent_fields(source, chosen, names)
    return chosen, chosen.columns(names, source.columns)


def _refuse_absent_columns(source: DataSource, names: Collection[str]) -> None:
    for field, column in source.columns.items():
        if column not in names:
            raise DataError(
                tr("{file} has no column {column} for {field}; it has {columns}.").format(
                    file=printable(source_path(source)), column=repr(column), field=field, columns=listed(names)
                )
            )


def _refuse_absent_fields(source: DataSource, chosen: Format, names: Collection[str]) -> None:
    fields = [field.name for field in chosen.fields]
    strange = [name for name in source.columns if name not in fields]
    if strange:
        raise DataError(
            tr("The format {format} has no field {field} to map a column of {file} to; it has {fields}.").format(
                format=chosen.name, field=strange[0], file=printable(source_path(source)), fields=listed(fields)
            )
        )
    found = chosen.columns(names, source.columns)
    absent = [field.name for field in chosen.fields if field.required and field.name not in found]
    if absent:
        raise DataError(
            tr(
                "{file} has no column {field}, which the format {format} needs; it has {columns}: "
                "map one of them, or choose another format."
            ).format(file=printable(source_path(source)), field=absent[0], format=chosen.name, columns=listed(names))
        )


def _unknown_layout(source: DataSource, names: Collection[str]) -> DataError:
    return DataError(
        tr(
            "The columns of {file} fit no known format ({columns}); rename them, such as to prompt and completion, "
            "or say which column holds what."
        ).format(file=printable(source_path(source)), columns=listed(names))
    )


def listed(names: Collection[str]) -> str:
    """Return names for a message, the first dozen of them, shortened."""
    short = [name if len(name) <= 40 else name[:39] + "…" for name in list(names)[:12]]
    return ", ".join(short) + (", …" if len(names) > len(short) else "")
