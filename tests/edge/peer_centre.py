"""A small centre that keeps the HTTP contract: what the other side of the wall does.

It verifies what it is sent with the contracts' own functions, and can be told to misbehave in
the ways that real networks and servers do.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from app import clock
from app.contracts.exchange import (
    ENROLMENT_DOMAIN,
    HEADERS,
    KEY_DOMAIN,
    KEY_RECEIPT_TYPE,
    RECEIPT_TYPE,
    REQUEST_DOMAIN,
    EnrolmentRequest,
    KeyReceipt,
    KeyRequest,
    KeySwitch,
    enrolment_message,
    key_message,
    parse,
    request_message,
)
from app.contracts.keyring import KeyRing
from app.contracts.signing import SigningKey, seal, sha256, verify
from app.contracts.window import Window, decode, read_header, split_batch
from app.errors import AppError, SignatureRefused

CODE = "one-time-code"


@dataclass
class PeerCentre:
    """What it knows, and how it answers. `faults` are used up one a request."""

    key: SigningKey = field(default_factory=SigningKey.generate)
    edge_id: str = "edge-7"
    epoch: int = 1
    state: str = "active"
    public: bytes = b""
    windows: dict[tuple[int, int], Window] = field(default_factory=dict)
    heads: list[str] = field(default_factory=list)  # request lines and headers
    bodies: list[bytes] = field(default_factory=list)
    nonces: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    points: list[bytes] = field(default_factory=list)  # signed operating points, counter 1 first
    offers: str | None = None
    says_to_key: str = "approved"  # what a person has said to the key that the edge asks for
    retired: list[Any] = field(default_factory=list)  # as a key ring takes them
    url: str = ""
    far_s: float = 0.0  # how long a request, and its answer, are on their way
    lock: Any = field(default_factory=threading.Lock)

    def answer(self, method: str, path: str, headers: Any, content: bytes) -> tuple[int, bytes]:
        time.sleep(self.far_s)
        try:
            return self._answer_once(method, path, headers, content)
        finally:
            time.sleep(self.far_s)

    def _answer_once(
        self, method: str, path: str, headers: Any, content: bytes
    ) -> tuple[int, bytes]:
        with self.lock:
            self.heads.append(f"{method} {path}\n{headers}")
            self.bodies.append(content)
            fault = self.faults.pop(0) if self.faults else ""
            if fault.isdigit():
                return int(fault), b'{"reason": "told to"}'
            try:
                status, body = self._answer(method, path, headers, content)
            except AppError as error:
                self.refused.append(str(error))
                return error.status, b"{}"
            return _spoilt(fault, status, body)

    def _answer(self, method: str, path: str, headers: Any, content: bytes) -> tuple[int, bytes]:
        if path == "/edge/v1/enrol":
            return 200, self._enrol(content)
        if HEADERS["edge"] not in headers:
            return 401, b"{}"
        self._authenticate(method, path, headers, content)
        match path:
            case "/edge/v1/state":
                return 200, self._told()
            case "/edge/v1/epoch":
                self.epoch = json.loads(content)["epoch"]
                return 200, self._told()
            case _ if path.startswith("/edge/v1/operating-points/"):
                following = self.points[int(path.rpartition("/")[2]) :]
                return (200, following[0]) if following else (204, b"")
            case "/edge/v1/key":
                return 200, self._about_key(content)
            case "/edge/v1/key/switch":
                return self._switch(content)
            case "/edge/v1/windows":
                return self._take_in(content)
            case "/edge/v1/windows/batch":
                return self._take_in_all(content)
        return 200, self._receipt([])

    def _enrol(self, content: bytes) -> bytes:
        asked = parse(EnrolmentRequest, content)
        message = enrolment_message(asked.code, asked.public_key, asked.lock_digest)
        public = bytes.fromhex(asked.public_key)
        verify(public, ENROLMENT_DOMAIN, message, bytes.fromhex(asked.signature))
        if asked.code != CODE or (self.public and self.public != public):
            raise AppError("code not known, or used by another key")
        self.public = public
        return self._told()

    def _told(self) -> bytes:
        return json.dumps(
            {
                "edge_id": self.edge_id,
                "epoch": self.epoch,
                "site": "H02",
                "state": self.state,
                "receipt_keys": [self.key.public.hex()],
            }
        ).encode()

    def _authenticate(self, method: str, path: str, headers: Any, content: bytes) -> None:
        given = {name: headers[HEADERS[name]] for name in HEADERS}
        message = request_message(
            method, path, self.url, given["time"], given["nonce"], sha256(content)
        )
        verify(self.public, REQUEST_DOMAIN, message, bytes.fromhex(given["signature"]))
        if given["nonce"] in self.nonces or given["edge"] != self.edge_id:
            raise AppError("replayed, or another edge")
        self.nonces.add(given["nonce"])

    def _about_key(self, content: bytes) -> bytes:
        asked = parse(KeyRequest, content)
        public = bytes.fromhex(asked.public_key)
        message = key_message(self.edge_id, asked.public_key)
        verify(public, KEY_DOMAIN, message, bytes.fromhex(asked.signature))
        return json.dumps({"public_key": asked.public_key, "state": self.says_to_key}).encode()

    def _switch(self, content: bytes) -> tuple[int, bytes]:
        asked = parse(KeySwitch, content)
        if self.public.hex() != asked.public_key:
            if self.says_to_key != "approved":
                return 409, b"{}"
            ends = {"epoch": asked.epoch, "sequence": asked.last_sequence}
            self.retired.append({"public_key": self.public.hex(), **ends})
            self.public = bytes.fromhex(asked.public_key)
        said = asked.model_dump() | {"edge_id": self.edge_id, "at": clock.now()}
        receipt = KeyReceipt.model_validate(said).model_dump(mode="json")
        return 200, seal(KEY_RECEIPT_TYPE, receipt, [self.key])

    def _decode(self, raw: bytes) -> Window:
        header = read_header(raw)
        ring = KeyRing.of(self.public.hex(), self.retired)
        return decode(raw, ring.at(header.epoch, header.sequence))

    def _take_in(self, raw: bytes) -> tuple[int, bytes]:
        try:
            window = self._decode(raw)
        except SignatureRefused:
            return 401, b'{"reason": "window_signature"}'
        place = window.header.epoch, window.header.sequence
        known = self.windows.get(place)
        if known is not None and known.raw != raw:
            return 409, b"{}"
        self.windows[place] = window
        return 200, self._receipt([(window, "duplicate" if known else "stored")])

    def _take_in_all(self, content: bytes) -> tuple[int, bytes]:
        named = []
        for raw in split_batch(content):
            status, _ = self._take_in(raw)
            if status == 200:
                named.append((self._decode(raw), "stored"))
        return 200, self._receipt(named)

    def _receipt(self, about: list[tuple[Window, str]]) -> bytes:
        have = sorted(s for e, s in self.windows if e == self.epoch)
        through = next((i for i, s in enumerate(have) if s != i + 1), len(have))
        missing = sorted(set(range(1, have[-1] + 1)) - set(have)) if have else []
        payload = {
            "contract": "lockwatch/receipt/v1",
            "edge_id": self.edge_id,
            "epoch": self.epoch,
            "acked_through": through,
            "gaps": [[s, s] for s in missing],
            "windows": [
                {"sequence": w.header.sequence, "digest": w.digest, "outcome": o, "reason": ""}
                for w, o in about
            ],
            "release_counter": 1,
            "operating_point": self.offers,
            "audit_head": "00" * 32,
            "at": clock.now().isoformat(),
        }
        return seal(RECEIPT_TYPE, payload, [self.key])


def _spoilt(fault: str, status: int, body: bytes) -> tuple[int, bytes]:
    match fault:
        case "portal":
            return 200, b"<html>Please log in</html>"
        case "stranger":
            payload = {"edge_id": "edge-7"}
            return 200, seal(RECEIPT_TYPE, payload, [SigningKey.generate()])
        case "lost":
            return 0, b""
    return status, body


@contextmanager
def running(centre: PeerCentre) -> Iterator[PeerCentre]:
    """The centre on a port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            content = self.rfile.read(length)
            status, body = centre.answer(self.command, self.path, self.headers, content)
            if not status:  # done, but the answer never arrives
                self.connection.close()
                return
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            if status == 429:
                self.send_header("retry-after", "7")
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = _serve  # noqa: N815  http.server's own names

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    centre.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield centre
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
