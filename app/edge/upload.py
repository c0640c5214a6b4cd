"""A way in for cameras that speak no DICOM network: a page for people, an endpoint for programs.

Both are one POST of a form with a file, DICOM or JPEG, and end in the same spool and journal as
everything else. Loopback by default; elsewhere only with TLS and a password. No page of another
origin can post: a form needs the token of our own page, a program a header that a browser sends
across origins only after asking.
"""

from __future__ import annotations

import hmac
import secrets
import ssl
import threading
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from types import MappingProxyType
from typing import Any, Final

from multipart import MultipartError, MultipartParser, parse_options_header
from pydantic import ValidationError

from app import clock
from app.edge.dicom_objects import as_file
from app.edge.file_header import named
from app.edge.logs import log
from app.edge.page import QuietServer
from app.edge.photographs import Details, as_dicom, picture
from app.edge.pseudonyms import Pseudonyms
from app.edge.receive import MEGABYTE, NOT_UNDERSTOOD, OUT_OF_RESOURCES, Receiver, Refused
from app.edge.settings import LOOPBACK, EdgeSettings
from app.edge.upload_page import Said, page

PROGRAM: Final = "X-Lockwatch-Upload"
AT_ONCE: Final = 4  # uploads that are read at the same time, each in memory
FIELD_LIMIT: Final = 1 << 16  # of all fields beside the file
TIMEOUT_S: Final = 30
SHORTEST_PASSWORD: Final = 20
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of an upload: an HTTP status and a sentence without any identifier."""

    status: HTTPStatus
    words: str


class FormRefused(Exception):
    """A form that does not fit, in words that name the field."""


@dataclass(frozen=True, slots=True)
class Uploads:
    """Takes one file with its form."""

    settings: EdgeSettings
    receiver: Receiver
    pseudonyms: Pseudonyms

    def take(self, content: bytes, fields: Mapping[str, str]) -> Answer:
        """Keep one file, or say why not."""
        uid = ""
        try:
            raw = self._object(content, fields)
            uid, sop_class, syntax = named(raw)
            known = self.receiver.is_here(uid)
            self.receiver.keep(raw, uid, sop_class, syntax)
        except FormRefused as error:
            return Answer(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
        except Refused as refused:
            self.receiver.refuse(uid, refused)
            is_full = refused.status == OUT_OF_RESOURCES
            status = HTTPStatus.INSUFFICIENT_STORAGE if is_full else HTTPStatus.UNPROCESSABLE_ENTITY
            return Answer(status, WORDS.get(refused.reason, refused.reason.replace("_", " ")))
        except OSError as error:
            log.error("upload.not_written", error=type(error).__name__)
            return Answer(HTTPStatus.INSUFFICIENT_STORAGE, WORDS["disk_full"])
        if known:
            return Answer(HTTPStatus.OK, "It is here already; nothing is counted twice.")
        return Answer(HTTPStatus.CREATED, "Taken. It is on disk and will be analysed.")

    def _object(self, content: bytes, fields: Mapping[str, str]) -> bytes:
        if content[128:132] == b"DICM":
            return content
        if content[:2] != b"\xff\xd8":
            raise Refused(NOT_UNDERSTOOD, "not_dicom_or_jpeg")
        details = self._details(fields)
        camera = self.settings.upload_cameras.get(details.camera)
        if camera is None:
            raise FormRefused("camera: one of the cameras in the settings expected")
        if camera.kind == "fundus" and not details.side:
            raise FormRefused("side: right or left expected for an eye")
        return as_file(as_dicom(picture(content), camera, details, self.pseudonyms))

    def _details(self, fields: Mapping[str, str]) -> Details:
        try:
            details = Details.model_validate(dict(fields))
        except ValidationError as error:
            found = error.errors(include_input=False, include_url=False)[0]
            raise FormRefused(f"{'.'.join(map(str, found['loc']))}: {found['msg']}") from None
        if details.taken_on > self.today:
            raise FormRefused("taken_on: no day in the future expected")
        return details

    @property
    def today(self) -> date:
        """The site's day."""
        return clock.now().astimezone(self.settings.zone).date()


WORDS: Final = {
    "not_dicom_or_jpeg": "A DICOM file or a JPEG is expected; this is neither.",
    "not_a_dicom_file": "A DICOM file with a whole file header is expected.",
    "jpeg_not_baseline": "A baseline JPEG is expected; this one is progressive or lossless.",
    "jpeg_not_readable": "A whole JPEG of 8 bits is expected; this one is damaged or unusual.",
    "sop_class_not_taken": "A DICOM image is expected; this is another kind of object.",
    "deflated_transfer_syntax": "A DICOM file that is not deflated is expected.",
    "disk_full": "The disk is full. Nothing was kept; try again later.",
    "stopping": "The edge takes nothing new. Nothing was kept.",
}


def serve(uploads: Uploads) -> ThreadingHTTPServer | None:
    """Serve until `shutdown` is called on what is returned; None if it cannot listen."""
    settings = uploads.settings
    try:
        server = _Server(uploads)
        if settings.upload_certificate is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(settings.upload_certificate, settings.upload_key)
            # The handshake is made by the thread of the connection: a silent peer delays no other.
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
    except OSError as error:
        log.warning("upload.not_served", error=type(error).__name__, port=settings.upload_port)
        return None
    threading.Thread(target=server.serve_forever, name="upload", daemon=True).start()
    return server


