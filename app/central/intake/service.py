"""Take in a window: duplicate first, then verify, then judge; store or quarantine; receipt.

Every authenticated window gets a signed receipt. Bytes that are not a window of this edge are
refused, with a copy kept. Balance of an edge: produced = stored + quarantined + still there.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import structlog
from sqlalchemy.orm import Session

from app.central.audit import service as audit
from app.central.errors import NotAllowed, NotAuthenticated
from app.central.fleet import repository as fleet_repository
from app.central.fleet import service as fleet
from app.central.fleet.models import Edge, EdgeState
from app.central.fleet.repository import Cursor
from app.central.intake import per_window, repository
from app.central.intake.arrival import arrival_day
from app.central.intake.counting import counted
from app.central.intake.models import Outcome, QuarantinedContent, Reason
from app.central.intake.per_window import Bounded, Position, Standing
from app.central.intake.plausibility import Finding, implausible
from app.central.intake.repository import Reasoned
from app.contracts.exchange import RECEIPT_TYPE, Receipt, WindowReceipt
from app.contracts.signing import SigningKey, seal, sha256
from app.contracts.window import BALANCE, Header, Window, decode, decode_by, read_header
from app.errors import AppError, ContractError, SignatureRefused

log = structlog.get_logger()
LARGEST = 1 << 62  # sequence numbers and the like must fit a signed 64-bit column
GAPS_SHOWN = 64
NOTHING_BEFORE = "0" * 64  # what the first window of an epoch names as the one before it


class Equivocation(NotAllowed):
    """Two different windows under one number: a cloned or rolled-back edge, or worse."""

    title = "Another window has this number"
    reason = "equivocation"


class NotAWindow(AppError):
    """Refused bytes: kept for a person to look at, but no window of this edge."""

    status = 422
    title = "Not a window"

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class EdgeBalance:
    """produced = stored + quarantined + still on the edge, and the case balance it reports."""

    edge_id: str
    site_id: str
    produced: int
    stored: int
    quarantined: int
    on_edge: int
    gaps: tuple[tuple[int, int], ...]
    quarantined_by_reason: dict[str, int]
    refused_by_reason: dict[str, int]
    cases: dict[str, int]
    last_window_end: datetime | None

    @property
    def closes(self) -> bool:
        """No window has arrived that was not produced, and none is missing below the newest."""
        return self.on_edge >= 0 and not self.gaps

    @property
    def cases_close(self) -> bool:
        """received = analysed + rejected + abstained + outside limits + failed + waiting."""
        c = self.cases
        parts = ("analysed", "quality_rejected", "abstained", "outside_limits", "failed", "waiting")
        return not c or c["received"] == sum(c[part] for part in parts)


@dataclass(frozen=True, slots=True)
class ArrivalView:
    """One window as a list shows it."""

    epoch: int
    sequence: int
    digest: str
    stream: str
    start: datetime
    end: datetime
    outcome: str
    reason: str
    received_at: datetime


def acknowledge(
    session: Session, edge: Edge, raw: bytes, key: SigningKey, *, now: datetime
) -> bytes | AppError:
    """Take in one window and say so: the signed receipt, or why the bytes were refused.

    An error is returned, not raised: the copy kept of refused bytes must be committed.
    """
    taken = _take_in(session, edge, raw, now=now)
    if isinstance(taken, AppError):
        return taken
    return receipt(session, edge, key, now=now, windows=(taken.word,), known=taken.position)


def take_in(session: Session, edge: Edge, raw: bytes, *, now: datetime) -> WindowReceipt | AppError:
    """Take in the bytes of one window from an authenticated edge, in the caller's transaction.

    An error is returned, not raised: the copy kept of refused bytes must be committed.
    """
    taken = _take_in(session, edge, raw, now=now)
    return taken if isinstance(taken, AppError) else taken.word


@dataclass(frozen=True, slots=True)
class _Taken:
    """What a receipt says of a window, and where it is known, of the edge's present epoch."""

    word: WindowReceipt
    position: Position | None = None


def _take_in(session: Session, edge: Edge, raw: bytes, *, now: datetime) -> _Taken | AppError:
    """In one statement where the window is the next and nothing is wrong, else step by step."""
    return _take_next(session, edge, raw, now) or _take_any(session, edge, raw, now)


