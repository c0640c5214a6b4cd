"""The doors beside C-STORE: uploads, DICOMweb archives, label files and reads of fixed images.

As in `test_privacy`, marks that occur nowhere else are planted in everything that comes in, also
in what is refused, and every byte that the agent says to anyone is searched for them.
"""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
import warnings
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from app.edge.query_web import INSTANCE, MODALITY, SERIES
from app.edge.upload import PROGRAM
from tests.edge.peer_centre import PeerCentre
from tests.edge.planted import Marks, identities, planted, standard
from tests.edge.running_edge import START, RunningEdge, an_edge_runs
from tests.edge.sender import a_chest, as_bytes
from tests.edge.test_label_files import a_report, message
from tests.edge.test_query_web import Service, multipart, service
from tests.edge.test_upload import CAMERAS, FORM, a_jpeg
from tests.support.chest_bundle import ROOT
from tests.support.leaks import leaks, said
from tests.support.ports import a_free_port

__all__ = ["service"]
DAY = START.replace(tzinfo=None)
CASES = 24  # by each of two doors
LABELS = 32  # in one table: enough to leave
IMAGES = 30  # of the bundle's sentinel set


@pytest.fixture
def marks() -> Marks:
    return Marks()


@pytest.fixture
def doors(
    tmp_path: Path, bundle: Path, centre: PeerCentre, service: Service, marks: Marks
) -> Iterator[RunningEdge]:
    """An edge with every door open, an archive whose answers are `service`'s, and its secrets."""
    secret = tmp_path / "authorization"
    secret.write_text(f"Bearer {marks.of('SH')}")
    asked: dict[str, Any] = {"query_url": service.url, "query_minutes": 0.01}
    asked |= {"query_authorization_file": str(secret), "query_lookback_days": 60}
    pages = {"upload_port": a_free_port(), "status_port": a_free_port()}
    with an_edge_runs(
        tmp_path, bundle, centre, **asked, **pages, upload_cameras=CAMERAS
    ) as running_edge:
        running_edge.ready()
        yield running_edge


def test_no_mark_leaves_by_any_other_door(
    doors: RunningEdge, service: Service, marks: Marks
) -> None:
    header = standard(marks, a_chest(0, DAY))
    chests = [planted(marks, seed, header, DAY) for seed in range(2 * CASES)]
    named = identities(chests)
    answers = _upload(doors, marks, chests[:CASES], header)
    _archive(service, marks, chests[CASES:])
    doors.until(lambda s: s["balance"]["received"] == len(chests) + 2 and _is_idle(s))
    _read(doors, marks, chests)
    doors.at(doors.now + timedelta(minutes=1))
    doors.until(lambda s: s["labels"]["joined"] == len(chests) and not _left(doors))
    doors.live(days=32)

    status = doors.status()
    assert status["balance"]["analysed"] >= len(chests) - 12
    assert status["reasons"]["refused"] and status["windows"]["dead"] == 0
    kinds = {"strata", "labels", "sentinel"}
    assert kinds <= {name for window in doors.centre.windows.values() for name in window.tables}
    places = said(doors) | _told(doors, marks) | {"answers": b"\0".join(answers)}
    assert leaks(places, marks.values | named) == set()
    assert b"Traceback" not in places["log"]  # it may quote what came in
    packed = {name for name, bits in marks.packed.items() for p in _outward(places) if bits in p}
    assert packed == set()


def _is_idle(status: dict[str, Any]) -> bool:
    return (
        not status["balance"]["waiting"] and status["reasons"].get("query", {}).get("failed", 0) > 8
    )


