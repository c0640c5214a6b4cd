"""A whole deployment on one machine: the service, its people, and the hospital edges.

Each is a process of its own and lives by one simulated clock. Nothing here knows how a part
works inside: it uses the command line, the API and the files that a hospital and a manufacturer
would use.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path

from app import clock
from app.contracts.signing import SigningKey
from app.lab.demo_bundle import Device
from app.lab.demo_central import RECIPIENT, Api, Colleague, DemoCentral, colleagues
from app.lab.demo_edges import DemoEdge, free_ports
from app.lab.demo_processes import DemoFailed, Supervisor, environment
from app.lab.demo_scenario import Site

MARKER = "lockwatch-demo"  # only a folder that holds this file is ever cleared
START_WITHIN_S = 400.0  # a crowded machine is slow, not wrong
DAY_WITHIN_S = 180.0


@dataclass(frozen=True, slots=True)
class Deployment:
    """The parts, and where they live. Made by `deployed`."""

    run: Path
    central: DemoCentral
    edges: tuple[DemoEdge, ...]
    supervisor: Supervisor
    people: tuple[Colleague, Colleague, Colleague, Colleague] = field(default_factory=colleagues)

    @property
    def clock_file(self) -> Path:
        """Every process lives at the instant that stands here."""
        return self.run / "clock"

    def start_central(self, key: SigningKey, instant: datetime) -> None:
        """Start the service, which trusts `key`, at `instant`; `start` waits for it."""
        clock.set_simulated(self.clock_file, instant)
        self.central.write_settings([key.public])
        config = ("--config", str(self.central.settings_file))
        self.supervisor.start("central", "central", "serve", "--with-worker", *config)

    def start(self, device: Device) -> None:
        """Go on to the people, the device, and edges that are enrolled and approved."""
        self._set_up_central(device)
        api = Api(self.central.url, self.people[0])
        for edge in self.edges:
            self._start_edge(edge, device, api)
        for edge in self.edges:
            self._approve(edge, api)

    def move_to(self, instant: datetime) -> None:
        """Let every process live at `instant`."""
        clock.set_simulated(self.clock_file, instant)

    def settle(self, instant: datetime, sent: Mapping[str, int]) -> None:
        """Wait until edges and service have done all there was to do at `instant`."""
        for edge in self.edges:
            self.supervisor.until(
                partial(edge.is_settled, instant, sent[edge.site.code]),
                f"edge {edge.site.code} at {instant:%Y-%m-%d %H:%M}",
                DAY_WITHIN_S,
            )
        self.supervisor.until(
            lambda: Api(self.central.url).is_settled(instant),
            f"the central service at {instant:%Y-%m-%d %H:%M}",
            DAY_WITHIN_S,
        )

    def _set_up_central(self, device: Device) -> None:
        config = ("--config", str(self.central.settings_file))
        self.supervisor.until(
            Api(self.central.url).is_up, "the central service", START_WITHIN_S, poll_s=0.2
        )
        administrator, *others = self.people
        self._add(administrator, config)
        self.supervisor.call("central", "recipient", "add", RECIPIENT, *config)
        api = Api(self.central.url, administrator)
        for person in others:
            api.add(person)
        api.register(device.bundle)

    def _add(self, person: Colleague, config: Sequence[str]) -> None:
        """Add the first person, from the console: nobody can log in yet."""
        password = self.run / "password"
        password.write_text(person.password)
        self.supervisor.call(
            *("central", "user", "add", person.name, person.role),
            *("--full-name", person.full_name, "--password-file", str(password), *config),
        )
        password.unlink()

    def _start_edge(self, edge: DemoEdge, device: Device, api: Api) -> None:
        site = edge.site
        api.post("/api/v1/sites", {"id": site.code, "name": site.name, "timezone": site.time_zone})
        edge.write_settings(
            bundle=device.bundle, trusted=[device.key.public], central_url=self.central.url
        )
        edge.code_file.write_text(api.enrolment_code(site.code, device.lock_digest))
        self.supervisor.start(site.code, "edge", "run", "--config", str(edge.settings_file))

    def _approve(self, edge: DemoEdge, api: Api) -> None:
        """Once the edge has presented its key: compare fingerprints, and let it in."""
        self.supervisor.until(
            lambda: bool(edge.status().get("edge_id")),
            f"the enrolment of {edge.site.code}",
            START_WITHIN_S,
        )
        status = edge.status()
        api.approve_edge(status["edge_id"], status["key_fingerprint"])


@contextmanager
def deployed(data_dir: Path, sites: Sequence[Site], port: int = 0) -> Iterator[Deployment]:
    """A deployment under `data_dir`; every process of it ends when the context does.

    port : of the dashboard; 0 takes a free one.
    """
    with _alone(data_dir):
        run = _fresh(data_dir)
        ports = free_ports(1 + len(sites))
        edges = tuple(
            DemoEdge(site, run / "sites" / site.code, number)
            for site, number in zip(sites, ports[1:], strict=True)
        )
        with Supervisor(run / "logs", environment(run / "clock")) as supervisor:
            yield Deployment(run, DemoCentral(run / "central", port or ports[0]), edges, supervisor)


@contextmanager
def _alone(data_dir: Path) -> Iterator[None]:
    """One demonstration at a time in a folder: the next would clear it under the first."""
    data_dir.mkdir(parents=True, exist_ok=True)
    handle = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise DemoFailed(
            f"a demonstration is running in {data_dir}, or still stopping: name another --data-dir"
        ) from error
    else:
        yield
    finally:
        os.close(handle)


def _fresh(data_dir: Path) -> Path:
    """An empty `run` folder; one that an earlier demonstration left there is cleared."""
    run = data_dir / "run"
    if run.exists():
        if not (run / MARKER).exists():
            raise DemoFailed(f"{run} was not made by a demonstration: name another --data-dir")
        shutil.rmtree(run)
    run.mkdir(parents=True)
    (run / MARKER).touch()
    return run.resolve()
