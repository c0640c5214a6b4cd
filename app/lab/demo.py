"""`lockwatch demo`: months of hospital traffic played through a real deployment, and judged.

The play goes day by day: yesterday's label files are dropped and its patients sent, everybody
works until nothing is left to do, and the clock moves on. What the service signals is then held
against what was planted.
"""

from __future__ import annotations

import math
import signal
import sys
import webbrowser
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.progress import Progress, TimeElapsedColumn

from app.contracts.signals import Signal
from app.lab import demo_memory
from app.lab.demo_bundle import Device, manufacturer_key, obtain
from app.lab.demo_central import Api
from app.lab.demo_deployment import Deployment, deployed
from app.lab.demo_edges import DemoEdge
from app.lab.demo_recalibration import ChangeControl, Recalibration
from app.lab.demo_scenario import Scenario, scenario
from app.lab.demo_summary import Stopwatch, Summary, faults_of_output, show
from app.lab.demo_traffic import Traffic
from app.lab.demo_verdict import EdgeBalance, judge

NIGHT = time(5, tzinfo=UTC)  # yesterday's patients are through; the day's evaluation comes later
EVALUATED = time(7, tzinfo=UTC)
ARRIVAL_DAYS = 2  # from a day's patients to the arrival of their windows, watermark included
WEIGHED_EVERY = 5  # days; walking the page tables of every process is not for nothing
AFTERWARDS_DAYS = 4  # without patients, until the last windows and their evaluation are through


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What `lockwatch demo` is told. `port` 0 takes a free one for the dashboard."""

    seed: int = 1
    once: bool = False
    json_file: Path | None = None
    data_dir: Path = Path("demo")
    days_reference: int = 60
    days_monitored: int = 60
    port: int = 0
    open_browser: bool = False


def run_demo(options: DemoOptions, console: Console | None = None) -> int:
    """Play the demonstration; 0 if everything planted was found, nothing else, and it adds up."""
    console = console or Console(stderr=True)
    play = scenario(
        options.seed, days_reference=options.days_reference, days_monitored=options.days_monitored
    )
    with _sigterm_as_exit(), deployed(options.data_dir, play.sites, options.port) as parts:
        performance = Performance(play, parts, console)
        summary = performance.run(options.data_dir)
        if options.json_file is not None:
            options.json_file.write_text(summary.model_dump_json(indent=2) + "\n")
        show(console, summary)
        if not options.once:
            _stay_up(parts, console, open_browser=options.open_browser)
    return 0 if summary.ok else 1


@dataclass(slots=True)
class Performance:
    """One play on one deployment."""

    play: Scenario
    parts: Deployment
    console: Console
    watch: Stopwatch = field(default_factory=Stopwatch)
    peak_mb: float = 0.0

    def device(self, data_dir: Path) -> Device:
        """The locked device kept under `data_dir`, built if need be."""
        with self.watch("bundle"), _progress(self.console) as progress:
            bar = progress.add_task("Locked device", total=1.0)

            def show(what: str, share: float) -> None:
                progress.update(bar, description=f"Locked device: {what}", completed=share)
                self._weigh()  # a training holds more than anything after it

            device = obtain(data_dir, progress=show)
            progress.update(bar, description="Locked device", completed=1.0)
        return device

    def run(self, data_dir: Path) -> Summary:
        """Everything from an empty deployment to the summary."""
        sites = len(self.parts.edges)
        doors = {edge.site.code: edge.door for edge in self.parts.edges}
        with Traffic(self.play, doors, self.parts.run / "spool") as traffic:
            # The first days' images and the service are made ready while the device is.
            traffic.prepare(0)
            self.parts.start_central(manufacturer_key(data_dir), self._night(0))
            device = self.device(data_dir)
            with (
                self.watch("start"),
                self.console.status(f"Starting the service and {sites} edges"),
            ):
                self.parts.start(device)
            change = ChangeControl(self.parts, device.lock_digest) if self.play.planted else None
            self._play(traffic, device, change)
        with self.watch("report"), self.console.status("Writing the report"):
            return self._conclude(device, traffic.sent, change)

    def _play(self, traffic: Traffic, device: Device, change: ChangeControl | None) -> None:
        begins = self.play.days_reference + ARRIVAL_DAYS
        with _progress(self.console) as progress:
            bar = progress.add_task("Reference period", total=self.play.days + AFTERWARDS_DAYS)
            for day in range(self.play.days + AFTERWARDS_DAYS):
                if day == begins and self.play.days_monitored:
                    with self.watch("approval"):
                        self._approve_reference(device)
                    progress.update(bar, description="Monitored period")
                if change is not None and day == self.play.recalibrated_from:
                    progress.update(bar, description="Recalibration")
                    with self.watch("recalibration"):
                        change.begin(self._night(day))
                with self.watch(self._phase(day, begins)):
                    self._day(traffic, day, device.sentinel_labels)
                    if change is not None:
                        change.look(self._night(day + 1))
                progress.advance(bar)

    def _phase(self, day: int, begins: int) -> str:
        if day >= self.play.recalibrated_from and self.play.planted:
            return "recalibration"
        return "reference" if day < begins else "monitored"

    def _day(self, traffic: Traffic, day: int, sentinel_labels: Sequence[int]) -> None:
        """One day's patients and reads, seen from the night after it."""
        instant = self._night(day + 1)
        traffic.read(day, sentinel_labels)
        self.parts.move_to(instant)
        traffic.deliver(day)
        self.parts.settle(instant, traffic.sent)
        if day % WEIGHED_EVERY == 0:
            self._weigh()

    def _weigh(self) -> None:
        self.peak_mb = max(self.peak_mb, demo_memory.megabytes())

    def _approve_reference(self, device: Device) -> None:
        """An analyst proposes what was seen up to the reference end; another person approves."""
        _, analyst, approver, _ = self.parts.people
        url = self.parts.central.url
        number = Api(url, analyst).propose_reference(device.lock_digest, self.play.reference_end)
        Api(url, approver).approve_reference(number)

    def _conclude(
        self, device: Device, sent: Mapping[str, int], change: ChangeControl | None
    ) -> Summary:
        last = self.play.on(self.play.days + AFTERWARDS_DAYS)
        instant = datetime.combine(last, EVALUATED)
        self.parts.move_to(instant)
        self.parts.settle(instant, sent)
        api = Api(self.parts.central.url, self.parts.people[1])
        signals, counted = api.signals(), api.balances()
        report = self._report(api, device.lock_digest, last)
        self._weigh()
        balances = tuple(
            balance_of(edge, sent[edge.site.code], counted[edge.site.code])
            for edge in self.parts.edges
        )
        recalibration = change.conclude() if change is not None else None
        return self._summary(device, signals, balances, report, recalibration)

    def _report(self, api: Api, lock_digest: str, last: date) -> Path:
        """The analyst drafts the drift report, two others sign it, and so it is issued."""
        _, _, approver, reviewer = self.parts.people
        number = api.draft_report(lock_digest, self.play.first_day, last)
        for person, meaning in ((reviewer, "review"), (approver, "approval")):
            Api(self.parts.central.url, person).sign_report(number, meaning, person.password)
        report = self.parts.run / f"{number}.pdf"
        report.write_bytes(api.report_pdf(number))
        return report

    def _summary(
        self,
        device: Device,
        signals: tuple[Signal, ...],
        balances: tuple[EdgeBalance, ...],
        report: Path,
        recalibration: Recalibration | None,
    ) -> Summary:
        mails = self.parts.central.subjects()
        verdict = judge(self.play.planted, signals, balances)
        faults = (
            *verdict.faults,
            *faults_of_output(signals, mails, report.read_bytes()),
            *(recalibration.faults if recalibration is not None else ()),
        )
        return Summary(
            ok=verdict.ok and not faults,
            seed=self.play.seed,
            days_reference=self.play.days_reference,
            days_monitored=self.play.days_monitored,
            cases=sum(balance.received for balance in balances),
            lock_digest=device.lock_digest,
            planted=verdict.findings,
            signals=signals,
            unexpected=verdict.unexpected,
            faults=faults,
            recalibration=recalibration,
            balances=balances,
            mails=tuple(mails),
            report=str(report),
            seconds=self.watch.seconds,
            peak_rss_mb=self.peak_mb,
        )

    def _night(self, day: int) -> datetime:
        """The night in which day number `day` begins."""
        return datetime.combine(self.play.on(day), NIGHT)


