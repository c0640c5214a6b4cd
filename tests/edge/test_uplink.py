from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from app import clock
from app.contracts.exchange import RECEIPT_TYPE, Receipt, parse
from app.contracts.signing import SigningKey, open_sealed
from app.contracts.window import BATCH_LIMIT, BATCH_WINDOWS, decode, split_batch
from app.edge import uplink
from app.edge.http import BackOff, Centre
from app.edge.journal import Journal
from app.edge.sent import newest_receipt
from app.edge.uplink import Uplink
from app.edge.windows import close_due
from tests.conftest import Clock
from tests.edge.builders import TODAY, put_cases
from tests.edge.peer_centre import CODE, PeerCentre
from tests.edge.test_windows import closing

KEY = SigningKey.from_seed(bytes(range(32)))
LOCK = "ab" * 32
MONTH = 720


@pytest.fixture
def link(centre: PeerCentre, journal: Journal, tmp_path: Path) -> Uplink:
    """An enrolled edge."""
    made = a_link(centre, journal, tmp_path)
    assert made.enrol(LOCK) is not None
    return made


def a_link(
    centre: PeerCentre, journal: Journal, folder: Path, pinned: tuple[str, ...] = ()
) -> Uplink:
    code = folder / "code"
    code.write_text(f"{CODE}\n")
    there = Centre(centre.url, centre.url, KEY)
    return Uplink(there, journal, pinned, code, BackOff(first_s=0.0))


def with_windows(journal: Journal, n: int, first: date = TODAY) -> None:
    """Close `n` days, the first of them with cases."""
    put_cases(journal, [first] * 25, seed=first.toordinal())
    for i in range(n + 1):
        now = closing(first + timedelta(days=i))
        journal.do(lambda db, now=now: close_due(db, now))


def states(journal: Journal) -> list[tuple[int, str, str]]:
    return journal.do(
        lambda db: db.execute(
            "SELECT sequence, state, outcome FROM windows ORDER BY epoch, sequence"
        ).fetchall()
    )


def test_windows_arrive_oldest_first_and_are_acknowledged(
    centre: PeerCentre, link: Uplink, journal: Journal
) -> None:
    with_windows(journal, 4)

    assert link.send_due() == 4

    assert list(centre.windows) == [(1, 1), (1, 2), (1, 3), (1, 4)]
    assert {state for _, state, _ in states(journal)} == {"acknowledged"}
    assert link.trouble == ""


def test_the_newest_receipt_is_kept_as_it_came(
    centre: PeerCentre, link: Uplink, journal: Journal
) -> None:
    assert journal.do(newest_receipt) is None
    with_windows(journal, 2)
    link.send_due()

    found = journal.do(newest_receipt)

    assert found is not None
    receipt = parse(Receipt, open_sealed(RECEIPT_TYPE, found, [centre.key.public]))
    assert [w.sequence for w in receipt.windows][-1] == 2


def test_what_waits_goes_in_one_request(centre: PeerCentre, link: Uplink, journal: Journal) -> None:
    with_windows(journal, 4)
    before = len(centre.bodies)

    assert link.send_due() == 4

    assert len(centre.bodies) == before + 1
    assert len(split_batch(centre.bodies[-1])) == 4


def test_a_month_of_hourly_windows_drains_oldest_first_and_the_live_one_is_among_them(
    centre: PeerCentre, link: Uplink, journal: Journal
) -> None:
    with_windows(journal, MONTH)  # and those of the fuller streams among them
    waiting = len(states(journal))
    centre.faults = ["500"] * 3
    assert link.send_due() == 0  # still away
    link.back_off.succeeded()
    centre.faults = []

    assert link.send_due() == waiting >= MONTH

    with_windows(journal, 1, TODAY + timedelta(days=MONTH))
    assert link.send_due() >= 1
    arrived = [w.header.sequence for w in centre.windows.values()]
    assert arrived == list(range(1, len(states(journal)) + 1))
    batches = sum("/windows/batch" in head for head in centre.heads)
    assert 1 < batches <= waiting // BATCH_WINDOWS + 3
    assert {state for _, state, _ in states(journal)} == {"acknowledged"}


