"""Objects received in a second, durably: beside dcmtk's storescp and Orthanc, in the same run.

    python -m benchmarks.receive [--objects 150] [--rounds 3]

dcmtk's storescu sends CT slices of 526 kB to each receiver in turn, over one association and
over four at once, with TCP_NODELAY on both sides: the receivers of dcmtk and Orthanc take it
from the environment, ours sets it itself. A send counts only if every object was answered with
success. Ours answers after write, fsync and link; storescp after an unsynced write, and its peak
memory is its parent's alone. `fast` is storescp as the edge runs it (`storescp_port`): its rate
runs until every object is durable, `fast, answered` until the last answer. The physical limit is
one thread that writes, syncs and links the same bytes and does nothing else. What is not
installed is left out, saying so.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from tests.support.ports import a_free_port, wait_for_port

if TYPE_CHECKING:
    from app.edge.journal import Journal
    from app.edge.receive import Receiver
    from app.edge.settings import EdgeSettings

TAKE_S = 0.1  # as the agent looks
BAR = 0.5  # of Orthanc's rate
NO_NAGLE = os.environ | {"TCP_NODELAY": "1"}
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
ASSOCIATIONS = (1, 4)
# (receiver, associations) -> objects in a second, a round each
Rates = dict[tuple[str, int], list[float]]


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--objects", type=int, default=150)
    given.add_argument("--rounds", type=int, default=3)
    options = given.parse_args()
    with tempfile.TemporaryDirectory(prefix="lw-bench-") as name:
        folder = Path(name)
        slices = _slices(folder / "slices", options.objects)
        rates: Rates = {}
        memory: dict[str, int] = {}
        for _ in range(options.rounds):
            for receiver in _installed():
                for n in ASSOCIATIONS:
                    found, peak = _measure(receiver, slices, n, folder / "received")
                    for name, rate in found.items():
                        rates.setdefault((name, n), []).append(rate)
                    memory[receiver] = max(peak, memory.get(receiver, 0))
            rates.setdefault(("limit", 1), []).append(_limit(slices, folder / "received"))
    _report(rates, memory)


def _installed() -> list[str]:
    here = ["ours"]
    for receiver, program in (
        ("storescp", "storescp"),
        ("fast", "storescp"),
        ("orthanc", "Orthanc"),
    ):
        if _program(program):
            here.append(receiver)
        else:
            print(f"{receiver} is not installed and was left out")
    return here


def _program(name: str) -> str:
    """Its path, not that of pynetdicom's program of the same name beside Python; "" if absent."""
    ours = Path(sys.executable).parent
    places = [p for p in os.environ["PATH"].split(os.pathsep) if Path(p) != ours]
    return shutil.which(name, path=os.pathsep.join(places)) or ""


def _slices(folder: Path, n: int) -> list[Path]:
    """n CT slices of 512 x 512 with noise, each with a UID of its own, in four folders."""
    rng = np.random.default_rng(0)
    made = []
    for i in range(n):
        path = folder / str(i % max(ASSOCIATIONS)) / f"{i}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        _slice(rng).save_as(path, enforce_file_format=True)
        made.append(path)
    return made


def _slice(rng: np.random.Generator) -> Dataset:
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = CTImageStorage, generate_uid()
    made.StudyInstanceUID, made.SeriesInstanceUID = generate_uid(), generate_uid()
    made.PatientID, made.PatientName, made.Modality = "BENCH", "Bench^Mark", "CT"
    made.Rows = made.Columns = 512
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated = made.BitsStored = 16
    made.HighBit, made.PixelRepresentation = 15, 0
    made.PixelData = rng.integers(0, 4096, (512, 512), dtype=np.uint16).tobytes()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return made


def _measure(
    receiver: str, slices: list[Path], associations: int, home: Path
) -> tuple[dict[str, float], int]:
    """Objects in a second into a fresh receiver, by what is counted, and its peak memory in MB."""
    home.mkdir()
    try:
        with _RECEIVERS[receiver](home) as (port, pid):
            begun = time.perf_counter()
            rates = {receiver: len(slices) / _send(slices, associations, port)}
            if receiver == "fast":
                rates["fast, answered"] = rates[receiver]
                _wait_for(home / "data" / "spool", len(slices))
                rates[receiver] = len(slices) / (time.perf_counter() - begun)
            return rates, _peak_mb(pid)
    finally:
        shutil.rmtree(home)


def _send(slices: list[Path], associations: int, port: int) -> float:
    """Seconds until every object was answered with success."""
    folders = sorted({path.parent for path in slices})
    shares = [[f] for f in folders] if associations > 1 else [folders]
    to = ["-v", "-aet", "STORESCU", "-aec", "EDGE", "127.0.0.1", str(port)]
    begun = time.perf_counter()
    senders = [
        subprocess.Popen(
            [_program("storescu"), "+sd", *to, *map(str, share)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=NO_NAGLE,
        )
        for share in shares
    ]
    said = [sender.communicate()[0] for sender in senders]
    seconds = time.perf_counter() - begun
    stored = sum(text.count("Received Store Response (Success)") for text in said)
    if stored != len(slices):
        raise SystemExit(f"{len(slices)} objects answered with success expected, got {stored}")
    return seconds


def _wait_for(folder: Path, n: int) -> None:
    while len(list(folder.glob("*.dcm"))) < n:
        time.sleep(0.005)


@contextmanager
def _ours(home: Path, *, fast: bool = False) -> Iterator[tuple[int, int]]:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(home, there, fast), daemon=True)
    process.start()
    try:
        yield here.recv(), process.pid or 0
        here.send("stop")
        if here.recv() == 0:
            raise SystemExit("objects in the journal expected, got none")
    finally:
        process.join(20)
        process.kill()


