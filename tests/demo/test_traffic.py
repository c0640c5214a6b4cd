"""What the hospitals send arrives as it was planned, and reads come on their days."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.events import Event
from pynetdicom.sop_class import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
)

from app.lab.demo_scenario import Scenario, scenario
from app.lab.demo_traffic import Door, Traffic
from app.lab.hospital import planned_cases
from app.lab.hospital_sender import Peer

LABELS = [0, 1] * 10


def a_short_play() -> Scenario:
    play = scenario(2, days_reference=3, days_monitored=1)
    return replace(play, sites=tuple(replace(site, cases_a_day=4.0) for site in play.sites))


@contextmanager
def a_receiver() -> Iterator[tuple[Peer, list[str]]]:
    stored: list[str] = []

    def store(event: Event) -> int:
        stored.append(str(event.request.AffectedSOPInstanceUID))
        return 0x0000

    entity = AE(ae_title="EDGE")
    for kind in (ComputedRadiographyImageStorage, DigitalXRayImageStorageForPresentation):
        entity.add_supported_context(kind, ExplicitVRLittleEndian)
    server = entity.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)]
    )
    try:
        yield Peer("127.0.0.1", server.server_address[1], "EDGE"), stored
    finally:
        server.shutdown()


def doors(play: Scenario, folder: Path, peer: Peer) -> dict[str, Door]:
    inboxes = {site.code: folder / site.code / "labels" for site in play.sites}
    for inbox in inboxes.values():
        inbox.mkdir(parents=True)
    return {code: Door(peer, f"{code}ROUTER", inbox) for code, inbox in inboxes.items()}


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines())) if path.exists() else []


def test_every_planned_case_arrives_once_and_nothing_stays_in_the_spool(tmp_path: Path) -> None:
    play = a_short_play()

    with (
        a_receiver() as (peer, stored),
        Traffic(play, doors(play, tmp_path, peer), tmp_path / "spool") as days,
    ):
        for day in range(play.days + 2):
            days.deliver(day)

    planned = [
        case.sop_instance_uid
        for day in range(play.days)
        for site in play.sites
        for case in planned_cases(play, site, day)
    ]
    assert sorted(stored) == sorted(planned)
    assert sum(days.sent.values()) == len(planned)
    assert list((tmp_path / "spool").rglob("*.dcm")) == []


def test_label_files_hold_the_reads_of_their_day_and_only_of_cases_seen_before(
    tmp_path: Path,
) -> None:
    play = a_short_play()
    gates = doors(play, tmp_path, Peer("127.0.0.1", 1, "NOBODY"))
    seen: dict[str, set[str]] = {site.code: set() for site in play.sites}
    audited: Counter[str] = Counter()

    traffic = Traffic(play, gates, tmp_path / "spool")
    for day in range(play.days + 30):
        traffic.read(day, LABELS)
        for site in play.sites:
            if day < play.days:
                seen[site.code] |= {c.sop_instance_uid for c in planned_cases(play, site, day)}
            path = gates[site.code].inbox / f"reads-{play.on(day)}.csv"
            for row in rows(path):
                assert row["read_on"] == str(play.on(day))
                if row["source"] == "random_audit":
                    assert row["sop_instance_uid"] in seen[site.code]
                audited[row["source"]] += 1

    assert audited["random_audit"] > 5
    # One round of two readers at each site falls into four days.
    assert audited["sentinel"] == 2 * len(LABELS) * len(play.sites)
