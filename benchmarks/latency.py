"""From the last object received to the last result delivered, through a running agent.

    python -m benchmarks.latency [--device chest] [--studies 60] [--every 2] [--bundle FOLDER]

A scanner sends one flagged study every two seconds to the real agent, which has its journal, its
centre and its clock; a PACS takes report and heat map or overlay (C-STORE), a listener the
priority message (HL7 over MLLP). The clock starts when the scanner has the success status of the
last object and stops when report, image and message have arrived. A chest X-ray has detector
size, 2816 x 2816 pixels of 12 bits, an echo clip 60 frames of 560 x 560. The physical limit is
the chain alone on the same file, in one process that does nothing else. Without `--bundle`, the
small bundles of the tests are used, and built if need be (minutes).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, evt
from pynetdicom.sop_class import Comprehensive3DSRStorage

from app.edge.destinations import CLASSES
from tests.edge.peer_centre import PeerCentre, running
from tests.edge.running_edge import RunningEdge
from tests.edge.sender import a_chest, as_bytes, association
from tests.support.chest_bundle import KEY, chest_bundle
from tests.support.mllp_receiver import MllpReceiver, listening
from tests.support.reference_bundles import reference_bundle

BAR_S = {"chest": 2.0, "heart": 10.0}
SEED_FIGURE_S = 30.0
PROMPT_S = 30.0  # how long the last result is waited for
CHEST_SCALE, CLIP = 16, (60, 600, 800)
DIFFERENT = 6  # images that are sent in turn, under new UIDs


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--device", choices=sorted(BAR_S), default="chest")
    given.add_argument("--studies", type=int, default=60)
    given.add_argument("--every", type=float, default=2.0, help="seconds between two studies")
    given.add_argument("--bundle", type=Path)
    options = given.parse_args()
    with tempfile.TemporaryDirectory(prefix="lw-bench-") as name:
        bundle = options.bundle or _bundle(options.device)
        images, alone = _flagged(options.device, bundle, Path(name))
        size = f"{images[0].Rows} x {images[0].Columns} x {images[0].get('NumberOfFrames', 1)}"
        print(
            f"{options.device}: {size} pixels, {len(images[0].PixelData) / 1e6:.1f} MB", flush=True
        )
        clinic = _delivered(Path(name), bundle, images, options.studies, options.every)
    _report(options.device, clinic, alone)


@dataclass
class Clinic:
    """When a study was acknowledged, and what of its results came when."""

    acknowledged: dict[str, float] = field(default_factory=dict)
    results: dict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))

    def store(self, event: Any) -> int:
        """Handler of a result that the PACS gets."""
        is_report = event.request.AffectedSOPClassUID == Comprehensive3DSRStorage
        kind = "report" if is_report else "image"
        self._came(kind, str(event.dataset.StudyInstanceUID))
        return 0x0000

    def told(self, message: bytes) -> None:
        """Handler of a priority message."""
        line = next(x for x in message.decode().split("\r") if "Study Instance UID" in x)
        self._came("message", line.split("|")[5])

    def _came(self, kind: str, study: str) -> None:
        self.results[study].setdefault(kind, time.perf_counter())

    def is_whole(self, study: str) -> bool:
        """Whether report, image and message of a study have arrived."""
        return len(self.results[study]) == 3

    def seconds(self, *kinds: str) -> list[float]:
        """From acknowledgement to the last of these kinds, a number for each study."""
        return sorted(
            max(self.results[study][kind] for kind in kinds) - then
            for study, then in self.acknowledged.items()
        )


class Listener(MllpReceiver):
    """The listener that acknowledges, and tells the clinic."""

    def __init__(self, told: Callable[[bytes], None]) -> None:
        super().__init__()
        self.told = told

    def _answer(self, connection: Any, control_id: str) -> bool:
        self.told(self.messages[-1])
        return super()._answer(connection, control_id)


class RealTime(RunningEdge):
    """The agent with the clock of this machine."""

    def _launch(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "app.cli", "edge", "run", "--config", self._settings],
                env=os.environ | {"OMP_NUM_THREADS": "1"},
                stdout=log,
                stderr=log,
            )


def _bundle(device: str) -> Path:
    return chest_bundle() if device == "chest" else reference_bundle("echo")


def _flagged(device: str, bundle: Path, folder: Path) -> tuple[list[Dataset], list[float]]:
    """Images that the chain flags, and the seconds that the chain alone needs for one."""
    from app.device.bundle import open_bundle
    from app.device.chain import Chain
    from app.device.result import Outcome

    chain = Chain.load(open_bundle(bundle, [KEY.public], 1))
    found, seconds = [], []
    for image in _images(device):
        path = folder / "image.dcm"
        path.write_bytes(as_bytes(image))
        begun = time.perf_counter()
        result = chain.run(path, _thresholds(chain))
        seconds.append(time.perf_counter() - begun)
        if result.outcome is Outcome.FLAGGED:
            found.append(image)
        if len(found) == DIFFERENT:
            return found, seconds
    raise SystemExit(f"{DIFFERENT} flagged images expected, got {len(found)}")


def _thresholds(chain: Any) -> dict[str, float]:
    from app.contracts.change_control import thresholds_for

    return dict(thresholds_for(chain.manifest.operating_points[0].thresholds, ""))


def _images(device: str) -> Iterator[Dataset]:
    for seed in range(60):
        yield _chest(seed) if device == "chest" else _clip(seed)


def _chest(seed: int) -> Dataset:
    """A phantom at a detector's size: every pixel as a block, so that it reads as it did."""
    made = a_chest(seed, _now(), positive=True)
    pixels = np.kron(made.pixel_array, np.ones((CHEST_SCALE, CHEST_SCALE), made.pixel_array.dtype))
    made.Rows, made.Columns = pixels.shape
    made.PixelData = pixels.tobytes()
    for name in ("PixelSpacing", "ImagerPixelSpacing"):
        if name in made:
            setattr(made, name, [float(value) / CHEST_SCALE for value in made[name].value])
    return made


