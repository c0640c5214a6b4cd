"""A table as CSV that a spreadsheet opens unharmed, or as Parquet with its types."""

from __future__ import annotations

import csv
import io
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from app.central.exports.tables import Cell, Table

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what makes a spreadsheet calculate a text


class Format(StrEnum):
    """Ways to write a table."""

    CSV = "csv"
    PARQUET = "parquet"


MEDIA_TYPE = {Format.CSV: "text/csv; charset=utf-8", Format.PARQUET: "application/octet-stream"}


def written(table: Table, wanted: Format) -> bytes:
    """The bytes of a file."""
    return as_csv(table) if wanted is Format.CSV else as_parquet(table)


def as_csv(table: Table) -> bytes:
    """RFC 4180, UTF-8; a text that a spreadsheet would take for a formula begins with `'`."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(table.columns)
    writer.writerows([_csv_cell(cell) for cell in row] for row in table.rows)
    return out.getvalue().encode()


def harmless(text: str) -> str:
    """A text that no spreadsheet takes for a formula (CWE-1236)."""
    return f"'{text}" if text.startswith(FORMULA) else text


def _csv_cell(cell: Cell) -> str:
    match cell:
        case None:
            return ""
        case str():
            return harmless(cell)
        case datetime() | date():
            return cell.isoformat()
    return repr(cell)


def as_parquet(table: Table) -> bytes:
    """Parquet with a typed column each, also where there are no rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds: dict[str, Any] = {
        "text": pa.string(),
        "whole": pa.int64(),
        "real": pa.float64(),
        "day": pa.date32(),
        "instant": pa.timestamp("us", tz="UTC"),
    }
    schema = pa.schema([(name, kinds[kind]) for name, kind in table.columns.items()])
    arrays = [
        pa.array([row[i] for row in table.rows], field.type) for i, field in enumerate(schema)
    ]
    out = io.BytesIO()
    pq.write_table(pa.table(arrays, schema=schema), out)
    return out.getvalue()
