from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.contracts.change_control import PointRefused
from app.contracts.exchange import OPERATING_POINT_TYPE, OperatingPoint
from app.contracts.manifest import Bounds, Manifest, Threshold
from app.contracts.signing import SigningKey, seal
from app.edge import operating_points
from app.edge.cases import reasons
from app.edge.journal import Journal
from tests.edge.builders import a_device
from tests.edge.peer_centre import PeerCentre
from tests.edge.running_edge import START, RunningEdge
from tests.edge.sender import a_chest, send

CENTRE = SigningKey.from_seed(b"lockwatch tests: centre key 001!")
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DEVICE = a_device()


def a_point(device: Manifest = DEVICE, **changes: Any) -> OperatingPoint:
    """From the cleared 0.25 up to the next bin edge, at site H02."""
    fields: dict[str, Any] = {
        "id": "H02-1",
        "lock_digest": device.lock_digest,
        "sites": ("H02",),
        "thresholds": (Threshold(stage="classifier", value=0.125),),
        "effective_from": NOW,
        "counter": 1,
        "previous": "OP-1",
        "rollback_to": "OP-1",
        "reason": "prevalence",
        "proposal_digest": "cd" * 32,
    }
    return OperatingPoint(**(fields | changes))


def sealed(point: OperatingPoint, key: SigningKey = CENTRE) -> bytes:
    return seal(OPERATING_POINT_TYPE, point.model_dump(mode="json"), [key])


Take = Callable[..., str]


@pytest.fixture
def take(journal: Journal) -> Take:
    def taken(point: OperatingPoint | bytes, device: Manifest = DEVICE) -> str:
        envelope = point if isinstance(point, bytes) else sealed(point)
        return journal.do(
            lambda db: operating_points.take(db, device, "H02", envelope, [CENTRE.public])
        )

    return taken


def used(journal: Journal, device: Manifest = DEVICE, at: datetime | None = None) -> str:
    return journal.do(lambda db: operating_points.in_use(db, device, at)).id


def apply(journal: Journal, now: datetime, device: Manifest = DEVICE) -> None:
    journal.do(lambda db: operating_points.apply_due(db, device, now))


# What is accepted ----------------------------------------------------------------------------


def test_it_waits_for_its_day_and_windows_name_the_one_they_ran_under(
    journal: Journal, take: Take
) -> None:
    take(a_point())

    apply(journal, NOW - timedelta(seconds=1))
    before = used(journal)
    apply(journal, NOW)

    assert (before, used(journal)) == ("OP-1", "H02-1")
    assert used(journal, at=NOW - timedelta(hours=1)) == "OP-1"


def test_the_same_again_changes_nothing(journal: Journal, take: Take) -> None:
    assert take(a_point()) == take(a_point()) == "H02-1"


def test_a_roll_back_is_one_step_and_needs_no_waiting(journal: Journal, take: Take) -> None:
    take(a_point())
    apply(journal, NOW)
    cleared = (Threshold(stage="classifier", value=0.25),)
    back = a_point(id="H02-2", counter=2, previous="H02-1", thresholds=cleared, effective_from=NOW)

    take(back)
    apply(journal, NOW)

    assert journal.do(lambda db: operating_points.in_use(db, DEVICE)).thresholds == cleared


def test_a_journal_that_begins_anew_takes_the_whole_chain(journal: Journal, take: Take) -> None:
    later = NOW + timedelta(days=90)
    wide = a_point(id="H02-2", counter=2, previous="H02-1", effective_from=later)
    wide = wide.model_copy(update={"thresholds": (Threshold(stage="classifier", value=0.25),)})

    take(a_point())
    take(wide)
    apply(journal, later)

    assert used(journal) == "H02-2"


# What is refused -----------------------------------------------------------------------------


def tampered(point: OperatingPoint) -> bytes:
    envelope = json.loads(sealed(point))
    other = json.loads(sealed(point.model_copy(update={"sites": ("H02", "H03")})))
    return json.dumps(envelope | {"payload": other["payload"]}).encode()


OTHER = Threshold(stage="classifier", value=0.5)
WIDE = a_device(
    change_control=(
        Bounds(
            stage="classifier", lowest=0.125, highest=0.5, largest_step=0.1, fewest_days_between=90
        ),
    )
)


