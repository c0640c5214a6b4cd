"""An edge changes its key: nothing is lost, whatever is cut short or answered to nobody."""

from __future__ import annotations

import stat
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from app.contracts.signing import SigningKey
from app.edge import key_rotation
from app.edge.http import BackOff, Centre
from app.edge.journal import Journal
from app.edge.key_rotation import KEY, NEXT, KeyKeeper, NotNow, order, present
from app.edge.orders import NoEdge
from app.edge.sent import windows as sent_windows
from app.edge.uplink import Uplink
from app.edge.windows import close_due
from tests.conftest import Clock
from tests.edge.builders import TODAY, put_cases
from tests.edge.peer_centre import CODE, PeerCentre
from tests.edge.test_windows import closing

LOCK = "ab" * 32


class Edge:
    """The parts of an agent that a key concerns, over a data folder that outlives them."""

    def __init__(self, centre: PeerCentre, journal: Journal, data: Path) -> None:
        self.centre, self.journal, self.data = centre, journal, data
        self.days = 0
        self.start()
        self.uplink.enrol(LOCK)

    def start(self) -> None:
        """As after a start of the agent."""
        code = self.data / "code"
        code.write_text(CODE)
        there = Centre(self.centre.url, self.centre.url, present(self.data, self.journal))
        self.uplink = Uplink(there, self.journal, (), code, BackOff(first_s=0.0))
        self.keys = KeyKeeper(self.data, self.journal, self.uplink)

    def follow(self) -> None:
        """One round's step, not held back by the time between two questions."""
        identity = self.uplink.identity()
        assert identity is not None
        self.uplink.back_off.succeeded()
        self.keys.asked = -key_rotation.ASK_S
        self.keys.follow(identity)

    def close(self) -> None:
        """Close one more day, unless a switch is under way, as the agent's round does."""
        put_cases(self.journal, [TODAY + timedelta(days=self.days)] * 25, seed=self.days)
        self.days += 1
        if self.keys.is_switching:
            return
        now = replace(closing(TODAY + timedelta(days=self.days)), key=self.uplink.centre.key)
        self.journal.do(lambda db: close_due(db, now))

    @property
    def fingerprint(self) -> str:
        return present(self.data, self.journal).key_id

    def send(self) -> set[str]:
        """Send what waits; the states that windows are in then."""
        self.uplink.back_off.succeeded()
        self.uplink.send_due()
        rows = self.journal.do(lambda db: db.execute("SELECT state FROM windows").fetchall())
        return {row[0] for row in rows}


@pytest.fixture
def edge(centre: PeerCentre, journal: Journal, tmp_path: Path, simulated_clock: Clock) -> Edge:
    made = Edge(centre, journal, tmp_path / "data")
    made.journal.do(lambda db: close_due(db, closing(TODAY)))  # the first call remembers the day
    return made


def test_a_key_is_made_once_and_for_its_owner_only(edge: Edge) -> None:
    found = order(edge.data)

    assert stat.S_IMODE((edge.data / NEXT).stat().st_mode) == 0o600
    assert edge.keys.status() == {"new_key": "made", "new_key_fingerprint": found}
    with pytest.raises(NotNow, match=found):
        order(edge.data)
    assert SigningKey.from_seed((edge.data / NEXT).read_bytes()).key_id == found


def test_without_an_edge_there_is_no_key_to_change(tmp_path: Path) -> None:
    with pytest.raises(NoEdge):
        order(tmp_path)


def test_nothing_changes_until_a_person_has_approved(centre: PeerCentre, edge: Edge) -> None:
    centre.says_to_key, before = "pending", edge.fingerprint
    order(edge.data)

    edge.follow()
    edge.close()

    assert edge.keys.status()["new_key"] == "pending"
    assert edge.fingerprint == before
    assert edge.send() == {"acknowledged"}


def test_windows_of_both_keys_arrive_and_can_be_read(centre: PeerCentre, edge: Edge) -> None:
    edge.close()  # waits: signed by the old key, it arrives after the switch
    edge.close()
    found = order(edge.data)

    edge.follow()
    edge.close()

    assert edge.fingerprint == found
    assert not (edge.data / NEXT).exists()
    assert edge.keys.status() == {"new_key": "", "new_key_fingerprint": ""}
    assert [k["sequence"] for k in centre.retired] == [2]
    assert edge.send() == {"acknowledged"}
    assert list(centre.windows) == [(1, 1), (1, 2), (1, 3)]
    public = edge.uplink.centre.key.public
    assert len(edge.journal.do(lambda db: list(sent_windows(db, public)))) == 3


def test_a_lost_answer_to_the_switch_is_asked_for_again(centre: PeerCentre, edge: Edge) -> None:
    edge.close()
    order(edge.data)
    centre.faults = ["", "lost"]

    edge.follow()

    assert edge.keys.is_switching
    assert len(centre.retired) == 1  # the centre has switched, the edge does not know
    edge.close()  # must not seal anything now
    edge.start()  # and a crash on top
    edge.follow()
    edge.close()
    assert not edge.keys.is_switching
    assert edge.send() == {"acknowledged"}
    assert len(centre.retired) == 1


def test_a_crash_after_the_new_key_is_in_place_is_made_good(
    centre: PeerCentre, edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    edge.close()
    order(edge.data)

    def power_cut(_: object) -> None:
        raise OSError

    with monkeypatch.context() as cut:
        cut.setattr(key_rotation, "_finish", power_cut)
        with pytest.raises(OSError):
            edge.follow()
    public = SigningKey.from_seed((edge.data / KEY).read_bytes()).public
    assert len(edge.journal.do(lambda db: list(sent_windows(db, public)))) == 1

    edge.start()
    edge.close()

    assert not edge.keys.is_switching
    assert edge.send() == {"acknowledged"}
    assert len(edge.journal.do(lambda db: list(sent_windows(db, public)))) == 2


@pytest.mark.parametrize("fault", ["portal", "stranger", "500", "401"])
def test_only_the_centres_own_receipt_ends_the_old_key(
    centre: PeerCentre, edge: Edge, fault: str
) -> None:
    before = edge.fingerprint
    order(edge.data)
    centre.faults = ["", fault, fault]

    edge.follow()

    assert edge.fingerprint == before
    assert edge.keys.is_switching
    centre.faults = []
    edge.follow()
    assert not edge.keys.is_switching
    assert edge.fingerprint != before


def test_a_refused_key_is_dropped_and_the_old_one_goes_on(centre: PeerCentre, edge: Edge) -> None:
    centre.says_to_key, before = "refused", edge.fingerprint
    order(edge.data)

    edge.follow()
    edge.close()

    assert not (edge.data / NEXT).exists()
    assert edge.keys.status()["new_key"] == "refused"
    assert edge.fingerprint == before
    assert edge.send() == {"acknowledged"}


def test_an_approval_taken_back_before_the_switch_holds_nothing_up(
    centre: PeerCentre, edge: Edge
) -> None:
    order(edge.data)
    centre.faults = ["", "409"]

    edge.follow()
    edge.close()

    assert not edge.keys.is_switching
    assert edge.send() == {"acknowledged"}


def test_a_new_key_that_was_removed_during_the_switch_holds_nothing_up(
    centre: PeerCentre, edge: Edge
) -> None:
    order(edge.data)
    centre.faults = ["", "500"]
    edge.follow()
    (edge.data / NEXT).unlink()

    edge.start()

    assert not edge.keys.is_switching
