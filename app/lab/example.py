"""The example data, as steps: everything goes through the doors that real edges and people use.

Every window is encoded and signed by an edge's own key, arrives in a signed request, and is
taken in, evaluated and answered by the service as any other. The keys are made for one loading
and kept nowhere: nobody can add to an example later.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import partial

import numpy as np
from sqlalchemy.orm import Session

from app.central.example.loading import Example, Step
from app.central.fleet import service as fleet
from app.central.fleet.models import EdgeAction
from app.central.intake import service as intake
from app.central.intake.authentication import authenticate
from app.central.references import service as references
from app.central.surveillance import plans
from app.central.surveillance import service as surveillance
from app.contracts.exchange import (
    ENROLMENT_DOMAIN,
    HEADERS,
    REQUEST_DOMAIN,
    EnrolmentRequest,
    WindowReceipt,
    enrolment_message,
    request_message,
)
from app.contracts.manifest import PAYLOAD_TYPE, Manifest
from app.contracts.signing import SigningKey, seal, sha256
from app.contracts.window import BALANCE, Header, Table, Window, encode
from app.errors import AppError
from app.lab.example_device import FLEET, PLACE, example_history, example_manifest
from app.lab.example_windows import Cut, cuts_by_arrival, day_words
from app.lab.simulate import EPOCH
from monitors.observations import History

AUDIENCE, PATH = "https://example.invalid", "/edge/v1/windows"
AGENT = "example"
SENT_AT, EVALUATED_AT, LOOKED_AT = time(3), time(6), time(8)  # UTC
PEOPLE = ("example-administrator", "example-analyst", "example-approver")
END = FLEET.reference_end + FLEET.monitored_days  # the first day after the last


class NotTakenIn(AppError):
    """The service did not store a window of the example."""


@dataclass
class Hospital:
    """An example site and its edge: the key, and what it has sent so far."""

    site: str
    key: SigningKey = field(default_factory=SigningKey.generate, repr=False)
    edge_id: str = ""
    sequence: int = 0
    previous: str = "0" * 64
    cases: int = 0


def example() -> Example:
    """Every step of the example, and the instant at which it then stands."""
    history = example_history()
    manifest = example_manifest(history.schema)
    sites = {f"H{i + 1}": Hospital(f"{PLACE}{i + 1}") for i in range(FLEET.sites)}
    play = Play(history, manifest, sites)
    return Example(tuple(play.steps()), _instant(END + 1, LOOKED_AT))


@dataclass
class Play:
    """What the steps share."""

    history: History
    manifest: Manifest
    hospitals: dict[str, Hospital]
    key: SigningKey = field(default_factory=SigningKey.generate, repr=False)

    def steps(self) -> Iterator[Step]:
        """In order: the fleet, its reference period, then a day at a time."""
        yield Step("registers the device version and its plan", self._register)
        yield Step("enrols three edges", self._enrol)
        days = cuts_by_arrival(self.history, END + 1)
        for day in range(EPOCH, END + 2):
            yield Step(f"takes in the windows of {day_words(day)}", partial(self._send, day, days))
            if day == FLEET.reference_end + 1:
                yield Step("freezes and approves the reference period", self._refer)
            if day > FLEET.reference_end + 1:
                yield Step(f"evaluates {day_words(day)}", partial(self._evaluate, day))

    def _register(self, session: Session) -> None:
        now, by = _instant(EPOCH, LOOKED_AT), PEOPLE[0]
        for month in range(-1, (END - EPOCH) // 28 + 2):
            intake.add_months(session, now + timedelta(days=28 * month))
        envelope = seal(PAYLOAD_TYPE, json.loads(self.manifest.canonical), [self.key])
        fleet.register_device(
            session, envelope, trusted=[self.key.public], threshold=1, by=by, now=now
        )
        plans.ensure(session, self.manifest.lock_digest, self.key, by=by, now=now)

    def _enrol(self, session: Session) -> None:
        now, by, lock = _instant(EPOCH, LOOKED_AT), PEOPLE[0], self.manifest.lock_digest
        for i, one in enumerate(self.hospitals.values()):
            fleet.add_site(session, one.site, f"Example hospital {i + 1}", "UTC", by=by, now=now)
            code = fleet.create_code(session, one.site, lock, by=by, now=now)
            public = one.key.public.hex()
            proof = one.key.sign(ENROLMENT_DOMAIN, enrolment_message(code, public, lock)).hex()
            request = EnrolmentRequest(
                code=code,
                public_key=public,
                agent_version=AGENT,
                lock_digest=lock,
                signature=proof,
            )
            edge = fleet.enrol(session, request, now=now)
            one.edge_id = edge.id
            seen = one.key.key_id
            fleet.act(session, edge.id, EdgeAction.APPROVE, by=by, now=now, seen_fingerprint=seen)

    def _send(self, day: int, days: dict[int, list[Cut]], session: Session) -> None:
        now = _instant(day, SENT_AT)
        for cut in days.get(day, ()):
            one = self.hospitals[cut.site]
            window = self._window(one, cut, now)
            edge = authenticate(
                session,
                _signed(one, window.raw, now),
                method="POST",
                path=PATH,
                audience=AUDIENCE,
                content=window.raw,
                now=now,
            )
            answer = intake.take_in(session, edge, window.raw, now=now)
            if not isinstance(answer, WindowReceipt) or answer.outcome != "stored":
                raise NotTakenIn(f"{cut.stream} of {cut.site} on {day_words(day)}: {answer}")

    def _window(self, one: Hospital, cut: Cut, now: datetime) -> Window:
        one.sequence += 1
        one.cases += cut.cases
        header = Header(
            edge_id=one.edge_id,
            epoch=1,
            sequence=one.sequence,
            previous=one.previous,
            stream=cut.stream,
            start=_instant(cut.start, time(0)),
            end=_instant(cut.end, time(0)),
            revision=0,
            lock_digest=self.manifest.lock_digest,
            operating_point=self.manifest.default_operating_point,
            schema_digest=self.manifest.schema_.digest,
            agent_version=AGENT,
            lock_state="holds",
            known_answer_deviation=0.0,
            clock_state="synchronised",
            clock_offset_ms=0,
            closed_at=now,
        )
        made = encode(header, cut.tables | {"balance": _balance(one, cut)}, one.key)
        one.previous = made.digest
        return made

    def _refer(self, session: Session) -> None:
        lock, until = self.manifest.lock_digest, date.fromordinal(FLEET.reference_end - 1)
        now = _instant(FLEET.reference_end + 1, LOOKED_AT)
        made = references.propose(session, lock, until, by=PEOPLE[1], now=now)
        references.approve(session, made.id, by=PEOPLE[2], now=now)

    def _evaluate(self, day: int, session: Session) -> None:
        surveillance.evaluate(
            session,
            self.manifest.lock_digest,
            date.fromordinal(day),
            announce=lambda *_: None,  # nobody is told about an example
            now=_instant(day, EVALUATED_AT),
        )


def _balance(one: Hospital, cut: Cut) -> Table:
    counted = {
        "window_cases": cut.cases,
        "received": one.cases,
        "analysed": one.cases,
        "results_queued": one.cases,
        "results_delivered": one.cases,
        "windows_produced": one.sequence,
    }
    row = [counted.get(name, 0) for name in BALANCE]
    return Table((("",),), np.array([row], dtype=np.int64))


def _signed(one: Hospital, content: bytes, now: datetime) -> dict[str, str]:
    """The headers of an edge's request."""
    stamp, nonce = now.isoformat(), secrets.token_hex(16)
    message = request_message("POST", PATH, AUDIENCE, stamp, nonce, sha256(content))
    return {
        HEADERS["edge"]: one.edge_id,
        HEADERS["time"]: stamp,
        HEADERS["nonce"]: nonce,
        HEADERS["signature"]: one.key.sign(REQUEST_DOMAIN, message).hex(),
    }


def _instant(day: int, at: time) -> datetime:
    return datetime.combine(date.fromordinal(int(day)), at, UTC)
