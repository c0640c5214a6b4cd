from __future__ import annotations

import email
import email.policy
import mailbox
import socketserver
import threading
from datetime import UTC, date, datetime, timedelta

import pytest
from aiosmtpd.controller import Controller
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session, sessionmaker

from app.central.alerts import service
from app.central.alerts.models import MailState, Severity
from app.central.alerts.ports import RenderedMail
from app.central.alerts.transport import DeliveryFailed, Maildir, Smtp, open_transport
from app.central.database import session_factory
from app.central.errors import NotAllowed, Unusable
from app.contracts.signals import Attribution, Signal

NOW = datetime(2026, 3, 10, 6, tzinfo=UTC)
SENDER = "lockwatch@maker.example"
MAIL = RenderedMail("Signal S-0001: noise rose – Site 2", "Nöise rose.\n", "<p>Nöise rose.</p>")


@pytest.fixture
def factory(fresh_database: Engine) -> sessionmaker[Session]:
    return session_factory(fresh_database)


def queue(factory, *recipients: str, mail: RenderedMail = MAIL) -> None:
    with factory.begin() as session:
        for recipient in recipients:
            service.enqueue(session, "signal:S-0001", recipient, mail, SENDER, NOW)


def states(factory) -> dict[str, MailState]:
    with factory() as session:
        return {m.recipient: m.state for m in service.mails(session)}


class Received:
    """An SMTP server that answers each recipient as told and keeps what it accepted."""

    def __init__(self, **answers: str) -> None:
        self.answers = answers
        self.kept: list[bytes] = []

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802
        answer = self.answers.get(address.partition("@")[0], "250 OK")
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        self.kept.append(envelope.content)
        return "250 OK"


@pytest.fixture
def smtp(request: pytest.FixtureRequest):
    received = Received(**getattr(request, "param", {}))
    controller = Controller(received, hostname="127.0.0.1", port=0)
    # aiosmtpd wants the port it will listen on in order to greet itself.
    with socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler) as probe:
        controller.port = probe.server_address[1]
    controller.start()
    yield Smtp("127.0.0.1", controller.port), received
    controller.stop()


def test_a_mail_arrives_as_text_and_html_with_nothing_to_fetch(factory, smtp) -> None:
    transport, received = smtp
    queue(factory, "ra@maker.example")

    assert service.deliver(factory, transport, SENDER, NOW) == 1

    [raw] = received.kept
    mail = email.message_from_bytes(raw, policy=email.policy.default)
    assert mail["Subject"] == MAIL.subject
    assert mail["Auto-Submitted"] == "auto-generated"
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    assert "Nöise rose." in mail.get_body(("plain",)).get_content()
    assert states(factory) == {"ra@maker.example": MailState.SENT}


def test_the_same_cause_is_told_to_a_person_once(factory, tmp_path) -> None:
    queue(factory, "ra@maker.example")
    queue(factory, "ra@maker.example")

    assert service.deliver(factory, Maildir(tmp_path / "mail"), SENDER, NOW) == 1
    assert len(mailbox.Maildir(tmp_path / "mail")) == 1


@pytest.mark.parametrize(
    "smtp", [{"grey": "451 try later", "gone": "550 no such user"}], indirect=True
)
def test_one_bad_recipient_of_several_keeps_nobody_else_waiting(factory, smtp) -> None:
    transport, received = smtp
    queue(factory, "a@x.example", "grey@x.example", "gone@x.example", "b@x.example")

    service.deliver(factory, transport, SENDER, NOW)

    assert len(received.kept) == 2
    assert states(factory) == {
        "a@x.example": MailState.SENT,
        "b@x.example": MailState.SENT,
        "grey@x.example": MailState.PENDING,
        "gone@x.example": MailState.DEAD,
    }
    received.answers.clear()
    assert service.deliver(factory, transport, SENDER, NOW) == 0  # not before its time
    assert service.deliver(factory, transport, SENDER, NOW + timedelta(minutes=1)) == 1


def test_a_server_that_is_down_for_two_days_loses_nothing(factory, smtp) -> None:
    transport, received = smtp
    queue(factory, "ra@maker.example")
    down = Smtp("127.0.0.1", 1)

    for hours in range(0, 48, 7):
        assert service.deliver(factory, down, SENDER, NOW + timedelta(hours=hours)) == 0

    assert service.deliver(factory, transport, SENDER, NOW + timedelta(hours=60)) == 1
    assert len(received.kept) == 1


def test_a_server_that_is_down_for_good_is_given_up_visibly(factory) -> None:
    queue(factory, "ra@maker.example")

    service.deliver(factory, Smtp("127.0.0.1", 1), SENDER, NOW + timedelta(hours=73))

    assert states(factory) == {"ra@maker.example": MailState.DEAD}


class CutsAfterData(socketserver.StreamRequestHandler):
    """Takes the whole text and hangs up before it says so."""

    texts: list[bytes]

    def handle(self) -> None:
        self.wfile.write(b"220 ready\r\n")
        while line := self.rfile.readline():
            if line.upper().startswith(b"DATA"):
                self.wfile.write(b"354 go\r\n")
                self.texts.append(b"".join(iter(self.rfile.readline, b".\r\n")))
                return
            self.wfile.write(b"250 OK\r\n")


