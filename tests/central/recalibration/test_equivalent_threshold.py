"""A scanner whose scores fell: an equivalent threshold for its class, and for nothing else."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Connection

from app import clock
from app.contracts.change_control import thresholds_for
from app.contracts.exchange import OPERATING_POINT_TYPE, OperatingPoint, parse
from app.contracts.signing import open_sealed
from dashboards.web import install
from tests.central.recalibration.test_after_a_change import a_record, signed
from tests.central.recalibration.test_recalibration_loop import Loop, a_loop
from tests.conftest import Clock
from tests.support.fleet import PASSWORD

FALLEN = np.array([0.86, 0.08, 0.04, 0.02]), np.array([0.10, 0.20, 0.40, 0.30])
CLASS = "ACME/BX-2"
ASKED = {
    "modification": "M2",
    "held": "sensitivity",
    "target": 0.85,
    "scanner_class": CLASS,
    "method": "alignment",
}


@pytest.fixture
def loop(tmp_path: Path, connection: Connection, simulated_clock: Clock) -> Loop:
    made = a_loop(tmp_path, connection, simulated_clock, 0.10, FALLEN)
    made.raise_signal("scanner")
    made.confirm()
    return made


def fresh(loop: Loop, positives: int = 1000, **changes: Any) -> bytes:
    scores = [
        {"scanner_class": CLASS, "label": k, "counts": [round(n * q) for q in FALLEN[k]]}
        for k, n in ((0, 4000), (1, positives))
    ]
    return signed(a_record(loop, scores=scores, **changes))


def test_alignment_at_a_prevalence_from_audit_labels_finds_it(loop: Loop) -> None:
    found = loop.propose(**ASKED).json()
    d = found["document"]

    assert found["state"] == "submitted", d
    assert d["thresholds"]["new"] == {
        "stage": "classifier",
        "scanner_class": CLASS,
        "value": 0.125,
    }
    # The reference flags 19.8 % at 0.25; the same share lies above 0.149 of the fallen scores.
    assert d["equivalent"]["equivalent"]["value"] == pytest.approx(0.149, abs=0.02)
    assert d["equivalent"]["prevalence_from"] == "random audit labels"
    assert set(d["consequences"]["new"]) == {"alerts_per_1000"}
    assert d["weights"]["before"] == d["weights"]["after"]


def test_fresh_labels_find_it_with_guarantees(loop: Loop) -> None:
    body = ASKED | {"method": "labels"}
    without = loop.propose(**body).json()
    taken = loop.author.post("/api/v1/holdouts", content=fresh(loop))
    assert taken.status_code == 201, taken.text

    answer = loop.propose(**body)
    assert answer.status_code == 201, answer.text
    found = answer.json()
    d = found["document"]

    assert without["state"] == "refused"
    assert "no freshly labelled holdout" in without["document"]["reasons"][0]["found"]
    assert found["state"] == "submitted", d
    assert d["thresholds"]["new"]["value"] == 0.125
    assert d["equivalent"]["holdout"] == "HO-0001"
    assert d["consequences"]["new"]["sensitivity"]["value"] == pytest.approx(0.9, abs=0.01)
    bounds = {o["criterion"] for o in d["acceptance"] if o["met"]}
    assert "sensitivity, lower 97.5 % bound" in bounds


def test_too_few_fresh_labels_and_old_ones_guarantee_nothing(loop: Loop) -> None:
    old = fresh(loop, evaluated_at=clock.now() - timedelta(days=40))
    loop.author.post("/api/v1/holdouts", content=old)
    before = loop.propose(**ASKED | {"method": "labels"}).json()
    loop.author.post("/api/v1/holdouts", content=fresh(loop, positives=10))

    few = loop.propose(**ASKED | {"method": "labels"}).json()

    assert (before["state"], few["state"]) == ("refused", "refused")
    assert "no freshly labelled holdout" in before["document"]["reasons"][0]["found"]
    assert "needs at least" in few["document"]["reasons"][0]["found"]


def test_only_that_class_changes_at_the_edge_and_can_be_taken_back(loop: Loop) -> None:
    proposal = loop.propose(**ASKED).json()
    loop.decide(proposal)

    release = loop.release(proposal)
    assert release.status_code == 201, release.text
    sent = loop.edge.get("/edge/v1/operating-points/0").content
    point = parse(OperatingPoint, open_sealed(OPERATING_POINT_TYPE, sent, [loop.world.key.public]))
    back = loop.approver.post(
        f"/api/v1/point-releases/{release.json()['id']}/roll-back",
        json={"reason": "enough", "password": PASSWORD},
    )

    assert thresholds_for(point.thresholds, CLASS) == {"classifier": 0.125}
    assert thresholds_for(point.thresholds, "ACME/CX-3") == {"classifier": 0.25}
    assert back.status_code == 201, back.text
    assert [t["scanner_class"] for t in back.json()["thresholds"]] == [""]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"scanner_class": ""}, "scores are never remapped"),
        ({"scanner_class": "ACME/CX-3"}, "one of ACME/BX-2 expected"),
        ({"modification": "M1"}, "a modification of another kind expected"),
        ({"target": 0.99, "method": "labels"}, "no threshold keeps a sensitivity"),
    ],
)
def test_what_is_not_equivalent_is_refused_and_recorded(
    loop: Loop, changes: dict[str, Any], found: str
) -> None:
    loop.author.post("/api/v1/holdouts", content=fresh(loop))

    refused = loop.propose(**ASKED | changes).json()

    assert refused["state"] == "refused"
    assert found in refused["document"]["reasons"][0]["found"]


def test_a_shift_of_prevalence_has_no_equivalent_threshold(loop: Loop) -> None:
    loop.raise_signal("prevalence")
    loop.confirm("S-0002")

    refused = loop.propose(signal_id="S-0002", **ASKED).json()

    assert refused["state"] == "refused"


def test_the_form_offers_the_classes_and_the_record_says_how(loop: Loop) -> None:
    install(loop.world.app)

    page = loop.author.get("/signals/S-0001/recalibration").text
    fields = {"signal": "S-0001", "held": "sensitivity", "target": "0.85", "floor": "0"}
    fields |= {"scanner_class": CLASS, "method": "alignment", "password": PASSWORD, "reason": "x"}
    made = loop.author.post("/recalibrations", data=fields)

    assert "an equivalent threshold for that class" in page
    assert f"<option>{CLASS}</option>" in page
    assert made.status_code == 200, made.text
    assert f"{CLASS}, by alignment" in made.text
    assert "not estimable" in made.text  # sensitivity, without fresh labels
