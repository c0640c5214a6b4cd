"""The laboratory's columns map: which column of a case table plays which role."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from app.errors import ContractError


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Columns(_Closed):
    """Roles and the columns that play them. Every role but window_date, site and one of
    (score, acquisition, embedding) may be left out."""

    window_date: str
    site: str
    arrival_date: str | None = None
    scanner: str | None = None
    scanner_model: str | None = None
    software_version: str | None = None
    protocol: str | None = None
    device_version: str | None = None
    score: str | None = None
    flag: str | None = None
    abstain: str | None = None
    quality_reject: str | None = None
    label: str | None = None
    label_date: str | None = None
    label_source: str | None = None
    reader: str | None = None
    sentinel_id: str | None = None
    case_id: str | None = None
    acquisition: tuple[str, ...] = ()
    embedding: tuple[str, ...] = ()
    demographic: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _something_to_watch(self) -> Self:
        if not (self.score or self.acquisition or self.embedding):
            raise ValueError("one of score, acquisition or embedding is needed")
        return self


class LabelSources(_Closed):
    """The values of label_source that mean each kind of label."""

    random_audit: tuple[str, ...] = ()
    follow_up: tuple[str, ...] = ()
    sentinel: tuple[str, ...] = ()


class TableOperatingPoint(_Closed):
    """`score >= threshold` flags."""

    threshold: float = Field(ge=0, le=1)


class ColumnsMap(_Closed):
    """A whole `columns.toml`."""

    columns: Columns
    label_sources: LabelSources = LabelSources()
    operating_point: TableOperatingPoint | None = None


def read_columns_map(path: Path) -> ColumnsMap:
    """The columns map at `path`; `ContractError` names the field that does not fit."""
    try:
        return ColumnsMap.model_validate(tomllib.loads(path.read_text()))
    except (ValidationError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ContractError("columns_map", f"columns map {path.name}: {error}") from error
