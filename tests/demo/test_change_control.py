"""The change-control loop with the real service, its worker and a live agent; no image is sent.

The weeks before are windows that another key of the same site has signed, so that nobody waits
for thousands of images. The signal is stored as the engine stores one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from sqlalchemy.orm import Session

from app import clock
from app.central.commands import database
from app.central.database import session_factory
from app.central.settings import read_settings
from app.central.surveillance import service as surveillance
from app.contracts.manifest import ClassHistogram, Manifest, Proportion, SubgroupRow
from app.contracts.signals import Signal
from app.contracts.window import Table
from app.device.build import write_bundle
from app.device.bundle import open_bundle
from app.lab.demo_bundle import Device
from app.lab.demo_central import Api
from app.lab.demo_deployment import Deployment, deployed
from app.lab.demo_recalibration import ChangeControl
from app.lab.demo_scenario import SITES
from monitors.summaries import Cases
from tests.support.chest_bundle import KEY, chest_bundle
from tests.support.fleet import FakeEdge

FIRST = datetime(2026, 1, 5, 5, tzinfo=UTC)
DAYS, CHANGED = 40, 22
BEFORE, SINCE = 0.10, 0.25
SITE = replace(SITES[1], time_zone="UTC")
BINS = np.arange(32)
NEGATIVE, POSITIVE = (np.exp(-a) / np.exp(-a).sum() for a in (BINS / 4, (31 - BINS) / 6))


def a_device(folder: Path) -> Device:
    """The small chest device, cleared on a cohort large enough for a prevalence to be known."""
    small = open_bundle(chest_bundle(), [KEY.public], 1)
    counts = [np.rint(n * q) for n, q in ((12_000, NEGATIVE), (3_000, POSITIVE))]
    at = small.manifest.schema_.scores[0].edges.index(
        small.manifest.operating_points[0].thresholds[0].value
    )
    right = counts[1][at:].sum() / 5, counts[0][:at].sum() / 5
    row = SubgroupRow(
        margin="sex",
        level="F",
        cases=3000,
        positives=600,
        sensitivity=Proportion(successes=round(right[0]), n=600, low=0, high=1),
        specificity=Proportion(successes=round(right[1]), n=2400, low=0, high=1),
    )
    validation = small.manifest.validation.model_copy(
        update={
            "prevalence": 0.2,
            "cases": 15_000,
            "subgroups": (row,),
            "histograms": tuple(
                ClassHistogram(stage="classifier", label=k, counts=tuple(int(x) for x in counts[k]))
                for k in (0, 1)
            ),
        }
    )
    manifest = small.manifest.model_copy(update={"validation": validation})
    files = {entry.path: small.read(entry.path) for entry in manifest.files}
    write_bundle(folder, manifest, files, [KEY])
    return Device(folder, KEY, manifest.lock_digest, ())


@dataclass
class Weeks:
    """Sends a site's windows over HTTP, signed with a key of its own."""

    parts: Deployment
    manifest: Manifest
    api: Api

    def play(self) -> None:
        with httpx.Client(base_url=self.parts.central.url) as client:
            self._play(self._enrolled(client))

    def _play(self, edge: FakeEdge) -> None:
        rng = np.random.default_rng(1)
        for i in range(DAYS):
            day = (FIRST + timedelta(days=i)).date()
            pi = SINCE if i >= CHANGED else BEFORE
            taken = edge.send(edge.window(day, cases=self._cases(rng, pi)))
            assert taken.status_code == 200, taken.text
        week = (FIRST + timedelta(days=CHANGED + 6)).date()
        taken = edge.send(edge.window(week, tables={"labels": self._labels(week)}, stream="labels"))
        assert taken.status_code == 200, taken.text

    def _enrolled(self, client: httpx.Client) -> FakeEdge:
        world: Any = SimpleNamespace(
            client=client,
            manifest=self.manifest,
            lock_digest=self.manifest.lock_digest,
            schema=self.manifest.schema_.layout(),
            settings=SimpleNamespace(base_url=self.parts.central.url),
        )
        edge = FakeEdge(world)
        code = self.api.enrolment_code(SITE.code, self.manifest.lock_digest)
        assert edge.enrol(code).status_code == 200
        self.api.approve_edge(edge.edge_id, edge.key.key_id)
        return edge

    def _cases(self, rng: np.random.Generator, pi: float) -> Cases:
        schema = self.manifest.schema_.layout()
        bins = np.repeat(BINS, np.rint(200 * ((1 - pi) * NEGATIVE + pi * POSITIVE)).astype(int))
        n = len(bins)
        edges = self.manifest.schema_.scores[0].edges
        scores = np.array([(a + b) / 2 for a, b in pairwise(edges)])[bins]
        return Cases(
            numeric=np.column_stack(
                [rng.uniform(f.edges[0], f.edges[-1], n) for f in schema.numeric]
            ),
            categorical=rng.integers(0, 2, size=(n, len(schema.categorical))),
            scores=np.column_stack([scores, np.full(n, 0.1)]),
            embedding=rng.normal(size=(n, schema.joint.embedding)),
            outcome=(bins >= 5).astype(np.int64),
        )

    def _labels(self, week: Any) -> Table:
        schema = self.manifest.schema_.layout()
        merged, columns = np.array(schema.label_bins), schema.label_columns
        ill, well = SINCE * POSITIVE, (1 - SINCE) * NEGATIVE
        share = np.bincount(merged, ill) / np.bincount(merged, ill + well)
        row = np.zeros((1, schema.width(columns)), dtype=np.int64)
        row[0, columns["labelled"]] = 60
        row[0, columns["positive"]] = np.rint(60 * share)
        return Table(((week.isoformat(), "random_audit", "readers-1", "policy-1"),), row)