@pytest.mark.parametrize(
    ("offered", "reason"),
    [
        (tampered(a_point()), "signature"),
        (sealed(a_point(), SigningKey.generate()), "signature"),
        (seal(OPERATING_POINT_TYPE, {"id": "x"}, [CENTRE]), "unreadable"),
        (b"{}", "unreadable"),
        (seal("application/vnd.lockwatch.receipt.v1+json", {}, [CENTRE]), "unreadable"),
        (a_point(effective_from=datetime(2026, 6, 1)), "unreadable"),  # noqa: DTZ001
        (a_point(sites=("H03",)), "wrong_site"),
        (a_point(lock_digest="ef" * 32), "other_device"),
        (a_point(previous="OP-0"), "out_of_order"),
        (a_point(thresholds=(Threshold(stage="classifier", value=0.2),)), "not_on_edge"),
        (a_point(thresholds=(Threshold(stage="classifier", value=1.0),)), "outside_envelope"),
        (a_point(thresholds=(OTHER,)), "step"),
        (a_point(thresholds=()), "incomplete"),
        (a_point(thresholds=(OTHER, OTHER)), "incomplete"),
        (
            a_point(thresholds=(*a_point().thresholds, Threshold(stage="gate", value=0.5))),
            "outside_envelope",
        ),
    ],
)
def test_it_refuses(
    journal: Journal, take: Take, offered: OperatingPoint | bytes, reason: str
) -> None:
    with pytest.raises(PointRefused) as refused:
        take(offered)

    assert refused.value.reason == reason
    apply(journal, NOW + timedelta(days=400))
    assert used(journal) == "OP-1"


def test_it_refuses_a_replay(journal: Journal, take: Take) -> None:
    cleared = (Threshold(stage="classifier", value=0.25),)
    take(a_point())
    take(a_point(id="H02-2", counter=2, previous="H02-1", thresholds=cleared))

    for again in (a_point(), a_point(id="H02-3", counter=2)):
        with pytest.raises(PointRefused) as refused:
            take(again)
        assert refused.value.reason == "replayed"


def test_it_refuses_a_downgrade(journal: Journal, take: Take) -> None:
    take(a_point(counter=5))

    with pytest.raises(PointRefused) as refused:
        take(a_point(id="H02-0", counter=4, previous="H02-1"))

    assert refused.value.reason == "downgraded"


def test_it_refuses_a_change_too_soon(journal: Journal, take: Take) -> None:
    take(a_point(rollback_to="unknown"))
    back = (Threshold(stage="classifier", value=0.25),)
    soon = a_point(id="H02-2", counter=2, previous="H02-1", thresholds=back)

    with pytest.raises(PointRefused) as refused:
        take(soon.model_copy(update={"effective_from": NOW + timedelta(days=89)}))

    assert refused.value.reason == "too_soon"
    assert take(soon.model_copy(update={"effective_from": NOW + timedelta(days=90)})) == "H02-2"


def test_only_the_envelope_of_its_own_bundle_counts(journal: Journal, take: Take) -> None:
    # Inside the envelope of one bundle, a step too far for another with the same bins.
    with pytest.raises(PointRefused) as refused:
        take(a_point(WIDE), WIDE)

    assert refused.value.reason == "step"


# At a running edge ---------------------------------------------------------------------------


def the_point(edge: RunningEdge, **changes: Any) -> bytes:
    from app.contracts.manifest import parse_manifest

    device = parse_manifest((edge.bundle / "manifest.json").read_bytes())
    (bounds,) = device.change_control
    point = a_point(
        device,
        thresholds=(Threshold(stage=bounds.stage, value=bounds.lowest),),
        effective_from=START,
    )
    return sealed(point.model_copy(update=changes), edge.centre.key)


def test_a_running_edge_pulls_applies_and_reports_it(edge: RunningEdge, centre: PeerCentre) -> None:
    before = edge.status()["operating_point"]
    centre.points, centre.offers = [the_point(edge)], "H02-1"

    edge.live(days=1)
    edge.until(lambda s: s["operating_point"]["id"] == "H02-1")
    send(edge.port, *(a_chest(seed, edge.now.replace(tzinfo=None)) for seed in range(22)))
    edge.settled(22)
    edge.live(days=3)

    said = {w.header.operating_point for w in centre.windows.values()}
    assert before["id"] == "OP-1"
    assert said == {"OP-1", "H02-1"}
    newest = max(centre.windows.values(), key=lambda w: w.header.end)
    assert newest.header.operating_point == "H02-1"


def test_a_running_edge_goes_on_as_before_when_it_refuses(
    edge: RunningEdge, centre: PeerCentre
) -> None:
    centre.points, centre.offers = [the_point(edge, sites=("H03",))], "H02-1"

    edge.live(days=1)
    status = edge.until(lambda s: s["operating_point"]["refused"] == "H02-1")
    edge.live(days=2)

    assert status["operating_point"]["refused_because"] == "wrong_site"
    assert edge.status()["operating_point"]["id"] == "OP-1"
    counted = [w.tables["reasons"] for w in centre.windows.values() if "reasons" in w.tables]
    assert ("operating_point", "refused_wrong_site") in counted[-1].keys


def test_refusals_are_counted_by_reason(journal: Journal) -> None:
    journal.do(lambda db: operating_points.refused(db, "step"))

    assert journal.do(reasons) == {("operating_point", "refused_step"): 1}
