"""A real agent changes its key at a real service: both commands, a person's comparison between."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app import clock
from app.device.bundle import open_bundle
from app.lab.demo_bundle import Device
from app.lab.demo_central import Api
from app.lab.demo_deployment import Deployment, deployed
from app.lab.demo_scenario import SITES
from tests.support.chest_bundle import KEY, chest_bundle

FIRST = datetime(2026, 1, 5, 5, tzinfo=UTC)
SITE = replace(SITES[0], time_zone="UTC")
WITHIN_S = 120.0


def night(parts: Deployment, i: int) -> None:
    now = FIRST + timedelta(days=i)
    parts.move_to(now)
    parts.settle(now, {SITE.code: 0})


def test_windows_of_both_keys_arrive_and_the_balance_closes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = open_bundle(chest_bundle(), [KEY.public], 1).manifest.lock_digest
    with deployed(tmp_path, (SITE,)) as parts:
        monkeypatch.setenv(clock.VARIABLE, str(parts.clock_file))
        parts.start_central(KEY, FIRST)
        parts.start(Device(chest_bundle(), KEY, lock, ()))
        [edge] = parts.edges
        config = ("--config", str(edge.settings_file))
        night(parts, 1)
        night(parts, 2)
        before = edge.status()

        fingerprint = parts.supervisor.call("edge", "rotate-key", *config).splitlines()[1]
        night(parts, 3)  # asked, not approved: everything goes on under the old key
        assert edge.status()["key_fingerprint"] == before["key_fingerprint"]
        parts.supervisor.call(
            *("central", "approve-key", before["edge_id"], "--fingerprint", fingerprint),
            *("--config", str(parts.central.settings_file)),
        )
        parts.supervisor.until(
            lambda: edge.status()["key_fingerprint"] == fingerprint, "the new key", WITHIN_S
        )
        night(parts, 4)
        night(parts, 5)

        [balance] = Api(parts.central.url, parts.people[0]).balances().values()
        produced = edge.status()["balance"]["windows_produced"]
        assert produced > before["balance"]["windows_produced"] + 2
        assert (balance["produced"], balance["stored"]) == (produced, produced)
        assert (balance["quarantined"], balance["on_edge"], balance["gaps"]) == (0, 0, [])