def _take_next(session: Session, edge: Edge, raw: bytes, now: datetime) -> _Taken | None:
    """None, and nothing written, where a window has to be looked at step by step."""
    if edge.state is not EdgeState.ACTIVE:
        return None
    try:
        window = decode_by(raw, lambda header: _key(edge, header))
        layout = fleet.layout_of(session, window.header.lock_digest)
    except AppError:
        return None
    is_first = window.header.sequence == 1 and window.header.previous == NOTHING_BEFORE
    if implausible(window, layout, now):
        return None
    return _store(session, edge, window, now, follows=is_first)


def _key(edge: Edge, header: Header) -> bytes:
    """The key that a window of these numbers must be signed with."""
    _check_numbers(edge, header)
    return edge.ring.at(header.epoch, header.sequence)


def _take_any(session: Session, edge: Edge, raw: bytes, now: datetime) -> _Taken | AppError:
    """Duplicate first, then verify, then judge, with the edge's cursor locked."""
    try:
        header = read_header(raw)
        _check_numbers(edge, header)
        per_window.lock_cursor(session, edge.id, header.epoch)  # one at a time from here on
        known = per_window.standing(
            session, edge.id, header.epoch, header.sequence, header.lock_digest
        )
        if known.digest is not None and known.content_digest == sha256(raw):
            return _Taken(
                WindowReceipt(
                    sequence=header.sequence,
                    digest=known.digest,
                    outcome="duplicate",
                    reason=known.reason or "",
                )
            )
        if edge.state in (EdgeState.PENDING, EdgeState.RETIRED):
            return NotAuthenticated("not_active", f"edge is {edge.state.value}: keep the window")
        window = decode(raw, edge.ring.at(header.epoch, header.sequence))
    except SignatureRefused as error:
        return _refuse(session, edge, raw, _not_signed(edge, raw, str(error)), now)
    except ContractError as error:
        return _refuse(session, edge, raw, NotAWindow(error.reason, str(error)), now)
    if known.digest is not None:
        return _equivocation(session, edge, window, known.digest, now)
    return _accept(session, edge, window, known, now)


def _not_signed(edge: Edge, raw: bytes, words: str) -> NotAuthenticated:
    """Why a window's signature does not do: a key that the edge has given up, or nobody's."""
    for (epoch, sequence), key in edge.ring.retired:
        with suppress(AppError):
            decode(raw, key)
            ended = f"that key ended with window {sequence} of epoch {epoch}"
            return NotAuthenticated(
                "retired_key", f"the window is signed by a retired key: {ended}"
            )
    return NotAuthenticated("window_signature", words)


def _check_numbers(edge: Edge, header: Header) -> None:
    if header.edge_id != edge.id:
        raise ContractError("other_edge", "the window names another edge than the request")
    if not 1 <= header.epoch <= edge.epoch:
        raise ContractError("epoch", f"epoch 1 to {edge.epoch} expected, got {header.epoch}")
    if not (1 <= header.sequence < LARGEST and 0 <= header.revision < LARGEST):
        raise ContractError("header", "sequence or revision is out of range")
    if header.start.year < 1990 or header.end.year > 2200:
        raise ContractError("header", "start and end between 1990 and 2200 expected")


def _accept(session: Session, edge: Edge, window: Window, known: Standing, now: datetime) -> _Taken:
    finding = _judge(session, edge, window, known, now)
    if finding is None:
        taken = _store(session, edge, window, now, follows=True)
        assert taken is not None  # the cursor is locked, and all that it asks was judged
        return taken
    values = _values(edge, window, finding, now)
    per_window.arrive(session, values)
    _keep_aside(session, edge, window.raw, finding.reason.value, finding.detail, now)
    return _Taken(_word(values))


def _store(
    session: Session, edge: Edge, window: Window, now: datetime, *, follows: bool
) -> _Taken | None:
    header, values = window.header, _values(edge, window, None, now)
    position = per_window.store(
        session, values, follows=follows, previous=header.previous, installed=edge.lock_digest
    )
    if position is None:
        return None
    _note_lock(edge, header)
    return _Taken(_word(values), position if header.epoch == edge.epoch else None)


def _word(values: dict[str, Any]) -> WindowReceipt:
    return WindowReceipt(**{name: values[name] for name in WindowReceipt.model_fields})


def _judge(
    session: Session, edge: Edge, window: Window, known: Standing, now: datetime
) -> Finding | None:
    header = window.header
    if edge.state is EdgeState.SUSPENDED:
        return Finding(Reason.SUSPENDED, "the edge is suspended")
    if known.schema_digest is None:
        return Finding(Reason.WRONG_LOCK, "no device version of this lock digest is registered")
    if known.schema_digest != header.schema_digest:
        return Finding(Reason.UNKNOWN_SCHEMA, "the schema is not that of the device version")
    expected = known.digest_before or (NOTHING_BEFORE if header.sequence == 1 else header.previous)
    if header.previous != expected:
        return Finding(Reason.CHAIN, "the window does not name the one before it")
    return implausible(window, fleet.layout_of(session, header.lock_digest), now)