def _clip(seed: int) -> Dataset:
    """A phantom of the heart as 60 frames of an echo clip at a scanner's size."""
    from app.device.reference.common.identity import invent_identity
    from app.device.reference.common.objects import to_dicom
    from app.device.reference.heart.device import DEVICE

    rng = np.random.default_rng(seed)
    phantom = DEVICE.make(rng, "ge", True, 0.0)
    made = to_dicom(
        phantom, invent_identity(rng, phantom, _now(), "-"), DEVICE.scanners["ge"], _now()
    )
    frames, rows, columns = CLIP
    pixels = np.resize(phantom.pixels, (frames, *phantom.pixels.shape[1:]))
    scale = min(rows // pixels.shape[1], columns // pixels.shape[2])
    pixels = pixels.repeat(scale, 1).repeat(scale, 2)
    made.NumberOfFrames, made.Rows, made.Columns = pixels.shape
    made.PixelData = pixels.tobytes()
    region = made.SequenceOfUltrasoundRegions[0]
    region.PhysicalDeltaX = region.PhysicalDeltaX / scale
    region.PhysicalDeltaY = region.PhysicalDeltaY / scale
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = made.Columns - 1, made.Rows - 1
    return made


@cache
def _now() -> datetime:
    return datetime.now()  # noqa: DTZ005  a scanner's wall time


def _delivered(
    folder: Path, bundle: Path, images: Sequence[Dataset], studies: int, every: float
) -> Clinic:
    clinic = Clinic()
    with ExitStack() as open_now:
        centre = open_now.enter_context(running(PeerCentre()))
        pacs = open_now.enter_context(_pacs(clinic))
        listener = open_now.enter_context(listening(Listener(clinic.told)))
        places = {
            "results_peer": {"host": "127.0.0.1", "port": pacs, "ae": "PACS"},
            "results_hl7": {"host": "127.0.0.1", "port": listener.port},
        }
        edge = RealTime(folder, bundle, centre, extra=places | {"results_folder": "results"})
        _play(edge, clinic, images, studies, every)
    return clinic


def _play(
    edge: RunningEdge, clinic: Clinic, images: Sequence[Dataset], studies: int, every: float
) -> None:
    edge.start()
    try:
        edge.ready()
        begun = time.perf_counter()
        for i in range(studies):
            time.sleep(max(0.0, begun + i * every - time.perf_counter()))
            _send(edge.port, images[i % len(images)], clinic)
        end = time.perf_counter() + PROMPT_S
        while not all(map(clinic.is_whole, clinic.acknowledged)):
            if time.perf_counter() > end:
                raise SystemExit(f"every result within {PROMPT_S:.0f} s expected: {edge.status()}")
            time.sleep(0.01)
    finally:
        edge.kill()


def _send(port: int, image: Dataset, clinic: Clinic) -> None:
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    image.StudyInstanceUID = generate_uid()
    with association(port, (image.SOPClassUID, image.file_meta.TransferSyntaxUID)) as made:
        if made.send_c_store(image).Status != 0x0000:
            raise SystemExit("success expected for every object")
        clinic.acknowledged[str(image.StudyInstanceUID)] = time.perf_counter()


@contextmanager
def _pacs(clinic: Clinic) -> Iterator[int]:
    entity = AE(ae_title="PACS")
    for sop_class in CLASSES:
        entity.add_supported_context(sop_class)
    handlers = [(evt.EVT_C_STORE, clinic.store)]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        yield server.socket.getsockname()[1]
    finally:
        server.shutdown()


def _report(device: str, clinic: Clinic, alone: Sequence[float]) -> None:
    whole = clinic.seconds("report", "image", "message")
    for name, seconds in (
        ("priority message", clinic.seconds("message")),
        ("report and image", clinic.seconds("report", "image")),
        ("all delivered", whole),
    ):
        p99 = float(np.quantile(seconds, 0.99))
        print(f"{name:17} p50 {median(seconds):.3f} s  p99 {p99:.3f} s  worst {seconds[-1]:.3f} s")
    print(f"chain alone       p50 {median(alone):.3f} s (the limit)")
    p99 = float(np.quantile(whole, 0.99))
    print(f"p50 / chain alone {median(whole) / median(alone):.2f}")
    print(f"p99 / {SEED_FIGURE_S:.0f} s        {p99 / SEED_FIGURE_S:.3f}")
    print(f"{len(whole)} studies, p99 under {BAR_S[device]:g} s: {p99 < BAR_S[device]}")


if __name__ == "__main__":
    main()
