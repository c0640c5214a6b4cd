"""The child process that meets hostile bytes: it opens the bundle, parses, infers, builds results.

It has limits on memory and processor time, writes nothing to the log, holds no secret, and
speaks JSON, so that nothing it says is unpickled by the agent. If it dies, one case dies.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import resource
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from app.errors import AppError

if TYPE_CHECKING:
    from app.contracts.manifest import Manifest
    from app.device.bundle import Bundle
    from app.device.chain import Chain
    from app.device.result import CaseResult
    from monitors.schema import Schema

OUT_OF_MEMORY = 77  # exit code
BROKEN = 78  # exit code: the bundle is not the cleared one
Reply = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker is started with; plain values only."""

    bundle: str
    trusted: tuple[str, ...]
    threshold: int
    minimum_release: int
    data: str  # folder in which it stands which releases have been here
    zone: str
    outbox: str
    results: tuple[str, ...]  # kinds that some destination takes
    memory_mb: int
    case_seconds: float


def serve(connection: Connection, job: Job) -> None:
    """The child's life: open the bundle, then one request after the other until the pipe closes."""
    _silence()
    _limit(job)
    try:
        worker = _start(job)
    except AppError as error:
        _say(connection, _broken(error))
        os._exit(BROKEN)
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    _say(connection, {"manifest": worker.manifest.canonical.decode()})
    while True:
        try:
            request = json.loads(connection.recv_bytes())
        except EOFError:
            return
        _grant_processor_time(job)
        try:
            _say(connection, worker.answer(request))
        except MemoryError:
            os._exit(OUT_OF_MEMORY)


@dataclass(frozen=True, slots=True)
class Worker:
    """The loaded chain and what it can be asked."""

    job: Job
    bundle: Bundle
    chain: Chain
    layout: Schema

    @property
    def manifest(self) -> Manifest:
        """The verified manifest."""
        return self.bundle.manifest

    def answer(self, request: Mapping[str, Any]) -> Reply:
        """Dispatch one request."""
        actions: dict[str, Callable[[Mapping[str, Any]], Reply]] = {
            "case": self._case,
            "study": self._study,
            "prove": self._prove,
            "sentinel": self._sentinel,
        }
        return actions[request["do"]](request)

    def _case(self, request: Mapping[str, Any]) -> Reply:
        from app.edge.measure import STATES, pack

        path = Path(request["path"])
        result = self._run(path, self._thresholds(path, request["thresholds"]))
        reply: Reply = {
            "state": STATES[result.outcome],
            "reason": result.reason,
            "measures": pack(self.layout, result).hex(),
            "stratum": result.stratum,
        }
        return reply | self._around(path, result, request["thresholds"])

    def _study(self, request: Mapping[str, Any]) -> Reply:
        """Which study an object is of; "" where its header does not say."""
        from app.edge import headers

        try:
            return {"study": str(headers.read(Path(request["path"])).StudyInstanceUID)}
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001  the chain says what is wrong with such an object
            return {"study": ""}

    def _thresholds(
        self, path: Path, by_class: Mapping[str, Mapping[str, float]]
    ) -> Mapping[str, float]:
        """Those of the scanner's class, where the operating point names any."""
        if len(by_class) == 1:
            return by_class[""]
        from app.edge import headers

        try:
            found = by_class.get(headers.scanner_class(path))
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001  the chain says what is wrong with such an object
            found = None
        return found or by_class[""]

    def _run(self, path: Path, thresholds: Mapping[str, float]) -> CaseResult:
        from app.device.result import CaseResult, Outcome

        try:
            return self.chain.run(path, thresholds)
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001  whatever an object does to a parser, it fails alone
            return CaseResult(Outcome.FAILED, "chain_error")

    def _around(self, path: Path, result: CaseResult, thresholds: Mapping[str, float]) -> Reply:
        """What needs the header: the day, and the results for the clinic."""
        from app.edge import headers
        from app.edge.results import NOT_BUILT, Built, build, is_told

        day, built = None, Built([], [])
        told = bool(self.job.results) and is_told(self.manifest, result.outcome)
        try:
            header = headers.read(path)
            found = headers.acquired_on(header, ZoneInfo(self.job.zone))
            day = found.toordinal() if found else None
            if told:
                outbox = Path(self.job.outbox)
                kinds = self.job.results
                built = build(header, result, self.manifest, outbox, thresholds, kinds)
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001  an odd header must not cost the case its result
            built.notes.append(NOT_BUILT if told else "header_unreadable")
        return {"day": day, "results": built.names, "notes": built.notes}

    def _prove(self, _request: Mapping[str, Any]) -> Reply:
        try:
            self.bundle.rehash()
            return {"deviation": self.chain.prove()}
        except AppError as error:
            return _broken(error)

    def _sentinel(self, _request: Mapping[str, Any]) -> Reply:
        """The largest deviation of the fixed images' scores from those in the bundle."""
        sentinel = self.manifest.sentinel
        if sentinel is None:
            return {}
        stored = self.bundle.arrays(sentinel.file)["scores"].astype(float).tolist()
        pairs = zip(self.chain.sentinel_scores().tolist(), stored, strict=True)
        return {"deviation": max(_finite(abs(now - then)) for now, then in pairs)}


def _start(job: Job) -> Worker:
    from app.device.bundle import open_bundle
    from app.device.chain import Chain
    from app.edge.installation import highest, refuse_older

    keys = [bytes.fromhex(key) for key in job.trusted]
    # Resolved: a release that is installed beside a running one does not change what runs.
    bundle = open_bundle(Path(job.bundle).resolve(), keys, job.threshold, job.minimum_release)
    refuse_older(bundle.manifest, highest(Path(job.data)).get(bundle.manifest.device, 0))
    worker = Worker(job, bundle, Chain.load(bundle), bundle.manifest.schema_.layout())
    _warm_up(worker)
    return worker


def _warm_up(worker: Worker) -> None:
    """Do once what the first case would otherwise wait for: load libraries, plan the networks."""
    if worker.job.results:
        for part in ("sc", "sr", "pr"):
            importlib.import_module(f"highdicom.{part}")
    worker.chain.known_answer_deviation()


def _broken(error: AppError) -> Reply:
    """A closed word that is counted, and the sentence that says which file or case, and how far.

    These sentences are ours, about the manufacturer's files; none quotes an object.
    """
    found = {"broken": getattr(error, "reason", type(error).__name__), "detail": str(error)}
    moved = getattr(error, "deviation", None)
    return found if moved is None else found | {"deviation": moved}


def _finite(value: float) -> float:
    """A score as JSON; one that is not a number is as far off as a probability can be."""
    return float(value) if math.isfinite(value) else 1.0


def _say(connection: Connection, reply: Reply) -> None:
    connection.send_bytes(json.dumps(reply).encode())


def _silence() -> None:
    """Warnings and tracebacks of parsers quote what they parsed."""
    warnings.simplefilter("ignore")
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)


def _limit(job: Job) -> None:
    size = job.memory_mb << 20
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold a patient


def _grant_processor_time(job: Job) -> None:
    """This request may use `case_seconds` of every processor; then the kernel ends the process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = math.ceil(used.ru_utime + used.ru_stime + job.case_seconds * (os.cpu_count() or 1)) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))
