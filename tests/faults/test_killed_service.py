"""L1, C1, A5: a service in a process of its own: cut off, killed, and asked by many at once."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest
from sqlalchemy import Engine, text

from app.central.accounts.models import Role
from tests.support.fleet import PASSWORD, World, assert_balance
from tests.support.serving import send, serving


def rows(world: World) -> tuple[int, int]:
    """Windows in the ledger, and windows that are stored."""
    with world.sessions() as session:
        ledger = session.scalar(text("SELECT count(*) FROM arrival"))
        stored = session.scalar(text("SELECT count(*) FROM stored_window"))
    return int(ledger or 0), int(stored or 0)


@contextmanager
def cutting_proxy(port: int) -> Iterator[tuple[int, list[bytes]]]:
    """Passes one request on, reads the answer and hangs up; its port, and the answer."""
    answers: list[bytes] = []

    def pass_on(listening: socket.socket) -> None:
        caller, _ = listening.accept()
        with caller, socket.create_connection(("127.0.0.1", port)) as upstream:
            caller.settimeout(0.2)
            while not answers:
                try:
                    upstream.sendall(caller.recv(65536))
                except TimeoutError:  # all is sent
                    answers.append(upstream.recv(65536))

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=pass_on, args=(listening,), daemon=True)
        thread.start()
        yield listening.getsockname()[1], answers
        thread.join(30)


def test_l1_an_answer_that_a_proxy_cuts_off_after_the_commit_costs_nothing(
    committed: World,
) -> None:
    edge = committed.an_edge()
    window = edge.window()
    with serving(committed) as service:
        with cutting_proxy(service.port) as (port, answers), pytest.raises(httpx.TransportError):
            send(port, edge, window)
        again = send(service.port, edge, window)

    assert answers[0].startswith(b"HTTP/1.1 200")
    assert edge.receipt(again).windows[0].outcome == "duplicate"
    assert rows(committed) == (1, 1)
    assert_balance(committed, edge)


def test_c1_killed_between_verifying_and_committing_a_retry_is_new(committed: World) -> None:
    edge = committed.an_edge()
    window = edge.window()
    assert isinstance(committed.bind, Engine)
    with serving(committed) as service, committed.bind.connect() as other:
        other.execute(text("LOCK TABLE stored_window IN SHARE MODE"))  # nobody may write to it
        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(send, service.port, edge, window)
            until_it_waits(committed)  # the window is verified, and about to be stored
            service.kill()
            assert isinstance(sending.exception(), httpx.TransportError)
    assert rows(committed) == (0, 0)
    assert_balance(committed, edge, unsent=1)

    with serving(committed) as service:
        again = send(service.port, edge, window)

    assert edge.receipt(again).windows[0].outcome == "stored"
    assert rows(committed) == (1, 1)
    assert_balance(committed, edge)


def test_c1_killed_between_committing_and_answering_a_retry_is_a_duplicate(
    committed: World,
) -> None:
    edge = committed.an_edge()
    window = edge.window()
    with serving(committed, holding=True) as service, ThreadPoolExecutor(1) as pool:
        sending = pool.submit(send, service.port, edge, window)
        service.until_it_holds()
        kept = rows(committed)
        service.kill()
        assert isinstance(sending.exception(), httpx.TransportError)
    with serving(committed) as service:
        again = send(service.port, edge, window)

    assert kept == rows(committed) == (1, 1)
    assert edge.receipt(again).windows[0].outcome == "duplicate"
    assert_balance(committed, edge)


def until_it_waits(world: World) -> None:
    waiting = text(
        "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'stored_window'::regclass"
    )
    for _ in range(1000):
        with world.sessions() as session:
            if session.scalar(waiting):
                return
        time.sleep(0.01)
    raise AssertionError("the service never came to storing")


@pytest.mark.parametrize("people", [50, pytest.param(200, marks=pytest.mark.slow)])
def test_a5_log_ins_at_once_queue_in_little_memory_and_edges_are_served(
    committed: World, people: int
) -> None:
    for n in range(10):
        committed.add_person(f"p{n}", Role.VIEWER)
    edge = committed.an_edge()
    with serving(committed) as service, ThreadPoolExecutor(people) as pool:
        first = send(service.port, edge, edge.window())
        before = service.peak_kib()
        answers = pool.map(lambda n: log_in(service.port, n), range(people))
        meanwhile = send(service.port, edge, edge.window())
        statuses = sorted(answers)
        grown_kib = service.peak_kib() - before

    assert statuses == [200] * (people // 2) + [401] * (people // 2)
    assert edge.receipt(first).acked_through == 1
    assert edge.receipt(meanwhile).acked_through == 2
    assert grown_kib < 200 * 1024  # a hash takes 19 MiB; 40 threads at once would take 760
    assert_balance(committed, edge)


def log_in(port: int, n: int) -> int:
    """Somebody logs in, every second one under a name that nobody has; comes again when told to."""
    name = f"p{n // 2 % 10}" if n % 2 else f"nobody-{n}"
    for _ in range(20):
        answer = httpx.post(
            f"http://127.0.0.1:{port}/api/v1/session",
            json={"name": name, "password": PASSWORD},
            timeout=120,
        )
        if answer.status_code != 503:
            break
        time.sleep(int(answer.headers["Retry-After"]))
    return answer.status_code
