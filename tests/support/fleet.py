"""A small world for tests of the centre: a device version, sites, edges and their windows."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection, Engine, select
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from app import clock
from app.central.accounts.models import Role
from app.central.accounts.service import create_account
from app.central.database import session_factory
from app.central.fleet import service as fleet
from app.central.fleet.models import EdgeAction
from app.central.intake.models import Arrival, Outcome, StoredWindow
from app.central.settings import CentralSettings
from app.central.surveillance import plans
from app.central.web import create_app
from app.contracts.exchange import (
    ENROLMENT_DOMAIN,
    HEADERS,
    KEY_DOMAIN,
    RECEIPT_TYPE,
    REQUEST_DOMAIN,
    EnrolmentRequest,
    KeyRequest,
    KeySwitch,
    Receipt,
    enrolment_message,
    key_message,
    parse,
    request_message,
)
from app.contracts.manifest import PAYLOAD_TYPE, Manifest
from app.contracts.signing import SigningKey, open_sealed, seal, sha256
from app.contracts.window import BALANCE, Header, Table, Window, encode
from monitors.schema import IntArray, Schema
from monitors.summaries import Cases, summarise
from tests.contracts.examples import a_manifest, some_cases

MANUFACTURER = SigningKey.from_seed(bytes(32))
PASSWORD = "correct horse battery"
SCANNER = ("scanner-1", "ACME", "BX-2", "4.1", "chest_pa")


class World:
    """The service on a database, with people; sites and edges are added as needed."""

    def __init__(
        self,
        folder: Path,
        bind: Engine | Connection,
        *,
        manifest: Manifest | None = None,
        **settings: Any,
    ) -> None:
        usual: dict[str, Any] = {
            "data_dir": folder / "central",
            "base_url": "http://testserver",
            "trusted_keys": (MANUFACTURER.public.hex(),),
            "secure_cookies": False,
            "mail": f"maildir:{folder / 'mail'}",
        }
        self.settings = CentralSettings(**(usual | settings))
        self.bind = bind
        self.sessions = session_factory(bind)
        self.app = create_app(self.settings, bind)
        self.client = TestClient(self.app, raise_server_exceptions=False)
        self.manifest: Manifest = manifest or a_manifest()
        with self.sessions.begin() as session:
            fleet.register_device(
                session,
                seal(
                    PAYLOAD_TYPE,
                    json.loads(self.manifest.canonical),
                    [MANUFACTURER],
                ),
                trusted=self.settings.manufacturer_keys,
                threshold=1,
                by="test",
                now=clock.now(),
            )
            plans.ensure(session, self.lock_digest, self.key, by="test", now=clock.now())

    @property
    def key(self) -> SigningKey:
        return self.settings.receipt_key()

    @property
    def lock_digest(self) -> str:
        return self.manifest.lock_digest

    @property
    def schema(self) -> Schema:
        return self.manifest.schema_.layout()

    def add_person(self, name: str, role: Role, site_id: str | None = None) -> None:
        with self.sessions.begin() as session:
            create_account(
                session,
                name=name,
                full_name=f"{name.title()} Person",
                role=role,
                password=PASSWORD,
                site_id=site_id,
                by="test",
                now=clock.now(),
            )

    def browser(self, name: str, role: Role, site_id: str | None = None) -> TestClient:
        """A client logged in as a new person."""
        self.add_person(name, role, site_id)
        made = TestClient(self.app, raise_server_exceptions=False)
        answer = made.post("/api/v1/session", json={"name": name, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        return made

    def add_site(self, site_id: str = "H01") -> None:
        with self.sessions.begin() as session:
            fleet.add_site(
                session, site_id, f"Hospital {site_id}", "UTC", by="test", now=clock.now()
            )

    def code(self, site_id: str = "H01") -> str:
        with self.sessions.begin() as session:
            return fleet.create_code(session, site_id, self.lock_digest, by="test", now=clock.now())

    def an_edge(self, site_id: str = "H01", *, active: bool = True) -> FakeEdge:
        """An enrolled edge at a (new) site; approved unless told otherwise."""
        with self.sessions() as session:
            is_new = site_id not in {s.id for s in fleet.sites(session)}
        if is_new:
            self.add_site(site_id)
        edge = FakeEdge(self)
        edge.enrol(self.code(site_id))
        if active:
            self.act(edge, EdgeAction.APPROVE)
        return edge

    def act(self, edge: FakeEdge, action: EdgeAction) -> None:
        with self.sessions.begin() as session:
            fleet.act(
                session,
                edge.edge_id,
                action,
                by="test",
                now=clock.now(),
                seen_fingerprint=edge.key.key_id,
                reason="" if action is EdgeAction.APPROVE else "by the test",
            )


@dataclass
class FakeEdge:
    """Speaks the wire contract as an edge does."""

    world: World
    key: SigningKey = field(default_factory=SigningKey.generate)
    edge_id: str = ""
    epoch: int = 1
    sequence: int = 0
    previous: str = "0" * 64

    def enrol(self, code: str, key: SigningKey | None = None) -> Any:
        key = key or self.key
        public, lock = key.public.hex(), self.world.lock_digest
        request = EnrolmentRequest(
            code=code,
            public_key=public,
            agent_version="0.1.0",
            lock_digest=lock,
            signature=key.sign(ENROLMENT_DOMAIN, enrolment_message(code, public, lock)).hex(),
        )
        answer = self.world.client.post("/edge/v1/enrol", content=request.model_dump_json())
        if answer.status_code == 200:
            self.edge_id = answer.json()["edge_id"]
        return answer

    def headers(
        self,
        method: str,
        path: str,
        content: bytes,
        *,
        key: SigningKey | None = None,
        audience: str | None = None,
        time: datetime | None = None,
        nonce: str | None = None,
    ) -> dict[str, str]:
        stamp = (time or clock.now()).isoformat()
        nonce = nonce or secrets.token_hex(16)
        audience = audience or self.world.settings.base_url
        message = request_message(method, path, audience, stamp, nonce, sha256(content))
        return {
            HEADERS["edge"]: self.edge_id,
            HEADERS["time"]: stamp,
            HEADERS["nonce"]: nonce,
            HEADERS["signature"]: (key or self.key).sign(REQUEST_DOMAIN, message).hex(),
        }

    def get(self, path: str, **signing: Any) -> Any:
        return self.world.client.get(path, headers=self.headers("GET", path, b"", **signing))

    def post(self, path: str, content: bytes, **signing: Any) -> Any:
        headers = self.headers("POST", path, content, **signing)
        return self.world.client.post(path, content=content, headers=headers)

    def ask_for_key(self, new: SigningKey, *, proof: SigningKey | None = None) -> Any:
        public = new.public.hex()
        signature = (proof or new).sign(KEY_DOMAIN, key_message(self.edge_id, public)).hex()
        request = KeyRequest(public_key=public, signature=signature)
        return self.post("/edge/v1/key", request.model_dump_json().encode())

    def switch_key(self, new: SigningKey, last: int | None = None, **signing: Any) -> Any:
        sequence = self.sequence if last is None else last
        asked = KeySwitch(public_key=new.public.hex(), epoch=self.epoch, last_sequence=sequence)
        return self.post("/edge/v1/key/switch", asked.model_dump_json().encode(), **signing)

    def send(self, window: Window | bytes, **signing: Any) -> Any:
        raw = window if isinstance(window, bytes) else window.raw
        return self.post("/edge/v1/windows", raw, **signing)

    def receipt(self, answer: Any) -> Receipt:
        """The receipt in an answer, its signature checked."""
        assert answer.status_code == 200, answer.text
        payload = open_sealed(RECEIPT_TYPE, answer.content, [self.world.key.public])
        return parse(Receipt, payload)

    def window(
        self,
        day: date = date(2026, 3, 8),
        *,
        cases: Cases | None = None,
        stratum: tuple[str, ...] = SCANNER,
        tables: dict[str, Table] | None = None,
        key: SigningKey | None = None,
        **header: Any,
    ) -> Window:
        """The next window of this edge: a day of `some_cases`, unless told otherwise."""
        self.sequence += 1
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        if tables is None:
            tables = {"strata": self.strata(day, cases or some_cases(), stratum)}
        tables.setdefault("balance", self.balance())
        fields: dict[str, Any] = {
            "edge_id": self.edge_id,
            "epoch": self.epoch,
            "sequence": self.sequence,
            "previous": self.previous,
            "stream": "cases",
            "start": start,
            "end": start + timedelta(days=1),
            "revision": 0,
            "lock_digest": self.world.lock_digest,
            "operating_point": "OP-1",
            "schema_digest": self.world.manifest.schema_.digest,
            "agent_version": "0.1.0",
            "lock_state": "holds",
            "known_answer_deviation": 0.0,
            "clock_state": "synchronised",
            "clock_offset_ms": 0,
            "closed_at": clock.now(),
        }
        made = encode(Header(**(fields | header)), tables, key or self.key)
        self.previous = made.digest
        return made

    def strata(self, day: date, cases: Cases, stratum: tuple[str, ...] = SCANNER) -> Table:
        row = summarise(self.world.schema, cases, np.zeros(len(cases), dtype=np.int64), 1)
        return self.strata_of(day, row, stratum)

    def strata_of(self, day: date, rows: IntArray, stratum: tuple[str, ...] = SCANNER) -> Table:
        key = (day.isoformat(), (day + timedelta(days=1)).isoformat(), *stratum)
        return Table((key,), rows)

    def balance(self, **changes: int) -> Table:
        values = dict.fromkeys(BALANCE, 0) | {"windows_produced": self.sequence} | changes
        return Table((("",),), np.array([[values[n] for n in BALANCE]], dtype=np.int64))


def assert_balance(world: World, edge: FakeEdge, *, unsent: int = 0) -> None:
    """produced = stored + quarantined + still on the edge, whatever has happened."""
    from app.central.fleet.repository import find_edge
    from app.central.intake.service import balance

    with world.sessions() as session:
        row = find_edge(session, edge.edge_id)
        assert row is not None
        found = balance(session, row)
    assert found.produced == edge.sequence - unsent
    assert found.produced == found.stored + found.quarantined + found.on_edge
    assert found.on_edge >= 0


def assert_ledger(world: World) -> None:
    """What a fault test ends in: of every edge, what arrived is stored or in quarantine, by hash.

    Read from the rows, not from the counters that `assert_balance` looks at.
    """
    from app.central.intake.service import balances

    with world.sessions() as session:
        arrived = session.scalars(select(Arrival)).all()
        stored = session.execute(
            select(StoredWindow.edge_id, StoredWindow.digest, StoredWindow.raw)
        ).all()
        found = {b.edge_id: b for b in balances(session)}
    kept = sorted((a.edge_id, a.digest, a.content_digest) for a in arrived if _is_stored(a))
    assert sorted((edge, digest, sha256(raw)) for edge, digest, raw in stored) == kept
    for edge_id, balance in found.items():
        mine = [a for a in arrived if a.edge_id == edge_id]
        assert balance.stored == sum(map(_is_stored, mine))
        assert balance.quarantined == len(mine) - balance.stored
        assert balance.produced == balance.stored + balance.quarantined + balance.on_edge
        assert balance.on_edge >= 0


def _is_stored(arrival: Arrival) -> bool:
    return arrival.outcome is Outcome.STORED


def read(world: World) -> Session:
    """A session for looking."""
    return world.sessions()
