"""The cardiac echo device: a U-Net and landmarks on every frame, and the ejection fraction."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from app.contracts.manifest import Allowed, InputLimits, Preprocessing, Range, Stage
from app.device import ventricle
from app.device.reference.common.cohort import Cohort
from app.device.reference.common.declaration import Effort, Progress, ReferenceDevice
from app.device.reference.common.layers import block, fit
from app.device.reference.common.objects import Scanner
from app.device.reference.heart.phantom import FRAMES, REDUCED, make_case
from monitors.schema import Categorical

LANDMARKS = 3  # apex, both ends of the mitral annulus
SEEN = 8  # frames of a batch: drawn anew from its clips each time


class UNet(nn.Module):
    """Image (n, 1, r, c) -> probability of the cavity (n, 1, r, c), embedding (n, e)
    (Ronneberger 2015, MICCAI); works at half of the size."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = block(1, 10, 2), block(10, 16, 2)
        self.third, self.deep = block(16, 24, 2), block(24, 32)
        self.up_second, self.up_first = block(32 + 16, 16), block(16 + 10, 12)
        self.out = nn.Conv2d(12, 1, 1)

    def logits(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Before the sigmoid, at half of the size, and the deepest maps."""
        first = self.first(image)
        second = self.second(first)
        deep = self.deep(self.third(second))
        up = self.up_second(torch.cat([_twice(deep), second], dim=1))
        up = self.up_first(torch.cat([_twice(up), first], dim=1))
        return self.out(up), deep

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        logit, deep = self.logits(image)
        cavity = torch.sigmoid(_twice(logit, "bilinear"))
        return cavity, torch.cat([deep.mean((2, 3)), deep.amax((2, 3))], dim=1)


class Landmarks(nn.Module):
    """Image (n, 1, r, c) -> points (n, 3, 2), column and row in pixels: the centre of mass of a
    heat map for each (Nibali 2018, DSNT)."""

    columns: Tensor
    rows: Tensor

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.down = nn.Sequential(block(1, 12, 2), block(12, 20, 2), block(20, 28, 2))
        self.around = nn.Sequential(block(28, 28), block(28, 28))
        self.out = nn.Conv2d(28 + 20, LANDMARKS, 3, padding=1)
        self.register_buffer("columns", torch.arange(columns // 4) * 4 + 1.5)
        self.register_buffer("rows", torch.arange(rows // 4) * 4 + 1.5)

    def forward(self, image: Tensor) -> tuple[Tensor]:
        quarter = self.down[:2](image)
        eighth = self.around(self.down[2](quarter))
        heat = self.out(torch.cat([_twice(eighth), quarter], dim=1))
        flat = torch.softmax(heat.flatten(2), dim=2)
        heat = flat.unflatten(2, heat.shape[2:])  # type: ignore[no-untyped-call]
        column = (heat.sum(2) * self.columns).sum(2)
        row = (heat.sum(3) * self.rows).sum(2)
        return (torch.stack([column, row], dim=2),)


def _twice(maps: Tensor, mode: str = "nearest") -> Tensor:
    return functional.interpolate(maps, scale_factor=2.0, mode=mode)


def learn(cohort: Cohort, epochs: int, progress: Progress) -> dict[str, nn.Module]:
    """Segmenter and landmarks, by stage name."""
    images = torch.from_numpy(cohort.images)
    masks = functional.avg_pool2d(torch.from_numpy(cohort.masks), 2)
    points = torch.from_numpy(cohort.points).float()
    segmenter, landmarks = UNet(), Landmarks(*images.shape[2:])

    def outline(at: Tensor) -> Tensor:
        which = (at[:, None], _some_frames(len(at)))
        logit, _ = segmenter.logits(images[which].flatten(0, 1)[:, None])
        wanted = masks[which].flatten(0, 1)[:, None]
        probability = torch.sigmoid(logit)
        shared = 2 * (probability * wanted).sum() / (probability + wanted).sum().clamp(min=1)
        return functional.binary_cross_entropy_with_logits(logit, wanted) + 1 - shared

    def places(at: Tensor) -> Tensor:
        which = (at[:, None], _some_frames(len(at)))
        (found,) = landmarks(images[which].flatten(0, 1)[:, None])
        return functional.smooth_l1_loss(found, points[which].flatten(0, 1))

    fit(segmenter, len(images), epochs, outline, lambda done: progress("segmenter", done), SEEN)
    fit(landmarks, len(images), epochs, places, lambda done: progress("landmarks", done), SEEN)
    return {"ventricle": segmenter, "landmarks": landmarks}


def _some_frames(clips: int) -> Tensor:
    """Four frames of each clip, at random (clips, 4)."""
    return torch.randint(0, FRAMES, (clips, 4))


def _scanner(manufacturer: str, model: str, software: str, serial: str) -> Scanner:
    return Scanner(
        manufacturer, model, software, serial, "ECHO-LAB", "US", "HEART", "Apical 4 chamber"
    )


DEVICE = ReferenceDevice(
    pattern="echo",
    name="Reference Echo Measurement",
    udi_di="00850001234055",
    intended_use=(
        "Measure the left ventricular ejection fraction of adults from an apical four-chamber "
        "clip of one beat, for confirmation by a cardiologist."
    ),
    finding="reduced ejection fraction",
    limits=InputLimits(
        allowed=(
            Allowed(attribute="Modality", values=("US",)),
            Allowed(attribute="BodyPartExamined", values=("HEART",)),
        ),
        ranges=(
            Range(attribute="PatientAge", lowest=18, highest=120),
            Range(attribute="NumberOfFrames", lowest=FRAMES, highest=400),
            Range(attribute="HeartRate", lowest=40, highest=150),
        ),
        may_be_missing=("HeartRate",),
    ),
    preprocessing=Preprocessing(
        spacing_mm=1.7,
        rows=96,
        columns=96,
        intensity="cine",
        parameters={"low": 1, "high": 99.5, "frames": FRAMES, "measuring_mm": 1.0},
    ),
    scanners={
        "ge": _scanner("GE Vingmed Ultrasound", "Vivaro E95", "204.1", "SN-GV-30155"),
        "philips": _scanner("Philips Medical Systems", "Epiqua CVx", "9.0.3", "SN-PH-60118"),
        "siemens": _scanner("SIEMENS", "ACUSOR SC2", "VC11B", "SN-SI-44790"),
        "canon": _scanner("CANON_MEC", "Apliora i9", "6.5.0", "SN-CM-81203"),
    },
    make=make_case,
    learn=learn,
    stages=(
        Stage(
            name="ventricle",
            kind="segmenter",
            program="ventricle.pt2",
            inputs=("image",),
            outputs=("ventricle", "embedding"),
        ),
        Stage(
            name="landmarks",
            kind="landmarks",
            program="landmarks.pt2",
            inputs=("image",),
            outputs=("landmarks",),
        ),
        Stage(
            name="measurement",
            kind="measurement",
            inputs=("ventricle", "landmarks"),
            outputs=(ventricle.NAME, "probability"),
            parameters={"slope": 1.0, "offset": 0.0, "cut": REDUCED, "scale": 10.0},
        ),
    ),
    acquisition=("noise", "sharpness", "speckle_snr", "depth_slope", "transducer_frequency"),
    categories=(
        Categorical("photometric_interpretation", ("MONOCHROME2", "RGB", "YBR_FULL_422")),
        Categorical("transducer_type", ("SECTOR_PHASED", "SECTOR_ANNULAR")),
    ),
    efforts={
        "full": Effort(500, 500, 600, 8, 30, 6),
        "small": Effort(24, 40, 30, 2, 4, 2),
    },
    prevalence=0.3,
)
