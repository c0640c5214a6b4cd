"""Pictures of cameras without DICOM: what becomes of them, and who may bring them."""

from __future__ import annotations

import io
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

from app.device.pixels.decode import decode
from app.device.reference.fundus.device import DEVICE as FUNDUS
from app.device.reference.skin.device import DEVICE as SKIN
from app.device.study import outside
from app.edge import photographs, upload
from app.edge.journal import Journal
from app.edge.pseudonyms import Pseudonyms
from app.edge.receive import Refused
from app.edge.settings import EdgeSettings
from app.edge.upload import PROGRAM, Uploads
from tests.conftest import Clock
from tests.edge.builders import TODAY, an_edge
from tests.edge.sender import a_small_object, as_bytes
from tests.edge.test_receive import Door, a_door
from tests.edge.test_ways_in import certificate

__all__ = ["certificate"]
CAMERAS = {
    "room1": {"kind": "fundus", "manufacturer": "ACME", "model": "F-1", "serial": "77"},
    "derm": {"kind": "skin", "manufacturer": "ACME", "model": "D-2"},
}
FORM = {
    "camera": "room1",
    "patient_id": "MRN-1",
    "age": "61",
    "sex": "F",
    "side": "R",
    "taken_on": str(TODAY),
    "accession_number": "",
}


def a_jpeg(seed: int = 0, **how: Any) -> bytes:
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    small.resize((160, 120)).save(buffer, "JPEG", quality=90, **how)
    return buffer.getvalue()


@pytest.fixture
def open_page(
    tmp_path: Path, journal: Journal, simulated_clock: Clock
) -> Iterator[tuple[Door, str]]:
    with served(tmp_path, journal) as (door, port):
        yield door, f"http://127.0.0.1:{port}"


@contextmanager
def served(folder: Path, journal: Journal, **changes: Any) -> Iterator[tuple[Door, int]]:
    fields: dict[str, Any] = {"upload_port": 0, "upload_cameras": CAMERAS, "largest_object_mb": 2}
    door = a_door(folder, journal, **(fields | changes))
    settings: EdgeSettings = an_edge(folder, **(fields | changes))
    server = upload.serve(Uploads(settings, door.receiver, Pseudonyms(b"s" * 32)))
    assert server is not None
    try:
        yield door, server.server_port
    finally:
        server.shutdown()
        server.server_close()


def post(url: str, content: bytes, name: str = "a.jpg", **changes: str) -> httpx.Response:
    """As a program would."""
    files = {"file": (name, content)}
    return httpx.post(url, data=FORM | changes, files=files, headers={PROGRAM: "1"})


# What becomes of a picture


@pytest.mark.parametrize(("camera", "limits"), [("room1", FUNDUS.limits), ("derm", SKIN.limits)])
def test_a_picture_becomes_a_case_that_its_device_reads(
    open_page: tuple[Door, str], camera: str, limits: Any
) -> None:
    door, url = open_page
    jpeg = a_jpeg()

    assert post(url, jpeg, camera=camera).status_code == 201

    made = dcmread(door.stored[0])
    shown = decode(made).values[0]
    assert np.abs(shown - np.asarray(Image.open(io.BytesIO(jpeg)), dtype=np.float32)).max() <= 3
    assert outside(made, limits) == ""
    assert (made.PatientID, made.PatientAge, made.StudyDate) == ("MRN-1", "061Y", "20260310")
    assert made.ManufacturerModelName == CAMERAS[camera]["model"]
    assert door.balance["received"] == 1


def test_the_same_picture_is_one_case_even_with_another_form(open_page: tuple[Door, str]) -> None:
    door, url = open_page
    statuses = [
        post(url, a_jpeg()).status_code,
        post(url, a_jpeg()).status_code,
        post(url, a_jpeg(), patient_id="MRN-2").status_code,
        post(url, a_jpeg(1)).status_code,
    ]

    assert statuses == [201, 200, 200, 201]
    assert door.balance["received"] == 2