def test_an_unknown_outcome_is_repeated_once_byte_for_byte_and_then_shown(factory) -> None:
    handler = type("Handler", (CutsAfterData,), {"texts": []})
    with socketserver.TCPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        transport = Smtp("127.0.0.1", server.server_address[1])
        queue(factory, "ra@maker.example")

        seen = []
        for minutes in (0, 5, 10):
            service.deliver(factory, transport, SENDER, NOW + timedelta(minutes=minutes))
            seen.append(states(factory)["ra@maker.example"])

        server.shutdown()
        thread.join()
    assert seen == [MailState.UNCERTAIN, MailState.DEAD, MailState.DEAD]
    first, second = handler.texts
    assert first == second


def test_a_sender_that_dies_loses_its_lease(factory, tmp_path) -> None:
    queue(factory, "ra@maker.example")
    assert service._claim(factory, NOW) is not None
    assert service._claim(factory, NOW) is None
    with factory.begin() as session:
        session.execute(text("UPDATE outbox_mail SET lease_until = now() - interval '1 s'"))

    assert service.deliver(factory, Maildir(tmp_path / "mail"), SENDER, NOW) == 1


@pytest.mark.parametrize("subject", ["Site\r\nBcc: all@x.example", "Site\nX-Header: 1"])
def test_a_header_cannot_be_smuggled_in(factory, subject: str) -> None:
    with pytest.raises(Unusable, match="cannot hold a line break"):
        queue(factory, "ra@maker.example", mail=RenderedMail(subject, "text", "<p>"))


def test_the_same_mail_is_the_same_bytes() -> None:
    made = {service.compose(MAIL, SENDER, "a@x.example", "<id@maker.example>", NOW) for _ in "123"}

    assert len(made) == 1


def test_no_password_goes_over_a_plain_connection(smtp) -> None:
    transport, _ = smtp

    with pytest.raises(DeliveryFailed, match="no TLS offered"):
        Smtp(transport.host, transport.port, user="u", password="p").send(
            SENDER, "a@x.example", b"Subject: x\r\n\r\nx"
        )


@pytest.mark.parametrize("address", ["", "http://x", "smtp://", "maildir:"])
def test_an_unknown_transport_is_refused(address: str) -> None:
    with pytest.raises(Unusable, match=r"smtp://, smtps:// or maildir:/ expected"):
        open_transport(address)


def a_signal(*causes: str, **changes: object) -> Signal:
    fields: dict[str, object] = {
        "id": "x",
        "kind": "statistical",
        "date": NOW.date(),
        "sites": ("H02",),
        "scanners": (),
        "scanner_models": (),
        "readers": (),
        "history": (Attribution(date=NOW.date(), causes=causes, probability=0.9, candidates={}),),
        "change_date": date(2026, 3, 1),
        "change_interval": None,
        "characteristics": (),
        "stream": "s",
        "statistic": 1.0,
        "limit": 1.0,
    }
    return Signal.model_validate(fields | changes)


@pytest.mark.parametrize(
    ("signal", "severity"),
    [
        (a_signal("prevalence"), Severity.NOTICE),
        (a_signal("prevalence", "scanner"), Severity.WARNING),
        (a_signal("performance", "prevalence"), Severity.URGENT),
        (a_signal("undetermined"), Severity.WARNING),
        (a_signal("scanner", kind="deterministic", event="software_version"), Severity.INFO),
        (a_signal("lock", kind="deterministic", event="lock"), Severity.URGENT),
    ],
)
def test_severity_is_that_of_the_gravest_cause(signal: Signal, severity: Severity) -> None:
    assert service.severity_of(signal) == severity


class Words:
    """The shortest renderer there is."""

    def alert_mail(self, alert) -> RenderedMail:
        return RenderedMail(alert.identifier, ",".join(alert.others), "<p>")


def test_those_concerned_are_told_and_hear_who_else_was(session: Session) -> None:
    for address, least in (("a@x.example", Severity.INFO), ("b@x.example", Severity.WARNING)):
        service.add_recipient(session, address, least, by="admin", now=NOW)
    service.add_recipient(session, "c@x.example", Severity.URGENT, by="admin", now=NOW)

    queued = service.notify(
        session,
        "S-0001",
        a_signal("scanner"),
        lock_digest="0" * 64,
        device="ChestTriage 1.0.0",
        promised=1.0,
        renderer=Words(),
        mail_from=SENDER,
        base_url="http://127.0.0.1:8080",
        now=NOW,
    )

    assert queued == 2
    assert {m.recipient for m in service.mails(session)} == {"a@x.example", "b@x.example"}


@pytest.mark.parametrize("address", ["", "nobody", "a@", "@b", "a b@c", "a@b,c@d", "a@b\r\n"])
def test_something_else_than_one_address_is_refused(session: Session, address: str) -> None:
    with pytest.raises(Unusable, match="expected"):
        service.add_recipient(session, address, Severity.INFO, by="admin", now=NOW)


def test_an_address_is_added_once(session: Session) -> None:
    service.add_recipient(session, "a@x.example", Severity.INFO, by="admin", now=NOW)

    with pytest.raises(NotAllowed, match="told already"):
        service.add_recipient(session, "a@x.example", Severity.INFO, by="admin", now=NOW)
