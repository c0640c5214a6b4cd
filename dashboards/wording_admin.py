"""Sentences of the pages of the area *Admin*; see `wording.py`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from app.central.accounts.models import Account, OpenedWith, Role
from app.central.alerts.duty import Duty
from app.central.alerts.models import MailState, Recipient, Severity
from app.central.example.store import LoadState, Standing
from app.central.fleet.models import EdgeAction, EdgeState
from dashboards.wording import count, instant, listed, sentence_case

EDGE_STATES = {
    EdgeState.PENDING: "The edge has presented its key. A person compares and approves it.",
    EdgeState.ACTIVE: "The edge is active: its windows count.",
    EdgeState.SUSPENDED: "The edge is suspended: its windows are quarantined until it is resumed.",
    EdgeState.REVOKED: "The edge is revoked: nothing from its key is taken in any more.",
    EdgeState.RETIRED: "The edge is retired: what it still held is taken in, and nothing is due.",
}
NEW_KEY = {
    "pending": "The edge asks for another key. Until a person approves it, the present one stays.",
    "approved": "This key is approved. The edge uses it from its next question on.",
}
CHOOSE_KEY_DECISION = "Choose whether to approve or to refuse the new key."
EDGE_ACTIONS = {
    EdgeAction.SUSPEND: "suspend: its windows are quarantined until it is resumed",
    EdgeAction.RESUME: "resume: its windows count again",
    EdgeAction.REVOKE: "revoke, for good: nothing from this key is taken in any more",
    EdgeAction.RETIRE: "retire, for good: the installation has ended",
}
ENROLMENT_STEPS = (
    "One-time code given to the hospital",
    "Key presented by the edge",
    "Fingerprint compared and approved by a person",
    "First window received",
)
CHOOSE_ACTION = "Action: choose one."
CODE_SHOWN = (
    "This code is shown once. It is good for one edge and for 24 hours.",
    "Give it to the hospital on a way that nobody else reads; they run the agent with it.",
)

ROLES = {
    Role.VIEWER: "viewer: looks, changes nothing",
    Role.ANALYST: "analyst: decides on signals, proposes references, drafts reports",
    Role.QUALITY_APPROVER: "quality approver: the second person; also the duty to report, audit",
    Role.REGULATORY: "regulatory: the duty to report; also decides on signals, audit",
    Role.SITE_ADMIN: "site admin: codes and edges, of one site or of all",
    Role.ADMINISTRATOR: "administrator: people, sites, devices, edges; the second person",
    Role.AUDITOR: "auditor: reads and exports the audit trail",
}
CHOOSE_ROLE = "Role: choose one."
EVERY_SITE = "every site"
ONE_TIME_SHOWN = (
    "This password is shown once and is good for three days. Give it to the person on a way that "
    "nobody else reads.",
    "It opens nothing but the choice of a password of their own, at the next sign-in.",
)
PASSWORD_NOT_YOURS = "Present password: it is not yours."  # noqa: S105
PASSWORDS_DIFFER = "New password: it was not typed twice alike."
PASSWORD_CHANGED = "Your password is changed. Every other session of yours has ended."  # noqa: S105
CODES = {
    "none": "A sign-in by password asks for it alone.",
    "begun": "A set-up is under way: type the first code that your authenticator shows.",
    "set": "A sign-in by password asks for a code of your authenticator too.",
}
QR_TITLE = "QR code for an authenticator; the secret beside it says the same"
CODE_NOT_RIGHT = (
    "Code: it is not the one of the moment. Wait for the next one, or begin the set-up anew."
)
TOKEN_SHOWN = (
    "This token is shown once. A script sends it as `Authorization: Bearer …`.",
    "It reads what you may read and changes nothing. Whoever has it reads in your name.",
)
NOTICES = {
    "password": PASSWORD_CHANGED,
    "codes": "One-time codes are set up: the next sign-in asks for one.",
    "codes-ended": "One-time codes are ended. Every other session of yours has ended.",
    "token": "The token is revoked.",
    "session": "The session is ended.",
    "sessions": "Every other session of yours has ended.",
}
OPENED_WITH = {
    OpenedWith.PASSWORD: "password",
    OpenedWith.PROVIDER: "identity provider",
}
SIGNS_NOTHING = (
    "You have no password of your own yet, so you can sign nothing here: what the identity "
    "provider says opens sessions and signs nothing. Choose one with the one-time password that "
    "an administrator gives you."
)
BROWSERS = ("Edg", "OPR", "Firefox", "Chrome", "Safari")  # Edge and Opera call themselves Chrome
BROWSER_NAMES = {"Edg": "Edge", "OPR": "Opera"}
SYSTEMS = ("Windows", "Android", "iPhone", "iPad", "Mac OS X", "CrOS", "Linux")
DAYS = "Days: a whole number from 1 to {longest} expected."
SEVERITIES = {
    Severity.INFO: "info and everything above",
    Severity.NOTICE: "notice and above: prevalence, late data",
    Severity.WARNING: "warning and above: scanner, annotation, silence, lost routing",
    Severity.URGENT: "urgent alone: a broken lock, lost performance",
}
CHOOSE_SEVERITY = "Least severity: choose one."
EVERY_DEVICE = "every device"
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
CHOOSE_WEEKDAY = "Duty hours: choose at least one weekday."
MAIL_STATES = {
    MailState.PENDING: "waits",
    MailState.SENDING: "on its way",
    MailState.SENT: "accepted by the mail server",
    MailState.UNCERTAIN: "not known whether accepted, sent once more",
    MailState.DEAD: "given up",
}
TEST_QUEUED = "A test message is queued; below is what becomes of it."
LAST_ADMINISTRATOR = (
    "One active administrator is always left: the last one can neither be disabled nor get "
    "another role."
)


def browser(user_agent: str) -> str:
    """What a browser calls itself, in short; else the first word of what it sent."""
    name = next((b for b in BROWSERS if f"{b}/" in user_agent), "")
    system = next((s for s in SYSTEMS if s in user_agent), "")
    if not name:
        return user_agent.partition(" ")[0][:40] or "not said"
    name = BROWSER_NAMES.get(name, name)
    return f"{name} on {system}" if system else name


def accounts_sentences(active: int, disabled: int, administrators: int) -> tuple[str, ...]:
    """How many people may sign in, and how many of them administer."""
    gone = f", {count(disabled, 'account')} disabled" if disabled else ""
    return (
        f"{sentence_case(count(active, 'person', 'people'))} may sign in{gone}.",
        f"{sentence_case(count(administrators, 'administrator'))}. {LAST_ADMINISTRATOR}",
    )


def account_state(account: Account, now: datetime) -> str:
    """Whether a person may sign in, and if not, why."""
    if account.disabled_at is not None:
        return f"disabled {instant(account.disabled_at)}"
    if account.locked_until is not None and now < account.locked_until:
        return f"locked until {instant(account.locked_until)}, too many wrong guesses"
    if account.password_until is None:
        return "active"
    lapsed = "lapsed" if now >= account.password_until else "good until"
    return f"one-time password, {lapsed} {instant(account.password_until)}"


def recipients_sentences(people: int, given_up: int) -> tuple[str, ...]:
    """How many are told, and what reached nobody."""
    told = f"{sentence_case(count(people, 'address', 'addresses'))} told about signals."
    if not given_up:
        return (told,)
    lost = sentence_case(count(given_up, "message"))
    return (told, f"{lost} reached nobody: see the newest messages below.")


def duty(recipient: Recipient) -> str:
    """When somebody may be written to."""
    if recipient.duty is None:
        return "at any time"
    hours = Duty.model_validate(recipient.duty)
    days = listed((WEEKDAYS[d][:3] for d in sorted(set(hours.weekdays))), most=7)
    return f"{days}, {hours.start:%H:%M} to {hours.until:%H:%M}, {hours.zone}"


def told_when(recipient: Recipient) -> str:
    """At once, or when nobody has acknowledged."""
    return "when nobody has answered in time" if recipient.on_escalation else "at once"


def enrolment_sentences(states: Sequence[EdgeState], codes: int) -> tuple[str, ...]:
    """How many edges there are, by state, and how many codes still wait."""
    if not states:
        edges = "No edge is enrolled yet."
    else:
        parts = [f"{states.count(s)} {s.value}" for s in EdgeState if s in states]
        edges = f"{sentence_case(count(len(states), 'edge'))}: {listed(parts, most=5)}."
    waiting = f"{sentence_case(count(codes, 'code'))} not redeemed yet." if codes else ""
    return (edges, waiting) if waiting else (edges,)


EXAMPLE_SENTENCES = (
    "Example data is a simulated device at three hospitals that do not exist: five weeks under "
    "surveillance, with one change of a scanner planted.",
    "Its windows are signed by real keys and taken in, evaluated and shown by this service as any "
    "others, but they lie apart: no count, balance, report, mail or clock of this installation "
    "sees them.",
    "It can be read and not acted in. It can be removed at any time, completely; that it was here "
    "stays in the audit trail.",
)


def example_standing(found: Standing) -> str:
    """How far the example is."""
    asked = f"asked for by {found.asked_by}" if found.asked_by else ""
    match found.state:
        case LoadState.ABSENT:
            return "No example data is loaded."
        case LoadState.WAITING:
            return f"Waits for a worker, {asked}. You may leave this page."
        case LoadState.LOADING:
            share = f"step {found.done} of {found.total}, " if found.total else ""
            return f"Being loaded, {asked}: {share}{found.what}. You may leave this page."
        case LoadState.FAILED:
            return f"Loading failed ({found.what}). Load it again, or remove what there is."
        case LoadState.READY:
            assert found.stands_at is not None
            return f"Loaded, {asked}. It stands at {instant(found.stands_at)}."


def service_sentences(worked_on: bool, late: int, undelivered: int) -> tuple[str, ...]:
    """Whether the service does its work, and what is in the way."""
    absent = "No worker is at work: nothing is evaluated or mailed."
    worker = "A worker is at work." if worked_on else absent
    overdue = f"{count(late, 'run')} overdue." if late else "No run is overdue."
    lost = f"{sentence_case(count(undelivered, 'mail'))} reached nobody." if undelivered else ""
    return tuple(s for s in (worker, sentence_case(overdue), lost) if s)


def copied(at: datetime | None, now: datetime) -> str:
    """When a copy was last made, with its age."""
    if at is None:
        return "none made with lockwatch central backup; others are not known here"
    days = (now - at).days
    return f"{instant(at)}, {count(days, 'day') + ' ago' if days else 'within the last day'}"


def kept(life: timedelta | None) -> str:
    """How long something is kept."""
    if life is None:
        return "for ever"
    minutes = int(life.total_seconds() // 60)
    return count(minutes // 60, "hour") if minutes % 60 == 0 else count(minutes, "minute")


def bytes_of(size: int) -> str:
    """A size in units that can be read: 1 MiB is 1,048,576 bytes."""
    units = ("bytes", "KiB", "MiB", "GiB", "TiB")
    power = 0
    while size >= 1024 ** (power + 1) and power < len(units) - 1:
        power += 1
    return f"{size / 1024**power:.{1 if power else 0}f} {units[power]}"
