"""How long the service takes to make each page, and how large it is, for a fleet with a year.

    python -m benchmarks.pages [--sites 1000] [--days 365] [--times 20] [--keep FOLDER]
        [--only REGEX]

Everything runs in this process but PostgreSQL (the embedded one, with its own durability): a page
is asked for as a browser would, signed in, without a network between. `first` is the first time
in the life of the process; p50 and p95 are of the `--times` after it. CPU is the median of this
process's own work, and after the plus the mean of the database's: together what a page would take
where nobody else works on the machine. Beside them, the time of `SELECT 1`
in a transaction of its own and of a page that asks nothing, as the floor. Two people
ask: one who sees every site, and one who is bound to one of them; an administrator asks for the
pages of the administration. Bars: p95 under 200 ms, and
under 500 kB (plotly.js is a file of its own). With `--keep` the filled database stays for the next
run.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import structlog
from sqlalchemy import text
from starlette.testclient import TestClient

from benchmarks import page_fleet

P95_MS, LARGEST_KB = 200.0, 500.0
BOUND_TO = 13  # number of the site that the second person is bound to
TOPICS = (
    *("performance", "subgroups", "prevalence", "annotation"),
    *("lock", "timeline", "references"),
)
RECIPIENT = "quality@example.org"
NOT_ASKED = {  # documents, pages of what this fleet does not have, and one that leads on
    "/admin",
    "/account/password",
    *("/sign-in/provider", "/sign-in/provider/return"),
    "/devices/{lock_digest}/evidently",
    "/reports/{number}/evidently",
    "/reports/{name}",
    "/recalibrations/{proposal_id}",
    "/recalibrations/{proposal_id}/dossier.pdf",
    "/recalibrations/{proposal_id}/notices/{point_id}.pdf",
    "/recalibrations/{proposal_id}/correction.{kind}",
    "/holdouts/{holdout_id}",
    "/static/{version}/{name}",
    *("/health", "/ready", "/metrics"),
}


@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds of one address, those of this process's own work and of the database's, and its
    bytes."""

    first: float
    p50: float
    p95: float
    cpu: float
    database: float
    size: int


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--sites", type=int, default=1000)
    given.add_argument("--days", type=int, default=365)
    given.add_argument("--times", type=int, default=20)
    given.add_argument("--keep", type=Path, help="folder of the filled database, made or reused")
    given.add_argument("--only", default="", help="regular expression of the addresses to ask")
    options = given.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with _folder(options.keep) as folder:
        _run(folder, options)


@contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="lw-bench-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def _run(folder: Path, options: argparse.Namespace) -> None:
    from app.central.database import migrate, open_engine
    from app.central.embedded_postgres import open_embedded
    from dashboards.render import renderers
    from dashboards.web import install
    from tests.support.fleet import World

    with open_embedded(folder / "pg") as server:
        engine = open_engine(server.url)
        migrate(engine)
        world = World(folder, engine)
        world.app.state.renderers = renderers()
        install(world.app)
        if not (folder / "filled").exists():
            _fill(world, server.url, options)
            (folder / "filled").write_text(f"{options.sites} {options.days}")
        _sum(world)
        _heard_from(world)
        print(f"filled with (sites, days): {(folder / 'filled').read_text()}")
        gc.freeze()  # as the service does
        _ask_everything(world, options)
        engine.dispose()


def _fill(world, url: str, options: argparse.Namespace) -> None:
    from app import clock
    from app.central.accounts.models import Role
    from app.central.alerts import service as alerts
    from app.central.alerts.models import Severity

    began = perf_counter()
    plain = url.replace("postgresql+psycopg", "postgresql")
    page_fleet.write(world, plain, options.sites, options.days, os.cpu_count() or 1)
    world.add_person("everywhere", Role.QUALITY_APPROVER)
    bound = page_fleet.site_of(BOUND_TO % options.sites)
    world.add_person("bound", Role.ANALYST, bound)
    world.add_person("administrator", Role.ADMINISTRATOR)
    with world.sessions.begin() as session:
        alerts.add_recipient(session, RECIPIENT, Severity.INFO, by="benchmark", now=clock.now())
    print(f"filled in {perf_counter() - began:.0f} s")


def _sum(world) -> None:
    """What a worker would have done since the windows came."""
    from app.central.surveillance.summing import sum_round

    began, worked, windows = perf_counter(), process_time(), 0
    while some := sum_round(world.sessions):
        windows += some
    if windows:
        took, cpu = perf_counter() - began, process_time() - worked
        print(f"{windows} windows summed in {took:.0f} s, {cpu:.0f} s of CPU", flush=True)


def _heard_from(world) -> None:
    """A database kept for days: its edges are not silent."""
    with world.sessions.begin() as session:
        session.execute(text("UPDATE edge SET last_seen_at = now()"))


def _ask_everything(world, options: argparse.Namespace) -> None:
    spent = _database_clock(world)
    timings = {"SELECT 1": _timed(lambda: _select_1(world), options.times, spent)}
    for name in ("everywhere", "bound", "administrator"):
        browser = _signed_in(world, name)
        for address in _addresses(world, name, options.sites):
            if re.search(options.only, address):
                shown = f"{address} ({name})"
                timings[shown] = _timed(
                    lambda b=browser, a=address: _get(b, a), options.times, spent
                )
                _print(shown, timings[shown])
    _print("SELECT 1", timings["SELECT 1"])
    missed = [k for k, t in timings.items() if t.p95 > P95_MS or t.size > LARGEST_KB * 1e3]
    named = ", ".join(map(_shown, missed)) or "none"
    print(f"{len(timings)} asked {options.times} times; bars missed: {named}")