def _values(edge: Edge, window: Window, finding: Finding | None, now: datetime) -> dict[str, Any]:
    """All that is written about a window: that it arrived, what it is, and the cursor's part."""
    header = window.header
    balance = _believed_balance(window, finding)
    counts = [] if finding else counted(window)
    is_cases = finding is None and header.stream == "cases"
    return {
        "edge_id": edge.id,
        "epoch": header.epoch,
        "sequence": header.sequence,
        "digest": window.digest,
        "content_digest": sha256(window.raw),
        "outcome": (Outcome.QUARANTINED if finding else Outcome.STORED).value,
        "reason": finding.reason.value if finding else "",
        "stream": header.stream,
        "start": header.start,
        "end": header.end,
        "received_at": now,
        "revision": header.revision,
        "site_id": edge.site_id,
        "lock_digest": header.lock_digest,
        "schema_digest": header.schema_digest,
        "cases": sum(c.analysed for c in counts),
        "closed_at": header.closed_at,
        "raw": window.raw,
        "produced": max(header.sequence, balance.get("windows_produced", 0)),
        "balance": balance,
        "balance_sequence": header.sequence if balance else 0,
        "cases_end": header.end if is_cases else None,
        "arrival": arrival_day(now),
        "starts": [c.start for c in counts],
        "ends": [c.end for c in counts],
        "analysed": [c.analysed for c in counts],
        "flagged": [c.flagged for c in counts],
    }


def _note_lock(edge: Edge, header: Header) -> None:
    """What the edge says of its lock; nothing is written where it says what is known."""
    said = header.lock_digest, header.lock_state, fleet.printable(header.agent_version)
    if said != (edge.reported_lock, edge.lock_state, edge.agent_version):
        edge.reported_lock, edge.lock_state, edge.agent_version = said


def _believed_balance(window: Window, finding: Finding | None) -> dict[str, int]:
    """The window's word on the edge's balance, unless the window itself cannot be true."""
    table = window.tables.get("balance")
    usable = table is not None and table.values.shape == (1, len(BALANCE))
    believed = finding is None or finding.reason is Reason.SUSPENDED
    if not (usable and believed and table is not None):
        return {}
    return dict(zip(BALANCE, table.values[0].tolist(), strict=True))


def _equivocation(
    session: Session, edge: Edge, window: Window, stored: str, now: datetime
) -> AppError:
    number = f"{edge.id}/{window.header.epoch}/{window.header.sequence}"
    _keep_aside(session, edge, window.raw, "equivocation", f"another window is {number}", now)
    audit.record(
        session,
        actor=edge.id,
        action="intake:window:equivocation",
        subject=number,
        at=now,
        detail={"stored": stored, "offered": window.digest},
    )
    return Equivocation(f"{number} holds another window: {stored[:12]}…")


def _refuse(session: Session, edge: Edge, raw: bytes, error: AppError, now: datetime) -> AppError:
    _keep_aside(session, edge, raw, str(getattr(error, "reason", "refused")), str(error), now)
    return error


def _keep_aside(
    session: Session, edge: Edge, raw: bytes, reason: str, detail: str, now: datetime
) -> None:
    log.warning("window.kept_aside", edge=edge.id, reason=reason)
    repository.keep_aside(
        session,
        QuarantinedContent(
            edge_id=edge.id,
            content_digest=sha256(raw),
            reason=reason,
            detail=detail[:500],
            received_at=now,
            times=1,
            raw=raw,
        ),
    )


def receipt(
    session: Session,
    edge: Edge,
    key: SigningKey,
    *,
    now: datetime,
    windows: tuple[WindowReceipt, ...] = (),
    known: Position | None = None,
) -> bytes:
    """The centre's signed word about an edge: the only thing that counts as acknowledgement.

    `known`: where the edge stands, if the caller has just read it.
    """
    known = known or per_window.position(
        session, edge.id, edge.epoch, lock_digest=edge.lock_digest, site_id=edge.site_id
    )
    acked_through, gaps = cursor_position(known.seen or [])
    content = Receipt(
        edge_id=edge.id,
        epoch=edge.epoch,
        acked_through=acked_through,
        gaps=gaps[:GAPS_SHOWN],
        windows=windows,
        release_counter=edge.release_counter,
        operating_point=known.operating_point,
        audit_head=known.audit_head or audit.NOTHING,
        at=now,
    )
    return seal(RECEIPT_TYPE, content.model_dump(mode="json"), [key])


