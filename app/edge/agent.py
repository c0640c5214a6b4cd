"""The agent: receive, infer, deliver, measure, close, send, until it is told to stop.

Receiving, inferring and delivering have threads of their own; everything that watches
(windows, labels, lock, uplink) is one housekeeping loop that none of them waits for.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from http.server import ThreadingHTTPServer
from typing import Any, Final

from app import clock
from app.contracts.manifest import Manifest
from app.edge import (
    installation,
    key_rotation,
    logs,
    orders,
    page,
    spool,
    status,
    uplink,
    upload,
    windows,
)
from app.edge.cases import versions, waiting
from app.edge.change_control import PointKeeper
from app.edge.completeness import Studies
from app.edge.credible_time import EARLIEST, is_confirmed, leaps
from app.edge.deliver import Deliverer
from app.edge.destinations import destinations, kinds
from app.edge.dispatch import Dispatcher
from app.edge.http import BackOff, Centre
from app.edge.journal import Journal, meta
from app.edge.key_rotation import KeyKeeper
from app.edge.labels import LabelInbox
from app.edge.logs import log
from app.edge.pseudonyms import Pseudonyms
from app.edge.query import Archive, Query
from app.edge.query_dimse import DimseArchive
from app.edge.query_web import WebArchive
from app.edge.receive import Inbox, Receiver
from app.edge.sealing import Closing
from app.edge.sentinel import BROKEN, HOLDS, Lock
from app.edge.settings import EdgeSettings
from app.edge.storescp import Storescp
from app.edge.uplink import Identity, Uplink
from app.edge.upload import Uploads
from app.edge.watched import Watched
from app.edge.worker import Job

ROUND_S: Final = 5.0
SIMULATED_ROUND_S: Final = 0.1
DELIVERY_S: Final = 0.25
LOOK_S: Final = 1.0
TAKE_S: Final = 0.1
STATUS_S: Final = 1.0
SIMULATED_STATUS_S: Final = 0.2
CATCH_UP_S: Final = 3600.0
SYNCHRONISED_WITHIN: Final = timedelta(minutes=1)


def run(settings: EdgeSettings) -> None:
    """Run until SIGTERM or SIGINT. `JournalRefused` if another agent has the data folder.

    A retired edge takes nothing new: it finishes what is left, and returns.
    """
    os.umask(0o077)  # everything an edge writes is the hospital's own
    logs.configure()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    Agent(settings).run(stop)


class Agent:
    """The parts, put together. Nothing is started before `run`."""

    def __init__(self, settings: EdgeSettings) -> None:
        data = settings.data_dir
        self._settings = settings
        self._journal = Journal(data)
        self._pseudonyms = Pseudonyms.load_or_create(data / "pseudonyms.key")
        self._outbox = data / "outbox"
        spool.sweep(self._outbox)
        self._inbox = Inbox.of(data)
        self._dispatcher = Dispatcher(
            settings, self._job(), self._journal, self._inbox, self._pseudonyms
        )
        self._studies = Studies(
            settings.study_quiet_seconds,
            settings.study_objects,
            self._study_of,
            self._dispatcher.add,
        )
        self._receiver = Receiver(
            settings, self._inbox, self._journal, self._pseudonyms, self._new_case
        )
        fast = settings.storescp_port is not None
        self._storescp = Storescp(settings, self._journal) if fast else None
        self._deliverer = Deliverer(settings, self._journal, self._outbox)
        self._lock = Lock(self._dispatcher, self._journal, BackOff())
        self._uplink = Uplink(
            Centre(
                settings.central_url,
                settings.addressed_to,
                key_rotation.present(data, self._journal),
            ),
            self._journal,
            settings.central_keys,
            settings.enrolment_code_file,
            _back_off(),
        )
        self._keys = KeyKeeper(data, self._journal, self._uplink)
        self._points = PointKeeper(self._journal, self._uplink, self._lock)
        self._retention = timedelta(days=settings.retention_days)
        self._paused = False
        self._believes_clock = self._can_write = True
        self._lock_untold = False
        self._finishing = orders.is_retired(data)
        self._as_of: datetime | None = None
        self._caught_up = -CATCH_UP_S
        self._port = 0

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set, then leave everything in a state that a restart continues."""
        self._adopt()
        if self._finishing:
            self._receiver.stop()
        else:
            self._port = self._receiver.start()
        log.info("agent.started", port=self._port)
        self._dispatcher.start()
        helpers = [_repeating(stop, name, seconds, work) for name, seconds, work in self._helpers()]
        served = list(self._serve_pages())
        while not stop.is_set() and not self._is_finished():
            _guarded(self.round)
            stop.wait(_interval())
        stop.set()
        for server in served:
            server.shutdown()
            server.server_close()
        self._receiver.stop()
        self._dispatcher.stop()
        for helper in helpers:
            helper.join()
        if self._storescp is not None:
            self._storescp.stop()
        self._write_status()
        self._journal.close()
        log.info("agent.stopped")

    def _helpers(self) -> Iterator[tuple[str, float, Callable[[], object]]]:
        """What has a thread of its own: its name, how many seconds between, the work."""
        settings = self._settings
        yield "status", _status_interval(), self._write_status
        for name in destinations(settings):
            yield f"to-{name}", DELIVERY_S, partial(self._deliverer.deliver, name)
        if settings.study_quiet_seconds > 0:
            yield "studies", DELIVERY_S, self._studies.look
        if settings.watched_folder is not None:
            limit = settings.largest_object_mb
            folder = settings.watched_folder
            yield "watched", LOOK_S, Watched(folder, self._receiver, self._journal, limit).look
        if self._storescp is not None:
            yield "storescp", LOOK_S, self._listen_fast
            whole, limit = self._storescp.whole, settings.largest_object_mb
            taken = Watched(whole, self._receiver, self._journal, limit).look
            yield "storescp-files", TAKE_S, taken
        for archive in self._archives():
            query = Query(settings, self._journal, archive, self._receiver.is_settled)
            yield "query", 60 * settings.query_minutes, partial(self._ask, query)

    def _listen_fast(self) -> None:
        """Keep storescp running until the edge takes nothing new any more."""
        assert self._storescp is not None
        if self._finishing:
            self._storescp.stop()
        else:
            self._storescp.look()

    def _archives(self) -> Iterator[Archive]:
        settings = self._settings
        if settings.query_peer is not None:
            yield DimseArchive(settings, settings.query_peer, self._receiver.store)
        if settings.query_url is not None:
            yield WebArchive(settings, settings.query_url, self._receiver)

    def _ask(self, query: Query) -> None:
        """A round, unless the edge takes nothing new any more."""
        if not self._finishing:
            query.round(self._today())

    def _today(self) -> int:
        return clock.now().astimezone(self._settings.zone).date().toordinal()

    def round(self) -> None:
        """One round of housekeeping at one instant."""
        now = clock.now()
        today = self._today()
        self._take_orders()
        if self._receiver.must_adopt:
            self._receiver.adopt()
        self._believes_clock = self._is_credible(now)
        changed = self._lock.prove_if_due(today)
        if self._believes_clock:
            changed |= self._lock.score_sentinels_if_due(today)
            self._take_labels()
        if changed and self._lock.state == HOLDS and self._lock.running is not None:
            installation.remember(self._settings.data_dir, self._lock.running.manifest)
        self._lock_untold |= changed
        if (identity := self._enrolled()) is not None:
            if not self._paused:
                self._keys.follow(identity)
            self._catch_up_if_due()
            if not self._keys.is_switching:
                self._close(identity, now)
            if not self._paused:
                self._uplink.send_due()
                self._points.follow(identity, now)
            self._journal.do(lambda db: uplink.forget_old(db, self._retention))
        self._as_of = now

    def status(self) -> dict[str, Any]:
        """What `status.json` says."""
        identity = self._uplink.identity()
        return {
            "as_of": self._as_of.isoformat() if self._as_of else "",
            "enrolment": identity.state if identity else "not_enrolled",
            "edge_id": identity.edge_id if identity else "",
            "key_fingerprint": self._uplink.centre.key.key_id,
            **self._keys.status(),
            "port": self._port,
            "lock": self._lock.state,
            "lock_reason": self._lock.reason,
            "lock_detail": self._lock.detail,
            "known_answer_deviation": self._lock.deviation,
            "uplink": self._uplink.trouble or "fine",
            "paused": self._paused,
            "clock": "believed" if self._believes_clock else "not_believed",
            "data_dir": "writable" if self._can_write else "not_writable",
            "operating_point": self._points.status(),
            **self._journal.do(status.figures),
        }

    def _serve_pages(self) -> Iterator[ThreadingHTTPServer]:
        settings, servers = self._settings, []
        if settings.status_port is not None:
            servers.append(page.serve(settings.status_host, settings.status_port, self.status))
        if settings.upload_port is not None and not self._finishing:
            servers.append(upload.serve(Uploads(settings, self._receiver, self._pseudonyms)))
        yield from (server for server in servers if server is not None)

    def _take_orders(self) -> None:
        self._paused = orders.is_paused(self._settings.data_dir)
        self._dispatcher.pause(self._paused)
        if not self._finishing and orders.is_retired(self._settings.data_dir):
            self._finishing = True
            self._receiver.stop()
            log.info("agent.retiring")

    def _is_finished(self) -> bool:
        """Whether a retired edge has nothing left that it could still do."""
        if not self._finishing:
            return False
        known = self._journal.do(status.figures)
        queued = sum(found.get("queued", 0) for found in known["results"].values())
        return not (known["balance"]["waiting"] or known["windows"]["unsent"] or queued)

    def _job(self) -> Job:
        s = self._settings
        return Job(
            bundle=str(s.bundle),
            trusted=s.trusted_keys,
            threshold=s.signature_threshold,
            minimum_release=max(s.minimum_release, int(self._journal.do(_release_counter))),
            data=str(s.data_dir),
            zone=s.site_timezone,
            outbox=str(self._outbox),
            results=kinds(s),
            memory_mb=s.memory_mb,
            case_seconds=s.case_seconds,
        )

    def _new_case(self, key: bytes, stored: float | None = None) -> None:
        held = self._settings.study_quiet_seconds > 0
        (self._studies.arrived if held else self._dispatcher.add)(key, stored)

    def _study_of(self, key: bytes) -> str:
        asked = {"do": "study", "path": str(self._inbox.path(key))}
        return str(self._dispatcher.ask(asked)["study"])

    def _adopt(self) -> None:
        """Continue where the last run stopped, or was stopped."""
        self._deliverer.sweep()
        for key in self._journal.do(waiting):
            self._new_case(key)
        self._receiver.adopt()

    def _take_labels(self) -> None:
        if self._settings.label_inbox is None or self._lock.running is None:
            return
        inbox = LabelInbox(
            self._settings, self._pseudonyms, self._journal, self._settings.label_inbox
        )
        inbox.take(self._lock.running.manifest.schema_.sentinels)

    def _enrolled(self) -> Identity | None:
        identity = self._uplink.identity()
        if identity is None and self._lock.running and self._uplink.back_off.is_over:
            return self._uplink.enrol(self._lock.running.manifest.lock_digest)
        return identity

    def _close(self, identity: Identity, now: datetime) -> None:
        if not self._believes_clock:
            return
        closing = self._closing(identity, now)
        self._journal.do(lambda db: windows.close_due(db, closing))
        manifest = self._manifest()
        if self._lock_untold and self._lock.state == BROKEN and manifest is not None:
            self._journal.do(lambda db: windows.announce_lock(db, closing, manifest))
        self._lock_untold = False

    def _is_credible(self, now: datetime) -> bool:
        """Whether days may be closed by this clock; where it leaps, the centre is asked."""
        closed = self._journal.do(lambda db: meta(db, "closed_through"))
        due = now - timedelta(hours=self._settings.watermark_hours)
        if not leaps(now, due.astimezone(self._settings.zone).date().toordinal(), closed):
            return True
        if now < EARLIEST:
            return False
        asks = not self._paused and self._uplink.back_off.is_over
        if asks and not is_confirmed(now, self._uplink.confirmed):
            self._uplink.catch_up()
        return is_confirmed(now, self._uplink.confirmed)

    def _catch_up_if_due(self) -> None:
        if clock.elapsed() - self._caught_up >= CATCH_UP_S and self._uplink.back_off.is_over:
            self._caught_up = clock.elapsed()
            self._uplink.catch_up()

    def _closing(self, identity: Identity, now: datetime) -> Closing:
        offset = self._uplink.clock_offset
        near = offset is not None and abs(offset) <= SYNCHRONISED_WITHIN
        return Closing(
            now=now,
            zone=self._settings.zone,
            watermark=timedelta(hours=self._settings.watermark_hours),
            limits=self._settings.limits,
            key=self._uplink.centre.key,
            edge_id=identity.edge_id,
            epoch=identity.epoch,
            lock_state=self._lock.state,
            deviation=self._lock.deviation,
            clock_state="unknown" if offset is None else _CLOCK_STATES[near],
            clock_offset=offset or timedelta(),
            noise_epsilon=self._settings.noise_epsilon,
        )

    def _manifest(self) -> Manifest | None:
        if self._lock.running is not None:
            return self._lock.running.manifest
        known = self._journal.do(lambda db: list(versions(db)))
        return known[-1][1] if known else None

    def _write_status(self) -> None:
        try:
            status.write(self._settings.data_dir / "status.json", self.status())
            self._can_write = True
        except OSError:
            self._can_write = False  # the page says so
            raise


_CLOCK_STATES = {True: "synchronised", False: "unsynchronised"}


def _release_counter(db: Any) -> int:
    return int(meta(db, "release_counter") or 0)


def _back_off() -> BackOff:
    """Half a second is long when simulated days last two."""
    return BackOff(first_s=0.2, longest_s=2.0) if clock.simulated() else BackOff()


def _interval() -> float:
    return SIMULATED_ROUND_S if clock.simulated() else ROUND_S


def _status_interval() -> float:
    return SIMULATED_STATUS_S if clock.simulated() else STATUS_S


def _repeating(
    stop: threading.Event, name: str, seconds: float, work: Callable[[], object]
) -> threading.Thread:
    def loop() -> None:
        while not stop.is_set():
            _guarded(work)
            stop.wait(seconds)

    thread = threading.Thread(target=loop, name=name, daemon=True)
    thread.start()
    return thread


def _guarded(work: Callable[[], object]) -> None:
    """Whatever goes wrong in watching is logged by its kind, and tried again next time."""
    try:
        work()
    except Exception as error:  # noqa: BLE001  the clinical path must not end with the observer
        logs.report(error)
