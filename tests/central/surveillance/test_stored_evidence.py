"""Evidence is stored in frames; whole or by site, it reads back as the engine gave it."""

from __future__ import annotations

import json
from datetime import timedelta

import numpy as np
import pytest
import zstandard
from sqlalchemy import select, update

from app.central.surveillance import evidence, service
from app.central.surveillance.models import Evaluation, Signal
from app.central.surveillance.results import read_evidence, read_traces, stored_evidence
from app.contracts.signing import canonical, sha256
from monitors.engine import Evaluation as Result
from monitors.engine import SignalResult, Trace
from tests.central.surveillance.conftest import MONITORED_FROM, Watched

SITES = ("H01", "H02", "", "H01", "H03")


def a_trace(i: int, site: str) -> Trace:
    day = np.arange(739_000, 739_000 + 5 + i, dtype=np.int64)
    walk = np.exp(np.linspace(0, i, day.size))
    return Trace(f"score:{site}:{i}", "score", site, "", "", day, walk, 1000.0, 100.0)


def a_signal(missing: tuple[str, ...]) -> SignalResult:
    return SignalResult(
        id="one",
        kind="statistical",
        day=739_010,
        sites=("H01",),
        scanners=(),
        scanner_models=(),
        readers=(),
        history=(),
        change_day=None,
        change_interval=None,
        characteristics=(),
        stream="score:H01:0",
        statistic=2e300,
        limit=1000.0,
        missing=missing,
    )


@pytest.mark.parametrize("sites", [SITES, ("H01",), ()])
def test_evidence_in_frames_is_the_canonical_json_of_the_whole(sites: tuple[str, ...]) -> None:
    traces = tuple(a_trace(i, site) for i, site in enumerate(sites))
    result = Result((a_signal(("labels",)),), traces, {"score:H01": "full"}, 1.5)

    stored = stored_evidence(result)

    whole = zstandard.ZstdDecompressor().stream_reader(stored.content, read_across_frames=True)
    content = whole.read()
    assert canonical(json.loads(content)) == content and sha256(content) == stored.digest
    found = read_evidence(stored.content)
    assert [t.stream for t in found.traces] == [t.stream for t in traces]
    assert found.promised == 1.5 and found.missing == {"one": ("labels",)}
    assert stored.outline["missing"] == {"one": ["labels"]}
    assert set(stored.outline["paths"]) == set(sites)
    for site, spans in stored.outline["paths"].items():
        frames = [stored.content[a:b] for a, b in spans]
        assert read_traces(frames) == tuple(t for t in found.traces if t.site == site)


def test_a_signals_proof_is_the_same_from_frames_and_from_the_whole(watched: Watched) -> None:
    watched.go_on(20, changes_on=MONITORED_FROM + timedelta(days=3))
    with watched.world.sessions.begin() as session:
        [signal, *_] = session.scalars(select(Signal).where(Signal.evaluation.is_not(None)))
        framed = evidence.signal_evidence(session, signal.id)
        session.execute(update(Evaluation).values(outline=None))
        session.expire_all()
        whole = evidence.signal_evidence(session, signal.id)
        found = service.evaluation(session, str(signal.evaluation)).evidence

    assert framed is not None and framed == whole
    mine = [t for t in found.traces if t.site in (*framed.signal.signal.sites, "")]
    assert sorted(t.stream for t in framed.traces) == sorted(t.stream for t in mine)
    assert framed.traces[0].stream == framed.signal.signal.stream