def cursor_position(seen: Sequence[Bounded]) -> tuple[int, tuple[tuple[int, int], ...]]:
    """Everything up to and including the first number arrived; missing ranges above, inclusive.

    `seen` is a multirange: half-open ranges in order that do not touch.
    """
    ends = [(1, 1)] + [(r.lower or 0, r.upper or 0) for r in seen]
    gaps = [(u, low - 1) for (_, u), (low, _) in pairwise(ends) if low > u]
    if gaps:
        return gaps[0][0] - 1, tuple(gaps)
    return ends[-1][1] - 1, ()


def balance(session: Session, edge: Edge) -> EdgeBalance:
    """The balance of an edge over all its epochs."""
    return _balances(session, [edge])[0]


def _balances(session: Session, edges: Sequence[Edge]) -> tuple[EdgeBalance, ...]:
    """What has arrived is what the cursors have seen: `counting.recount` holds them to that."""
    ids = [e.id for e in edges]
    cursors: dict[str, list[Cursor]] = {i: [] for i in ids}
    for cursor in fleet_repository.cursors(session, ids):
        cursors[cursor.edge_id].append(cursor)
    aside = _by_edge(repository.quarantined(session, ids))
    refused = _by_edge(repository.refused(session, ids))
    return tuple(
        _balance(e, cursors[e.id], aside.get(e.id, {}), refused.get(e.id, {})) for e in edges
    )


def _by_edge(found: Sequence[Reasoned]) -> dict[str, dict[str, int]]:
    by_edge: dict[str, dict[str, int]] = {}
    for one in found:
        by_edge.setdefault(one.edge_id, {})[one.reason] = one.windows
    return by_edge


def _balance(
    edge: Edge, cursors: Sequence[Cursor], aside: dict[str, int], refused: dict[str, int]
) -> EdgeBalance:
    produced = sum(c.produced for c in cursors)
    arrived = sum((r.upper or 0) - (r.lower or 0) for c in cursors for r in c.seen)
    quarantined = sum(aside.values())
    return EdgeBalance(
        edge_id=edge.id,
        site_id=edge.site_id,
        produced=produced,
        stored=arrived - quarantined,
        quarantined=quarantined,
        on_edge=produced - arrived,
        gaps=tuple(gap for c in cursors for gap in cursor_position(c.seen)[1]),
        quarantined_by_reason=aside,
        refused_by_reason=refused,
        cases=_cases(cursors),
        last_window_end=max((c.cases_end for c in cursors if c.cases_end), default=None),
    )


def _cases(cursors: Sequence[Cursor]) -> dict[str, int]:
    """The newest word of every epoch, added; each epoch counts from nothing."""
    words = [c.balance for c in cursors if c.balance]
    if len(words) == 1:
        return {name: int(words[0][name]) for name in BALANCE}
    return {name: sum(int(w[name]) for w in words) for name in BALANCE} if words else {}


def balances(session: Session, *, scope: str | None = None) -> tuple[EdgeBalance, ...]:
    """The balance of every edge."""
    return _balances(session, fleet_repository.edges(session, site_id=scope))


def balances_of(session: Session, edge_ids: Sequence[str]) -> tuple[EdgeBalance, ...]:
    """The balance of each of these edges, in their order."""
    known = {e.id: e for e in fleet_repository.edges_of(session, edge_ids)}
    return _balances(session, [known[i] for i in edge_ids])


def arrivals(
    session: Session, edge_id: str, *, limit: int = 200, before: tuple[int, int] | None = None
) -> tuple[ArrivalView, ...]:
    """The newest windows of an edge, from before an epoch and sequence on."""
    return tuple(
        ArrivalView(
            a.epoch,
            a.sequence,
            a.digest,
            a.stream,
            a.start,
            a.end,
            a.outcome.value,
            a.reason,
            a.received_at,
        )
        for a in repository.newest(session, edge_id=edge_id, limit=limit, before=before)
    )


def add_months(session: Session, now: datetime) -> None:
    """Partitions for this month and the next; nothing fails without them."""
    first = datetime(now.year, now.month, 1, tzinfo=UTC)
    for _ in range(2):
        after = datetime(first.year + first.month // 12, first.month % 12 + 1, 1, tzinfo=UTC)
        repository.add_partition(session, f"stored_window_{first:%Y%m}", first, after)
        first = after
