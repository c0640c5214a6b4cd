"""Programs are told through the same outbox as people: once, signed, byte for byte the same."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from app.central.accounts.models import Role
from app.central.alerts import service
from app.central.alerts.models import MailState
from app.central.alerts.ports import RenderedMail
from app.central.alerts.transport import Maildir
from app.central.alerts.webhook import DOMAIN, Ways, check
from app.central.database import session_factory
from app.central.errors import Unusable
from app.contracts.signing import SigningKey, verify
from tests.support.fleet import World

NOW = datetime(2026, 3, 10, 6, tzinfo=UTC)
MAIL = RenderedMail("Signal S-0001: noise rose", "Nöise rose.\n", "<p>Nöise rose.</p>")
KEY = SigningKey.from_seed(bytes(32))


class Hook:
    """A program that listens: answers in turn as told, then 204; None hangs up unanswered."""

    def __init__(self, answers: list[int | None]) -> None:
        self.received: list[tuple[dict[str, str], bytes]] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self, answers))
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}/told?by=lockwatch"


def _handler(hook: Hook, answers: list[int | None]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            hook.received.append(({k.lower(): v for k, v in self.headers.items()}, body))
            answer = answers.pop(0) if answers else 204
            if answer is None:
                self.connection.close()
                return
            self.send_response(answer)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@pytest.fixture
def hook(request: pytest.FixtureRequest) -> Iterator[Hook]:
    made = Hook(list(getattr(request, "param", [])))
    thread = threading.Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join(10)


@pytest.fixture
def factory(fresh_database: Engine) -> sessionmaker[Session]:
    return session_factory(fresh_database)


def queue(factory: sessionmaker[Session], *recipients: str) -> None:
    with factory.begin() as session:
        for recipient in recipients:
            service.enqueue(session, "signal:S-0001", recipient, MAIL, "a@maker.example", NOW)


def deliver(factory: sessionmaker[Session], folder: Path, now: datetime = NOW) -> None:
    service.deliver(factory, Ways(Maildir(folder / "mail"), KEY), "a@maker.example", now)


def states(factory: sessionmaker[Session]) -> dict[str, MailState]:
    with factory() as session:
        return {m.recipient: m.state for m in service.mails(session)}


def test_a_program_and_a_person_are_told_of_one_cause(
    factory: sessionmaker[Session], hook: Hook, tmp_path: Path
) -> None:
    queue(factory, hook.address, "ann@maker.example")

    deliver(factory, tmp_path)
    deliver(factory, tmp_path, NOW + timedelta(hours=1))

    [(headers, body)] = hook.received
    assert set(states(factory).values()) == {MailState.SENT}
    assert json.loads(body)["text"] == "Nöise rose.\n"
    assert headers["idempotency-key"] == json.loads(body)["id"]
    verify(KEY.public, DOMAIN, body, bytes.fromhex(headers["lockwatch-signature"]))


@pytest.mark.parametrize("hook", [[503, 429, None]], indirect=True)
def test_s8_every_repeat_is_byte_for_byte_the_same(
    factory: sessionmaker[Session], hook: Hook, tmp_path: Path
) -> None:
    queue(factory, hook.address)

    for hours in range(4):
        deliver(factory, tmp_path, NOW + timedelta(hours=12 * hours))

    assert states(factory) == {hook.address: MailState.SENT}
    assert len(hook.received) == 4
    assert len({body for _, body in hook.received}) == 1


@pytest.mark.parametrize("hook", [[404], [302], [401]], indirect=True)
def test_s9_a_program_that_refuses_is_not_asked_again(
    factory: sessionmaker[Session], hook: Hook, tmp_path: Path
) -> None:
    queue(factory, hook.address)

    deliver(factory, tmp_path)
    deliver(factory, tmp_path, NOW + timedelta(days=1))

    assert states(factory) == {hook.address: MailState.DEAD}
    assert len(hook.received) == 1  # nor is a redirect followed


def test_s7_a_program_that_is_away_is_tried_again(
    factory: sessionmaker[Session], hook: Hook, tmp_path: Path
) -> None:
    away = "http://127.0.0.1:9/told"
    queue(factory, away, hook.address)

    deliver(factory, tmp_path)

    assert states(factory) == {away: MailState.PENDING, hook.address: MailState.SENT}


@pytest.mark.parametrize(
    "address",
    [
        "http://elsewhere.example/told",
        "https:///told",
        "https://ann:secret@host.example/",
        "https://host.example:port/",
        "https://host.example/a b",
        "https://host.example/\r\nX: y",
        "https://host.example/#part",
        "https://[::1/",
    ],
)
def test_an_address_that_is_no_plain_https_is_refused(address: str) -> None:
    with pytest.raises(Unusable, match="webhook"):
        check(address)


def test_a_webhook_is_added_and_removed_like_an_address(world: World) -> None:
    browser = world.browser("adam", Role.ADMINISTRATOR)
    address = "https://host.example/hooks/lockwatch?team=quality"

    made = browser.post(
        "/api/v1/recipients", json={"address": address, "least_severity": "warning"}
    )
    listed = [r["address"] for r in browser.get("/api/v1/recipients").json()]
    gone = browser.delete(f"/api/v1/recipients/{quote(address, safe='')}")

    assert (made.status_code, listed, gone.status_code) == (201, [address], 204)
