"""From a confirmed prevalence signal to an operating point that an edge's own rules accept."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pypdf import PdfReader
from sqlalchemy import Connection
from starlette.testclient import TestClient

from app import clock
from app.central.accounts.models import Role
from app.central.recalibration import plans as change_plans
from app.central.references import service as references
from app.central.surveillance import service as surveillance
from app.contracts.manifest import Bounds, ClassHistogram, Manifest, Proportion, SubgroupRow
from app.contracts.signals import Signal
from app.contracts.window import Table
from app.edge import operating_points
from app.edge.journal import Journal
from dashboards.web import install
from monitors.summaries import Cases
from tests.conftest import Clock
from tests.contracts.examples import a_manifest
from tests.support.fleet import PASSWORD, FakeEdge, World

pytestmark = pytest.mark.filterwarnings("ignore:.*sRGB2014.icc:ResourceWarning")

NEGATIVE, POSITIVE = np.array([0.72, 0.16, 0.09, 0.03]), np.array([0.02, 0.08, 0.30, 0.60])
EDGES = [0.0, 0.125, 0.25, 0.5, 1.0]
Classes = tuple[np.ndarray, np.ndarray]
CHANGE, UNTIL = date(2026, 2, 20), date(2026, 2, 14)
REASON = "the prevalence of the site has risen"


def a_device() -> Manifest:
    """Cleared at 0.25 with 90 % sensitivity and 88 % specificity; 0.125 to 0.5 is the envelope."""
    plain = a_manifest()
    row = SubgroupRow(
        margin="sex",
        level="F",
        cases=1000,
        positives=200,
        sensitivity=Proportion(successes=180, n=200, low=0.85, high=0.93),
        specificity=Proportion(successes=704, n=800, low=0.85, high=0.90),
    )
    validation = plain.validation.model_copy(
        update={
            "prevalence": 0.2,
            "cases": 15_000,
            "subgroups": (row,),
            "histograms": tuple(
                ClassHistogram(stage="classifier", label=k, counts=tuple(int(x) for x in n * q))
                for k, n, q in ((0, 12_000, NEGATIVE), (1, 3_000, POSITIVE))
            ),
        }
    )
    (bounds,) = plain.change_control
    return a_manifest(
        validation=validation,
        change_control=(bounds.model_copy(update={"largest_step": 0.25}),),
    )


@dataclass
class Loop:
    """A site whose prevalence rose from 10 to 25 %, with a signal that says so."""

    world: World
    edge: FakeEdge
    clock: Clock
    author: TestClient
    approver: TestClient

    def propose(self, client: TestClient | None = None, **changes: Any) -> Any:
        body = {
            "signal_id": "S-0001",
            "held": "ppv",
            "target": 0.45,
            "reason": REASON,
            "password": PASSWORD,
        }
        return (client or self.author).post("/api/v1/recalibrations", json=body | changes)

    def decide(self, proposal: Any, action: str = "approve", **changes: Any) -> Any:
        client = changes.pop("client", self.approver)
        body = {
            "action": action,
            "reason": "reviewed",
            "seen_digest": proposal["digest"],
            "password": PASSWORD,
        }
        address = f"/api/v1/recalibrations/{proposal['id']}/decisions"
        return client.post(address, json=body | changes)

    def release(self, proposal: Any, **changes: Any) -> Any:
        body = {
            "site_id": "H01",
            "effective_from": (clock.now() + timedelta(minutes=10)).isoformat(),
            "reason": "first site",
            "seen_digest": proposal["digest"],
            "password": PASSWORD,
        }
        address = f"/api/v1/recalibrations/{proposal['id']}/releases"
        return self.approver.post(address, json=body | changes)

    def raise_signal(self, cause: str = "prevalence", probability: float = 0.95) -> None:
        """Raised as the engine raises one, and confirmed by a person."""
        document = Signal.model_validate(
            {
                "id": "-",
                "kind": "statistical",
                "date": "2026-02-25",
                "sites": ["H01"],
                "scanners": [],
                "scanner_models": [],
                "readers": [],
                "history": [
                    {
                        "date": "2026-02-25",
                        "causes": [cause],
                        "probability": probability,
                        "candidates": {cause: probability},
                    }
                ],
                "change_date": CHANGE.isoformat(),
                "change_interval": None,
                "characteristics": [],
                "stream": "score:H01",
                "statistic": 2000.0,
                "limit": 1000.0,
            }
        )
        with self.world.sessions.begin() as session:
            surveillance._raise(
                session, self.world.lock_digest, cause, document, None, _silent, clock.now()
            )

    def confirm(self, signal_id: str = "S-0001") -> None:
        address = f"/api/v1/signals/{signal_id}"
        for action in ("start_assessment", "confirm"):
            seen = self.author.get(address).json()["digest"]
            body = {"action": action, "rationale": REASON, "seen_digest": seen}
            answer = self.author.post(f"{address}/decisions", json=body | {"password": PASSWORD})
            assert answer.status_code == 200, answer.text


def _silent(*_: object) -> None:
    """Nobody is told."""


def _day(
    rng: np.random.Generator,
    n: int,
    pi: float,
    threshold: float = 0.25,
    classes: Classes = (NEGATIVE, POSITIVE),
) -> Cases:
    q = (1 - pi) * classes[0] + pi * classes[1]
    bins = np.repeat(np.arange(4), np.rint(q * n).astype(int))
    n = len(bins)
    scores = np.array([(a + b) / 2 for a, b in pairwise(EDGES)])[bins]
    return Cases(
        numeric=np.column_stack([rng.gamma(30.0, 0.04, n), rng.normal(95, 6, n)]),
        categorical=rng.integers(0, 2, size=(n, 1)),
        scores=scores[:, None],
        embedding=rng.normal(size=(n, 2)),
        outcome=(scores >= threshold).astype(np.int64),
    )


def _labels(edge: FakeEdge, pi: float, classes: Classes = (NEGATIVE, POSITIVE)) -> Table:
    """An audit week of 60 reads in every merged bin, as the scores say."""
    schema = edge.world.schema
    row = np.zeros((1, schema.width(schema.label_columns)), dtype=np.int64)
    merged = [[0, 1], [2], [3]]
    for g, bins in enumerate(merged):
        ill, well = pi * classes[1][bins].sum(), (1 - pi) * classes[0][bins].sum()
        row[0, g], row[0, 3 + g] = 60, round(60 * ill / (ill + well))
    return Table((("2026-02-23", "random_audit", "readers-1", "policy-1"),), row)


@pytest.fixture
def loop(tmp_path: Path, connection: Connection, simulated_clock: Clock) -> Loop:
    return a_loop(tmp_path, connection, simulated_clock, 0.25)


def a_loop(
    tmp_path: Path,
    connection: Connection,
    simulated_clock: Clock,
    prevalence: float,
    classes: Classes = (NEGATIVE, POSITIVE),
) -> Loop:
    """Five weeks of one site that changes to these, with an approved reference and a plan."""
    world = World(tmp_path, connection, manifest=a_device())
    simulated_clock.set(clock.now().replace(month=1, day=1, hour=12))
    edge = world.an_edge()
    rng = np.random.default_rng(1)
    for i in range(35):
        day = date(2026, 1, 27) + timedelta(days=i)
        simulated_clock.set(
            clock.now().replace(month=day.month, day=day.day, hour=3) + timedelta(days=1)
        )
        changed = day >= CHANGE
        cases = _day(rng, 200, prevalence, classes=classes) if changed else _day(rng, 200, 0.10)
        assert edge.send(edge.window(day, cases=cases)).status_code == 200
    tables = {"labels": _labels(edge, prevalence, classes)}
    sent = edge.send(edge.window(CHANGE, tables=tables, stream="labels"))
    assert sent.status_code == 200, sent.text
    simulated_clock.set(clock.now() + timedelta(days=3))
    with world.sessions.begin() as session:
        made = references.propose(session, world.lock_digest, UNTIL, by="x", now=clock.now())
        references.approve(session, made.id, by="y", now=clock.now())
        plan = change_plans.default_document(world.manifest)
        change_plans.put_in_force(session, plan, world.key, by="x", now=clock.now())
    author = world.browser("author", Role.ANALYST)
    approver = world.browser("approver", Role.QUALITY_APPROVER)
    return Loop(world, edge, simulated_clock, author, approver)


@pytest.fixture
def submitted(loop: Loop) -> Any:
    loop.raise_signal()
    loop.confirm()
    answer = loop.propose()
    assert answer.status_code == 201, answer.text
    proposal = answer.json()
    assert proposal["state"] == "submitted", proposal["document"]
    return proposal


def test_the_loop_from_a_signal_to_an_edge_and_back(
    loop: Loop, submitted: Any, tmp_path: Path
) -> None:
    journal = Journal(tmp_path / "edge")
    device, keys = loop.world.manifest, [loop.world.key.public]

    def pull() -> str:
        """As the agent does: what the receipt offers, verified by the edge's own rules."""
        counter = journal.do(lambda db: operating_points.newest(db, device)).counter
        envelope = loop.edge.get(f"/edge/v1/operating-points/{counter}").content
        return journal.do(lambda db: operating_points.take(db, device, "H01", envelope, keys))

    def used() -> tuple[str, float]:
        journal.do(lambda db: operating_points.apply_due(db, device, clock.now()))
        point = journal.do(lambda db: operating_points.in_use(db, device))
        return point.id, point.thresholds[0].value

    assert loop.decide(submitted).status_code == 200
    release = loop.release(submitted)
    assert release.status_code == 201, release.text
    assert loop.edge.receipt(loop.edge.get("/edge/v1/receipt")).operating_point == pull()
    before = used()
    loop.clock.advance(minutes=20)  # within the log-in
    during = used()
    back = loop.approver.post(
        f"/api/v1/point-releases/{release.json()['id']}/roll-back",
        json={"reason": "PPV fell", "password": PASSWORD},
    )
    assert back.status_code == 201, back.text
    pull()
    after = used()
    journal.close()

    assert (before[1], during[1], after[1]) == (0.25, 0.125, 0.25)
    assert before[0] == "OP-1"
    assert during[0] == release.json()["id"]
    assert after[0] == back.json()["id"]
    nothing = loop.edge.get("/edge/v1/operating-points/2")
    assert nothing.status_code == 204