class _Server(QuietServer):
    def __init__(self, uploads: Uploads) -> None:
        settings = uploads.settings
        self.uploads = uploads
        self.token = secrets.token_urlsafe(32)
        self.password = _password(settings)
        self.places = threading.BoundedSemaphore(AT_ONCE)
        super().__init__((settings.upload_host, settings.upload_port or 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version, sys_version = "lockwatch", ""
    timeout = TIMEOUT_S

    def do_GET(self) -> None:
        if self._may_come_in():
            found = self.path == "/"
            status = HTTPStatus.OK if found else HTTPStatus.NOT_FOUND
            self._say(Answer(status, "" if found else "There is nothing here."))

    def do_POST(self) -> None:
        if not self._may_come_in():
            return
        if not self.server.places.acquire(blocking=False):
            self._say(Answer(HTTPStatus.SERVICE_UNAVAILABLE, "Busy; try again in a moment."))
            return
        try:
            self._upload()
        finally:
            self.server.places.release()

    def _upload(self) -> None:
        length = self.headers.get("content-length") or ""
        largest = self.server.uploads.settings.largest_object_mb
        if not length.isdecimal():
            return self._say(Answer(HTTPStatus.LENGTH_REQUIRED, "A Content-Length is expected."))
        if int(length) > largest * MEGABYTE:
            self._throw_away(min(int(length), 4 * largest * MEGABYTE))
            words = f"At most {largest} MB are taken."
            return self._say(Answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, words))
        body = self.rfile.read(int(length))
        content, fields = _parts(body, self.headers.get("content-type") or "")
        token = fields.pop("token", "").encode()
        if not (self._is_program or hmac.compare_digest(token, self.server.token.encode())):
            words = "This form is out of date; the page has been loaded anew."
            return self._say(Answer(HTTPStatus.FORBIDDEN, words))
        if content is None:
            words = "file: a file is expected."
            return self._say(Answer(HTTPStatus.UNPROCESSABLE_ENTITY, words), fields)
        return self._say(self.server.uploads.take(content, fields), fields)

    def _throw_away(self, left: int) -> None:
        """Hear a body out that is not taken, so that the answer is seen."""
        while left > 0 and (got := self.rfile.read(min(left, MEGABYTE))):
            left -= len(got)

    @property
    def _is_program(self) -> bool:
        return self.headers.get(PROGRAM) is not None

    def _may_come_in(self) -> bool:
        """Whether the request is meant for us, comes from our page, and knows the password."""
        host, origin = self.headers.get("host") or "", self.headers.get("origin")
        scheme = "https" if self.server.uploads.settings.upload_certificate else "http"
        is_open = self.server.password is None
        if is_open and host.rpartition(":")[0].strip("[]") not in LOOPBACK:
            self._say(Answer(HTTPStatus.FORBIDDEN, "This page is for this machine."))
        elif origin is not None and origin != f"{scheme}://{host}":
            self._say(Answer(HTTPStatus.FORBIDDEN, "Another page may not send here."))
        elif not (is_open or self._knows_password()):
            self._say(Answer(HTTPStatus.UNAUTHORIZED, "A password is expected."))
        else:
            return True
        return False

    def _knows_password(self) -> bool:
        kind, _, given = (self.headers.get("authorization") or "").partition(" ")
        try:
            said = b64decode(given, validate=True).partition(b":")[2]
        except ValueError:
            return False
        expected = (self.server.password or "").encode()
        return kind.lower() == "basic" and hmac.compare_digest(said, expected)

    def _say(self, answer: Answer, fields: Mapping[str, str] = MappingProxyType({})) -> None:
        uploads, status = self.server.uploads, answer.status
        if self._is_program and self.command == "POST":
            kind, shown = "plain", f"{answer.words}\n"
        else:
            kind = "html"
            is_good = status < HTTPStatus.BAD_REQUEST
            kept = {} if is_good else fields
            said = Said(answer.words, is_good, kept)
            shown = page(said, self.server.token, uploads.settings, uploads.today)
        self.send_response(status)
        self.send_header("Content-Type", f"text/{kind}; charset=utf-8")
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        if status == HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", 'Basic realm="lockwatch"')
        self.end_headers()
        self.wfile.write(shown.encode())

    def log_message(self, *_: Any) -> None:
        """Say nothing: an address or a path in a log helps nobody here."""


def _password(settings: EdgeSettings) -> str | None:
    if settings.upload_password_file is None:
        return None
    found = settings.upload_password_file.read_text().strip()
    if len(found) < SHORTEST_PASSWORD:
        raise OSError(f"upload_password_file: {SHORTEST_PASSWORD} characters or more expected")
    return found


def _parts(body: bytes, content_type: str) -> tuple[bytes | None, dict[str, str]]:
    """The file and the other fields of a form; no file where the body is not such a form."""
    kind, options = parse_options_header(content_type)
    if kind != "multipart/form-data" or "boundary" not in options:
        return None, {}
    parser = MultipartParser(
        BytesIO(body),
        options["boundary"],
        len(body),
        part_limit=20,
        spool_limit=len(body) + 1,
        memory_limit=2 * len(body) + 1,
    )
    content, fields = None, {}
    try:
        for part in parser:
            if part.name == "file" and part.filename:
                content = part.raw
            elif part.size <= FIELD_LIMIT:
                fields[part.name] = part.value
    except (MultipartError, UnicodeDecodeError):
        return None, {}
    return content, fields
