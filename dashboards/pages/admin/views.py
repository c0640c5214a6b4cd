"""What the templates of the area receive."""

from __future__ import annotations

from dataclasses import dataclass

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
    typed: Typed = EMPTY