@contextmanager
def _fast(home: Path) -> Iterator[tuple[int, int]]:
    with _ours(home, fast=True) as found:
        yield found


def _serve(home: Path, told: Any, fast: bool) -> None:
    """The edge's own receiver, spool and journal, in a process of its own."""
    from app.edge.cases import balance
    from app.edge.journal import Journal
    from app.edge.pseudonyms import Pseudonyms
    from app.edge.receive import Inbox, Receiver
    from tests.edge.builders import an_edge

    settings = an_edge(home, **({"storescp_port": a_free_port()} if fast else {}))
    journal = Journal(settings.data_dir)
    inbox = Inbox.of(settings.data_dir)
    receiver = Receiver(settings, inbox, journal, Pseudonyms(b"s" * 32), lambda *_: None)
    with _forked(settings, receiver, journal) if fast else _listening(receiver) as port:
        told.send(port)
        told.recv()
    told.send(journal.do(balance)["received"])
    journal.close()


@contextmanager
def _listening(receiver: Receiver) -> Iterator[int]:
    yield receiver.start()
    receiver.stop()


@contextmanager
def _forked(settings: EdgeSettings, receiver: Receiver, journal: Journal) -> Iterator[int]:
    """storescp, and a thread that takes what it has put down, as the agent has them."""
    from app.edge.storescp import Storescp
    from app.edge.watched import Watched

    port, done = settings.storescp_port or 0, threading.Event()
    process = Storescp(settings, journal)
    process.look()
    watched = Watched(process.whole, receiver, journal, largest_mb=512)

    def take() -> None:
        while not done.wait(TAKE_S):
            watched.look()

    thread = threading.Thread(target=take)
    thread.start()
    wait_for_port(port)
    yield port
    done.set()
    thread.join()
    process.stop()


@contextmanager
def _storescp(home: Path) -> Iterator[tuple[int, int]]:
    port = a_free_port()
    command = ["storescp", "+B", "--fork", "-od", str(home), str(port)]
    with _running(command, port) as pid:
        yield port, pid


@contextmanager
def _orthanc(home: Path) -> Iterator[tuple[int, int]]:
    port = a_free_port()
    config = home / "orthanc.json"
    config.write_text(
        json.dumps(
            {
                "StorageDirectory": str(home),
                "IndexDirectory": str(home),
                "DicomAet": "EDGE",
                "DicomPort": port,
                "HttpServerEnabled": False,
                "DicomAlwaysAllowStore": False,
                "DicomCheckModalityHost": True,
                "DicomModalities": {"sender": ["STORESCU", "127.0.0.1", 1]},
                "OverwriteInstances": False,
            }
        )
    )
    with _running(["Orthanc", str(config)], port) as pid:
        yield port, pid


Receiving = AbstractContextManager[tuple[int, int]]  # its port and process
_RECEIVERS: dict[str, Callable[[Path], Receiving]] = {
    "ours": _ours,
    "fast": _fast,
    "storescp": _storescp,
    "orthanc": _orthanc,
}


@contextmanager
def _running(command: list[str], port: int) -> Iterator[int]:
    command = [_program(command[0]), *command[1:]]
    with subprocess.Popen(command, env=NO_NAGLE, **QUIET) as process:
        try:
            wait_for_port(port)
            yield process.pid
        finally:
            process.terminate()


def _limit(slices: list[Path], home: Path) -> float:
    """Objects in a second that one thread writes, syncs and links, and does nothing else."""
    from app.edge import spool

    contents = [path.read_bytes() for path in slices]
    home.mkdir()
    begun = time.perf_counter()
    for i, content in enumerate(contents):
        spool.write_new(home / f"{i}.dcm", (content,))
    seconds = time.perf_counter() - begun
    shutil.rmtree(home)
    return len(slices) / seconds


def _peak_mb(pid: int) -> int:
    said = Path(f"/proc/{pid}/status").read_text()
    return int(said.partition("VmHWM:")[2].split()[0]) // 1024


def _report(rates: Rates, memory: dict[str, int]) -> None:
    middle = {key: median(found) for key, found in rates.items()}
    for (receiver, n), rate in middle.items():
        spread = f"{min(rates[receiver, n]):.0f} to {max(rates[receiver, n]):.0f}"
        peak = f", peak memory {memory[receiver]} MB" if receiver in memory else ""
        print(f"{receiver:14} {n} association(s) {rate:6.0f} objects/s ({spread}){peak}")
    for n in ASSOCIATIONS:
        for other in ("orthanc", "storescp"):
            if (other, n) in middle:
                print(f"ours / {other}, {n}: {middle['ours', n] / middle[other, n]:.2f}")
    print(f"ours / the limit of one syncing thread: {middle['ours', 1] / middle['limit', 1]:.2f}")
    if ("orthanc", 1) in middle:
        held = all(middle["ours", n] >= BAR * middle["orthanc", n] for n in ASSOCIATIONS)
        print(f"at least {BAR} of Orthanc at one and at four: {held}")


if __name__ == "__main__":
    main()
