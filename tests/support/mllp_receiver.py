"""An HL7 listener that acknowledges as it is told to: well, badly, in pieces, late or never."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

START, END = b"\x0b", b"\x1c\r"


@dataclass
class MllpReceiver:
    """`answers` are used up one a message, then AA: a code, or split, drop, silent, other."""

    answers: list[str] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)
    port: int = 0

    @property
    def control_ids(self) -> list[str]:
        return [message.split(b"|")[9].decode() for message in self.messages]

    def serve(self, server: socket.socket) -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        connection.settimeout(20)
        received = b""
        while part := connection.recv(4096):
            received += part
            while END in received:
                message, _, received = received.partition(END)
                self.messages.append(message.lstrip(START))
                if not self._answer(connection, self.control_ids[-1]):
                    return

    def _answer(self, connection: socket.socket, control_id: str) -> bool:
        how = self.answers.pop(0) if self.answers else "AA"
        if how == "drop":
            return False
        code, about = (
            ("AA", "X") if how == "other" else (how if len(how) == 2 else "AA", control_id)
        )
        ack = f"MSH|^~\\&|RIS||LOCKWATCH||20260310||ACK^R01^ACK|1|P|2.5.1\rMSA|{code}|{about}\r"
        framed = START + ack.encode() + END
        step = 7 if how == "split" else len(framed)
        for i in range(0, len(framed), step):
            connection.sendall(framed[i : i + step])
        return True


@contextmanager
def listening(receiver: MllpReceiver) -> Iterator[MllpReceiver]:
    """The receiver, listening on a port that it keeps over several uses."""
    with socket.create_server(("127.0.0.1", receiver.port)) as server:
        receiver.port = server.getsockname()[1]
        thread = threading.Thread(target=receiver.serve, args=(server,), daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown(socket.SHUT_RDWR)
    thread.join(25)
