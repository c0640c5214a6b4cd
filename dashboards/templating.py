"""The one Jinja environment: autoescape on, unknown names refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dashboards import assets, wording
from dashboards.charts.plotly import is_live
from dashboards.charts.spec import GLYPHS
from dashboards.filters import FILTERS

FOLDER = Path(__file__).parent / "templates"


def environment() -> Environment:
    """Templates with our filters; every value is escaped except in plain text and style sheets."""
    env = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=_escapes,  # noqa: S701 - on, but for plain text and style sheets
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    env.filters.update(FILTERS)
    env.tests["live"] = is_live
    env.globals.update(wording=wording, glyphs=GLYPHS, asset=assets.url)
    return env


def _escapes(name: str | None) -> bool:
    return not (name or "").endswith((".txt", ".css"))


ENVIRONMENT = environment()


def render(name: str, **values: Any) -> str:
    """The template `name` with `values`."""
    return ENVIRONMENT.get_template(name).render(**values)
