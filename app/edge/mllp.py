"""HL7 v2 over MLLP: one message at a time, and an acknowledgement that must name it.

python-hl7's client returns after the first bytes of a split acknowledgement and has no time
limit (dicom.md 3.1), so framing and waiting stand here.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from app import clock

START, END = b"\x0b", b"\x1c\r"
CONNECT_WITHIN_S: Final = 3.0
ANSWER_WITHIN_S: Final = 5.0
LARGEST_ANSWER: Final = 1 << 16
ACCEPTED, LATER, REJECTED = ("AA", "CA"), ("AE", "CE"), ("AR", "CR")


class NoAnswer(Exception):
    """Nothing that acknowledges the message came back in time; it may have arrived."""


@dataclass(frozen=True, slots=True)
class Connection:
    """An open MLLP connection."""

    socket: socket.socket

    def ask(self, message: bytes) -> str:
        """Send one message; its acknowledgement code (MSA-1). `NoAnswer` without one."""
        try:
            self.socket.sendall(START + message + END)
            answer = self._receive()
        except OSError as error:
            raise NoAnswer(type(error).__name__) from error
        return acknowledgement(answer, control_id(message))

    def _receive(self) -> bytes:
        received, deadline = b"", clock.elapsed() + ANSWER_WITHIN_S
        while END not in received:
            left = deadline - clock.elapsed()
            if left <= 0 or len(received) > LARGEST_ANSWER:
                raise NoAnswer("no_acknowledgement")
            self.socket.settimeout(left)
            part = self.socket.recv(4096)
            if not part:
                raise NoAnswer("closed")
            received += part
        return received[: received.index(END)].lstrip(START)


@contextmanager
def connected(host: str, port: int) -> Iterator[Connection]:
    """A connection without Nagle's delay; `NoAnswer` if there is none."""
    try:
        opened = socket.create_connection((host, port), CONNECT_WITHIN_S)
    except OSError as error:
        raise NoAnswer(type(error).__name__) from error
    with opened:
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield Connection(opened)


def control_id(message: bytes) -> str:
    """MSH-10."""
    return _field(message, b"MSH", 9)


def acknowledgement(answer: bytes, sent: str) -> str:
    """MSA-1 of an answer whose MSA-2 is the control id that was sent; else `NoAnswer`."""
    code, about = _field(answer, b"MSA", 1), _field(answer, b"MSA", 2)
    if about != sent or code not in (*ACCEPTED, *LATER, *REJECTED):
        raise NoAnswer("answer_to_something_else")
    return code


def _field(message: bytes, segment: bytes, place: int) -> str:
    for line in message.replace(b"\n", b"\r").split(b"\r"):
        parts = line.split(b"|")
        if parts[0] == segment and len(parts) > place:
            return parts[place].decode(errors="replace").strip()
    return ""
