"""One view of each page of the area *Admin*, with names from outside that try to be markup."""

from __future__ import annotations

from dashboards.pages.admin.common import Typed
from dashboards.pages.admin.own import set_up
from dashboards.pages.admin.recipient_views import WEEKDAYS
from dashboards.pages.admin.views import (
    AccountPage,
    AccountsView,
    EdgePage,
    EnrolmentView,
    ExamplePage,
    OwnAccount,
    PasswordPage,
    RecipientPage,
    RecipientsView,
    RoutingForm,
    ServicePage,
    SessionRow,
    Shown,
    TokenRow,
)
from dashboards.pages.views import Choice, Fact, Grid, Link, Step

HOSTILE = "H</option></textarea><script>alert(1)</script>"
AREA = (Link("Enrolment", "/admin/enrolment", True), Link("Accounts", "/admin/accounts"))
GRID = Grid("People", ("Name",), ((HOSTILE,),), links=("/admin/accounts",))
CHOICES = (Choice("a", HOSTILE), Choice(HOSTILE, "b"))
SHOWN = Shown(f"Code for {HOSTILE}", "0123", ("Shown once.",))
FIELDS = ("id", "name", "timezone", "fingerprint", "reason", "full_name", "address", "purpose")


def typed(form: str) -> Typed:
    return Typed(form, tuple((name, HOSTILE) for name in FIELDS), (f"not {HOSTILE}",))


ROUTING = RoutingForm(
    CHOICES, CHOICES, CHOICES, WEEKDAYS, {"zone": HOSTILE, "hours": "duty", "weekday-1": "yes"}
)
ADMIN_PAGES: dict[str, tuple[str, object]] = {
    "enrolment": (
        "admin/enrolment.html",
        EnrolmentView(
            title="Enrolment",
            sentences=("1 edge: 1 pending.",),
            area=AREA,
            edges=GRID,
            codes=GRID,
            sites=GRID,
            may_add=True,
            may_enrol=True,
            site_choices=CHOICES,
            versions=CHOICES,
            shown=SHOWN,
            typed=typed("site"),
        ),
    ),
    "edge": (
        "admin/edge.html",
        EdgePage(
            title=f"edge-1 at {HOSTILE}",
            id="edge-1",
            state="pending",
            sentences=("The edge has presented its key.",),
            area=AREA,
            steps=(Step("Key presented", "", "done"), Step("Compared", "run", "next", "/a")),
            fingerprint="0123 4567",
            facts=(Fact("Agent", HOSTILE),),
            may_approve=True,
            actions=CHOICES,
            history=GRID,
            new_key="89ab cdef",
            new_key_sentence="The edge asks for another key.",
            may_decide_key=True,
            typed=typed("action"),
        ),
    ),
    "accounts": (
        "admin/accounts.html",
        AccountsView(
            title="Accounts",
            sentences=("1 person may sign in.",),
            area=AREA,
            people=GRID,
            roles=CHOICES,
            sites=CHOICES,
            shown=SHOWN,
            typed=typed("add"),
        ),
    ),
    "person": (
        "admin/account.html",
        AccountPage(
            title=HOSTILE,
            name=HOSTILE,
            state="active",
            area=AREA,
            facts=(Fact("Site", HOSTILE),),
            role="a",
            site=HOSTILE,
            roles=CHOICES,
            sites=CHOICES,
            is_disabled=False,
            is_locked=True,
            is_oneself=False,
            has_codes=True,
            provider=HOSTILE,
            shown=SHOWN,
            typed=typed("role"),
        ),
    ),
    "own": (
        "admin/own.html",
        OwnAccount(
            title="Account",
            facts=(Fact("Name", HOSTILE),),
            password_sentence="You have no password of your own yet.",
            codes="begun",
            codes_sentence="A set-up is under way.",
            tokens=(TokenRow("1", HOSTILE, "2026", "until 2027", "–", True),),
            sessions=(
                SessionRow("1", "password", HOSTILE, "2026", "2026", "2027", True),
                SessionRow("2", "identity provider", HOSTILE, "2026", "2026", "2027", False),
            ),
            idle_minutes=30,
            longest_days=366,
            notice="Done.",
            set_up=set_up("otpauth://totp/lockwatch:a?secret=ABCDEFGH&issuer=lockwatch"),
            shown=SHOWN,
            typed=typed("token"),
        ),
    ),
    "own-with-codes": (
        "admin/own.html",
        OwnAccount(
            title="Account",
            facts=(),
            password_sentence="",
            codes="set",
            codes_sentence="Sign-in asks for a code.",
            tokens=(),
            sessions=(SessionRow("1", "password", "Firefox", "2026", "2026", "2027", True),),
            idle_minutes=30,
            longest_days=366,
        ),
    ),
    "password": ("admin/password.html", PasswordPage("Choose a password", True, (HOSTILE,))),
    "recipients": (
        "admin/recipients.html",
        RecipientsView(
            title="Recipients",
            sentences=("1 address told.",),
            area=AREA,
            people=GRID,
            groups=GRID,
            mails=GRID,
            form=ROUTING,
            notice="Queued.",
            typed=typed("routing"),
        ),
    ),
    "service": (
        "admin/service.html",
        ServicePage(
            title="Service",
            sentences=("A worker is at work.",),
            area=AREA,
            facts=(Fact("lockwatch", HOSTILE),),
            grids=(GRID,),
        ),
    ),
    "example": (
        "admin/example.html",
        ExamplePage(
            title="Example data",
            sentences=("It lies apart.",),
            area=AREA,
            standing=f"Being loaded, asked for by {HOSTILE}.",
            is_underway=True,
            may_load=True,
            may_remove=True,
            opens="/example/",
            errors=(HOSTILE,),
        ),
    ),
    "recipient": (
        "admin/recipient.html",
        RecipientPage(
            title=HOSTILE,
            address=HOSTILE,
            sentences=(f"Added by {HOSTILE}.",),
            area=AREA,
            form=ROUTING,
            typed=typed("change"),
        ),
    ),
}
