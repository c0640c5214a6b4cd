"""What a template receives: one frozen object, with every number chosen and every word written.

Templates have no arithmetic and no knowledge of the database.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import groupby

from app.central.alerts.assessments import Answers
from dashboards.charts.spec import Chart, State


@dataclass(frozen=True, slots=True)
class Link:
    """A text and where it leads."""

    text: str
    href: str
    is_here: bool = False


@dataclass(frozen=True, slots=True)
class Shell:
    """The frame of every page: where one may go, who is here."""

    person: str
    role: str
    links: tuple[Link, ...]
    tables: tuple[Link, ...] = ()  # of this page, as CSV


@dataclass(frozen=True, slots=True)
class Fact:
    """A name and a value; `is_code` for digests."""

    name: str
    value: str
    is_code: bool = False
    href: str = ""


@dataclass(frozen=True, slots=True)
class Pages:
    """Where a page of a list stands, and the addresses beside it; "" where there is none."""

    words: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Grid:
    """A plain table: `numeric` names the columns set to the right; `links` one per row or none."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[int] = frozenset()
    links: tuple[str, ...] = ()
    empty: str = "Nothing is on record."


@dataclass(frozen=True, slots=True)
class QueueRow:
    """A signal in a list."""

    id: str
    title: str
    href: str
    where: str
    state: str
    is_open: bool
    raised: date
    age: str
    owner: str


