"""The hospital edges of a demonstration: their settings files, and what they say of themselves."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from app.contracts.disclosure import DEFAULT
from app.lab.demo_scenario import Site
from app.lab.demo_traffic import Door
from app.lab.hospital_readers import POLICY
from app.lab.hospital_sender import Peer

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class DemoEdge:
    """One edge on this machine. `folder` holds everything of its hospital."""

    site: Site
    folder: Path
    port: int

    @property
    def settings_file(self) -> Path:
        """What `lockwatch edge run --config` is given."""
        return self.folder / "edge.toml"

    @property
    def code_file(self) -> Path:
        """Where its one-time enrolment code is put."""
        return self.folder / "enrolment-code"

    @property
    def inbox(self) -> Path:
        """Where the hospital drops its label files."""
        return self.folder / "labels"

    @property
    def results(self) -> Path:
        """Where the edge puts what goes back to the clinic."""
        return self.folder / "results"

    @property
    def ae_title(self) -> str:
        """What the listener calls itself."""
        return f"{self.site.code}EDGE"

    @property
    def door(self) -> Door:
        """How the hospital reaches it."""
        return Door(Peer(HOST, self.port, self.ae_title), f"{self.site.code}ROUTER", self.inbox)

    def status(self) -> dict[str, Any]:
        """Its `status.json`; empty before it has written one."""
        try:
            found: dict[str, Any] = json.loads((self.folder / "data" / "status.json").read_text())
        except FileNotFoundError:
            return {}
        return found

    def is_settled(self, instant: datetime, sent: int) -> bool:
        """Whether it has done all there was to do at `instant` with the `sent` objects it got."""
        status = self.status()
        if not status or not status["as_of"]:
            return False
        balance = status["balance"]
        return (
            datetime.fromisoformat(status["as_of"]) >= instant
            and balance["received"] + balance["refused_objects"] >= sent
            and balance["waiting"] == 0
            and status["windows"]["unsent"] == 0
            and not any(self.inbox.glob("*.csv"))
        )

    def write_settings(self, *, bundle: Path, trusted: Iterable[bytes], central_url: str) -> None:
        """Make its folders and write its settings file."""
        for folder in (self.folder, self.inbox, self.results):
            folder.mkdir(parents=True, exist_ok=True)
        values: dict[str, Any] = {
            "data_dir": "data",
            "bundle": str(bundle.resolve()),
            "trusted_keys": [key.hex() for key in trusted],
            "site_timezone": self.site.time_zone,
            "ae_title": self.ae_title,
            "host": HOST,
            "port": self.port,
            "allowed_ae_titles": [self.door.calling],
            "central_url": central_url,
            "audience": central_url,
            "enrolment_code_file": str(self.code_file.resolve()),
            "results_folder": str(self.results.resolve()),
            "label_inbox": str(self.inbox.resolve()),
            "label_policies": [POLICY],
            "k": DEFAULT.k,
            "minimum_n": DEFAULT.minimum_n,
            "workers": 1,
        }
        groups = {reader.code: reader.group for reader in self.site.readers}
        # A TOML value of these kinds is written as JSON writes it.
        lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
        lines += ["", "[reader_groups]"]
        lines += [f"{json.dumps(code)} = {json.dumps(group)}" for code, group in groups.items()]
        self.settings_file.write_text("\n".join(lines) + "\n")


def free_ports(number: int) -> list[int]:
    """Ports that nothing on this machine listens on now."""
    held = [socket.create_server((HOST, 0)) for _ in range(number)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports
