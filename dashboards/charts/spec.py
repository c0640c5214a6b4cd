"""What a chart says, apart from how it is drawn. `svg`, `plotly` and `table` render these.

A value that is None is *not assessable*: it is drawn as a gap and written as such in the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum


class State(StrEnum):
    """The four states of anything under surveillance. Absence of news is never in control."""

    IN_CONTROL = "in control"
    SIGNAL = "signal"
    NOT_ASSESSABLE = "not assessable"
    SILENT = "silent"


GLYPHS = {
    State.IN_CONTROL: "●",
    State.SIGNAL: "▲",
    State.NOT_ASSESSABLE: "–",
    State.SILENT: "○",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """`title` is the short alternative text, `description` the long one, `caption` the sentence
    under the figure."""

    title: str
    caption: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """Days from `start` up to and including `end`."""

    start: date
    end: date


@dataclass(frozen=True, slots=True)
class Stage:
    """A known change (service visit, release): a vertical rule from `day` on.

    centre : what readings are held against from then on; None keeps the limits as they were.
    restarts : limits come from the stage's own readings in the reference, if they are enough.
    """

    day: date
    label: str
    centre: float | None = None
    restarts: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of a control chart with the limits that hold at its n; None where none hold.

    `mark` is "" inside the limits, else "outside" or the number of the rule that was broken.
    """

    day: date
    value: float | None
    n: int
    lower: float | None
    centre: float | None
    upper: float | None
    mark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlChart(Chart):
    """Readings over time with control limits, and acceptance limits apart from them."""

    unit: str
    readings: tuple[Reading, ...]
    reference: Span | None = None
    acceptance: tuple[float, ...] = ()
    stages: tuple[Stage, ...] = ()


@dataclass(frozen=True, slots=True)
class PathPoint:
    """Upper sum, and lower sum as a positive number, at one day."""

    day: date
    upper: float
    lower: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PathChart(Chart):
    """A CUSUM or e-detector path against its limit; `log` draws powers of ten."""

    unit: str
    points: tuple[PathPoint, ...]
    limit: float
    onset: Span | None = None
    signal: date | None = None
    log: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """One small multiple: counts over the chart's bins. `note` says why `current` is empty."""

    title: str
    reference: tuple[int, ...]
    current: tuple[int, ...]
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison(Chart):
    """Reference against current, over the same bins, in panels that share both axes.

    `edges` (len(bins) + 1,) makes densities of counts; without edges the bins are categories.
    """

    unit: str
    bins: tuple[str, ...]
    panels: tuple[Panel, ...]
    edges: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class FunnelPoint:
    """One site: `events` among `n`, and whether it lies outside the outer limits."""

    name: str
    events: int
    n: int
    outside: bool = False
    href: str = ""


@dataclass(frozen=True, slots=True)
class FunnelLimit:
    """95 % (`inner`) and 99.8 % (`outer`) limits, lower then upper, at one n."""

    n: int
    inner: tuple[float, float]
    outer: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Funnel(Chart):
    """Rates by site against their precision (Spiegelhalter 2005). Never ranked."""

    unit: str
    count: str
    centre: float
    points: tuple[FunnelPoint, ...]
    limits: tuple[FunnelLimit, ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """One characteristic at one site. `text` is what a link would be called."""

    state: State
    text: str
    href: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatMap(Chart):
    """Characteristic by site, in the order of the plan and of enrolment."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened in a lane. `kind` is signal, decision, change, release or outage."""

    day: date
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Lane:
    """One site's, or one scanner's, marks."""

    name: str
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeLine(Chart):
    """Swim lanes over `period`; `shaded` is the reference period."""

    lanes: tuple[Lane, ...]
    period: Span
    shaded: Span | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """A sub-group's estimate with its 95 % interval; None where it is not assessable."""

    name: str
    n: int
    estimate: float | None
    low: float = 0.0
    high: float = 0.0
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forest(Chart):
    """Sub-groups in the plan's order, never by effect, against the overall value."""

    unit: str
    groups: tuple[Group, ...]
    overall: float
    acceptance: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Observed share of positives among `n` cases of mean score `predicted`."""

    predicted: float
    observed: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration(Chart):
    """Observed against predicted, with the distribution of scores on the same x."""

    bins: tuple[CalibrationBin, ...]
    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MixDay:
    """Cases per level on one day or week."""

    day: date
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix(Chart):
    """Shares of at most six named levels over time; a last level named other is grey."""

    levels: tuple[str, ...]
    days: tuple[MixDay, ...]