@dataclass(frozen=True, slots=True)
class Strip:
    """Days received by one site: "█" received, "·" missing."""

    site: str
    href: str
    marks: str
    text: str

    @property
    def runs(self) -> tuple[tuple[str, bool], ...]:
        """Stretches of equal marks, and whether each is of missing days."""
        return tuple(("".join(run), mark == "·") for mark, run in groupby(self.marks))


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a first use; `state` is done, next or to do."""

    text: str
    command: str
    state: str
    href: str = ""


@dataclass(frozen=True, slots=True)
class FleetView:
    """The home page."""

    title: str
    sentences: tuple[str, ...]
    queue: tuple[QueueRow, ...]
    empty_queue: str
    versions: tuple[Link, ...]
    heat_map: Chart | None
    funnel: Chart | None
    strips: tuple[Strip, ...]
    balance: str
    steps: tuple[Step, ...] = ()
    pages: Pages | None = None  # of the strips
    queued: str = ""  # that the queue is longer than what is shown
    example: str = ""  # that there is example data, or may be
    example_link: Link | None = None


@dataclass(frozen=True, slots=True)
class EffectRow:
    """How far one characteristic moved."""

    name: str
    effect: float
    interval: tuple[float, float]
    unit: str


@dataclass(frozen=True, slots=True)
class Shares:
    """A cause and the probability it is held to have."""

    name: str
    probability: float


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """Something that happened to a signal."""

    when: str
    what: str
    href: str = ""


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """Something else that changed about the same time."""

    what: str
    when: str
    note: str
    href: str = ""


@dataclass(frozen=True, slots=True)
class DecisionView:
    """A signed decision, with everything 21 CFR 11.50 wants shown."""

    verdict: str
    cause: str
    rationale: str
    printed_name: str
    meaning: str
    decided_at: datetime
    digest: str


@dataclass(frozen=True, slots=True)
class Choice:
    """One option of a form."""

    value: str
    text: str


@dataclass(frozen=True, slots=True)
class AssessmentForm:
    """The form of the signal page; `values` are what was typed before a refusal."""

    action: str
    verdicts: tuple[Choice, ...]
    causes: tuple[Choice, ...]
    digest: str
    is_first: bool
    verdict: str = ""
    cause: str = ""
    rationale: str = ""
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SignedAnswers:
    """A signed assessment of the duty to report."""

    version: int
    answers: Answers
    printed_name: str
    decided_at: datetime
    digest: str


@dataclass(frozen=True, slots=True)
class DutyView:
    """The duty to report: awareness, times, assessments, and what the person may add."""

    aware: tuple[str, ...]
    clocks: Grid
    assessed: tuple[SignedAnswers, ...]
    obligations: tuple[str, ...]
    action: str
    digest: str
    may_note: bool
    may_sign: bool
    typed: dict[str, str]
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SignalView:
    """One signal: what was seen, how sure, where, what else changed, who decided."""

    id: str
    crumb: str
    title: str
    state: str
    is_open: bool
    claim: tuple[str, ...]
    seen: tuple[Chart, ...]
    sure: tuple[str, ...]
    effects: tuple[EffectRow, ...]
    candidates: tuple[Shares, ...]
    where: tuple[Chart, ...]
    changes: tuple[ChangeRow, ...]
    history: tuple[HistoryRow, ...]
    facts: tuple[Fact, ...]
    decisions: tuple[DecisionView, ...]
    form: AssessmentForm | None
    duty: DutyView
    form_absent: str = ""
    letters: tuple[Link, ...] = ()  # to write, a site each
    may_note: bool = False  # may write down a site's answer, or the number of a file
    may_recalibrate: bool = True  # may look whether a new operating point answers it


@dataclass(frozen=True, slots=True, kw_only=True)
class NotePage:
    """The form for what is written down about a signal, with what was typed before a refusal."""

    title: str
    signal: str
    kinds: tuple[tuple[str, str], ...]
    sites: tuple[str, ...]
    kind: str
    site: str
    text: str
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ListView:
    """A page that is a heading, a sentence and tables."""

    title: str
    sentences: tuple[str, ...]
    grids: tuple[Grid, ...]
    links: tuple[Link, ...] = ()
    pages: Pages | None = None


@dataclass(frozen=True, slots=True)
class SignalsView:
    """All signals, newest first."""

    title: str
    sentence: str
    filters: tuple[Link, ...]
    rows: tuple[QueueRow, ...]
    older: str = ""  # address of the page after this one


@dataclass(frozen=True, slots=True)
class PeriodForm:
    """Two date fields; the choice is in the address."""

    action: str
    first: str
    last: str


@dataclass(frozen=True, slots=True)
class EvaluationView:
    """How far a device version is evaluated, and whether the person may ask for it now."""

    action: str
    sentences: tuple[str, ...]
    may_ask: bool


@dataclass(frozen=True, slots=True)
class EventRow:
    """A planned event; `may_decide` where it waits for the person who looks."""

    id: str
    what: str
    where: str
    days: str
    description: str
    registered: str
    decided: str
    digest: str
    may_decide: bool


@dataclass(frozen=True, slots=True)
class EventsView:
    """Planned events of a site, and the forms for whoever may use them. `typed` is kept."""

    action: str
    rows: tuple[EventRow, ...]
    may_register: bool
    devices: tuple[Choice, ...]
    scanners: tuple[str, ...]
    kinds: tuple[Choice, ...]
    typed: dict[str, str] = field(default_factory=dict)
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SubjectView:
    """A device version, a site, or one question about it: facts, charts and tables."""

    crumb: str
    title: str
    state: State | None
    sentences: tuple[str, ...]
    facts: tuple[Fact, ...]
    signals: tuple[QueueRow, ...]
    charts: tuple[Chart, ...]
    grids: tuple[Grid, ...]
    topics: tuple[Link, ...] = ()
    period: PeriodForm | None = None
    events: EventsView | None = None
    evaluation: EvaluationView | None = None
    downloads: tuple[Link, ...] = ()
    pages: Pages | None = None
    signals_shown: str = ""


@dataclass(frozen=True, slots=True)
class SignInView:
    """The sign-in page; `then` is where the person was going."""

    then: str
    provider: str = ""  # what people call it; empty: none is configured
    provider_href: str = ""
    is_password_rare: bool = False  # passwords open sessions in emergencies only
    name: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class ProblemView:
    """A page that says what went wrong, in words a person can act on."""

    title: str
    sentence: str
    onward: Link
