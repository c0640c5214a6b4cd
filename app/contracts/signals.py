"""The signal as JSON: what the laboratory writes, the API gives and the pages show."""

from __future__ import annotations

import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Cause = Literal[
    "scanner",
    "prevalence",
    "population",
    "annotation",
    "performance",
    "lock",
    "data_quality",
    "undetermined",
]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Attribution(_Closed):
    """What was believed of the cause on one date. `candidates` sums to at most 1."""

    date: datetime.date
    causes: tuple[Cause, ...]
    probability: float = Field(ge=0, le=1)
    candidates: dict[str, float]


class Effect(_Closed):
    """How far one characteristic moved, with its 95 % interval."""

    name: str
    effect: float
    interval: tuple[float, float]
    unit: str


class Signal(_Closed):
    """Raised once; its history grows while evidence arrives."""

    id: str
    kind: Literal["statistical", "deterministic"]
    date: datetime.date
    sites: tuple[str, ...]
    scanners: tuple[str, ...]
    scanner_models: tuple[str, ...]
    readers: tuple[str, ...]
    history: tuple[Attribution, ...]
    change_date: datetime.date | None
    change_interval: tuple[datetime.date, datetime.date] | None
    characteristics: tuple[Effect, ...]
    stream: str
    statistic: float | None
    limit: float | None
    event: str = ""  # deterministic signals: what happened, in a closed word


class PartOfSignal(Signal):
    """A signal of several sites as somebody bound to one of them is shown it: `sites` is that one,
    and `other_sites` says how many more there are."""

    other_sites: int = Field(ge=0)


class Run(_Closed):
    """One evaluation: its signals, what was promised, and what could be assessed."""

    run_id: str
    signals: tuple[Signal, ...]
    false_signals_promised_per_year: float
    assessability: dict[str, str]


class SignalsFile(_Closed):
    """`SIGNALS.json`."""

    plan: str
    runs: tuple[Run, ...]
