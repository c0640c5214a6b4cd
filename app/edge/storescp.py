"""dcmtk's `storescp` as a second listening process, where speed counts more than a promise.

It forks a process for each association, writes what comes bit by bit, and moves each whole file
from `incoming` to `whole`; from there `Watched` takes it into spool and journal, durably.

storescp answers success after a write that it does not sync (dcmtk 3.6.7 has no option for it).
So an answered object survives the death of this agent and of storescp, and may be lost by a
power cut within the seconds until it is in the spool. It checks no calling title and no address.

It knows no limits either, so it is given ours: the kernel ends a file at `largest_object_mb`, and
while less than `free_disk_mb` is left nobody listens.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from app import clock
from app.edge.journal import Journal, count
from app.edge.logs import log
from app.edge.settings import EdgeSettings

SILENT_S: Final = 60  # after which storescp ends an association
ABANDONED_S: Final = 2.0 * SILENT_S
INTERRUPTED: Final = "interrupted"
STOP_WITHIN_S: Final = 5.0


@dataclass(slots=True)
class Storescp:
    """The process and its two folders. `look` is called again and again by one thread."""

    settings: EdgeSettings
    journal: Journal
    process: subprocess.Popen[bytes] | None = None
    abandoned_s: float = ABANDONED_S
    _missed: bool = False
    _is_full: bool = False
    _seen: dict[Path, tuple[int, float]] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        """Where storescp stands while it runs."""
        return self.settings.data_dir / "storescp"

    @property
    def incoming(self) -> Path:
        """Where objects are written while they come."""
        return self.home / "incoming"

    @property
    def whole(self) -> Path:
        """Where objects wait that have come as a whole."""
        return self.home / "whole"

    def look(self) -> None:
        """Keep the process running, and set aside what no association will finish any more."""
        for folder in (self.incoming, self.whole):
            folder.mkdir(parents=True, exist_ok=True)
        if self._has_room():
            self._keep_running()
        else:
            self._cut_off()
        self._set_aside()

    def stop(self) -> None:
        """End the listening process. Associations that are open may end by themselves."""
        process, self.process = self.process, None
        if process is not None:
            process.terminate()
            process.wait(STOP_WITHIN_S)

    def command(self) -> list[str]:
        """storescp as it is started, in `home`; it ends when the thread that started it does.

        A shell reads what it runs on reception, so no path stands there that somebody chose.
        """
        limit = self.settings.largest_object_mb << 20
        # Of its environment it needs one thing: Nagle's delay is 44 ms an object.
        return [
            *("setpriv", "--pdeathsig", "TERM", "prlimit", f"--fsize={limit}"),
            *("env", "--ignore-signal=XFSZ", "TCP_NODELAY=1"),
            str(self.settings.storescp_program),
            *("--fork", "--bit-preserving", "--accept-all", "--unique-filenames"),
            *("--filename-extension", ".dcm", "--max-pdu", "131072"),
            *("--acse-timeout", str(SILENT_S), "--dimse-timeout", str(SILENT_S)),
            *("--socket-timeout", str(SILENT_S)),
            *("--aetitle", self.settings.ae_title),
            *("--output-directory", self.incoming.name),
            *("--exec-on-reception", f"mv {self.incoming.name}/#f {self.whole.name}/"),
            "--exec-sync",
            str(self.settings.storescp_port),
        ]

    def _has_room(self) -> bool:
        free = shutil.disk_usage(self.home).free
        return free >= self.settings.free_disk_mb << 20

    def _keep_running(self) -> None:
        self._is_full = False
        if self.process is None or self.process.poll() is not None:
            self._start()

    def _cut_off(self) -> None:
        """End the listening process and every association: senders come again, as after A700."""
        if not self._is_full:
            log.error("storescp.disk_full")
            self.journal.do(lambda db: count(db, "refused", "disk_full"))
        self._is_full = True
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGTERM)
        self.stop()

    def _start(self) -> None:
        if not self.settings.storescp_program.is_file():
            if not self._missed:
                log.error("storescp.not_installed")
            self._missed = True
            return
        if self.process is not None:
            log.warning("storescp.ended", status=self.process.returncode)
        # What it prints names patients, so nobody reads it.
        self.process = subprocess.Popen(
            self.command(),
            cwd=self.home,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        log.info("storescp.started", port=self.settings.storescp_port)

    def _set_aside(self) -> None:
        """Move what has not grown for longer than any association may be silent, and count it."""
        now, before = clock.elapsed(), self._seen
        self._seen = {}
        for path in (path for path in self.incoming.iterdir() if path.is_file()):
            size = path.stat().st_size
            known, since = before.get(path, (size, now))
            self._seen[path] = (size, since if known == size else now)
            if now - self._seen[path][1] > self.abandoned_s:
                aside = self.incoming.with_name(INTERRUPTED)
                aside.mkdir(exist_ok=True)
                path.replace(aside / path.name)
                self.journal.do(lambda db: count(db, "refused", "interrupted"))