def test_a_batch_holds_so_many_windows_and_bytes(journal: Journal) -> None:
    with_windows(journal, BATCH_WINDOWS + 3)
    journal.do(lambda db: db.execute("UPDATE windows SET raw = zeroblob(1000)"))

    assert len(journal.do(uplink.oldest_unsent)) == BATCH_WINDOWS

    half = BATCH_LIMIT // 2
    journal.do(lambda db: db.execute("UPDATE windows SET raw = zeroblob(?)", (half,)))
    assert len(journal.do(uplink.oldest_unsent)) == 1  # the lengths count as well


def test_a_window_that_a_batch_does_not_name_is_sent_alone_and_told_why(
    centre: PeerCentre, link: Uplink, journal: Journal
) -> None:
    with_windows(journal, 3)
    first = journal.do(uplink.oldest_unsent)[1]
    other = decode(first.raw, KEY.public)
    centre.windows[(1, 2)] = replace(other, raw=b"another window under this number")

    assert link.send_due() == 3

    assert states(journal) == [
        (1, "acknowledged", "stored"),
        (2, "dead", "refused"),
        (3, "acknowledged", "stored"),
    ]


@pytest.mark.parametrize("fault", ["404", "429", "500", "portal", "lost"])
def test_after_a_batch_that_failed_windows_go_one_at_a_time(
    centre: PeerCentre, link: Uplink, journal: Journal, fault: str
) -> None:
    with_windows(journal, 3)
    centre.faults = [fault]
    before = len(centre.bodies)

    assert link.send_due() == 0
    link.back_off.succeeded()
    assert link.send_due() == 3

    assert {state for _, state, _ in states(journal)} == {"acknowledged"}
    assert decode(centre.bodies[before + 1], KEY.public).header.sequence == 1


def test_enrolling_again_gives_the_same_answer(link: Uplink, journal: Journal) -> None:
    first = link.identity()

    assert link.enrol(LOCK) == first


def test_a_pending_edge_waits_and_sends_when_it_is_approved(
    centre: PeerCentre, journal: Journal, tmp_path: Path
) -> None:
    centre.state = "pending"
    link = a_link(centre, journal, tmp_path)
    link.enrol(LOCK)
    with_windows(journal, 2)

    assert link.send_due() == 0
    assert link.trouble == "edge_pending"
    centre.state = "active"
    assert link.send_due() == 2


def test_without_a_code_nothing_is_asked(
    centre: PeerCentre, journal: Journal, tmp_path: Path
) -> None:
    link = a_link(centre, journal, tmp_path)
    (tmp_path / "code").unlink()

    assert link.enrol(LOCK) is None
    assert link.trouble == "no_enrolment_code"
    assert centre.bodies == []


def test_a_wrong_code_is_refused_and_said_so(
    centre: PeerCentre, journal: Journal, tmp_path: Path
) -> None:
    link = a_link(centre, journal, tmp_path)
    (tmp_path / "code").write_text("guess")

    assert link.enrol(LOCK) is None
    assert link.trouble == "http_400"


def test_an_answer_lost_after_the_commit_is_sent_again_and_counted_once(
    centre: PeerCentre, link: Uplink, journal: Journal
) -> None:
    with_windows(journal, 1)
    centre.faults = ["lost"]

    assert link.send_due() == 0
    assert link.trouble == "unreachable"
    assert link.send_due() == 1

    assert len(centre.windows) == 1
    assert states(journal) == [(1, "acknowledged", "duplicate")]


@pytest.mark.parametrize(
    ("fault", "trouble"),
    [
        ("portal", "unreadable_receipt"),
        ("stranger", "receipt_not_trusted"),
        ("500", "http_500"),
        ("404", "http_404"),
    ],
)
def test_only_a_signed_receipt_is_an_acknowledgement(
    centre: PeerCentre, link: Uplink, journal: Journal, fault: str, trouble: str
) -> None:
    with_windows(journal, 1)
    centre.faults = [fault]

    assert link.send_due() == 0

    assert link.trouble == trouble
    assert states(journal) == [(1, "unsent", "")]
    assert link.send_due() == 1


def test_pinned_keys_are_the_only_ones_trusted(
    centre: PeerCentre, journal: Journal, tmp_path: Path
) -> None:
    stranger = SigningKey.generate().public.hex()
    link = a_link(centre, journal, tmp_path, pinned=(stranger,))
    link.enrol(LOCK)
    with_windows(journal, 1)

    assert link.send_due() == 0
    assert link.trouble == "receipt_not_trusted"