def test_the_record_holds_the_whole_story(loop: Loop, submitted: Any) -> None:
    d = submitted["document"]

    assert d["weights"]["before"] == d["weights"]["after"]
    assert d["prevalence"]["low"] < 0.25 < d["prevalence"]["high"]
    assert "differs from the 20.0% of the validation cohort" in d["prevalence"]["statement"]
    assert {"original", "last at H01", "new"} == set(d["consequences"])
    ppv = {name: c["ppv"] for name, c in d["consequences"].items()}
    assert ppv["new"]["low"] < 0.538 < ppv["new"]["high"]  # .245 / (.245 + .21)
    assert ppv["original"]["low"] < 0.714 < ppv["original"]["high"]  # .225 / (.225 + .09)
    assert all(o["met"] for o in d["acceptance"])
    assert d["subgroups"][0]["after"]["sensitivity"]["value"] > 0.9
    assert d["scanners"][0]["after"]["sensitivity"]["value"] == pytest.approx(0.98, abs=0.01)
    assert {t["retraining"] for t in d["traceability"]} == {"not applicable, weights unchanged"}
    assert [s["meaning"] for s in submitted["decisions"]] == ["authorship of the proposal"]
    record = loop.author.get(f"/api/v1/recalibrations/{submitted['id']}/record")
    assert record.json()["digest"] == submitted["digest"]


