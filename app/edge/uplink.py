"""Windows go to the centre oldest first; only a receipt that it signed is an acknowledgement.

An answer without a trusted receipt (a captive portal, a proxy, another server) is no answer.
409, 413 and 422 will not change by themselves, nor does a window that is damaged here: it stays
here as `dead`, in sight, and the next ones go on. 401 and 403 pause the sending; everything else
is tried again for ever.
What waits goes together, several windows a request; while something is wrong, one at a time.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import takewhile
from pathlib import Path

from app import clock
from app.contracts.exchange import (
    ENROLMENT_DOMAIN,
    RECEIPT_TYPE,
    DeclareEpoch,
    EnrolmentAnswer,
    EnrolmentRequest,
    Receipt,
    enrolment_message,
    parse,
)
from app.contracts.signing import SigningKey, open_sealed
from app.contracts.window import (
    BATCH_LIMIT,
    BATCH_PREFIX,
    BATCH_WINDOWS,
    is_whole,
    join_batch,
)
from app.edge import AGENT_VERSION
from app.edge.http import Answer, BackOff, Centre, Unreachable
from app.edge.journal import Journal, meta, set_meta
from app.edge.logs import log
from app.errors import AppError, ContractError, SignatureRefused

PERMANENT = {409: "other_content_known", 413: "too_large", 422: "not_understood"}
PAUSING = (401, 403)
UNSIGNED = "window_signature"  # why, of a 401 that is about the window and not about us
DAMAGED = "damaged"
SENDING = ("active", "suspended")  # what a suspended edge sends is quarantined, not refused
PAUSE_S = 30.0
NO_CONTENT = 204


class EnrolmentRefused(AppError):
    """The centre does not take this edge, or the edge has nothing to enrol with."""

    title = "Enrolment refused"
    status = 403


@dataclass(frozen=True, slots=True)
class Identity:
    """What the centre called this edge, and the keys its receipts must be signed with."""

    edge_id: str
    epoch: int
    site: str
    state: str
    receipt_keys: tuple[str, ...]

    @classmethod
    def remembered(cls, db: sqlite3.Connection) -> Identity | None:
        """The identity in the journal, or None before enrolment."""
        raw = meta(db, "identity")
        if raw is None:
            return None
        found = json.loads(raw)
        return cls(**{**found, "receipt_keys": tuple(found["receipt_keys"])})

    def remember(self, db: sqlite3.Connection) -> None:
        """Keep it in the journal."""
        set_meta(db, "identity", json.dumps({n: getattr(self, n) for n in self.__slots__}))


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A window on its way: exact bytes."""

    sequence: int
    digest: str
    raw: bytes


