"""A new key for this edge: made on order, approved at the centre by a person, then switched to.

The old key stays until the centre's signed receipt is here. While the switch is under way no
window is closed, so that none is sealed with a key that the centre would not expect. Every step
can be repeated: after a crash or a lost answer the same is asked again.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from app import clock
from app.contracts.exchange import (
    KEY_DOMAIN,
    KEY_RECEIPT_TYPE,
    KeyAnswer,
    KeyReceipt,
    KeyRequest,
    KeySwitch,
    key_message,
    parse,
)
from app.contracts.keyring import KeyRing
from app.contracts.signing import SigningKey, open_sealed
from app.edge import spool
from app.edge.journal import Journal, meta, set_meta
from app.edge.logs import log
from app.edge.orders import NoEdge
from app.edge.uplink import Identity, Uplink
from app.errors import AppError, ContractError, SignatureRefused

KEY, NEXT = "edge.key", "edge.key.next"
ASK_S: Final = 60.0
SIMULATED_ASK_S: Final = 0.5
REFUSED: Final = 409
UNKNOWN: Final = 401
OLD_KEY_ONLY: Final = (UNKNOWN, REFUSED)  # answers that say something about the switch


class NotNow(AppError):
    """Another new key waits already."""

    title = "A new key waits already"
    status = 409


def order(data: Path) -> str:
    """Make a new key beside the present one; its fingerprint. The running agent does the rest."""
    if not (data / KEY).exists():
        raise NoEdge(f"data_dir: an edge's key expected in {data.name}, got none")
    seed = secrets.token_bytes(32)
    before = os.umask(0o077)
    try:
        is_made = spool.write_new(data / NEXT, (seed,))
    finally:
        os.umask(before)
    if not is_made:
        raise NotNow(f"its fingerprint is {_load(data / NEXT).key_id}; see: lockwatch edge status")
    return SigningKey.from_seed(seed).key_id


def present(data: Path, journal: Journal) -> SigningKey:
    """The key in use. Ends a switch that a crash cut short after the new key was in its place."""
    key = SigningKey.load_or_create(data / KEY)
    wanted = journal.do(_wanted)
    if wanted is not None and key.public.hex() == wanted["public_key"]:
        journal.do(_finish)
    elif wanted is not None and not (data / NEXT).exists():
        log.error("key.new_key_lost")  # somebody removed it: windows must not wait for it for ever
        journal.do(_forget)
    return key


def ring(db: sqlite3.Connection, current: bytes) -> KeyRing:
    """Which key signed which window of this journal."""
    retired = _retired(db)
    wanted = _wanted(db)
    if wanted is not None and current.hex() == wanted["public_key"]:
        retired = [*retired, wanted["before"]]
    return KeyRing.of(current.hex(), retired)


@dataclass(slots=True)
class KeyKeeper:
    """Brings an ordered key into use."""

    data: Path
    journal: Journal
    uplink: Uplink
    word: str = ""  # how far it is, in a closed word
    asked: float = -ASK_S

    @property
    def is_switching(self) -> bool:
        """Whether the centre may have switched without our knowing: no window may be sealed."""
        return self.journal.do(_wanted) is not None

    def status(self) -> dict[str, str]:
        """What `status.json` says about a new key."""
        new = self._next()
        return {
            "new_key": self.word or ("made" if new else ""),
            "new_key_fingerprint": new.key_id if new else "",
        }

    def follow(self, identity: Identity) -> None:
        """One step, if one is due."""
        new = self._next()
        if new is None:
            return
        if not self.is_switching and self._is_approved(identity, new):
            before = self.uplink.centre.key.public.hex()
            self.journal.do(lambda db: _decide(db, identity.epoch, before, new.public.hex()))
        if self.is_switching:
            self._switch(identity, new)

    def _next(self) -> SigningKey | None:
        with suppress(FileNotFoundError):
            return _load(self.data / NEXT)
        return None

    def _is_approved(self, identity: Identity, new: SigningKey) -> bool:
        wait = SIMULATED_ASK_S if clock.simulated() else ASK_S
        if clock.elapsed() - self.asked < wait or not self.uplink.back_off.is_over:
            return False
        self.asked = clock.elapsed()
        public = new.public.hex()
        signature = new.sign(KEY_DOMAIN, key_message(identity.edge_id, public)).hex()
        request = KeyRequest(public_key=public, signature=signature)
        content = request.model_dump_json().encode()
        answer = self.uplink.post("/edge/v1/key", content, telling=(REFUSED,))
        if answer is None:
            return False
        with suppress(ContractError):
            is_taken = answer.status != REFUSED
            self.word = parse(KeyAnswer, answer.body).state if is_taken else "refused"
            if self.word == "refused":
                self._drop(new)
        return self.word in ("approved", "in_use")

    def _drop(self, new: SigningKey) -> None:
        log.error("key.refused", fingerprint=new.key_id)
        (self.data / NEXT).unlink()
        spool.sync_folder(self.data)

    def _switch(self, identity: Identity, new: SigningKey) -> None:
        wanted = self.journal.do(_wanted)
        place = wanted["before"]
        asked = KeySwitch(
            public_key=new.public.hex(), epoch=place["epoch"], last_sequence=place["sequence"]
        )
        content, path = asked.model_dump_json().encode(), "/edge/v1/key/switch"
        self.word = "switching"
        answer = self.uplink.post(path, content, telling=OLD_KEY_ONLY)
        if answer is not None and answer.status == UNKNOWN:  # it may have switched already
            answer = self.uplink.post(path, content, key=new, telling=(REFUSED,))
        if answer is None:
            return
        if answer.status == REFUSED:
            log.error("key.switch_refused", fingerprint=new.key_id)
            self.journal.do(_forget)
        elif self._is_receipt(identity, answer.body, asked):
            self._take(new)

    def _is_receipt(self, identity: Identity, body: bytes, asked: KeySwitch) -> bool:
        keys = [bytes.fromhex(key) for key in identity.receipt_keys]
        try:
            said = parse(KeyReceipt, open_sealed(KEY_RECEIPT_TYPE, body, keys))
        except (SignatureRefused, ContractError):
            self.uplink.failed("receipt_not_trusted")
            return False
        expected = identity.edge_id, asked.public_key, asked.epoch, asked.last_sequence
        is_ours = (said.edge_id, said.public_key, said.epoch, said.last_sequence) == expected
        if not is_ours:
            self.uplink.failed("receipt_for_something_else")
        return is_ours

    def _take(self, new: SigningKey) -> None:
        """The new key in the old one's place, in one step; then the journal."""
        (self.data / NEXT).replace(self.data / KEY)
        spool.sync_folder(self.data)
        self.uplink.centre = replace(self.uplink.centre, key=new)
        self.journal.do(_finish)
        self.uplink.back_off.succeeded()
        self.word = ""
        log.info("key.switched", fingerprint=new.key_id)


def _load(path: Path) -> SigningKey:
    return SigningKey.from_seed(path.read_bytes())


def _wanted(db: sqlite3.Connection) -> Any:
    """The switch under way: the new key, and which key ends with which window; or None."""
    raw = meta(db, "key_switch")
    return json.loads(raw) if raw else None


def _retired(db: sqlite3.Connection) -> list[Any]:
    return list(json.loads(meta(db, "retired_keys") or "[]"))


def _decide(db: sqlite3.Connection, epoch: int, before: str, new: str) -> None:
    """After which window the new key begins: the newest there is."""
    query = "SELECT coalesce(max(sequence), 0) FROM windows WHERE epoch = ?"
    (last,) = db.execute(query, (epoch,)).fetchone()
    ends = {"public_key": before, "epoch": epoch, "sequence": last}
    set_meta(db, "key_switch", json.dumps({"public_key": new, "before": ends}))


def _finish(db: sqlite3.Connection) -> None:
    wanted = _wanted(db)
    set_meta(db, "retired_keys", json.dumps([*_retired(db), wanted["before"]]))
    _forget(db)


def _forget(db: sqlite3.Connection) -> None:
    set_meta(db, "key_switch", "")
