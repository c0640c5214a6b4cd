"""The central service of a demonstration, and the people who work with it through its API.

Everything is done as a person would do it: an administrator sets the fleet up and approves the
edges, an analyst proposes the reference, and somebody else approves it.
"""

from __future__ import annotations

import http.client
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from mailbox import Maildir
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from app.contracts.signals import Signal
from app.lab.demo_edges import HOST
from app.lab.demo_processes import DemoFailed
from app.lab.demo_scenario import Site

ANSWER_WITHIN_S = 120.0
RECIPIENT = "drift-watch@manufacturer.example"


@dataclass(frozen=True, slots=True)
class Colleague:
    """Somebody at the manufacturer, with a password made for this demonstration."""

    name: str
    full_name: str
    role: str
    password: str = field(repr=False, default_factory=lambda: secrets.token_urlsafe(12))


def colleagues() -> tuple[Colleague, Colleague, Colleague, Colleague]:
    """An administrator, an analyst, a quality approver, and somebody of regulatory affairs."""
    return (
        Colleague("admin", "Ada Marsh", "administrator"),
        Colleague("analyst", "Jonas Weber", "analyst"),
        Colleague("approver", "Ines Duarte", "quality_approver"),
        Colleague("regulatory", "Mara Lindholm", "regulatory"),
    )


@dataclass(frozen=True, slots=True)
class DemoCentral:
    """Where the service of this demonstration lives."""

    folder: Path
    port: int

    @property
    def url(self) -> str:
        """Its address, which is also the audience of the edges' requests."""
        return f"http://{HOST}:{self.port}"

    @property
    def settings_file(self) -> Path:
        """What `--config` is given."""
        return self.folder / "central.toml"

    @property
    def mailbox(self) -> Path:
        """The local mailbox folder into which all mail goes."""
        return self.folder / "mail"

    def write_settings(self, trusted: Iterable[bytes]) -> None:
        """Make its folder and write its settings file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        values = {
            "data_dir": "data",
            "host": HOST,
            "port": self.port,
            "base_url": self.url,
            "trusted_keys": [key.hex() for key in trusted],
            "mail": f"maildir:{self.mailbox.resolve()}",
            "mail_from": "lockwatch@manufacturer.example",
            "secure_cookies": False,
            "requests_per_minute": 60_000,  # simulated days pass in seconds
        }
        lines = (f"{name} = {json.dumps(value)}\n" for name, value in values.items())
        self.settings_file.write_text("".join(lines))

    def subjects(self) -> list[str]:
        """Subjects of the mails that went out, sorted."""
        if not self.mailbox.exists():
            return []
        box = Maildir(self.mailbox, create=False)
        return sorted(str(message["subject"]) for message in box)


class Api:
    """The service as one person, or nobody, uses it."""

    def __init__(self, url: str, person: Colleague | None = None) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(
            parts.hostname or HOST, parts.port, timeout=ANSWER_WITHIN_S
        )
        self._cookie = ""
        if person is not None:
            self.post("/api/v1/session", {"name": person.name, "password": person.password})

    def get(self, path: str) -> Any:
        """The JSON at `path`."""
        return json.loads(self.content("GET", path))

    def post(self, path: str, body: Any) -> Any:
        """The JSON answer to a JSON body."""
        return json.loads(self.content("POST", path, json.dumps(body).encode()))

    def content(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """The bytes of an answer; `DemoFailed` with the service's own words for a refusal."""
        headers = {"content-type": "application/json"}
        if self._cookie:
            headers["cookie"] = self._cookie
        try:
            self._connection.request(method, path, body, headers)
            response = self._connection.getresponse()
            answer = response.read()
        finally:
            self._connection.close()  # the server ends an idle one after some seconds
        if response.status >= 400:
            raise DemoFailed(
                f"{method} {path}: {response.status} {answer[:400].decode(errors='replace')}"
            )
        self._cookie = (response.getheader("set-cookie") or self._cookie).partition(";")[0]
        return answer

    def is_up(self) -> bool:
        """Whether the service answers and a worker has done its first round."""
        try:
            return bool(self.get("/health")["workers"])
        except (OSError, http.client.HTTPException):
            return False

    def is_settled(self, upto: datetime) -> bool:
        """Whether every job due by then is done and all mail is out."""
        found = self.get(f"/api/v1/jobs/settled?upto={quote(upto.isoformat())}")
        return bool(found["settled"])

    def add(self, person: Colleague) -> None:
        """Add a person."""
        names = ("name", "full_name", "role", "password")
        self.post("/api/v1/accounts", {name: getattr(person, name) for name in names})

    def register(self, bundle: Path) -> None:
        """Register the device version of a bundle by its signed manifest."""
        self.content("POST", "/api/v1/device-versions", (bundle / "manifest.sig").read_bytes())

    def add_site(self, site: Site) -> None:
        """Add a hospital."""
        body = {"id": site.code, "name": site.name, "timezone": site.time_zone}
        self.post("/api/v1/sites", body)

    def propose_reference(self, lock_digest: str, until: date) -> str:
        """Freeze a reference candidate of everything up to `until`; its number."""
        body = {"lock_digest": lock_digest, "until": str(until)}
        return str(self.post("/api/v1/references", body)["id"])

    def approve_reference(self, number: str) -> None:
        """Put a candidate in force, as another person than proposed it."""
        self.post(f"/api/v1/references/{number}/approval", {})

    def approve_edge(self, edge_id: str, fingerprint: str) -> None:
        """Let an edge in whose fingerprint, as the hospital sees it, is this one."""
        self.post(
            f"/api/v1/edges/{edge_id}/actions", {"action": "approve", "fingerprint": fingerprint}
        )

    def enrolment_code(self, site: str, lock_digest: str) -> str:
        """A one-time code for an edge at the site."""
        made = self.post(f"/api/v1/sites/{site}/enrolment-codes", {"lock_digest": lock_digest})
        return str(made["code"])

    def signals(self) -> tuple[Signal, ...]:
        """Every signal, oldest first."""
        found = self.get("/api/v1/signals")
        return tuple(Signal.model_validate(one["signal"]) for one in reversed(found))

    def balances(self) -> dict[str, dict[str, Any]]:
        """What the centre counts of each edge, by site."""
        return {one["site_id"]: one for one in self.get("/api/v1/balances")}

    def draft_report(self, lock_digest: str, start: date, end: date) -> str:
        """Draft a drift report on [start, end): its number."""
        body = {"lock_digest": lock_digest, "start": str(start), "end": str(end)}
        return str(self.post("/api/v1/reports", body)["number"])

    def sign_report(self, number: str, meaning: str, password: str) -> None:
        """Sign what the report says now."""
        address = f"/api/v1/reports/{number}"
        seen = self.get(address)["content_digest"]
        body = {"meaning": meaning, "content_digest": seen, "password": password}
        self.post(f"{address}/signatures", body)

    def report_pdf(self, number: str) -> bytes:
        """Its PDF."""
        return self.content("GET", f"/api/v1/reports/{number}/pdf")