def test_a_centre_that_changes_its_keys_later_is_not_believed(
    centre: PeerCentre, link: Uplink, journal: Journal
) -> None:
    with_windows(journal, 1)
    centre.key = SigningKey.generate()
    known = link.identity()
    assert known is not None

    link.refresh(known)

    assert link.send_due() == 0
    assert link.trouble == "receipt_not_trusted"


@pytest.mark.parametrize(
    ("status", "reason"),
    [("409", "other_content_known"), ("413", "too_large"), ("422", "not_understood")],
)
def test_a_window_refused_for_good_is_set_aside_in_sight(
    centre: PeerCentre, link: Uplink, journal: Journal, status: str, reason: str
) -> None:
    with_windows(journal, 3)
    centre.faults = [status, status]  # of all together, then of the first alone

    link.send_due()

    assert [state for _, state, _ in states(journal)] == ["dead", "acknowledged", "acknowledged"]
    found = journal.do(
        lambda db: db.execute("SELECT reason, raw FROM windows WHERE sequence = 1").fetchone()
    )
    assert found[0] == reason and found[1]


@pytest.mark.parametrize("status", ["401", "403"])
def test_a_refused_caller_pauses_and_keeps_everything(
    centre: PeerCentre, link: Uplink, journal: Journal, status: str
) -> None:
    with_windows(journal, 2)
    centre.faults = [status]

    assert link.send_due() == 0

    assert link.trouble == f"refused_{status}"
    assert link.back_off.until - clock.elapsed() > uplink.PAUSE_S - 1
    assert {state for _, state, _ in states(journal)} == {"unsent"}


def test_the_centre_may_ask_for_patience(
    centre: PeerCentre, link: Uplink, journal: Journal
) -> None:
    with_windows(journal, 1)
    centre.faults = ["429"]

    link.send_due()

    assert link.back_off.until - clock.elapsed() > 6


def test_what_a_restored_centre_lost_is_sent_again(
    centre: PeerCentre, link: Uplink, journal: Journal
) -> None:
    with_windows(journal, 6)
    link.send_due()
    for sequence in (2, 5, 6):
        del centre.windows[1, sequence]

    link.catch_up()
    link.send_due()

    assert sorted(centre.windows) == [(1, s) for s in range(1, 7)]


def test_an_old_copy_of_the_journal_starts_a_new_epoch(
    centre: PeerCentre, link: Uplink, journal: Journal, tmp_path: Path
) -> None:
    with_windows(journal, 2)
    journal.do(lambda db: None)
    shutil.copy(tmp_path / "data" / "journal.db", tmp_path / "old.db")
    link.send_due()
    with_windows(journal, 3, TODAY + timedelta(days=5))
    link.send_due()
    (tmp_path / "restored").mkdir()
    shutil.copy(tmp_path / "old.db", tmp_path / "restored" / "journal.db")
    restored = Journal(tmp_path / "restored")
    again = a_link(centre, restored, tmp_path)

    again.catch_up()

    identity = again.identity()
    assert identity is not None and identity.epoch == 2
    assert again.send_due() == 2  # known to the centre already
    assert {state for _, state, _ in states(restored)} == {"acknowledged"}
    restored.close()


def test_bytes_are_kept_for_a_month_after_the_acknowledgement(
    simulated_clock: Clock, centre: PeerCentre, link: Uplink, journal: Journal
) -> None:
    with_windows(journal, 1)
    link.send_due()

    def kept() -> int:
        journal.do(lambda db: uplink.forget_old(db, timedelta(days=30)))
        query = "SELECT count(*) FROM windows WHERE raw IS NOT NULL"
        return int(journal.do(lambda db: db.execute(query).fetchone()[0]))

    simulated_clock.advance(days=29)
    assert kept() == 1
    simulated_clock.advance(days=2)
    assert kept() == 0


def test_waiting_grows_with_failures_up_to_a_bound() -> None:
    back_off = BackOff(first_s=1.0, longest_s=60.0)
    waits = []
    for _ in range(12):
        back_off.failed(draw=lambda: 1.0)
        waits.append(back_off.until - clock.elapsed())

    assert waits[0] == pytest.approx(1.0, abs=0.1)
    assert waits == sorted(waits) or max(waits) <= 60
    assert waits[-1] == pytest.approx(60.0, abs=0.1)
    back_off.succeeded()
    assert back_off.is_over
