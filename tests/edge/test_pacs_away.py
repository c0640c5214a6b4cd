"""Two days without the PACS, in simulated time: nothing is lost, and no new case waits for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

from app import clock
from app.edge.deliver import LONGEST_WAIT_S, Deliverer
from app.edge.destinations import HL7, PEER, addressed
from app.edge.dicom_objects import as_file
from app.edge.journal import Journal
from app.edge.results import IMAGE, MESSAGE, REPORT
from tests.conftest import Clock
from tests.edge.builders import an_edge
from tests.edge.test_deliver import Pacs, delivered, listening, results
from tests.support.mllp_receiver import MllpReceiver
from tests.support.mllp_receiver import listening as hearing

__all__ = ["results"]
EVERY_MINUTES = 60
DAYS = 2


@dataclass
class Clinic:
    """An edge that makes results, and the UIDs of the objects that it made."""

    deliverer: Deliverer
    models: dict[str, bytes]
    made: list[str] = field(default_factory=list)

    def flag(self) -> list[str]:
        """One more flagged study: report, heat map, priority message; the UIDs of the first two."""
        n = len(self.made)
        names = [f"{n:06d}{kind}" for kind in (MESSAGE, REPORT, IMAGE)]
        uids = [self._put(name) for name in names[1:]]
        (self.deliverer.outbox / names[0]).write_bytes(self.models[MESSAGE])
        pairs = addressed(self.deliverer.settings, names)
        self.deliverer.journal.do(
            lambda db: db.executemany(
                "INSERT INTO deliveries (name, destination) VALUES (?, ?)", pairs
            )
        )
        self.made += uids
        return uids

    def _put(self, name: str) -> str:
        made = dcmread(BytesIO(self.models[Path(name).suffix]))
        made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        (self.deliverer.outbox / name).write_bytes(as_file(made))
        return str(made.SOPInstanceUID)


def test_two_days_without_the_pacs_lose_nothing_and_delay_no_new_case(
    tmp_path: Path,
    journal: Journal,
    results: list[str],
    simulated_clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(clock, "elapsed", lambda: clock.now().timestamp())
    pacs, ris = Pacs(), MllpReceiver()
    with listening(pacs):
        pass  # it has a port now, and is down
    with hearing(ris):
        settings = an_edge(
            tmp_path,
            results_peer={"host": "127.0.0.1", "port": pacs.port, "ae": "PACS"},
            results_hl7={"host": "127.0.0.1", "port": ris.port},
        )
        outbox = tmp_path / "outbox"
        models = {Path(name).suffix: (outbox / name).read_bytes() for name in results}
        for path in outbox.iterdir():
            path.unlink()
        clinic = Clinic(Deliverer(settings, journal, outbox), models)

        studies = DAYS * 24 * 60 // EVERY_MINUTES
        for n in range(1, studies + 1):
            clinic.flag()
            assert clinic.deliverer.deliver(PEER) == 0
            assert clinic.deliverer.deliver(HL7) == 1
            assert len(ris.messages) == n  # what does not go to the PACS went at once
            simulated_clock.advance(minutes=EVERY_MINUTES)
        assert pacs.received == []
        assert delivered(journal) == (3 * studies, studies, 0)

        with listening(pacs):
            simulated_clock.advance(seconds=LONGEST_WAIT_S)
            newest = clinic.flag()
            while clinic.deliverer.deliver(PEER):
                pass

    assert set(pacs.received[:2]) == set(newest)  # before the backlog of two days
    assert sorted(pacs.received) == sorted(clinic.made)  # each once
    assert delivered(journal)[1:] == (studies + 2 * (studies + 1), 0)
    assert [path.suffix for path in outbox.iterdir()] == [MESSAGE]  # not yet told: HL7 was not run