@dataclass(slots=True)
class Uplink:
    """The outbound side. Nothing ever listens for the centre."""

    centre: Centre
    journal: Journal
    pinned: tuple[str, ...]  # receipt keys from the settings; () = trust those of the enrolment
    code_file: Path | None
    back_off: BackOff = field(default_factory=BackOff)
    trouble: str = ""  # the last thing that went wrong, in a closed word
    clock_offset: timedelta | None = None  # the centre's clock minus ours
    confirmed: datetime | None = None  # our time when the centre last took a request
    offered: str | None = None  # the newest operating point that the centre has for us

    def identity(self) -> Identity | None:
        """Who we are to the centre, if it has told us."""
        return self.journal.do(Identity.remembered)

    def enrol(self, lock_digest: str) -> Identity | None:
        """Present our key with the one-time code; the same answer however often we ask."""
        if self.code_file is None or not self.code_file.exists():
            self.trouble = "no_enrolment_code"
            return None
        code = self.code_file.read_text().strip()
        public = self.centre.key.public.hex()
        message = enrolment_message(code, public, lock_digest)
        request = EnrolmentRequest(
            code=code,
            public_key=public,
            agent_version=AGENT_VERSION,
            lock_digest=lock_digest,
            signature=self.centre.key.sign(ENROLMENT_DOMAIN, message).hex(),
        )
        content = request.model_dump_json().encode()
        answer = self._ask("POST", "/edge/v1/enrol", content, "application/json")
        return self._identify(answer)

    def refresh(self, known: Identity) -> Identity | None:
        """Ask whether a person has approved us yet."""
        return self._identify(self._ask("GET", "/edge/v1/state", edge_id=known.edge_id), known)

    def send_due(self) -> int:
        """Send what waits, oldest first, until nothing waits or something is wrong."""
        sent = 0
        while self.back_off.is_over and (identity := self.identity()) is not None:
            if identity.state not in SENDING and not self._may_send(identity):
                break
            waiting = self._without_damaged(self.journal.do(oldest_unsent))
            settled = self._send_together(identity, waiting[:1] if self.trouble else waiting)
            if not settled:
                break
            sent += settled
        return sent

    def _without_damaged(self, windows: list[Outgoing]) -> list[Outgoing]:
        """Set aside what is not what was closed, so that nothing waits behind it."""
        damaged = [w for w in windows if not is_whole(w.raw, w.digest)]
        for window in damaged:
            self._bury(window, DAMAGED)
        return [w for w in windows if w not in damaged]

    def catch_up(self) -> None:
        """Ask how far the centre is; send again what it has lost (a restored backup)."""
        identity = self.identity()
        if identity is None or identity.state not in SENDING:
            return
        asked = clock.now()
        answer = self._ask("GET", "/edge/v1/receipt", edge_id=identity.edge_id)
        if answer is not None and self._is_fine(answer):
            self._accept(identity, answer.body, asked)

    def operating_point(self, after: int) -> bytes | None:
        """The signed operating point that follows counter `after`, if there is one."""
        identity = self.identity()
        if identity is None or not self.back_off.is_over:
            return None
        path = f"/edge/v1/operating-points/{after}"
        answer = self._ask("GET", path, edge_id=identity.edge_id)
        if answer is None or answer.status == NO_CONTENT or not self._is_fine(answer):
            return None
        return answer.body

    def post(
        self,
        path: str,
        content: bytes,
        *,
        key: SigningKey | None = None,
        telling: tuple[int, ...] = (),
    ) -> Answer | None:
        """What the centre says to a JSON, also with a status in `telling`; signed by `key`."""
        identity = self.identity()
        if identity is None or not self.back_off.is_over:
            return None
        centre = self.centre if key is None else replace(self.centre, key=key)
        answer = self._ask("POST", path, content, "application/json", identity.edge_id, centre)
        if answer is None or answer.status in telling or self._is_fine(answer):
            return answer
        return None

    def _may_send(self, identity: Identity) -> bool:
        fresh = self.refresh(identity)
        if fresh is not None and fresh.state not in SENDING:
            self.failed(f"edge_{fresh.state}")
        return fresh is not None and fresh.state in SENDING

    def _identify(self, answer: Answer | None, known: Identity | None = None) -> Identity | None:
        if answer is None or not self._is_fine(answer):
            return None
        try:
            told = parse(EnrolmentAnswer, answer.body)
        except ContractError:
            self.failed("unreadable_answer")
            return None
        keys = self.pinned or (known.receipt_keys if known else told.receipt_keys)
        identity = Identity(told.edge_id, told.epoch, told.site, told.state, keys)
        if identity != known:
            self.journal.do(identity.remember)
        self.back_off.succeeded()
        return identity

    def _send_together(self, identity: Identity, windows: list[Outgoing]) -> int:
        """How many the centre settled; 0 if it is better to come again later."""
        if len(windows) < 2:
            return self._send_each(identity, windows)
        asked, content = clock.now(), join_batch([w.raw for w in windows])
        answer = self._ask("POST", "/edge/v1/windows/batch", content, edge_id=identity.edge_id)
        if answer is not None and answer.status in PERMANENT:
            return self._send_each(identity, windows)
        if answer is None or not self._is_fine(answer):
            return 0
        receipt = self._accept(identity, answer.body, asked)
        if receipt is None:
            return 0
        named = {w.digest for w in receipt.windows}
        refused = [w for w in windows if w.digest not in named]  # sent alone, each is told why
        return len(windows) - len(refused) + self._send_each(identity, refused)

    def _send_each(self, identity: Identity, windows: list[Outgoing]) -> int:
        return sum(1 for _ in takewhile(lambda w: self._send(identity, w), windows))

    def _send(self, identity: Identity, window: Outgoing) -> bool:
        asked = clock.now()
        answer = self._ask("POST", "/edge/v1/windows", window.raw, edge_id=identity.edge_id)
        if answer is None:
            return False
        if answer.status in PERMANENT:
            self._bury(window, PERMANENT[answer.status])
            return True
        if answer.status == 401 and _reason(answer) == UNSIGNED:
            self._bury(window, DAMAGED)
            return True
        if not self._is_fine(answer):
            return False
        receipt = self._accept(identity, answer.body, asked)
        return receipt is not None and self._names(receipt, window)

    def _bury(self, window: Outgoing, reason: str) -> None:
        log.error("window.refused", sequence=window.sequence, reason=reason)
        self.journal.do(lambda db: bury(db, window.digest, reason))
        self.trouble = reason

    def _names(self, receipt: Receipt, window: Outgoing) -> bool:
        named = any(w.digest == window.digest for w in receipt.windows)
        if not named:
            self.failed("receipt_for_something_else")
        return named

    def _accept(self, identity: Identity, body: bytes, asked: datetime) -> Receipt | None:
        """Take a receipt to the journal, if it is the centre's and about us."""
        keys = [bytes.fromhex(key) for key in identity.receipt_keys]
        try:
            receipt = parse(Receipt, open_sealed(RECEIPT_TYPE, body, keys))
        except SignatureRefused:
            self.failed("receipt_not_trusted")
            return None
        except ContractError:
            self.failed("unreadable_receipt")
            return None
        if (receipt.edge_id, receipt.epoch) != (identity.edge_id, identity.epoch):
            self.failed("receipt_for_another_edge")
            return None
        self.clock_offset = min(max(receipt.at - clock.now(), timedelta()), receipt.at - asked)
        if not self.journal.do(lambda db: acknowledge(db, receipt, body)):
            self._begin_epoch(identity)
            return None
        self.back_off.succeeded()
        self.confirmed = asked
        self.trouble, self.offered = "", receipt.operating_point
        return receipt

    def _begin_epoch(self, identity: Identity) -> None:
        """Our journal is an old copy: number from 1 again, in an epoch the centre knows of."""
        log.error("journal.behind_centre")
        declared = DeclareEpoch(epoch=identity.epoch + 1, reason="journal_rolled_back")
        content = declared.model_dump_json().encode()
        kind = "application/json"
        answer = self._ask("POST", "/edge/v1/epoch", content, kind, identity.edge_id)
        if self._identify(answer, identity) is None:
            self.failed("journal_behind_centre", PAUSE_S)

    def _is_fine(self, answer: Answer) -> bool:
        if answer.status == 200:
            return True
        if answer.status in PAUSING:
            self.failed(f"refused_{answer.status}", PAUSE_S)
        else:
            self.failed(f"http_{answer.status}", answer.retry_after)
        return False

    def _ask(
        self,
        method: str,
        path: str,
        content: bytes = b"",
        kind: str = "application/octet-stream",
        edge_id: str = "",
        centre: Centre | None = None,
    ) -> Answer | None:
        try:
            return (centre or self.centre).ask(method, path, content, kind, edge_id)
        except Unreachable:
            self.failed("unreachable")
            return None

    def failed(self, word: str, at_least_s: float = 0.0) -> None:
        """Something went wrong, in a closed word: come again later."""
        if word != self.trouble:
            log.warning("uplink.trouble", reason=word)
        self.trouble = word
        self.back_off.failed(at_least_s)


