"""What an edge may send, and what becomes of everything else."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Connection, select

from app import clock
from app.central.fleet.models import EdgeAction
from app.central.intake.models import QuarantinedContent, StoredWindow
from app.contracts import noise
from app.contracts.signing import SigningKey
from app.contracts.window import BATCH_WINDOWS, WINDOW_LIMIT, Table, join_batch
from monitors.summaries import summarise
from tests.conftest import Clock
from tests.contracts.examples import some_cases
from tests.support.fleet import FakeEdge, World, assert_balance


def kept_aside(world: World) -> list[str]:
    with world.sessions() as session:
        return [row.reason for row in session.scalars(select(QuarantinedContent))]


def stored(world: World) -> list[bytes]:
    with world.sessions() as session:
        return [w.raw for w in session.scalars(select(StoredWindow))]


def outcome(edge: FakeEdge, answer: object) -> tuple[str, str]:
    [window] = edge.receipt(answer).windows
    return window.outcome, window.reason


def test_a_window_is_stored_byte_for_byte_and_receipted(world: World) -> None:
    edge = world.an_edge()
    window = edge.window()

    receipt = edge.receipt(edge.send(window))

    assert stored(world) == [window.raw]
    assert receipt.windows[0].outcome == "stored"
    assert receipt.windows[0].digest == window.digest
    assert (receipt.acked_through, receipt.gaps) == (1, ())
    assert_balance(world, edge)


def test_the_same_window_again_is_a_duplicate_and_one_row(world: World) -> None:
    edge = world.an_edge()
    window = edge.window()
    edge.send(window)

    again = edge.send(window)

    assert outcome(edge, again)[0] == "duplicate"
    assert len(stored(world)) == 1
    assert_balance(world, edge)


def test_a_duplicate_is_known_before_anything_else_is_judged(world: World) -> None:
    edge = world.an_edge()
    window = edge.window()
    edge.send(window)
    world.act(edge, EdgeAction.SUSPEND)

    assert outcome(edge, edge.send(window)) == ("duplicate", "")


def test_another_window_under_a_used_number_is_an_equivocation(world: World) -> None:
    edge = world.an_edge()
    edge.send(edge.window())
    edge.sequence, edge.previous = 0, "0" * 64
    other = edge.window(cases=some_cases(seed=8))

    answer = edge.send(other)

    assert (answer.status_code, answer.json()["reason"]) == (409, "equivocation")
    assert kept_aside(world) == ["equivocation"]
    assert len(stored(world)) == 1
    assert_balance(world, edge)


def test_windows_out_of_order_leave_gaps_that_close(world: World) -> None:
    edge = world.an_edge()
    windows = [edge.window(date(2026, 3, d)) for d in (1, 2, 3, 4)]

    first = edge.receipt(edge.send(windows[0]))
    ahead = edge.receipt(edge.send(windows[3]))
    edge.send(windows[2])
    last = edge.receipt(edge.send(windows[1]))

    assert (first.acked_through, first.gaps) == (1, ())
    assert (ahead.acked_through, ahead.gaps) == (1, ((2, 3),))
    assert (last.acked_through, last.gaps) == (4, ())
    assert edge.receipt(edge.get("/edge/v1/receipt")).acked_through == 4
    assert_balance(world, edge)


def batch(edge: FakeEdge, *windows: bytes) -> object:
    return edge.post("/edge/v1/windows/batch", join_batch(windows))


def test_a_batch_is_taken_in_window_by_window_and_names_what_it_took(world: World) -> None:
    edge, other = world.an_edge(), world.an_edge("H02")
    good = [edge.window(date(2026, 3, d)).raw for d in (1, 2, 3)]
    edge.send(good[0])

    receipt = edge.receipt(batch(edge, *good, other.window().raw, b"nonsense"))

    assert [w.outcome for w in receipt.windows] == ["duplicate", "stored", "stored"]
    assert (receipt.acked_through, receipt.gaps) == (3, ())
    assert sorted(kept_aside(world)) == ["not_a_window", "other_edge"]
    assert stored(world) == good
    assert_balance(world, edge)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"\x00\x00\x00\x00", "truncated"),
        (b"\x00\x00\x00\x09short", "truncated"),
        (b"\x00\x00", "truncated"),
        (join_batch([b"x"] * (BATCH_WINDOWS + 1)), "too_many"),
    ],
)
def test_a_batch_that_does_not_add_up_is_refused_whole(
    world: World, content: bytes, reason: str
) -> None:
    edge = world.an_edge()

    answer = edge.post("/edge/v1/windows/batch", content)

    assert (answer.status_code, answer.json()["reason"]) == (422, reason)
    assert stored(world) == []


def test_every_window_of_a_batch_counts_against_the_share_of_its_edge(
    tmp_path: Path, connection: Connection, simulated_clock: Clock
) -> None:
    world = World(tmp_path, connection, requests_per_minute=5)
    edge = world.an_edge()
    windows = [edge.window(date(2026, 3, d)).raw for d in range(1, 7)]

    answer = batch(edge, *windows)

    assert answer.status_code == 429  # type: ignore[attr-defined]
    assert stored(world) == []


# Who is calling


@pytest.mark.parametrize("missing", ["edge", "time", "nonce", "signature"])
def test_every_header_of_a_request_is_mandatory(world: World, missing: str) -> None:
    edge = world.an_edge()
    headers = edge.headers("GET", "/edge/v1/state", b"")
    del headers[f"lockwatch-{missing}"]

    answer = world.client.get("/edge/v1/state", headers=headers)

    assert (answer.status_code, answer.json()["reason"]) == (401, missing)


def test_an_unknown_edge_is_refused(world: World) -> None:
    edge = world.an_edge()
    edge.edge_id = "edge-000000000000"

    answer = edge.send(edge.window())

    assert (answer.status_code, answer.json()["reason"]) == (401, "edge")
    assert stored(world) == []


def test_a_request_signed_by_another_key_is_refused(world: World) -> None:
    edge = world.an_edge()

    answer = edge.send(edge.window(), key=SigningKey.generate())

    assert (answer.status_code, answer.json()["reason"]) == (401, "signature")


@pytest.mark.parametrize("minutes", [-6, 6])
def test_a_request_of_another_time_is_refused(world: World, minutes: int) -> None:
    edge = world.an_edge()

    answer = edge.send(edge.window(), time=clock.now() + timedelta(minutes=minutes))

    assert (answer.status_code, answer.json()["reason"]) == (401, "time")


def test_a_captured_request_cannot_be_replayed(world: World) -> None:
    edge = world.an_edge()
    headers = edge.headers("GET", "/edge/v1/receipt", b"")

    first = world.client.get("/edge/v1/receipt", headers=headers)
    again = world.client.get("/edge/v1/receipt", headers=headers)

    assert first.status_code == 200
    assert (again.status_code, again.json()["reason"]) == (401, "replay")


def test_a_captured_request_is_too_old_after_its_nonce_is_forgotten(
    world: World, simulated_clock: Clock
) -> None:
    edge = world.an_edge()
    headers = edge.headers("GET", "/edge/v1/receipt", b"")
    simulated_clock.advance(minutes=11)

    answer = world.client.get("/edge/v1/receipt", headers=headers)

    assert (answer.status_code, answer.json()["reason"]) == (401, "time")


@pytest.mark.parametrize(
    "signing", [{"audience": "http://elsewhere"}, {"path": "/edge/v1/receipt"}, {"method": "GET"}]
)
def test_a_request_for_somebody_else_is_refused(world: World, signing: dict[str, str]) -> None:
    edge = world.an_edge()
    raw = edge.window().raw
    signed = {
        "method": "POST",
        "path": "/edge/v1/windows",
        "audience": "http://testserver",
    } | signing

    headers = edge.headers(signed["method"], signed["path"], raw, audience=signed["audience"])
    answer = world.client.post("/edge/v1/windows", content=raw, headers=headers)

    assert (answer.status_code, answer.json()["reason"]) == (401, "signature")


# What was sent


@pytest.mark.parametrize("place", ["header", "body", "signature"])
def test_an_altered_window_is_refused_and_kept_aside(world: World, place: str) -> None:
    edge = world.an_edge()
    raw = bytearray(edge.window().raw)
    at = {"header": 60, "body": len(raw) - 80, "signature": len(raw) - 1}[place]
    raw[at] ^= 1

    answer = edge.send(bytes(raw))

    assert answer.status_code in {401, 422}
    assert len(kept_aside(world)) == 1
    assert stored(world) == []


def test_an_unsigned_window_is_refused(world: World) -> None:
    edge = world.an_edge()
    raw = edge.window().raw

    answer = edge.send(raw[:-64] + bytes(64))

    assert (answer.status_code, answer.json()["reason"]) == (401, "window_signature")
    assert kept_aside(world) == ["window_signature"]


def test_a_window_of_another_edge_is_refused(world: World) -> None:
    edge, other = world.an_edge("H01"), world.an_edge("H02")

    answer = edge.send(other.window())

    assert (answer.status_code, answer.json()["reason"]) == (422, "other_edge")
    assert kept_aside(world) == ["other_edge"]


@pytest.mark.parametrize("junk", [b"", b"LWW1", b"LWW1\xff\xff\xff\xff", bytes(3000)])
def test_junk_is_refused(world: World, junk: bytes) -> None:
    edge = world.an_edge()

    assert edge.send(junk).status_code == 422


def test_numbers_that_no_column_holds_are_refused(world: World) -> None:
    edge = world.an_edge()

    answer = edge.send(edge.window(revision=(1 << 64) - 1))

    assert (answer.status_code, answer.json()["reason"]) == (422, "header")


def test_a_window_of_an_undeclared_epoch_is_refused(world: World) -> None:
    edge = world.an_edge()
    edge.epoch = 2

    refused = edge.send(edge.window())
    declared = edge.post("/edge/v1/epoch", b'{"epoch": 2, "reason": "journal_lost"}')
    edge.sequence, edge.previous = 0, "0" * 64
    accepted = edge.send(edge.window())

    assert (refused.status_code, refused.json()["reason"]) == (422, "epoch")
    assert declared.json()["epoch"] == 2
    assert outcome(edge, accepted) == ("stored", "")


def test_an_oversized_body_is_refused_by_its_declared_length(world: World) -> None:
    edge = world.an_edge()

    answer = edge.send(bytes(WINDOW_LIMIT + 1))

    assert answer.status_code == 413


def test_an_oversized_body_in_chunks_is_refused_without_reading_on(world: World) -> None:
    edge = world.an_edge()
    read = 0

    def chunks():  # type: ignore[no-untyped-def]
        nonlocal read
        for _ in range(4 * WINDOW_LIMIT // 65536):
            read += 65536
            yield bytes(65536)

    headers = edge.headers("POST", "/edge/v1/windows", b"")
    answer = world.client.post("/edge/v1/windows", content=chunks(), headers=headers)

    assert answer.status_code == 413


def test_a_zip_bomb_is_refused(world: World) -> None:
    import zstandard

    from app.contracts import window as contract

    edge = world.an_edge()
    bomb = zstandard.ZstdCompressor(level=19).compress(bytes(256 << 20))
    good = edge.window()
    header = contract.replace(good.header, body_digest=contract.hashlib.sha256(bomb).hexdigest())
    packed = contract._pack_header(header)
    size = contract.struct.pack
    raw = b"".join((b"LWW1", size(">I", len(packed)), packed, size(">I", len(bomb)), bomb))
    raw += edge.key.sign(contract.DOMAIN, packed)

    answer = edge.send(raw)

    assert len(bomb) < 1 << 20
    assert (answer.status_code, answer.json()["reason"]) == (422, "too_large")
    assert stored(world) == []


# Signed and whole, but not true


def rows(world: World) -> np.ndarray:
    cases = some_cases()
    return summarise(world.schema, cases, np.zeros(len(cases), dtype=np.int64), 1)


def poisoned(world: World, edge: FakeEdge, part: str, value: int) -> Table:
    row = rows(world)
    row[0, world.schema.columns[part].start] = value
    return edge.strata_of(date(2026, 3, 8), row)


@pytest.mark.parametrize(
    ("part", "value", "reason"),
    [
        ("tallies", -1, "negative_count"),
        ("numeric_counts", -3, "negative_count"),
        ("numeric_counts", 999, "bins_sum"),
        ("score_counts", 999, "bins_sum"),
        ("categorical_counts", 999, "bins_sum"),
        ("joint_n", 999, "bins_sum"),
        ("joint_sum", 1 << 40, "bins_sum"),
    ],
)
def test_a_poisoned_row_goes_to_quarantine(
    world: World, part: str, value: int, reason: str
) -> None:
    edge = world.an_edge()
    table = poisoned(world, edge, part, value)

    answer = edge.send(edge.window(tables={"strata": table}))

    assert outcome(edge, answer) == ("quarantined", reason)
    assert stored(world) == []
    assert_balance(world, edge)


def noisy(world: World, edge: FakeEdge, changes: dict[str, int], **scales: int) -> dict[str, Table]:
    """The tables of a window with noise; the first number of each part in `changes` is set."""
    columns, schema = world.schema.columns, world.schema
    made = noise.mechanism(schema, 8.0).scales.copy()
    for part, scale in scales.items():
        made[columns[part].start] = scale
    row = noise.noised(schema, rows(world)[0], made, lambda scale: -scale)
    for part, value in changes.items():
        row[columns[part].start + (part == "tallies")] = value
    table = edge.strata_of(date(2026, 3, 8), row[None])
    return {"strata": table, "noise": Table((("strata",),), made[None])}


def test_negative_counts_are_taken_of_a_window_that_declares_noise(world: World) -> None:
    edge = world.an_edge()
    tables = noisy(world, edge, {"score_counts": -7, "tallies": -5})
    undeclared = {"strata": tables["strata"]}

    told = edge.send(edge.window(tables=tables))
    not_told = edge.send(edge.window(tables=undeclared))

    assert outcome(edge, told) == ("stored", "")
    assert outcome(edge, not_told) == ("quarantined", "negative_count")
    assert_balance(world, edge)


@pytest.mark.parametrize(
    ("changes", "scales", "reason"),
    [
        ({"joint_n": -1}, {}, "negative_count"),
        ({"joint_n": 999}, {}, "bins_sum"),
        ({"tallies": -999}, {}, "bins_sum"),
        ({"tallies": 999}, {}, "bins_sum"),
        ({"score_counts": 999}, {}, "bins_sum"),
        ({"joint_sum": 1 << 40}, {}, "bins_sum"),
        ({}, {"tallies": 5}, "shape"),  # the number of analysed cases
        ({}, {"joint_n": 1}, "shape"),
        ({}, {"joint_sum": (1 << 40) + 1}, "shape"),
        ({}, {"joint_sum": -1}, "shape"),
    ],
)
def test_noise_excuses_no_more_than_noise_can_do(
    world: World, changes: dict[str, int], scales: dict[str, int], reason: str
) -> None:
    edge = world.an_edge()

    answer = edge.send(edge.window(tables=noisy(world, edge, changes, **scales)))

    assert outcome(edge, answer) == ("quarantined", reason)


def test_a_row_of_few_cases_goes_to_quarantine(world: World) -> None:
    edge = world.an_edge()

    answer = edge.send(edge.window(cases=some_cases(n=15)))

    assert outcome(edge, answer) == ("quarantined", "small_cell")


def test_a_row_of_another_width_goes_to_quarantine(world: World) -> None:
    edge = world.an_edge()
    table = edge.strata_of(date(2026, 3, 8), rows(world)[:, :-1])

    answer = edge.send(edge.window(tables={"strata": table}))

    assert outcome(edge, answer) == ("quarantined", "shape")


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-03-08", "2026-03-08"),
        ("2026-02-01", "2026-03-08"),
        ("yesterday", "2026-03-09"),
        ("2026-03-10", "2026-03-12"),
    ],
)
def test_a_row_of_impossible_days_goes_to_quarantine(world: World, start: str, end: str) -> None:
    edge = world.an_edge()
    table = Table(((start, end, "scanner-1", "ACME", "BX-2", "4.1", "chest_pa"),), rows(world))

    answer = edge.send(edge.window(tables={"strata": table}))

    assert outcome(edge, answer) == ("quarantined", "dates")


def test_a_key_that_could_break_a_mail_header_goes_to_quarantine(world: World) -> None:
    edge = world.an_edge()
    key = ("scanner-1\r\nBcc: x@example.org", "ACME", "BX-2", "4.1", "chest_pa")

    answer = edge.send(edge.window(stratum=key))

    assert outcome(edge, answer) == ("quarantined", "shape")


def test_a_window_from_the_future_goes_to_quarantine(world: World) -> None:
    edge = world.an_edge()

    by_end = edge.send(edge.window(date(2026, 3, 12)))
    by_clock = edge.send(edge.window(closed_at=clock.now() + timedelta(hours=1)))

    assert outcome(edge, by_end) == ("quarantined", "future")
    assert outcome(edge, by_clock) == ("quarantined", "future")
    assert_balance(world, edge)


def test_an_unknown_schema_or_device_version_goes_to_quarantine(world: World) -> None:
    edge = world.an_edge()
    edge.send(edge.window())

    by_schema = edge.send(edge.window(schema_digest="cd" * 32))
    by_lock = edge.send(edge.window(lock_digest="cd" * 32))

    assert outcome(edge, by_schema) == ("quarantined", "unknown_schema")
    assert outcome(edge, by_lock) == ("quarantined", "wrong_lock")


def test_a_window_that_does_not_name_the_one_before_goes_to_quarantine(world: World) -> None:
    edge = world.an_edge()
    edge.send(edge.window())

    answer = edge.send(edge.window(date(2026, 3, 9), previous="cd" * 32))

    assert outcome(edge, answer) == ("quarantined", "chain")


def test_a_window_without_its_balance_goes_to_quarantine(world: World) -> None:
    edge = world.an_edge()
    empty = Table((), np.zeros((0, 16), dtype=np.int64))

    answer = edge.send(edge.window(tables={"balance": empty}))

    assert outcome(edge, answer) == ("quarantined", "no_balance")


def test_one_poisoned_window_stops_no_other(world: World) -> None:
    edge = world.an_edge()
    edge.send(edge.window(tables={"strata": poisoned(world, edge, "tallies", -1)}))

    answer = edge.send(edge.window(date(2026, 3, 9)))

    assert outcome(edge, answer) == ("stored", "")
    assert edge.receipt(answer).acked_through == 2
    assert_balance(world, edge)


# States of the edge


def test_a_pending_edge_keeps_its_windows(world: World) -> None:
    edge = world.an_edge(active=False)

    answer = edge.send(edge.window())

    assert (answer.status_code, answer.json()["reason"]) == (401, "not_active")
    assert edge.get("/edge/v1/state").json()["state"] == "pending"
    assert kept_aside(world) == []


def test_what_a_suspended_edge_sends_is_quarantined_not_refused(world: World) -> None:
    edge = world.an_edge()
    world.act(edge, EdgeAction.SUSPEND)

    answer = edge.send(edge.window())

    assert outcome(edge, answer) == ("quarantined", "suspended")
    assert_balance(world, edge)


def test_a_revoked_edge_is_refused(world: World) -> None:
    edge = world.an_edge()
    world.act(edge, EdgeAction.REVOKE)

    answer = edge.send(edge.window())

    assert (answer.status_code, answer.json()["reason"]) == (401, "edge")


def test_an_edge_that_calls_too_often_is_told_when_to_come_again(world: World) -> None:
    edge = world.an_edge()
    world.app.state.edge_limiter.__init__(per_minute=2)

    answers = [edge.get("/edge/v1/receipt") for _ in range(3)]

    assert [a.status_code for a in answers] == [200, 200, 429]
    assert int(answers[2].headers["retry-after"]) >= 1
