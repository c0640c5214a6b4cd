"""Boxes, contours and calipers over the clinic's own image: a softcopy presentation state.

Nothing is burned in and no pixel is copied; a viewer draws the lines over the source (PS3.3
A.33). Its coordinates count from one at the centre of the first pixel (C.10.5.1.2), ours from
zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from pydicom.dataset import Dataset

from app import clock
from app.contracts.manifest import Manifest
from app.device.result import CaseResult
from app.edge.shown_findings import frames, lines, tracking_uid
from app.edge.sources import NOTICE, algorithm_equipment, date_as, uid

SERIES_NUMBER: Final = 9022
CENTRE: Final = 1.0
LAYER: Final = "AI"


def presentation(source: Dataset, result: CaseResult, manifest: Manifest) -> Dataset:
    """The presentation state of a case that shows something. `source` is from `sources.usable`."""
    from highdicom.pr import (
        ColorSoftcopyPresentationState,
        GrayscaleSoftcopyPresentationState,
    )

    image = _referenced(source)
    common: dict[str, Any] = {
        "referenced_images": [image],
        "series_instance_uid": uid(source, manifest, "overlay series"),
        "series_number": SERIES_NUMBER,
        "sop_instance_uid": uid(source, manifest, "overlay"),
        "instance_number": 1,
        "manufacturer": "lockwatch",
        "manufacturer_model_name": manifest.device,
        "software_versions": manifest.version,
        "device_serial_number": manifest.lock_digest[:16],
        "content_label": "AI_FINDINGS",
        "content_description": NOTICE,
        "graphic_layers": [_layer()],
        "graphic_annotations": list(_annotations(image, result, manifest)),
        "contributing_equipment": [algorithm_equipment(manifest)],
    }
    made: Dataset
    if int(source.get("SamplesPerPixel") or 1) == 1:
        made = GrayscaleSoftcopyPresentationState(**common)
    else:
        made = ColorSoftcopyPresentationState(**common, icc_profile=_srgb())
    made.SoftwareVersions = [manifest.version, manifest.lock_digest]
    now = clock.now()
    date_as(made, now)
    made.PresentationCreationDate, made.PresentationCreationTime = f"{now:%Y%m%d}", f"{now:%H%M%S}"
    del made.ContentDate, made.ContentTime  # not of this kind of object
    made.Laterality = ""  # not known here, and asked for (PS3.3 C.7.3.1)
    return made


def _annotations(source: Dataset, result: CaseResult, manifest: Manifest) -> Iterator[Any]:
    from highdicom.pr import GraphicAnnotation, GraphicObject

    for name, frame, line in lines(source, result):
        tracked = {"tracking_id": name, "tracking_uid": tracking_uid(source, manifest, name)}
        yield GraphicAnnotation(
            referenced_images=[source],
            graphic_layer=_layer(),
            referenced_frame_number=frames(source, frame),
            graphic_objects=[GraphicObject("POLYLINE", line + CENTRE, "PIXEL", **tracked)],
        )


def _referenced(source: Dataset) -> Dataset:
    """`source` with the functional groups that highdicom looks for and such clips do not have."""
    count = int(source.get("NumberOfFrames") or 1)
    if count == 1:
        return source
    image = Dataset()
    image.update(source)
    image.SharedFunctionalGroupsSequence = [Dataset()]
    image.PerFrameFunctionalGroupsSequence = [Dataset() for _ in range(count)]
    return image


def _layer() -> Any:
    from highdicom.pr import GraphicLayer

    return GraphicLayer(layer_name=LAYER, order=1, description="Findings of the device")


def _srgb() -> bytes:
    """The profile that colours without one are taken to have, as one of an input device.

    PS3.3 C.11.15 asks for such a class; the matrix and curves are the same (ICC.1, 7.2.5).
    """
    from PIL import ImageCms

    profile = bytes(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    return profile[:12] + b"scnr" + profile[16:]