def balance_of(edge: DemoEdge, sent: int, counted: Mapping[str, int]) -> EdgeBalance:
    """The two equations of an edge: its own counts, and what the centre counts of its windows."""
    status = edge.status()
    cases, windows = status["balance"], status["windows"]
    names = set(EdgeBalance.model_fields) & set(cases)
    return EdgeBalance(
        site=edge.site.code,
        sent=sent,
        **{name: cases[name] for name in names},
        produced=windows["produced"],
        stored=counted["stored"],
        quarantined=counted["quarantined"],
        on_edge=windows["unsent"] + windows["dead"],
    )


def _progress(console: Console) -> Progress:
    return Progress(*Progress.get_default_columns(), TimeElapsedColumn(), console=console)


def _stay_up(parts: Deployment, console: Console, *, open_browser: bool) -> None:
    """Say where everything is, and wait for Ctrl-C."""
    console.print(f"Dashboard: {parts.central.url}", style="bold")
    for person in parts.people:
        console.print(f"  {person.name} / {person.password}  ({person.full_name}, {person.role})")
    console.print(f"Mail: {parts.central.mailbox}\nCtrl-C stops everything.")
    if open_browser:
        webbrowser.open(parts.central.url)
    try:
        parts.supervisor.until(lambda: False, "Ctrl-C", within_s=math.inf, poll_s=0.5)
    except KeyboardInterrupt:
        console.print("Stopping.")


@contextmanager
def _sigterm_as_exit() -> Iterator[None]:
    """SIGTERM ends the demonstration the way Ctrl-C does: children first."""

    def leave(number: int, _: FrameType | None) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