def _upload(
    edge: RunningEdge, marks: Marks, chests: list[Dataset], header: dict[str, object]
) -> list[bytes]:
    """DICOM files, pictures, and what is refused; what the endpoint answered."""
    url = f"http://127.0.0.1:{edge.extra['upload_port']}"

    def post(content: bytes, form: dict[str, str], status: int) -> bytes:
        files = {"file": (f"{marks.of('LO')}.jpg", content, f"image/{marks.of('SH')}")}
        about = {PROGRAM: str(marks.of("SH")), "user-agent": str(marks.of("LO"))}
        login = (str(marks.of("SH")), str(marks.of("SH")))
        answer = httpx.post(url, data=form, files=files, headers=about, auth=login)
        assert answer.status_code == status, answer.text
        return answer.content + str(answer.headers).encode()

    said_back = [
        post(as_bytes(chest), {"patient_id": str(marks.of("LO"))}, 201) for chest in chests
    ]
    form = FORM | {"patient_id": str(marks.of("LO")), "accession_number": str(marks.of("SH"))}
    said_back += [post(_picture(marks, seed), form, 201) for seed in (1, 2)]
    for name in FORM:
        said_back.append(post(_picture(marks, 3), form | {name: 6 * str(marks.of("LT"))}, 422))
    said_back.append(post(str(marks.of("UT")).encode(), form, 422))
    said_back.append(post(_picture(marks, 4)[:2000], form, 422))
    said_back.append(post(as_bytes(planted(marks, 77, header, DAY))[:200], form, 422))
    said_back.append(httpx.get(f"{url}/{marks.of('SH')}").content)
    return said_back


def _picture(marks: Marks, seed: int) -> bytes:
    """A JPEG with marks wherever a camera may write something."""
    exif = Image.Exif()
    for tag in (0x010E, 0x010F, 0x0131, 0x013B, 0x8298, 0x9C9D):  # description ... author
        exif[tag] = str(marks.of("LO"))
    exif.get_ifd(0x8825)[0x1D] = str(marks.of("SH"))  # GPS
    exif.get_ifd(0x8769)[0x927C] = str(marks.of("LO")).encode()  # MakerNote
    note, profile, tail = (str(marks.of("LT")).encode() for _ in range(3))
    return a_jpeg(seed, exif=exif.tobytes(), comment=note, icc_profile=profile * 9) + tail


def _archive(service: Service, marks: Marks, chests: list[Dataset]) -> None:
    """Studies to fetch, behind matches that say much of the patient, and spoilt answers."""
    service.beside = {
        f"{0x00100010 + i:08X}": {"vr": vr, "Value": [str(marks.of(vr))]}
        for i, vr in enumerate(("PN", "LO", "DA", "LT", "UT", "CS"))
    }
    odd = [Dataset() for _ in range(8)]
    for one in odd:
        one.StudyInstanceUID = one.SeriesInstanceUID = one.SOPInstanceUID = generate_uid()
        one.Modality = "DX"
    words = [str(marks.of("LT")).encode() for _ in range(8)]
    spoilt = [
        (503, f"text/{marks.of('SH')}", words[0]),
        (200, "text/html", words[1]),
        (200, f'multipart/related; boundary="{marks.of("SH")}"', words[2]),
        (200, f"multipart/related; boundary*x={marks.of('SH')}", words[3]),
        (200, "application/dicom", words[4]),
        (200, *multipart(words[5], words[6])),
        (200, *multipart(as_bytes(a_chest(99)))),  # another object than was asked for
        (302, f"text/{marks.of('SH')}", words[7]),
    ]
    for one, told in zip(odd, spoilt, strict=True):
        service.spoilt[f"instances/{one.SOPInstanceUID}"] = told
    of_study = {
        key: [{key: {"vr": "UI", "Value": [str(marks.of("LO"))]}}] for key in (SERIES, INSTANCE)
    }
    wrong = [
        _study(service, marks, of_study[SERIES]),
        _study(service, marks, [{MODALITY: marks.of("SH")}]),
    ]
    service.objects = [*chests, *odd, *wrong]


def _study(service: Service, marks: Marks, series: list[dict[str, Any]]) -> Dataset:
    """A study whose list of series is spoilt."""
    made = Dataset()
    made.StudyInstanceUID = generate_uid()
    kind = "application/dicom+json"
    service.spoilt[f"{made.StudyInstanceUID}/series"] = (200, kind, json.dumps(series).encode())
    return made


