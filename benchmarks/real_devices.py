"""The recipes of the reference devices on real images, and what another source does to them.

    python -m benchmarks.real_devices ../shared/data/real [SET …] [--epochs N]

Real images are wrapped as DICOM and go through the chain's own decoding, preprocessing, gates and
thresholds. A patient's images stay on one side of every split. Nothing that is trained here is
kept: the sets' licences do not allow it. The bar is what the same recipe reaches on phantoms.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from torch import nn

from app.device.chain import Gates
from app.device.pixels.canonical import resampled
from app.device.programs import deterministic
from app.device.reference import DECLARED
from app.device.reference.chest.training import classifier, segmenter
from app.device.reference.common.cohort import MOST_LESIONS, Cohort, declared
from app.device.reference.common.declaration import Effort, ReferenceDevice
from app.device.reference.common.evaluation import answered_cases, auc, read_cohort, with_areas
from app.device.reference.common.recipe import Locked, lock, silent
from app.device.study import examine

SEED = 20260105
SIZE = Effort(0, 0, 0, 0, 0, 0)  # of a bundle that is never written
CHEST_MM, BREAST_MM, FUNDUS_MM = 410 / 224, 38.4 / 224, 1.0  # assumed: re-encodings have no scale


@dataclass(frozen=True, slots=True)
class Item:
    """One image with its truth. `boxes`: left, upper, right, lower. `source`: where it is from."""

    path: Path
    subject: str
    positive: bool
    source: str = ""
    boxes: tuple[tuple[float, ...], ...] = ()
    mask: Path | None = None


@dataclass(frozen=True, slots=True)
class Split:
    """What a device learns from, is fitted on, and is shown."""

    learn: list[Item]
    fit: list[Item]
    shown: dict[str, list[Item]]


Learn = Callable[[Cohort, int], dict[str, nn.Module]]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def by_subject(items: Iterable[Item], held_out: str = "held out") -> Split:
    """Six tenths to learn from, two to fit on, two to look at, by the hash of the subject."""
    parts: tuple[list[Item], list[Item], list[Item]] = ([], [], [])
    for item in items:
        tenth = hashlib.sha256(item.subject.encode()).digest()[0] % 10
        parts[0 if tenth < 6 else 1 if tenth < 8 else 2].append(item)
    return Split(parts[0], parts[1], {held_out: parts[2]})


def wrapped(pixels: npt.NDArray[np.uint8], modality: str, spacing_mm: float) -> Dataset:
    """An image of 8 bits as a scanner's object."""
    image, colour = Dataset(), pixels.ndim == 3
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.Modality, image.SamplesPerPixel = modality, 3 if colour else 1
    image.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    image.Rows, image.Columns = pixels.shape[:2]
    image.BitsAllocated = image.BitsStored = 8
    image.HighBit, image.PixelRepresentation, image.PlanarConfiguration = 7, 0, 0
    image.PixelSpacing = [spacing_mm, spacing_mm]
    image.PixelData = pixels.tobytes() + b"\0" * (pixels.size % 2)
    return image


def cohort(device: ReferenceDevice, items: Sequence[Item], spacing_mm: float) -> Cohort:
    """The items as the chain sees them."""
    modality = next(iter(device.scanners.values())).modality
    colour = device.preprocessing.intensity == "colour"
    pixels, numeric, boxes, covered = [], [], [], []
    for item in items:
        with Image.open(item.path) as opened:
            stored = np.asarray(opened.convert("RGB" if colour else "L"))
        examined = examine(wrapped(stored, modality, spacing_mm), device.preprocessing)
        pixels.append(np.rint(examined.pixels * 65535).astype(np.uint16))
        numeric.append([examined.numeric.get(name, np.nan) for name in device.units])
        found = np.full((MOST_LESIONS, 4), np.nan)
        corners = np.array(item.boxes[:MOST_LESIONS], dtype=np.float64).reshape(-1, 2, 2)
        found[: len(corners)] = examined.grid.canonical(corners).reshape(-1, 4)
        boxes.append(found)
        covered.append(_covered(item, device, spacing_mm))
    n = len(items)
    sources = np.array([item.source for item in items])
    return Cohort(
        np.stack(pixels),
        np.array([item.positive for item in items]),
        np.array(numeric, dtype=np.float64),
        {"source": sources} if len(set(sources)) > 1 else {},
        np.stack(covered),
        np.stack(boxes),
        np.zeros((n, 1, 0, 2)),
        np.full(n, np.nan),
    )


def _covered(item: Item, device: ReferenceDevice, spacing_mm: float) -> npt.NDArray[np.uint8]:
    if item.mask is None:
        return np.zeros((0, 0, 0), dtype=np.uint8)
    with Image.open(item.mask) as opened:
        stored = (np.asarray(opened.convert("L")) > 127).astype(np.float32)
    to, mm = device.preprocessing, (spacing_mm, spacing_mm)
    share = resampled(stored, mm, to.spacing_mm, to.rows, to.columns)
    return np.rint(255 * share).astype(np.uint8)[None]


# The sets --------------------------------------------------------------------------------------


