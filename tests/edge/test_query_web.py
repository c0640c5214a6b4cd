"""DICOMweb archives as they are: slow, capped, wrong, or somebody else."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pydicom.dataset import Dataset
from structlog.testing import capture_logs

from app.edge import query_web
from app.edge.journal import Journal, meta
from app.edge.query import Query
from app.edge.query_web import INSTANCE, MODALITY, SERIES, STUDY, WebArchive
from tests.edge.builders import TODAY, an_edge
from tests.edge.sender import a_small_object, as_bytes
from tests.edge.test_receive import Door, a_door

MARK = TODAY.toordinal()
LINE = "--b0undary"


@dataclass
class Service:
    """Studies of one object each, as PS3.18 serves them.

    `spoilt`: answers by part of the path. `beside`: what every match says too.
    """

    objects: list[Dataset] = field(default_factory=list)
    spoilt: dict[str, tuple[int, str, bytes]] = field(default_factory=dict)
    beside: dict[str, Any] = field(default_factory=dict)
    cap: int = 100
    asked: list[str] = field(default_factory=list)
    authorization: set[str | None] = field(default_factory=set)
    url: str = ""

    def answer(self, address: str) -> tuple[int, str, bytes]:
        parts = urlsplit(address)
        self.asked.append(parts.path)
        for piece, told in self.spoilt.items():
            if piece in parts.path:
                return told
        match parts.path.strip("/").split("/"):
            case ["studies"]:
                found = [{STUDY: _value(o.StudyInstanceUID)} for o in self.objects]
            case ["studies", study, "series"]:
                found = [
                    {SERIES: _value(o.SeriesInstanceUID), MODALITY: _value(o.Modality)}
                    for o in self._of(study)
                ]
            case ["studies", study, "series", _, "instances"]:
                found = [{INSTANCE: _value(o.SOPInstanceUID)} for o in self._of(study)]
            case ["studies", study, "series", _, "instances", _]:
                return 200, *multipart(as_bytes(self._of(study)[0]))
        offset = int(parse_qs(parts.query)["offset"][0])
        page = [one | self.beside for one in found[offset : offset + self.cap]]
        return (
            (200, "application/dicom+json", json.dumps(page).encode()) if page else (204, "", b"")
        )

    def _of(self, study: str) -> list[Dataset]:
        return [o for o in self.objects if o.StudyInstanceUID == study]


def _value(uid: object) -> dict[str, Any]:
    return {"vr": "UI", "Value": [str(uid)]}


def multipart(*objects: bytes) -> tuple[str, bytes]:
    parts = [
        f"{LINE}\r\nContent-Type: application/dicom\r\n\r\n".encode() + one + b"\r\n"
        for one in objects
    ]
    kind = f'multipart/related; type="application/dicom"; boundary="{LINE[2:]}"'
    return kind, b"".join(parts) + f"{LINE}--\r\n".encode()


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.authorization.add(self.headers.get("authorization"))
            status, kind, body = made.answer(self.path)
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("location", "/studies")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_port}"
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def door(tmp_path: Path, journal: Journal) -> Door:
    return a_door(tmp_path, journal)


def a_query(folder: Path, journal: Journal, service: Service, door: Door, **changes: Any) -> Query:
    settings = an_edge(folder, query_url=service.url, **changes)
    archive = WebArchive(settings, service.url, door.receiver)
    return Query(settings, journal, archive, door.receiver.is_settled)


def mark(journal: Journal) -> int:
    return int(journal.do(lambda db: meta(db, "query_web_through")))


def test_an_archive_that_caps_its_answers_is_listed_whole(
    tmp_path: Path, journal: Journal, service: Service, door: Door
) -> None:
    service.objects, service.cap = [a_small_object() for _ in range(7)], 3

    assert a_query(tmp_path, journal, service, door).round(MARK) == 7

    assert door.balance["received"] == 7
    assert mark(journal) == MARK


HTML = (200, "text/html", b"<html>Please log in")
ODD = {
    "a login page": ("/studies", HTML),
    "an error": ("/studies", (503, "", b"")),
    "a redirect": ("/studies", (302, "", b"")),
    "no list": ("/studies", (200, "application/dicom+json", b'{"a": 1}')),
    "no UID": ("/studies", (200, "application/dicom+json", b"[{}]")),
    "a path for a UID": (
        "/studies",
        (200, "application/dicom+json", json.dumps([{STUDY: _value("../../x")}]).encode()),
    ),
    "a page for an object": ("/instances/", HTML),
    "half an object": ("/instances/", (200, multipart(b"")[0], b"--b0undary\r\nContent-T")),
    "two objects": ("/instances/", (200, *multipart(b"one", b"two"))),
    "another object": ("/instances/", (200, *multipart(as_bytes(a_small_object())))),
}


@pytest.mark.parametrize("how", ODD)
def test_an_odd_answer_ends_the_round_keeps_the_mark_and_is_made_good_later(
    tmp_path: Path, journal: Journal, service: Service, door: Door, how: str
) -> None:
    asked = a_query(tmp_path, journal, service, door)
    assert asked.round(MARK) == 0
    service.objects = [a_small_object()]
    service.spoilt = dict([ODD[how]])

    assert asked.round(MARK + 1) == 0
    assert mark(journal) == MARK
    assert door.counted["query", "failed"] == 1
    assert door.balance["received"] == 0

    service.spoilt = {}
    assert asked.round(MARK + 2) == 1
    assert mark(journal) == MARK + 2
    assert all(".." not in path for path in service.asked)


def test_an_answer_that_does_not_end_is_cut_off(
    tmp_path: Path, journal: Journal, service: Service, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query_web, "LIST_LIMIT", 1000)
    service.spoilt = {"/studies": (200, "application/dicom+json", b" " * 100_000)}

    assert a_query(tmp_path, journal, service, door).round(MARK) == 0
    assert door.counted["query", "failed"] == 1


def test_one_study_that_cannot_be_had_keeps_no_other_from_coming(
    tmp_path: Path, journal: Journal, service: Service, door: Door
) -> None:
    service.objects = [a_small_object() for _ in range(3)]
    service.spoilt = {f"/instances/{service.objects[0].SOPInstanceUID}": (404, "", b"")}
    asked = a_query(tmp_path, journal, service, door)

    assert asked.round(MARK) == 2
    assert asked.round(MARK + 40) == 0
    assert mark(journal) == MARK

    service.spoilt = {}
    assert asked.round(MARK + 41) == 1
    assert mark(journal) == MARK + 41


def test_what_is_refused_for_good_is_counted_once_and_not_fetched_again(
    tmp_path: Path, journal: Journal, service: Service, door: Door
) -> None:
    report = a_small_object(sop_class="1.2.840.10008.5.1.4.1.1.88.11")
    service.objects = [report, a_small_object()]
    asked = a_query(tmp_path, journal, service, door)

    assert asked.round(MARK) == 2
    assert asked.round(MARK + 1) == 0

    assert door.balance["received"] == 1
    assert door.counted["refused", "sop_class_not_taken"] == 1
    assert mark(journal) == MARK + 1


def test_a_full_disk_is_no_refusal(tmp_path: Path, journal: Journal, service: Service) -> None:
    full = a_door(tmp_path, journal, free_disk_mb=1 << 40)
    service.objects = [a_small_object()]

    assert a_query(tmp_path, journal, service, full).round(MARK) == 0
    assert not full.receiver.is_settled(str(service.objects[0].SOPInstanceUID))


def test_what_an_archive_wants_to_know_is_read_from_its_file(
    tmp_path: Path, journal: Journal, service: Service, door: Door
) -> None:
    (tmp_path / "secret").write_text("Bearer abc\n")
    service.objects = [a_small_object()]
    file = tmp_path / "secret"

    asked = a_query(tmp_path, journal, service, door, query_authorization_file=file)

    assert asked.round(MARK) == 1
    assert service.authorization == {"Bearer abc"}


def test_an_archive_that_is_away_is_asked_again(
    tmp_path: Path, journal: Journal, door: Door
) -> None:
    asked = a_query(tmp_path, journal, Service(url="http://127.0.0.1:9"), door)

    assert asked.round(MARK) == 0
    assert door.counted["query", "failed"] == 1


def test_what_a_library_says_about_an_answer_is_not_logged(
    tmp_path: Path, journal: Journal, service: Service, door: Door
) -> None:
    """It may quote the answer; the parser of this one gives up with words of its own."""
    service.spoilt = {"/studies": (200, "application/dicom+json", b"[" * 100_000)}

    with capture_logs() as logged:
        assert a_query(tmp_path, journal, service, door).round(MARK) == 0

    assert [entry["reason"] for entry in logged] == ["RecursionError"]
