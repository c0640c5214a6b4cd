"""The worker: several rounds a second when time is simulated, one otherwise.

APScheduler is only the clock; what is due and what was done stands in the ledger, so any
number of workers may run.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import Callable, Collection
from datetime import datetime, time, timedelta
from typing import TypedDict

import structlog
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.base import BaseScheduler
from apscheduler.schedulers.blocking import BlockingScheduler
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from app import clock
from app.central.accounts import repository as accounts_repository
from app.central.accounts.attempts import tell_of_locked
from app.central.alerts import service as alerts
from app.central.alerts.models import Severity
from app.central.alerts.ports import Notice, Renderer
from app.central.alerts.reminders import escalate, send_digests
from app.central.alerts.transport import open_transport
from app.central.alerts.webhook import Ways
from app.central.example.loading import Loader
from app.central.fleet import jobs as fleet_jobs
from app.central.fleet import repository as fleet_repository
from app.central.fleet import service as fleet
from app.central.intake import service as intake
from app.central.intake.arrival import EVALUATION_TIME, evaluation_day
from app.central.intake.authentication import TOLERANCE
from app.central.jobs.schedule import CatchUp, Daily, Every
from app.central.jobs.service import Job, run_due, shared_now
from app.central.recalibration import holdouts
from app.central.recalibration.watch import compare_due as watch_changes
from app.central.references import repository as references_repository
from app.central.renderers import Renderers
from app.central.reports import repository as reports_repository
from app.central.reports.drafting import draft_waiting
from app.central.reports.models import ReportSchedule
from app.central.reports.schedules import DUE, ask
from app.central.settings import CentralSettings
from app.central.surveillance import alarm_test, on_demand, verification
from app.central.surveillance import service as surveillance
from app.central.surveillance.service import SignalView
from app.central.surveillance.summing import sum_round
from app.errors import AppError


class Letters(TypedDict):
    """What whoever queues mails needs: who writes them, from whom, and where links lead."""

    renderer: Renderer
    mail_from: str
    base_url: str


log = structlog.get_logger()
ROUND_S = 1.0
AFTERCARE = time(6, 30)  # UTC: after the day's evaluation
SIMULATED_ROUND_S = 0.2
EXAMPLE_S = 2.0  # of each round that example data may take; nothing real waits for it


class Worker:
    """One worker on a database."""

    def __init__(
        self,
        settings: CentralSettings,
        sessions: sessionmaker[Session],
        renderers: Renderers,
        example: Loader | None = None,
    ) -> None:
        self.settings = settings
        self.sessions = sessions
        self.renderers = renderers
        self.example = example
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"
        self._turn = threading.Lock()
        mail = open_transport(
            settings.transport, user=settings.mail_user, password=_password(settings)
        )
        self.transport = Ways(mail, settings.receipt_key())

    def round(self) -> None:
        """Do everything that is due now, then send what waits."""
        try:
            now = shared_now(self.sessions)
            run_due(self.sessions, self._jobs(), self.name, now)
            draft_waiting(self.sessions, self.renderers.report, now)
            alerts.deliver(self.sessions, self.transport, self.settings.mail_from, now)
            self._sum()
        except OperationalError as error:  # the next round tries again
            log.warning("worker.database_unavailable", kind=type(error.orig).__name__)

    def _sum(self) -> None:
        """Sum what has come; a window that cannot be read keeps nothing else from being done."""
        try:
            sum_round(self.sessions)
        except AppError as error:
            log.error("worker.sums_failed", kind=type(error).__name__, reason=str(error))

    def tick(self) -> None:
        """A round, unless the one before is still at work: the next tick comes soon enough."""
        if self._turn.acquire(blocking=False):
            try:
                self.round()
            finally:
                self._turn.release()

    def load_example(self) -> None:
        """Some steps of the example data that somebody asked for, beside the rounds."""
        until = clock.elapsed() + EXAMPLE_S
        try:
            while self.example is not None and self.example.step() and clock.elapsed() < until:
                pass
        except OperationalError as error:  # the next one tries again
            log.warning("worker.database_unavailable", kind=type(error.orig).__name__)

    def start(self) -> BaseScheduler:
        """Rounds in a thread of their own, until the scheduler is shut down."""
        return self._scheduled(BackgroundScheduler(timezone="UTC"))

    def run(self) -> None:
        """Rounds in this thread, until it is interrupted."""
        self._scheduled(BlockingScheduler(timezone="UTC"))

    def _scheduled(self, scheduler: BaseScheduler) -> BaseScheduler:
        seconds = SIMULATED_ROUND_S if clock.simulated() else ROUND_S
        scheduler.add_job(
            self.tick,
            "interval",
            seconds=seconds,
            max_instances=2,  # the one at work, and the one that finds it so
            coalesce=True,
            misfire_grace_time=None,
        )
        if self.example is not None:
            scheduler.add_job(
                self.load_example,
                "interval",
                seconds=ROUND_S,
                coalesce=True,
                misfire_grace_time=None,
            )
        scheduler.start()
        return scheduler

    def _jobs(self) -> dict[str, Job]:
        """The fixed jobs, one per device version with an approved reference, one per schedule."""
        with self.sessions.begin() as session:
            watched = [
                version.lock_digest
                for version in fleet_repository.device_versions(session)
                if references_repository.in_force(session, version.lock_digest) is not None
            ]
            reports = [self._reports(s) for s in reports_repository.schedules(session)]
        evaluations = [self._evaluation(digest) for digest in watched]
        alarms = [self._alarm_test(digest) for digest in watched]
        jobs = [*self._housekeeping(), *evaluations, *alarms, *reports]
        return {job.name: job for job in jobs}

    def _housekeeping(self) -> list[Job]:
        def partitions(session: Session, _: datetime) -> None:
            intake.add_months(session, clock.now())

        def nonces(session: Session, _: datetime) -> None:
            fleet_repository.forget_nonces(session, clock.now() - 2 * TOLERANCE)

        def sessions(session: Session, _: datetime) -> None:
            accounts_repository.forget_sessions(session, clock.now())

        def attempts(session: Session, _: datetime) -> None:
            tell_of_locked(session, now=clock.now(), **self._letters())

        def watch(session: Session, _: datetime) -> None:
            fleet_jobs.watch(session, self.announce, clock.now())

        def verify(session: Session, due_at: datetime) -> None:
            verification.verify_share(session, due_at, self.announce, clock.now())

        def digest(session: Session, due_at: datetime) -> None:
            send_digests(session, due_at, now=clock.now(), **self._letters())

        def escalation(session: Session, _: datetime) -> None:
            escalate(session, now=clock.now(), **self._letters())

        def aftercare(session: Session, due_at: datetime) -> None:
            watch_changes(session, due_at.date(), clock.now(), self.tell)
            holdouts.remind(session, due_at.date(), self.tell)

        at_seven = Daily(time(7), self.settings.timezone)
        quarter = Every(timedelta(minutes=15))
        hourly = Every(timedelta(hours=1))
        return [
            Job("intake.partitions", Daily(time(0, 10)), partitions, CatchUp.LATEST),
            Job("intake.nonces", hourly, nonces, CatchUp.LATEST),
            Job("accounts.sessions", hourly, sessions, CatchUp.LATEST),
            Job("accounts.attempts", Every(timedelta(minutes=5)), attempts, CatchUp.LATEST),
            Job("fleet.watch", hourly, watch, CatchUp.LATEST),
            Job(verification.JOB, Every(verification.PERIOD), verify),
            Job("alerts.digest", at_seven, digest),
            Job("alerts.escalation", quarter, escalation, CatchUp.LATEST),
            Job("recalibration.aftercare", Daily(AFTERCARE), aftercare, CatchUp.LATEST),
        ]

    def _evaluation(self, lock_digest: str) -> Job:
        def evaluate(session: Session, due_at: datetime) -> None:
            day = evaluation_day(due_at)  # also of a run that was asked for in between
            now, told = clock.now(), self.announce
            found = surveillance.evaluate(session, lock_digest, day, announce=told, now=now)
            if found is not None:
                verification.look_for_what_is_left_out(
                    session, lock_digest, day, found.windows, told, now
                )

        at = EVALUATION_TIME.replace(tzinfo=None)
        return Job(on_demand.job_name(lock_digest), Daily(at), evaluate)

    def _reports(self, schedule: ReportSchedule) -> Job:
        identifier = schedule.id

        def request(session: Session, due_at: datetime) -> None:
            ask(session, identifier, due_at, clock.now())

        return Job(f"reports.{identifier}", DUE[schedule.frequency], request)

    def _alarm_test(self, lock_digest: str) -> Job:
        def test(session: Session, due_at: datetime) -> None:
            alarm_test.run(
                session,
                lock_digest,
                due_at.date(),
                announce=self.announce,
                by="lockwatch",
                now=clock.now(),
            )

        every = Every(timedelta(days=alarm_test.DAYS))
        return Job(f"alarm_test.{lock_digest[:16]}", every, test, CatchUp.LATEST)

    def _letters(self) -> Letters:
        return {
            "renderer": self.renderers.mail,
            "mail_from": self.settings.mail_from,
            "base_url": self.settings.base_url,
        }

    def announce(self, session: Session, view: SignalView) -> None:
        """Queue the mails about a signal that was just raised."""
        promised = None
        if view.evaluation is not None:
            promised = surveillance.evaluation(session, view.evaluation).evidence.promised
        alerts.notify(
            session,
            view.id,
            view.signal,
            lock_digest=view.lock_digest,
            device=f"{view.device} {view.version}",
            promised=promised,
            now=clock.now(),
            **self._letters(),
        )

    def tell(
        self,
        session: Session,
        cause: str,
        notice: Notice,
        severity: Severity,
        sites: Collection[str],
        lock_digest: str,
    ) -> None:
        """Queue the mails about something that is no signal."""
        version = fleet.device_version(session, lock_digest)
        alerts.tell(
            session,
            cause,
            notice,
            severity,
            sites=sites,
            device=f"{version.device} {version.version}",
            now=clock.now(),
            **self._letters(),
        )


def run(
    settings: CentralSettings,
    sessions: sessionmaker[Session],
    renderers: Renderers,
    example: Loader | None = None,
    *,
    in_background: bool = False,
) -> Callable[[], None]:
    """Run a worker; in the background it returns at once, with what stops it."""
    worker = Worker(settings, sessions, renderers, example)
    if not in_background:
        worker.run()
        return lambda: None
    scheduler = worker.start()
    return lambda: scheduler.shutdown(wait=True)


def _password(settings: CentralSettings) -> str:
    path = settings.mail_password_file
    return path.read_text().strip() if path else ""