def test_pictures_of_one_visit_are_one_study(open_page: tuple[Door, str]) -> None:
    door, url = open_page
    for seed, patient in ((0, "MRN-1"), (1, "MRN-1"), (2, "MRN-2")):
        post(url, a_jpeg(seed), patient_id=patient)

    studies = [str(dcmread(path).StudyInstanceUID) for path in door.stored]
    assert len(studies) == 3 and len(set(studies)) == 2
    assert all("MRN" not in study for study in studies)


def test_what_a_camera_writes_beside_the_picture_is_left_out(open_page: tuple[Door, str]) -> None:
    door, url = open_page
    exif = Image.Exif()
    exif[0x8298] = "ZQ1 owner"  # copyright
    exif.get_ifd(0x8825)[0x1D] = "ZQ2 place"  # in the GPS directory
    jpeg = a_jpeg(exif=exif.tobytes(), comment=b"ZQ3 note", icc_profile=b"ZQ4" * 9) + b"ZQ5 thumb"
    assert all(f"ZQ{n}".encode() in jpeg for n in range(1, 6))

    assert post(url, jpeg).status_code == 201
    assert b"ZQ" not in door.stored[0].read_bytes()


def test_a_dicom_file_is_kept_as_it_is_and_needs_no_form(open_page: tuple[Door, str]) -> None:
    door, url = open_page
    raw = as_bytes(a_small_object())

    answer = httpx.post(url, files={"file": ("a.dcm", raw)}, headers={PROGRAM: "1"})

    assert answer.status_code == 201
    assert door.stored[0].read_bytes() == raw


REFUSED = {
    "a progressive JPEG": (a_jpeg(progressive=True), "progressive"),
    "half a JPEG": (a_jpeg()[:900], "damaged"),
    "a JPEG without a scan": (a_jpeg()[:60], "damaged"),
    "a text": (b"hello", "neither"),
    "half a DICOM header": (as_bytes(a_small_object())[:140], "whole file header"),
    "a report": (
        as_bytes(a_small_object(sop_class="1.2.840.10008.5.1.4.1.1.88.11")),
        "another kind",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_used_is_refused_in_words_and_counted(
    open_page: tuple[Door, str], what: str
) -> None:
    door, url = open_page
    content, words = REFUSED[what]

    answer = post(url, content)

    assert answer.status_code == 422
    assert words in answer.text
    assert door.balance["refused_objects"] == 1
    assert door.balance["received"] == 0


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("patient_id", "", "patient_id: .*at least 1"),
        ("patient_id", "a\\b", "patient_id: .*pattern"),
        ("age", "-3", "age: .*greater than"),
        ("age", "old", "age: .*integer"),
        ("sex", "W", "sex: "),
        ("side", "", "side: right or left"),
        ("camera", "room9", "camera: one of the cameras"),
        ("taken_on", str(TODAY + timedelta(days=1)), "taken_on: no day in the future"),
        ("colour", "red", "colour: Extra inputs"),
    ],
)
def test_a_form_that_does_not_fit_is_refused_by_field_and_quotes_nothing(
    open_page: tuple[Door, str], field: str, value: str, words: str
) -> None:
    door, url = open_page

    answer = post(url, a_jpeg(), **{field: value})

    assert answer.status_code == 422
    assert re.search(words, answer.text)
    assert not value or value not in answer.text or value == "old"
    assert door.balance["received"] == 0


def test_every_truncation_of_a_jpeg_is_refused_or_whole() -> None:
    jpeg = a_jpeg()
    for length in range(2, len(jpeg)):
        with pytest.raises(Refused, match="jpeg_not_readable"):
            photographs.picture(jpeg[:length])


def test_a_form_to_correct_is_shown_as_it_was_filled_in_and_inert(
    open_page: tuple[Door, str],
) -> None:
    _, url = open_page
    token = httpx.get(url).text.partition("name=token value='")[2].partition("'")[0]
    odd = FORM | {"patient_id": "'><script>x", "age": "", "side": "L", "token": token}

    shown = httpx.post(url, data=odd, files={"file": ("a.jpg", a_jpeg())})

    assert shown.status_code == 422 and "age: " in shown.text
    assert "value='&#x27;&gt;&lt;script&gt;x'" in shown.text and "<script" not in shown.text
    assert "<option value='L' selected>" in shown.text


