"""What is said of a candidate reference before somebody approves it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from app import clock
from app.central.accounts.models import Role
from app.central.fleet import service as fleet
from app.central.references import checks
from app.central.references import service as references
from app.central.references.cohort import cohort_of
from app.central.surveillance.history import assemble
from monitors.summaries import score_counts
from tests.central.surveillance.conftest import MONITORED_FROM, Watched
from tests.support.playing import play


def proposed(watched: Watched, days: int, **change: Any) -> dict[str, Any]:
    for morning in play(watched.edge, watched.clock, days, first=MONITORED_FROM, seed=2, **change):
        last = morning
    with watched.world.sessions.begin() as session:
        made = references.propose(
            session,
            watched.world.lock_digest,
            last - timedelta(days=1),
            by="analyst",
            now=clock.now(),
        )
        return made.summary


def test_a_candidate_that_held_still_says_so(watched: Watched) -> None:
    found = proposed(watched, 2)["stability"]

    assert (found["state"], found["signals"]) == ("held_still", [])


def test_a_change_inside_a_candidate_is_named_with_its_day(watched: Watched) -> None:
    changed = MONITORED_FROM + timedelta(days=5)

    found = proposed(watched, 20, changes_on=changed)["stability"]

    assert found["state"] == "changed"
    [signal] = [s for s in found["signals"] if s["stream"].startswith("acquisition")][:1]
    assert signal["sites"] == ["H01"]
    days = (changed - type(changed).fromisoformat(signal["change_date"])).days
    assert abs(days) <= 3


def against(watched: Watched, *, lowest: bool) -> tuple[float, float]:
    """Distance to a cohort with the site's own scores, or with all of them in the lowest bin; and
    how much higher the site's mean score is."""
    lock_digest = watched.world.lock_digest
    with watched.world.sessions() as session:
        history = assemble(session, lock_digest, upto=clock.now().date()).history
        version = fleet.get_device_version(session, lock_digest)
        cohort = cohort_of(fleet.manifest_of(version), history.schema)
    before = history.cases.end <= MONITORED_FROM.toordinal()
    own = score_counts(history.schema, history.cases.rows[before].sum(axis=0))[0, :-1]
    counts = np.zeros_like(own)
    counts[0] = own.sum()
    counts = counts if lowest else own
    made = replace(cohort, score_counts=np.tile(counts, (2, 1, 1)))
    middle = (history.schema.scores[0].edges[:-1] + history.schema.scores[0].edges[1:]) / 2
    [site] = checks.distances(history, MONITORED_FROM.toordinal(), made).values()
    [distance] = site.values()
    return distance, float((own - counts) @ middle / own.sum())


def test_a_site_like_the_cleared_population_is_at_no_distance(watched: Watched) -> None:
    distance, _ = against(watched, lowest=False)

    assert distance == pytest.approx(0.0, abs=1e-12)


def test_a_site_that_scores_higher_throughout_is_as_far_away_as_its_mean(watched: Watched) -> None:
    # Where one distribution lies above the other throughout, the distance is that of the means.
    distance, higher = against(watched, lowest=True)

    assert distance == pytest.approx(higher, abs=1e-12)
    assert distance > 0.05


def test_c16_of_a_reference_somebody_of_one_site_sees_nothing_of_another(watched: Watched) -> None:
    watched.world.add_site("H02")
    anyone = watched.world.browser("ann", Role.VIEWER)
    elsewhere = watched.world.browser("bob", Role.SITE_ADMIN, "H02")

    assert "H01" in anyone.get("/api/v1/references").text
    answer = elsewhere.get("/api/v1/references")
    assert answer.status_code == 200
    assert "H01" not in answer.text