def _read(edge: RunningEdge, marks: Marks, chests: list[Dataset]) -> None:
    """Reads as CSV, HL7 and SR, and of the fixed images, each with all that may stand beside it."""
    inbox = edge.folder / "labels"

    def put(kind: str, content: str | bytes) -> None:
        raw = content if isinstance(content, bytes) else content.encode()
        half = inbox / f"{marks.of('SH')}.half"
        half.write_bytes(raw)
        half.rename(half.with_suffix(kind))  # the agent looks at any moment

    of_table, of_messages = LABELS, LABELS + 8
    head = "accession_number,sop_instance_uid,sentinel_id,label,source,reader,read_on,policy"
    reader, policy = marks.of("PN"), marks.of("LO")
    read = f"{reader},2026-03-10,{policy}"
    rows = [
        f"{marks.of('SH')},{chest.SOPInstanceUID},,{i % 2},random_audit,{read}"
        for i, chest in enumerate(chests[:of_table])
    ]
    rows += [f"{marks.of('SH')},,{i},{i % 2},sentinel,{read}" for i in range(IMAGES)]
    odd = ",".join(str(marks.of("SH")) for _ in range(5))
    rows += [f"{marks.of('SH')},{uid},{odd},{policy}" for uid in ("", "1.2.3")]
    put(".csv", "\n".join((head, *rows)))
    for chest in chests[of_table:of_messages]:
        put(".hl7", _message(marks, str(chest.SOPInstanceUID)))
    header = standard(marks, a_report())
    for chest in chests[of_messages:]:
        put(".dcm", _report(marks, chest, header))
    put(".csv", f"{marks.of('LO')},{marks.of('LO')}\n1,2\n")
    put(".hl7", f"{marks.of('LO')}|x")
    put(".hl7", _message(marks, "1.2.3").replace("|F|", f"|{marks.of('CS')}|"))
    put(".dcm", _report(marks, chests[0], header)[:900])


def _message(marks: Marks, uid: str) -> str:
    told = message("1", "F", uid, str(marks.of("PN")))
    for usual in ("RIS", "MRN1", "DOE^JANE", "ACC1", "DOE JANE has pneumonia"):
        told = told.replace(usual, str(marks.of("LT")))
    more = "|".join(str(marks.of("LO")) for _ in range(20))
    return told + f"NTE|1||{marks.of('LT')}\rZPI|{more}\rOBX|9|ST|{marks.of('SH')}^{more}\r"


def _report(marks: Marks, chest: Dataset, header: dict[str, object]) -> bytes:
    """A structured report about an object, full of marks, some of them against the standard."""
    report = a_report()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for keyword, value in header.items():
            if keyword != "ContentSequence":
                setattr(report, keyword, value)
        report.PatientName, report.PatientID = marks.of("PN"), marks.of("LO")
        report.PatientAge = report.PatientBirthDate = str(marks.of("SH"))
        report.SOPInstanceUID = f"1.2.{marks.of('SH')}"
        for item in _items(report):
            if "ReferencedSOPSequence" in item:
                item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID = chest.SOPInstanceUID
            if "PersonName" in item:
                item.PersonName = marks.of("PN")
            if "TextValue" in item:
                item.TextValue = marks.of("UT")
        return as_bytes(report)


def _items(item: Dataset) -> Iterator[Dataset]:
    for child in item.get("ContentSequence", ()):
        yield child
        yield from _items(child)


def _left(edge: RunningEdge) -> list[Path]:
    return [path for path in (edge.folder / "labels").iterdir() if path.is_file()]


def _told(edge: RunningEdge, marks: Marks) -> dict[str, bytes]:
    """The status page, also of what it has not, and what the command line prints."""
    page = f"http://127.0.0.1:{edge.extra['status_port']}"
    _hang_up(edge.extra["status_port"], str(marks.of("LT")))
    agent = {"user-agent": str(marks.of("SH"))}
    addresses = ("/", "/status.json", f"/{marks.of('SH')}", f"/?{marks.of('SH')}")
    pages = [httpx.get(page + address, headers=agent).content for address in addresses]
    found = {"page": b"\0".join(pages), "log": edge.log.read_bytes()}
    for command in ("sent", "status", "check"):
        line = [sys.executable, "-m", "app.cli", "edge", command]
        config = str(edge.folder / "edge.toml")
        done = subprocess.run(
            [*line, "--config", config], cwd=ROOT, capture_output=True, check=False
        )
        found[command] = done.stdout + done.stderr
    return found


def _hang_up(port: int, words: str) -> None:
    """Begin a request and reset the connection."""
    with socket.create_connection(("127.0.0.1", port)) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raw.sendall(f"GET /{words} HTTP/1.1\r\nHost: {words}\r\n".encode())


def _outward(places: dict[str, bytes]) -> list[bytes]:
    return [places[name] for name in ("requests", "requests inflated", "log", "names", "page")]
