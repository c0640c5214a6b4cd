"""With noise on, what was measured on one case changes nothing that leaves but noised numbers."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from app.contracts.noise import mechanism, rho_of
from app.contracts.window import Window
from app.device.result import Outcome
from app.edge.cases import balance
from app.edge.journal import Journal, open_for_reading
from app.edge.noise import promise, spent
from app.edge.sent import windows as sent
from app.edge.status import figures
from tests.contracts.examples import KEY
from tests.edge.builders import SCANNER, TODAY, put_cases
from tests.edge.running_edge import START, RunningEdge
from tests.edge.sender import a_chest, send
from tests.edge.test_windows import SCHEMA, close, days, opened, produced

__all__ = ["opened"]
EPSILON = 8.0
RARE = ("scanner-rare", *SCANNER[1:])
SCALES = mechanism(SCHEMA, EPSILON).scales


@pytest.fixture
def neighbour(tmp_path: Path) -> Iterator[Journal]:
    """A second journal, opened on the same evening."""
    other = Journal(tmp_path / "neighbour")
    close(other, TODAY, 1)
    yield other
    other.close()


def a_month(journal: Journal, *, odd: dict[str, object], epsilon: float | None = EPSILON) -> None:
    """Busy, quiet and late days with labels; one case of the first day is measured as `odd`."""
    put_cases(journal, [TODAY], seed=99, **PLAIN | odd)
    for i, day in enumerate(days(40)):
        keys = put_cases(journal, [day] * (30 if i % 3 else 9), seed=i)
        put_cases(journal, [day] * 2, stratum=RARE, seed=i)
        put_cases(journal, [day - timedelta(days=3)] * (i % 4), seed=1000 + i)
        read(journal, keys, day)
        journal.do(_deliver)
        close(journal, day + timedelta(days=1), 1, noise_epsilon=epsilon)


def read(journal: Journal, keys: list[bytes], day: date) -> None:
    rows = [(key, i % 2, day.toordinal()) for i, key in enumerate(keys)]
    journal.do(lambda db: db.executemany(_READ, rows))


def _deliver(db: sqlite3.Connection) -> None:
    """What flagged cases alone lead to: results that are delivered or not, and time it takes."""
    [flagged] = db.execute("SELECT count(*) FROM cases WHERE state = 'flagged'").fetchone()
    db.execute("INSERT OR REPLACE INTO counters VALUES ('note', 'result_not_built', ?)", [flagged])
    db.execute(
        "INSERT OR IGNORE INTO deliveries (name, destination, state)"
        " SELECT hex(key), 'folder', 'delivered' FROM cases WHERE state = 'flagged'"
    )
    db.execute("UPDATE cases SET seconds = 40 WHERE state = 'flagged'")


_READ = (
    "INSERT INTO labels (key, sentinel, label, source, reader_group, policy, reader, read_on)"
    " VALUES (?, -1, ?, 'random_audit', 'A', '', x'00', ?)"
)
PLAIN: dict[str, object] = {
    "outcome": Outcome.NOT_FLAGGED,
    "scores": {"classifier": 0.1},
    "numeric": {"noise": 1.0, "kvp": 90.0},
}
ODD: dict[str, object] = {
    "outcome": Outcome.FLAGGED,
    "scores": {"classifier": 0.999},
    "numeric": {"noise": 1e6, "kvp": -1e6},
    "categorical": {"view": "AP", "sex": "M"},
    "embedding": (1e6, -1e6),
}


def visible(window: Window) -> dict[str, object]:
    """All that a window says, but for the numbers that have noise."""
    header = replace(window.header, previous="", body_digest="")
    said: dict[str, object] = {"header": header}
    for name, table in window.tables.items():
        values = table.values.copy()
        if name == "strata":
            values[:, SCALES > 0] = 0
        said[name] = (table.keys, values.tolist())
    return said


def test_neighbouring_journals_differ_in_nothing_but_noised_numbers(
    opened: Journal, neighbour: Journal
) -> None:
    a_month(opened, odd={})
    a_month(neighbour, odd=ODD)

    one, other = produced(opened), produced(neighbour)
    assert [visible(w) for w in one] == [visible(w) for w in other]
    assert sum(len(w.tables["strata"].keys) for w in one if "strata" in w.tables) > 20
    assert {w.header.stream for w in one} == {"cases"}


def test_without_noise_the_same_neighbours_differ(opened: Journal, neighbour: Journal) -> None:
    """A comparison that finds nothing anywhere proves nothing."""
    a_month(opened, odd={}, epsilon=None)
    a_month(neighbour, odd=ODD, epsilon=None)

    one, other = produced(opened), produced(neighbour)
    assert [visible(w) for w in one] != [visible(w) for w in other]
    assert {w.header.stream for w in one} == {"cases", "moments", "labels", "subgroups"}


def test_every_window_says_how_much_and_every_case_pays_once(opened: Journal) -> None:
    a_month(opened, odd={})

    windows = [w for w in produced(opened) if "strata" in w.tables and w.header.sequence > 1]
    assert all(w.tables["noise"].values.tolist() == [SCALES.tolist()] for w in windows)
    found = opened.do(spent)
    in_windows = opened.do(
        lambda db: db.execute("SELECT count(*) FROM cases WHERE cases_window > 0").fetchone()
    )
    assert (found.cases,) == in_windows
    assert found.cases > 800
    assert 0.9 * rho_of(EPSILON) < found.rho <= rho_of(EPSILON)
    assert found.epsilon <= EPSILON
    assert opened.do(balance)["labels_held_back"] > 500


def test_a_row_has_noise_of_the_declared_scale(opened: Journal) -> None:
    for i, day in enumerate(days(60)):
        put_cases(opened, [day] * 20, seed=i, scores={"classifier": 0.3}, embedding=(0.0, 0.0))
        close(opened, day + timedelta(days=1), 1, noise_epsilon=EPSILON)

    rows = np.concatenate([w.tables["strata"].values for w in produced(opened, "cases")])
    bins = SCHEMA.columns["score_counts"]
    truth = np.array([0, 0, 20, 0])
    z = (rows[:, bins][:, :4] - truth) / SCALES[bins][:4]
    assert rows[:, bins][:, 4].tolist() == [0] * len(rows)
    assert len(rows) > 50
    assert np.std(z) == pytest.approx(1, abs=0.2)
    assert abs(z.mean()) < 0.25


def test_noise_that_was_drawn_for_a_lost_transaction_has_not_left(opened: Journal) -> None:
    put_cases(opened, [TODAY] * 25)
    opened.do(lambda db: db.execute(_FAIL))

    with pytest.raises(sqlite3.IntegrityError, match="power"):
        close(opened, TODAY + timedelta(days=2), noise_epsilon=EPSILON)
    assert produced(opened, "cases")[1:] == []
    assert opened.do(spent).windows == 0

    opened.do(lambda db: db.execute("DROP TRIGGER fail"))
    close(opened, TODAY + timedelta(days=2), noise_epsilon=EPSILON)
    [*_, first] = produced(opened, "cases")
    for day in days(5, TODAY + timedelta(days=2)):
        close(opened, day, noise_epsilon=EPSILON)
    carrying = [w for w in produced(opened, "cases") if w.tables["strata"].keys]
    assert [w.raw for w in carrying] == [first.raw]
    assert opened.do(spent).cases == 25


# Comes after the window was sealed and entered into the ledger.
_FAIL = (
    "CREATE TRIGGER fail BEFORE UPDATE OF cases_window ON cases"
    " BEGIN SELECT RAISE(ABORT, 'power'); END"
)


def test_cases_of_noisy_days_stay_protected_when_the_noise_is_off_again(opened: Journal) -> None:
    first = put_cases(opened, [TODAY] * 130, seed=1)
    put_cases(opened, [TODAY] * 4, stratum=RARE, seed=2)
    close(opened, TODAY + timedelta(days=2), noise_epsilon=EPSILON)
    noisy = opened.do(spent).windows
    put_cases(opened, [TODAY] * 30, seed=3)  # late, of a noisy day
    later = TODAY + timedelta(days=7)
    after = put_cases(opened, [later] * 130, seed=4)
    read(opened, first, later)
    read(opened, after, later)

    for day in days(40, TODAY + timedelta(days=3)):
        close(opened, day)

    plain = [w for w in produced(opened) if "noise" not in w.tables]
    analysed = [n for w in plain if "strata" in w.tables for n in w.tables["strata"].values[:, 0]]
    assert analysed == [130]
    labelled = [w.tables["labels"].values for w in plain if "labels" in w.tables]
    assert sum(int(v[:, : SCHEMA.merged_label_bins].sum()) for v in labelled) == 130
    moments = [w.tables["moments"].values[:, 0] for w in plain if "moments" in w.tables]
    assert np.concatenate(moments).tolist() == [130]
    margins = [w.tables["subgroups"].values[:, 0].sum() for w in plain if "subgroups" in w.tables]
    assert margins == [130]
    assert opened.do(spent).windows == noisy
    assert opened.do(balance)["cases_held_back"] == 34


def test_people_are_told_what_was_promised_and_spent(opened: Journal) -> None:
    put_cases(opened, [TODAY] * 25)
    assert "noise" not in opened.do(figures)
    close(opened, TODAY + timedelta(days=2), noise_epsilon=EPSILON)

    texts = opened.do(lambda db: list(sent(db, KEY.public)))
    assert any("noise on 25 cases: epsilon 7." in text for text in texts)
    assert any("noise table strata" in text and "joint sums" in text for text in texts)
    told = opened.do(figures)["noise"]
    assert (told["windows"], told["cases"]) == (1, 25)
    assert told["most_of_a_case"]["epsilon"] <= EPSILON
    words = promise(EPSILON)
    assert "epsilon 8.0 at delta 1e-06" in words and "2 studies" in words


@pytest.mark.parametrize("edge", [{"noise_epsilon": EPSILON}], indirect=True)
def test_a_running_agent_that_is_killed_never_says_another_noise(edge: RunningEdge) -> None:
    """The centre refuses other bytes under a number that it has; here it keeps what it got."""
    chests = [a_chest(seed, START.replace(tzinfo=None)) for seed in range(26)]
    assert set(send(edge.port, *chests)) == {0x0000}
    edge.settled(len(chests))
    edge.centre.faults = ["503"] * 10_000
    edge.at(START + timedelta(days=2))
    edge.until(lambda s: s.get("noise", {}).get("cases", 0) > 0)
    closed = _kept(edge)
    edge.kill()
    edge.start()
    edge.centre.faults = []
    edge.live(days=1)

    arrived = {place: window.raw for place, window in edge.centre.windows.items()}
    assert {k: v for k, v in arrived.items() if k in closed} == closed
    [carrying] = [w for w in edge.centre.windows.values() if _rows(w)]
    assert carrying.tables["noise"].values.any()
    assert edge.status()["noise"]["cases"] == int(carrying.tables["balance"].values[0, 0])
    edge.stop()  # so that its port is free for the check
    assert "noise   what was measured on one case: epsilon 8.0" in edge.command("check")


def _rows(window: Window) -> int:
    return len(window.tables["strata"].keys) if "strata" in window.tables else 0


def _kept(edge: RunningEdge) -> dict[tuple[int, int], bytes]:
    db = open_for_reading(edge.data)
    try:
        rows = db.execute("SELECT epoch, sequence, raw FROM windows").fetchall()
    finally:
        db.close()
    return {(epoch, sequence): bytes(raw) for epoch, sequence, raw in rows}
