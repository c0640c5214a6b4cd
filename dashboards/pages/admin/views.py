"""What the templates of the area receive."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from dashboards.pages.admin.common import EMPTY, Typed
from dashboards.pages.views import Choice, Fact, Grid, Link, Step


@dataclass(frozen=True, slots=True)
class Shown:
    """A secret that is on this page once and nowhere else, and what to do with it."""

    heading: str
    secret: str
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EnrolmentView:
    """Edges, codes and sites, and the forms for them."""

    title: str
    sentences: tuple[str, ...]
    area: tuple[Link, ...]
    edges: Grid
    codes: Grid
    sites: Grid
    may_add: bool
    may_enrol: bool
    site_choices: tuple[Choice, ...]
    versions: tuple[Choice, ...]
    shown: Shown | None = None
    typed: Typed = EMPTY


@dataclass(frozen=True, slots=True)
class EdgePage:
    """One edge on its way to its first window, and what may be done to it."""

    title: str
    id: str
    state: str
    sentences: tuple[str, ...]
    area: tuple[Link, ...]
    steps: tuple[Step, ...]
    fingerprint: str
    facts: tuple[Fact, ...]
    may_approve: bool
    actions: tuple[Choice, ...]
    history: Grid | None
    new_key: str = ""  # fingerprint of a key that the edge asks for
    new_key_sentence: str = ""
    may_decide_key: bool = False
    typed: Typed = EMPTY


@dataclass(frozen=True, slots=True)
class AccountsView:
    """Everybody, and the form to add a person."""

    title: str
    sentences: tuple[str, ...]
    area: tuple[Link, ...]
    people: Grid
    roles: tuple[Choice, ...]
    sites: tuple[Choice, ...]
    shown: Shown | None = None
    typed: Typed = EMPTY


@dataclass(frozen=True, slots=True)
class AccountPage:
    """One person, for an administrator."""

    title: str
    name: str
    state: str
    area: tuple[Link, ...]
    facts: tuple[Fact, ...]
    role: str
    site: str
    roles: tuple[Choice, ...]
    sites: tuple[Choice, ...]
    is_disabled: bool
    is_locked: bool
    is_oneself: bool
    has_codes: bool
    provider: str = ""  # what people call it; empty: none is configured
    identity: str = ""  # the subject that is linked; empty: none
    shown: Shown | None = None
    typed: Typed = EMPTY


@dataclass(frozen=True, slots=True)
class TokenRow:
    """An API token of one's own; `state` says whether it still opens anything."""

    id: str
    purpose: str
    made: str
    state: str
    last_used: str
    is_open: bool


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session of one's own that runs now."""

    id: str
    opened_with: str
    browser: str
    begun: str
    last_used: str
    until: str
    is_this: bool


@dataclass(frozen=True, slots=True)
class CodesSetUp:
    """What an authenticator takes, on this page once: drawn, and in letters."""

    drawn: Markup
    secret: str
    address: str


@dataclass(frozen=True, slots=True)
class OwnAccount:
    """One's own account: password, one-time codes, API tokens, sessions."""

    title: str
    facts: tuple[Fact, ...]
    password_sentence: str
    codes: str  # none, begun or set
    codes_sentence: str
    tokens: tuple[TokenRow, ...]
    sessions: tuple[SessionRow, ...]
    idle_minutes: int
    longest_days: int
    notice: str = ""
    set_up: CodesSetUp | None = None
    shown: Shown | None = None
    typed: Typed = EMPTY


@dataclass(frozen=True, slots=True)
class PasswordPage:
    """The choice of a password; `is_due` after signing in with a one-time one."""

    title: str
    is_due: bool
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RoutingForm:
    """What reaches somebody: what may be chosen, and what is chosen now, by name of the field."""

    severities: tuple[Choice, ...]
    sites: tuple[Choice, ...]
    devices: tuple[Choice, ...]
    weekdays: tuple[Choice, ...]
    values: dict[str, str]


@dataclass(frozen=True, slots=True)
class RecipientsView:
    """Who is told, the report groups, the newest messages, and the form to add somebody."""

    title: str
    sentences: tuple[str, ...]
    area: tuple[Link, ...]
    people: Grid
    groups: Grid
    mails: Grid
    form: RoutingForm
    notice: str = ""
    typed: Typed = EMPTY


@dataclass(frozen=True, slots=True)
class RecipientPage:
    """One address."""

    title: str
    address: str
    sentences: tuple[str, ...]
    area: tuple[Link, ...]
    form: RoutingForm
    typed: Typed = EMPTY


@dataclass(frozen=True, slots=True)
class ExamplePage:
    """Example data: what it is, how far it is, and what may be done about it."""

    title: str
    sentences: tuple[str, ...]
    area: tuple[Link, ...]
    standing: str
    is_underway: bool  # the page asks again by itself
    may_load: bool
    may_remove: bool
    opens: str = ""  # where the example is looked at
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ServicePage:
    """How the service itself stands."""

    title: str
    sentences: tuple[str, ...]
    area: tuple[Link, ...]
    facts: tuple[Fact, ...]
    grids: tuple[Grid, ...]