# Who may bring one


def test_a_form_needs_the_token_of_our_own_page(open_page: tuple[Door, str]) -> None:
    door, url = open_page
    shown = httpx.get(url).text
    token = shown.partition("name=token value='")[2].partition("'")[0]
    files = {"file": ("a.jpg", a_jpeg())}

    without = httpx.post(url, data=FORM, files=files)
    wrong = httpx.post(url, data=FORM | {"token": "x" * len(token)}, files=files)
    right = httpx.post(url, data=FORM | {"token": token}, files=files)

    assert [a.status_code for a in (without, wrong, right)] == [403, 403, 201]
    assert "MRN-1" not in right.text
    assert "Taken" in right.text and "<script" not in shown
    assert door.balance["received"] == 1


@pytest.mark.parametrize(
    "header",
    [{"origin": "http://evil.example"}, {"origin": "null"}, {"host": "evil.example:80"}],
)
def test_pages_of_others_are_kept_out(open_page: tuple[Door, str], header: dict[str, str]) -> None:
    door, url = open_page
    files = {"file": ("a.jpg", a_jpeg())}

    answer = httpx.post(url, data=FORM, files=files, headers={PROGRAM: "1"} | header)

    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers
    assert door.balance["received"] == 0


def test_an_upload_that_is_too_large_or_of_no_length_is_not_read(
    open_page: tuple[Door, str],
) -> None:
    door, url = open_page

    assert post(url, b"\xff\xd8" + bytes(3 << 20)).status_code == 413
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as raw:
        raw.sendall(b"POST / HTTP/1.1\r\nHost: 127.0.0.1:1\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert b" 411 " in raw.recv(100)
    assert httpx.post(url, content=b"x" * 99, headers={PROGRAM: "1"}).status_code == 422
    assert door.balance["received"] == 0


def test_a_full_disk_says_so_and_takes_nothing(
    tmp_path: Path, journal: Journal, simulated_clock: Clock
) -> None:
    with served(tmp_path, journal, free_disk_mb=1 << 40) as (door, port):
        answer = post(f"http://127.0.0.1:{port}", a_jpeg())

    assert (answer.status_code, answer.text[:16]) == (507, "The disk is full")
    assert door.balance["received"] == 0


def test_other_machines_need_tls_and_the_password(
    tmp_path: Path, journal: Journal, simulated_clock: Clock, certificate: tuple[Path, Path]
) -> None:
    (tmp_path / "password").write_text("correct horse battery staple\n")
    guards = {
        "upload_host": "0.0.0.0",
        "upload_certificate": certificate[0],
        "upload_key": certificate[1],
        "upload_password_file": tmp_path / "password",
    }
    trust = ssl.create_default_context(cafile=str(certificate[0]))
    trust.check_hostname = False
    with served(tmp_path, journal, **guards) as (door, port):
        url = f"https://127.0.0.1:{port}"
        with httpx.Client(verify=trust, headers={PROGRAM: "1"}) as client:
            files = {"file": ("a.jpg", a_jpeg())}
            who = [None, ("edge", "wrong"), ("anyone", "correct horse battery staple")]
            got = [client.post(url, data=FORM, files=files, auth=one).status_code for one in who]
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://127.0.0.1:{port}")

    assert got == [401, 401, 201]
    assert door.balance["received"] == 1


def test_a_password_that_is_too_short_opens_nothing(tmp_path: Path, journal: Journal) -> None:
    (tmp_path / "password").write_text("short")
    settings = an_edge(tmp_path, upload_port=0, upload_password_file=tmp_path / "password")

    door = a_door(tmp_path, journal)
    assert upload.serve(Uploads(settings, door.receiver, Pseudonyms(b"s" * 32))) is None


def test_an_edge_that_stops_takes_nothing(open_page: tuple[Door, str]) -> None:
    door, url = open_page
    door.receiver.stop()

    assert post(url, a_jpeg()).status_code == 507
    assert door.balance["received"] == 0