@pytest.mark.parametrize("cause", ["annotation", "performance", "undetermined", "scanner"])
def test_other_causes_are_refused_and_recorded(loop: Loop, cause: str) -> None:
    loop.raise_signal(cause)
    loop.confirm()

    found = loop.propose().json()

    assert found["state"] == "refused"
    assert all(r["would_change"] for r in found["document"]["reasons"])
    assert loop.decide(found).status_code == 409
    assert loop.release(found).status_code == 409


def test_what_the_envelope_does_not_hold_is_refused(loop: Loop) -> None:
    loop.raise_signal()
    loop.confirm()

    found = loop.propose(held="alert_rate", target=0.001).json()

    assert found["state"] == "refused"
    assert found["document"]["reasons"][0]["code"] == "no_threshold"


def test_failed_criteria_are_recorded_and_nothing_is_shipped(loop: Loop) -> None:
    loop.raise_signal()
    loop.confirm()

    # Half the alerts: a threshold of 0.5 keeps 60 % sensitivity, far below the claim.
    found = loop.propose(held="alert_rate", target=0.2).json()

    assert found["state"] == "failed"
    unmet = {o["criterion"] for o in found["document"]["acceptance"] if not o["met"]}
    assert "sensitivity, lower 97.5 % bound" in unmet
    assert loop.decide(found).status_code == 409
    assert loop.release(found).status_code == 409


def test_an_open_signal_cannot_open_a_proposal(loop: Loop) -> None:
    loop.raise_signal()

    answer = loop.propose()

    assert answer.status_code == 409
    assert "confirm it first" in answer.text


Spoil = Callable[[Loop, Any], Any]


@pytest.mark.parametrize(
    ("attempt", "status"),
    [
        (lambda loop, p: loop.decide(p, client=loop.author), 403),  # may not approve
        (lambda loop, p: loop.decide(p, password="wrong"), 401),
        (lambda loop, p: loop.decide(p, seen_digest="0" * 64), 409),
        (lambda loop, p: loop.release(p), 409),  # not approved yet
        (lambda loop, p: loop.decide(p, action="submit"), 409),
    ],
)
def test_a_decision_needs_the_right_person_password_and_document(
    loop: Loop, submitted: Any, attempt: Spoil, status: int
) -> None:
    assert attempt(loop, submitted).status_code == status


