"""Every table and figure of a page as CSV, at the page's own address with `csv=N`.

What is written is what the page shows: the same scope, the same period, the same words. Tables
with a column of one kind each, and Parquet, are the API's (`app.central.exports`).
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, fields, is_dataclass
from itertools import groupby
from typing import Any
from urllib.parse import parse_qsl, urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse

from app.central.errors import NotFound
from app.central.exports.formats import harmless
from dashboards import filters
from dashboards.charts.spec import Chart
from dashboards.charts.table import TABLES, table
from dashboards.pages.views import EffectRow, Grid, Link, QueueRow, Strip

NUMBER = re.compile(r"[+\-−]?[\d.,  ]+( ?%)?")  # what a spreadsheet may read as one
CHARTS = tuple(TABLES)


@dataclass(frozen=True, slots=True)
class Asked:
    """The choices in the address of the page, and which table of it is wanted (0: the page)."""

    query: tuple[tuple[str, str], ...] = ()
    csv: int = 0


ASKED: ContextVar[Asked | None] = ContextVar("asked", default=None)  # None: not a GET of a page
Shown = Grid | Chart


def ask(request: Request) -> None:
    """Note what a request asks for, for the page that answers it."""
    if request.method != "GET":
        return
    query = parse_qsl(request.url.query, max_num_fields=100)
    numbers = [value for name, value in query if name == "csv"]
    wanted = numbers[-1] if numbers else "0"
    if not wanted.isdecimal() or len(wanted) > 3:
        raise NotFound("csv: the number of a table of this page expected")
    ASKED.set(Asked(tuple(pair for pair in query if pair[0] != "csv"), int(wanted)))


def links(view: object) -> tuple[Link, ...]:
    """A link to each table of the page that a person looks at."""
    asked = ASKED.get()
    if asked is None:
        return ()
    return tuple(
        Link(_title(one), "?" + urlencode((*asked.query, ("csv", n))))
        for n, one in enumerate(shown(view), 1)
    )


def wanted(view: object) -> HTMLResponse | None:
    """The table that was asked for instead of the page; None where it is the page."""
    asked = ASKED.get()
    if asked is None or not asked.csv:
        return None
    found = list(shown(view))
    if asked.csv > len(found):
        raise NotFound(f"csv: this page has {len(found)} tables, got {asked.csv}")
    one = found[asked.csv - 1]
    name = re.sub(r"[^a-z0-9]+", "-", _title(one).lower())[:60].strip("-") or "table"
    attached = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    # Routes of pages say that they answer with HTML; this one says what it is.
    return HTMLResponse(written(one), media_type="text/csv; charset=utf-8", headers=attached)


def shown(view: object) -> Iterator[Shown]:
    """Tables and figures of a view that hold anything, in its order."""
    if isinstance(view, Grid):
        if view.rows:
            yield view
    elif isinstance(view, CHARTS):
        yield view
    elif isinstance(view, tuple):
        for kind, rows in groupby(view, type):
            yield from _rows(kind, tuple(rows))
    elif is_dataclass(view):
        for field in fields(view):
            yield from shown(getattr(view, field.name))


def _rows(kind: type, rows: tuple[object, ...]) -> Iterator[Shown]:
    if kind in ROWS:
        yield ROWS[kind](rows)
        return
    for row in rows:
        yield from shown(row)


def _signals(rows: tuple[QueueRow, ...]) -> Grid:
    cells = tuple((r.id, r.title, r.where, r.state, filters.day(r.raised), r.owner) for r in rows)
    return Grid("Signals", ("Signal", "Title", "Where", "State", "Raised", "Owner"), cells)


def _effects(rows: tuple[EffectRow, ...]) -> Grid:
    cells = tuple(
        (r.name, f"{r.effect:.4g}", *(f"{x:.4g}" for x in r.interval), r.unit) for r in rows
    )
    columns = ("Characteristic", "Effect", "Low (95 %)", "High (95 %)", "Unit")
    return Grid("How far each characteristic moved", columns, cells)


def _strips(rows: tuple[Strip, ...]) -> Grid:
    return Grid("Data received", ("Site", "In words"), tuple((r.site, r.text) for r in rows))


ROWS: dict[type, Callable[[Any], Grid]] = {QueueRow: _signals, EffectRow: _effects, Strip: _strips}


def _title(one: Shown) -> str:
    return one.caption if isinstance(one, Grid) else one.title


def written(one: Shown) -> str:
    """RFC 4180; a text that a spreadsheet would take for a formula begins with `'`."""
    values = one if isinstance(one, Grid) else table(one)
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow([harmless(name) for name in values.columns])
    writer.writerows([_cell(cell) for cell in row] for row in values.rows)
    return out.getvalue()


def _cell(cell: str) -> str:
    return cell if NUMBER.fullmatch(cell) else harmless(cell)