def a_signal(**changes: Any) -> Signal:
    fields: dict[str, Any] = {
        "id": "-",
        "kind": "statistical",
        "date": (FIRST + timedelta(days=CHANGED + 6)).date(),
        "sites": (SITE.code,),
        "scanners": (),
        "scanner_models": (),
        "readers": (),
        "history": (
            {
                "date": (FIRST + timedelta(days=CHANGED + 6)).date(),
                "causes": ("prevalence",),
                "probability": 0.95,
                "candidates": {"prevalence": 0.95},
            },
        ),
        "change_date": (FIRST + timedelta(days=CHANGED)).date(),
        "change_interval": None,
        "characteristics": (),
        "stream": f"score:{SITE.code}",
        "statistic": 2000.0,
        "limit": 1000.0,
    }
    return Signal.model_validate(fields | changes)


@contextmanager
def stored(parts: Deployment) -> Iterator[Session]:
    """The service's own database."""
    settings = read_settings(parts.central.settings_file, environment={})
    with database(settings) as engine, session_factory(engine).begin() as session:
        yield session


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ChangeControl]:
    """Everything up to a stored signal, at the night after the last window."""
    device = a_device(tmp_path / "bundle")
    with deployed(tmp_path, (SITE,)) as parts:
        monkeypatch.setenv(clock.VARIABLE, str(parts.clock_file))
        parts.start_central(device.key, FIRST + timedelta(days=DAYS + 1))
        parts.start(device)
        manifest = open_bundle(device.bundle, [KEY.public], 1).manifest
        Weeks(parts, manifest, Api(parts.central.url, parts.people[0])).play()
        until = (FIRST + timedelta(days=CHANGED - 4)).date()
        number = Api(parts.central.url, parts.people[1]).propose_reference(
            device.lock_digest, until
        )
        Api(parts.central.url, parts.people[2]).approve_reference(number)
        with stored(parts) as session:
            surveillance._raise(
                session, device.lock_digest, "test", a_signal(), None, lambda *_: None, clock.now()
            )
        yield ChangeControl(parts, device.lock_digest)


def test_from_the_signal_to_a_live_agent_and_back(played: ChangeControl) -> None:
    begun = FIRST + timedelta(days=DAYS + 1)
    played.begin(begun)
    for night in range(1, 8):
        now = begun + timedelta(days=night)
        played.parts.move_to(now)
        played.parts.settle(now, {SITE.code: 0})
        played.look(now)

    found = played.conclude()

    assert (found.faults, found.refused_because) == ((), ())
    assert found.outcome == "applied and rolled back"
    assert found.author != found.approver
    assert found.new_threshold is not None
    assert found.old_threshold is not None
    assert found.new_threshold < found.old_threshold == found.rolled_back_to_threshold
    dates = (
        found.released_on,
        found.applied_on,
        found.named_in_window_on,
        found.back_on,
        found.back_named_in_window_on,
    )
    assert list(dates) == sorted(d for d in dates if d)
    assert played._edge.status()["operating_point"]["id"] == found.rolled_back_by