def test_the_author_cannot_approve_even_with_the_permission(loop: Loop) -> None:
    loop.raise_signal()
    loop.confirm()
    own = loop.propose(client=loop.approver).json()

    answer = loop.decide(own)

    assert answer.status_code == 409
    assert "another person" in answer.text


def test_a_returned_proposal_is_never_released(loop: Loop, submitted: Any) -> None:
    assert loop.decide(submitted, "return").json()["state"] == "returned"
    assert loop.release(submitted).status_code == 409


def test_a_second_release_waits_and_a_third_site_is_foreign(loop: Loop, submitted: Any) -> None:
    loop.decide(submitted)

    assert loop.release(submitted, site_id="H09").status_code == 409
    assert loop.release(submitted).status_code == 201
    waiting = loop.release(submitted)

    assert waiting.status_code == 409
    assert "does not report" in waiting.text


def test_a_plan_wider_than_the_bundle_is_refused(loop: Loop) -> None:
    with loop.world.sessions() as session:
        plan, _ = change_plans.in_force(session, loop.world.lock_digest)
    wide = Bounds(
        stage="classifier", lowest=0.0, highest=0.5, largest_step=0.25, fewest_days_between=90
    )
    one = plan.modifications[0].model_copy(update={"bounds": (wide,)})
    body = plan.model_copy(update={"modifications": (one,)}).model_dump(mode="json")
    admin = loop.world.browser("admin", Role.ADMINISTRATOR)

    answer = admin.post("/api/v1/change-plans", json=body)

    assert answer.status_code == 422
    assert "inside the cleared" in answer.text


def test_pages_and_dossier_tell_the_story_and_take_the_signatures(
    loop: Loop, submitted: Any
) -> None:
    install(loop.world.app)
    address = f"/recalibrations/{submitted['id']}"
    own = loop.author.get(address)
    shown = loop.approver.get(address)
    fields = {"digest": submitted["digest"], "reason": "reviewed", "password": PASSWORD}

    refused = loop.approver.post(f"{address}/decision", data=fields | {"do": "release"})
    wrong = loop.approver.post(
        f"{address}/decision", data=fields | {"do": "approve", "password": "no"}
    )
    done = loop.approver.post(f"{address}/decision", data=fields | {"do": "approve"})

    assert submitted["id"] in loop.author.get("/recalibrations").text
    assert "Nothing here waits for you" in own.text  # the author has no button
    assert "Sign decision" in shown.text
    assert "not applicable, weights unchanged" in shown.text
    assert (refused.status_code, wrong.status_code, done.status_code) == (422, 422, 200)
    assert "Sign release" in done.text
    pdf = loop.author.get(f"{address}/dossier.pdf")
    assert pdf.content.startswith(b"%PDF")
    text = "".join(p.extract_text() for p in PdfReader(io.BytesIO(pdf.content)).pages)
    assert "authorship of the proposal" in text
    assert "approval of the proposal" in text
    assert pdf.content == loop.author.get(f"{address}/dossier.pdf").content


@pytest.mark.parametrize(
    ("threshold", "state"), [(0.125, "as expected"), (0.25, "not as expected")]
)
def test_after_a_release_the_first_cases_are_held_against_what_was_expected(
    loop: Loop, submitted: Any, threshold: float, state: str
) -> None:
    loop.decide(submitted)
    release = loop.release(submitted).json()
    address = f"/api/v1/point-releases/{release['id']}/comparison"
    rng, first = np.random.default_rng(3), clock.now().date() + timedelta(days=1)
    waiting = loop.author.get(address).json()
    for i in range(6):
        day = first + timedelta(days=i)
        loop.clock.set(datetime(day.year, day.month, day.day, 3, tzinfo=UTC) + timedelta(days=1))
        cases = _day(rng, 200, 0.25, threshold)
        window = loop.edge.window(day, cases=cases, operating_point=release["id"])
        assert loop.edge.send(window).status_code == 200
    loop.clock.advance(days=1)
    loop.author.post("/api/v1/session", json={"name": "author", "password": PASSWORD})
    found = loop.author.get(address).json()

    assert waiting["state"] == "waiting"
    assert (found["state"], found["cases"] >= found["planned"]) == (state, True)
    reported = loop.author.get(f"/api/v1/recalibrations/{submitted['id']}").json()["releases"]
    assert reported[0]["reported"] is True