def _shown(name: str) -> str:
    return re.sub(r"[0-9a-f]{64}", "…", name)


def _print(name: str, timing: Timing) -> None:
    late = " LATE" if timing.p95 > P95_MS else ""
    large = " LARGE" if timing.size > LARGEST_KB * 1e3 else ""
    print(
        f"{_shown(name)[:60]:60s} first {timing.first:8.1f}  p50 {timing.p50:7.1f}  "
        f"p95 {timing.p95:7.1f} ms  CPU {timing.cpu:6.1f} + {timing.database:5.1f} ms  "
        f"{timing.size / 1e3:7.1f} kB{late}{large}",
        flush=True,
    )


def _database_clock(world) -> Callable[[], float]:
    """Seconds of processor time of all processes of the database so far."""
    with world.sessions() as session:
        backend = int(session.scalar(text("SELECT pg_backend_pid()")))
    postmaster = _stat(backend)[3]

    def spent() -> float:
        stats = map(_stat, (int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()))
        mine = [s for s in stats if postmaster in (s[0], s[3])]
        # User and system time; of the postmaster also that of its children that have ended.
        ticks = sum(s[13] + s[14] + (s[15] + s[16]) * (s[0] == postmaster) for s in mine)
        return ticks / os.sysconf("SC_CLK_TCK")

    return spent


def _stat(pid: int) -> list[int]:
    """proc(5) `stat` of a process by position, words as 0; all zeros where it has ended."""
    try:
        before, _, after = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")
    except OSError:
        return [0] * 20
    return [int(before.split()[0]), 0, 0, *map(int, after.split()[1:])]


def _timed(ask: Callable[[], int], times: int, spent: Callable[[], float]) -> Timing:
    took, worked, size = [], [], 0
    database = 0.0
    for i in range(times + 1):
        database = spent() if i == 1 else database
        began, before = perf_counter(), process_time()
        size = ask()
        took.append(1e3 * (perf_counter() - began))
        worked.append(1e3 * (process_time() - before))
    p50, p95 = np.percentile(took[1:], [50, 95])
    database = 1e3 * (spent() - database) / times
    return Timing(took[0], float(p50), float(p95), float(np.median(worked[1:])), database, size)


def _select_1(world) -> int:
    with world.sessions.begin() as session:
        return len(str(session.scalar(text("SELECT 1"))))


def _get(browser: TestClient, address: str) -> int:
    answer = browser.get(address)
    assert answer.status_code == 200, f"{address}: {answer.status_code}"
    return len(answer.content)


def _signed_in(world, name: str) -> TestClient:
    from tests.support.fleet import PASSWORD

    browser = TestClient(world.app)
    answer = browser.post("/sign-in", data={"name": name, "password": PASSWORD})
    assert answer.url.path == "/", answer.text
    return browser


def _addresses(world, person: str, sites: int) -> list[str]:
    """An address for every page that the person is to ask for; fails where a new page has none."""
    from app.central.surveillance import service

    is_bound = person == "bound"
    site = page_fleet.site_of(BOUND_TO % sites)
    with world.sessions() as session:
        scope = site if is_bound else None
        newest = service.signals(session, scope=scope, limit=1)
        confirmed = [s for s in service.signals(session, scope=scope) if not s.is_open]
    device = f"/devices/{world.lock_digest}"
    found = {
        "/sign-in": ["/sign-in"],
        "/": ["/"],
        "/signals": ["/signals", "/signals?show=all"],
        "/signals/{signal_id}": [f"/signals/{s.id}" for s in newest],
        "/signals/{signal_id}/recalibration": [
            f"/signals/{s.id}/recalibration" for s in confirmed[:1]
        ],
        "/sites": ["/sites"],
        "/sites/{site_id}": [f"/sites/{site}"],
        "/sites/{site_id}/scanners": [f"/sites/{site}/scanners"],
        "/devices": ["/devices"],
        "/devices/{lock_digest}": [device],
        "/devices/{lock_digest}/{topic}": [f"{device}/{topic}" for topic in TOPICS],
        "/recalibrations": ["/recalibrations"],
        "/balance": ["/balance"],
        "/audit": [] if is_bound else ["/audit"],
        "/reports": [] if is_bound else ["/reports"],
        "/account": ["/account"],
    }
    edge = page_fleet.edge_of(BOUND_TO % sites)
    administration = {
        "/admin/enrolment": ["/admin/enrolment"],
        "/admin/enrolment/edges/{edge_id}": [f"/admin/enrolment/edges/{edge}"],
        "/admin/accounts": ["/admin/accounts"],
        "/admin/accounts/person": ["/admin/accounts/person?name=bound"],
        "/admin/recipients": ["/admin/recipients"],
        "/admin/recipients/recipient": [f"/admin/recipients/recipient?address={RECIPIENT}"],
    }
    missing = _pages(world) - set(found) - set(administration) - NOT_ASKED
    assert not missing, f"no address for {missing}"
    asked = administration if person == "administrator" else found
    return [address for addresses in asked.values() for address in addresses]


def _pages(world) -> set[str]:
    from app.central.openapi.doors import doors

    every = {d.path for d in doors(world.app) if "GET" in d.methods}
    return {p for p in every if not p.startswith(("/api/", "/edge/"))}


if __name__ == "__main__":
    main()