def _reason(answer: Answer) -> str:
    """Why the centre refused, in its closed word; "" where it does not say."""
    try:
        said = json.loads(answer.body)
    except ValueError:
        return ""
    return str(said.get("reason", "")) if isinstance(said, dict) else ""


def oldest_unsent(db: sqlite3.Connection) -> list[Outgoing]:
    """The next windows to send, as many as one batch holds."""
    rows = db.execute(
        "SELECT sequence, digest, raw FROM windows WHERE state = 'unsent' AND raw IS NOT NULL"
        " ORDER BY epoch, sequence LIMIT ?",
        (BATCH_WINDOWS,),
    )
    found: list[Outgoing] = []
    size = 0
    for sequence, digest, raw in rows:
        size += BATCH_PREFIX + len(raw)
        if found and size > BATCH_LIMIT:
            break
        found.append(Outgoing(int(sequence), str(digest), bytes(raw)))
    return found


def acknowledge(db: sqlite3.Connection, receipt: Receipt, body: bytes) -> bool:
    """Settle what the receipt names, and queue again what the centre says it lacks.

    False if the centre knows more of this epoch than this journal ever produced: the journal
    is an old copy, and going on would give two windows one sequence.
    """
    for window in receipt.windows:
        db.execute(
            "UPDATE windows SET state = 'acknowledged', outcome = ?, reason = ?, settled = ?,"
            " receipt = ? WHERE digest = ? AND state = 'unsent'",
            (
                window.outcome,
                window.reason,
                int(clock.now().timestamp()),
                body,
                window.digest,
            ),
        )
    known = int(meta(db, "release_counter") or 0)
    set_meta(db, "release_counter", max(known, receipt.release_counter))
    for first, last in _lacking(receipt):
        db.execute(
            "UPDATE windows SET state = 'unsent' WHERE epoch = ? AND sequence BETWEEN ? AND ?"
            " AND state = 'acknowledged' AND raw IS NOT NULL",
            (receipt.epoch, first, last),
        )
    (ours,) = db.execute(
        "SELECT coalesce(max(sequence), 0) FROM windows WHERE epoch = ?", (receipt.epoch,)
    ).fetchone()
    return bool(receipt.acked_through <= ours)


def bury(db: sqlite3.Connection, digest: str, reason: str) -> None:
    """Set a window aside that the centre will never take; it stays readable."""
    db.execute(
        "UPDATE windows SET state = 'dead', outcome = 'refused', reason = ?, settled = ?"
        " WHERE digest = ?",
        (reason, int(clock.now().timestamp()), digest),
    )


def forget_old(db: sqlite3.Connection, retention: timedelta) -> None:
    """Drop the bytes of windows acknowledged longer ago than `retention`."""
    db.execute(
        "UPDATE windows SET raw = NULL, receipt = NULL"
        " WHERE state = 'acknowledged' AND settled < ? AND raw IS NOT NULL",
        (int((clock.now() - retention).timestamp()),),
    )


def _lacking(receipt: Receipt) -> list[tuple[int, int]]:
    """Sequences, as inclusive pairs, that the centre does not have."""
    above = [last + 1 for _, last in receipt.gaps] + [w.sequence for w in receipt.windows]
    known = max([receipt.acked_through, *above])
    return [*receipt.gaps, (known + 1, 2**62)]