def chest(home: Path, boxes: bool = False) -> Split:
    """Trained on the text-mined label; the radiologists' class of other patients is the truth."""
    folder = home / "cxr_nih"
    judged = {row["file"]: row["rsna_class"] for row in rows(folder / "rsna_class.csv")}
    table = rows(folder / "labels.csv")
    kept = {row["subject_id"] for row in table if row["file"] in judged}
    marked: dict[str, list[tuple[float, ...]]] = {}
    for row in rows(folder / "boxes.csv"):
        x, y, w, h = (float(row[name]) for name in "xywh")
        marked.setdefault(row["file"], []).append((x, y, x + w, y + h))
    if boxes:
        wanted = [r for r in table if r["file"] in marked or r["label_triage"] == "0"]
        return by_subject(
            Item(
                folder / r["file"],
                r["subject_id"],
                r["file"] in marked,
                boxes=tuple(marked.get(r["file"], ())),
            )
            for r in wanted
        )
    mined = by_subject(
        Item(folder / r["file"], r["subject_id"], r["label_triage"] == "1")
        for r in table
        if r["subject_id"] not in kept
    )
    read = [r for r in table if r["file"] in judged]
    mined.shown["other patients, text-mined label"] = [
        Item(folder / r["file"], r["subject_id"], r["label_triage"] == "1") for r in read
    ]
    mined.shown["the same images, radiologists' class"] = [
        Item(folder / r["file"], r["subject_id"], judged[r["file"]] == "Lung Opacity") for r in read
    ]
    mined.shown["another source, all normal (OpenIST)"] = lungs(home)
    return mined


def lungs(home: Path) -> list[Item]:
    folder = home / "cxr_openist_lungmasks"
    return [
        Item(folder / r["file"], r["subject_id"], False, mask=folder / r["mask"])
        for r in rows(folder / "labels.csv")
    ]


def breast(home: Path) -> Split:
    folder = home / "us_busi"
    return by_subject(
        Item(folder / r["file"], r["subject_id"], r["label_malignant"] == "1")
        for r in rows(folder / "labels.csv")
        if r["label"] != "normal"
    )


def fundus(home: Path) -> Split:
    folder = home / "fundus_odir"
    split = by_subject(
        Item(folder / r["file"], r["subject_id"], r["label_referable"] == "1")
        for r in rows(folder / "labels.csv")
    )
    vessels = home / "fundus_vessels"
    split.shown["another source, no label (DRIVE)"] = [
        Item(vessels / r["file"], r["subject_id"], False) for r in rows(vessels / "labels.csv")
    ]
    return split


def skin(home: Path) -> Split:
    """Learned at one site; the other has another camera, another case mix, another sampling."""
    folder = home / "derm_ham_core"
    table = rows(folder / "labels.csv")

    def items(wanted: Callable[[dict[str, str]], bool]) -> list[Item]:
        kept = [r for r in table if wanted(r)]
        return [
            Item(folder / r["file"], r["subject_id"], r["label_malignant"] == "1") for r in kept
        ]

    split = by_subject(items(lambda r: r["source_site"] == "vidir_modern"))
    split.shown["another site"] = items(lambda r: r["source_site"] == "rosendahl")
    split.shown["another site without akiec"] = items(
        lambda r: r["source_site"] == "rosendahl" and r["dx"] != "akiec"
    )
    return split


# The runs --------------------------------------------------------------------------------------


def learned(
    pattern: str, device: ReferenceDevice, home: Path, shown: Cohort, epochs: int
) -> dict[str, nn.Module]:
    """By the declared recipe. Real lung fields are outlined in another set than the one read."""
    if pattern != "cadt_triage":
        return device.learn(shown, epochs, silent)
    outlined = segmenter(cohort(device, lungs(home), CHEST_MM), silent)
    return {"lungs": outlined, "classifier": classifier(shown, outlined, epochs, silent)}


def adapted(pattern: str) -> ReferenceDevice:
    """The declared device, for images that have no header; CADe looks at chests here."""
    device = declared(DECLARED[pattern])
    if pattern == "cade":
        wide = device.preprocessing.model_copy(update={"spacing_mm": 410 / 96})
        scanners = declared(DECLARED["cadt_triage"]).scanners
        device = replace(device, preprocessing=wide, scanners=scanners)
    measured = ("noise", "sharpness", "edge", "field_fill")
    return replace(device, acquisition=measured, categories=())


def outcomes(locked: Locked, shown: Cohort) -> str:
    """How many cases the chain answers, and flags, with the AUC where there are both classes."""
    device = locked.device
    read = read_cohort(locked.pipeline, shown)
    whole = replace(shown, numeric=with_areas(device, shown, read))
    kept, said = answered_cases(device, whole, read, Gates.of(locked.stages), locked.projection)
    flagged = int((said.score >= locked.threshold).sum())
    text = f"{len(shown):4} images, {len(kept):4} answered, {flagged:4} flagged"
    area, low, high = auc(said.score[kept.positive], said.score[~kept.positive])
    return text if area is None else f"{text}, AUC {area:.3f} ({low:.3f} to {high:.3f})"


SETS: dict[str, tuple[Callable[[Path], Split], float]] = {
    "cadt_triage": (chest, CHEST_MM),
    "cade": (lambda home: chest(home, boxes=True), CHEST_MM),
    "cadx": (breast, BREAST_MM),
    "ophthalmology": (fundus, FUNDUS_MM),
    "dermatology": (skin, FUNDUS_MM),
}


def run(pattern: str, home: Path, epochs: int) -> None:
    """One device: learn, lock, and show it what it has not seen."""
    take, spacing_mm = SETS[pattern]
    split, device = take(home), adapted(pattern)
    deterministic()
    torch.manual_seed(SEED)
    first = cohort(device, split.learn, spacing_mm)
    modules = learned(pattern, device, home, first, epochs)
    locked = lock(device, modules, cohort(device, split.fit, spacing_mm), SIZE, SEED)
    print(f"{pattern}: learned from {len(first)}, fitted on {len(split.fit)}", flush=True)
    for name, items in split.shown.items():
        print(f"  {name:38} {outcomes(locked, cohort(device, items, spacing_mm))}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("sets", nargs="*", help=", ".join(SETS))
    parser.add_argument("--epochs", type=int, default=12)
    options = parser.parse_args()
    for pattern in options.sets or SETS:
        run(pattern, options.home, options.epochs)


if __name__ == "__main__":
    main()
