"""Every encoding a scanner sends comes out as numbers with one meaning, or is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from app.device.pixels import decode as decoding
from app.device.pixels.decode import Picture, PixelsRefused, decode, read_file
from tests.support.shared_data import shared

REASONS = {
    "unreadable", "no_pixels", "photometric", "sizes", "bits", "samples", "too_large",
    "transfer_syntax", "pixel_length", "decode", "not_finite",
}  # fmt: skip
RAMP = np.arange(16 * 12, dtype=np.uint16).reshape(16, 12) * 21


def an_image(
    pixels: npt.NDArray[np.generic] = RAMP, bits: int = 12, **attributes: object
) -> Dataset:
    """A grey image, or in RGB where the last of three axes holds three values."""
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    image.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["pixels"])
    image.SOPClassUID = SecondaryCaptureImageStorage
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID
    colour = pixels.ndim == 3 and pixels.shape[-1] == 3
    image.Rows, image.Columns = pixels.shape[-3:-1] if colour else pixels.shape[-2:]
    if pixels.ndim == 3 and not colour:
        image.NumberOfFrames = len(pixels)
    image.SamplesPerPixel = 3 if colour else 1
    image.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        image.PlanarConfiguration = 0
    image.BitsAllocated = 8 * pixels.dtype.itemsize
    image.BitsStored = min(bits, image.BitsAllocated)
    image.HighBit = image.BitsStored - 1
    image.PixelRepresentation = 0
    image.PixelData = pixels.tobytes()
    image["PixelData"].VR = "OB" if pixels.dtype.itemsize == 1 else "OW"
    for name, value in attributes.items():
        setattr(image, name, value)
    return image


def refused(image: Dataset) -> str:
    with pytest.raises(PixelsRefused) as error:
        decode(image)
    return error.value.reason


# Meaning -------------------------------------------------------------------------------------


def test_brighter_means_more_whichever_way_a_scanner_stores_it() -> None:
    plain, inverted = decode(an_image()), decode(an_image(PhotometricInterpretation="MONOCHROME1"))

    assert np.array_equal(plain.values[0], RAMP)
    assert np.array_equal(inverted.values[0], 4095 - RAMP.astype(np.float32))
    assert (plain.lowest, plain.highest) == (inverted.lowest, inverted.highest) == (0, 4095)


def test_rescaling_gives_units_and_their_ends() -> None:
    picture = decode(an_image(RescaleSlope="2", RescaleIntercept="-1024", RescaleType="HU"))

    assert np.array_equal(picture.values[0], RAMP.astype(np.float32) * 2 - 1024)
    assert (picture.lowest, picture.highest) == (-1024, 4095 * 2 - 1024)


def test_signed_pixels_keep_their_sign() -> None:
    signed = RAMP.astype(np.int16) - 2048
    picture = decode(an_image(signed, PixelRepresentation=1))

    assert np.array_equal(picture.values[0], signed)
    assert (picture.lowest, picture.highest) == (-2048, 2047)


def test_a_window_is_for_viewing_and_never_reaches_a_score() -> None:
    image = an_image(WindowCenter="2000", WindowWidth="500")

    assert np.array_equal(decode(image).values[0], RAMP)
    assert not np.array_equal(decode(image, voi=True).values[0], RAMP)


def test_a_modality_table_replaces_the_slope() -> None:
    table = Dataset()
    table.LUTDescriptor, table.ModalityLUTType = [256, 0, 16], "US"
    table.LUTData = (np.arange(256, dtype=np.uint16) * 100).tobytes()
    table["LUTData"].VR = "OW"
    image = an_image(np.arange(12, dtype=np.uint8).reshape(3, 4), 8, ModalityLUTSequence=[table])

    assert np.array_equal(decode(image).values[0].ravel(), np.arange(12) * 100)


def test_frames_stay_frames() -> None:
    loop = np.stack([RAMP, RAMP + 1, RAMP + 2])

    assert np.array_equal(decode(an_image(loop)).values, loop)


RGB = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [128, 128, 128]]], dtype=np.uint8)


def test_colour_comes_out_as_red_green_and_blue_from_either_plane_order() -> None:
    planes = an_image(RGB, 8, PlanarConfiguration=1)
    planes.PixelData = np.ascontiguousarray(np.moveaxis(RGB, -1, 0)).tobytes()

    for image in (an_image(RGB, 8), planes):
        picture = decode(image)
        assert picture.is_colour
        assert np.array_equal(picture.values[0], RGB)
        assert (picture.lowest, picture.highest) == (0, 255)


def test_luminance_and_chrominance_become_colour() -> None:
    """ITU-R BT.601 full range, as PS3.3 C.7.6.3.1.2 has it; one count of rounding."""
    matrix = np.array([[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]])
    ybr = np.clip(np.rint(RGB @ matrix.T + [0, 128, 128]), 0, 255).astype(np.uint8)
    picture = decode(an_image(ybr, 8, PhotometricInterpretation="YBR_FULL"))

    assert np.abs(picture.values[0] - RGB).max() <= 2


@pytest.mark.parametrize("bits", [8, 16])
def test_a_palette_becomes_colour(bits: int) -> None:
    kind = np.uint8 if bits == 8 else np.uint16
    image = an_image(np.array([[0, 1], [2, 3]], dtype=np.uint8), 8)
    image.PhotometricInterpretation = "PALETTE COLOR"
    for name, values in (
        ("Red", [255, 0, 0, 9]),
        ("Green", [0, 255, 0, 9]),
        ("Blue", [0, 0, 255, 9]),
    ):
        table = np.array(values, dtype=kind) * (257 if bits == 16 else 1)
        setattr(image, f"{name}PaletteColorLookupTableDescriptor", [4, 0, bits])
        setattr(image, f"{name}PaletteColorLookupTableData", table.astype(kind).tobytes())
    picture = decode(image)

    wanted = [[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [9, 9, 9]]]
    assert np.array_equal(picture.values[0], wanted)
    assert picture.highest == 255


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
def test_a_lossless_encoding_changes_no_pixel(syntax: pydicom.uid.UID) -> None:
    large = np.tile(RAMP, (6, 8))
    image = an_image(large)
    image.compress(syntax, generate_instance_uid=False)

    assert image.file_meta.TransferSyntaxUID == syntax
    assert np.array_equal(decode(image).values[0], large)


@pytest.mark.parametrize("syntax", [HTJ2KLossless, JPEGLosslessSV1])
def test_what_scanners_compress_with_has_a_decoder(syntax: pydicom.uid.UID) -> None:
    """We cannot write these: `test_real_files_decode_or_are_refused_by_name` reads real ones."""
    assert pydicom.pixels.get_decoder(syntax).is_available


# Refusals ------------------------------------------------------------------------------------

Spoil = Callable[[Dataset], None]


def put(**attributes: object) -> Spoil:
    def spoil(image: Dataset) -> None:
        for name, value in attributes.items():
            setattr(image, name, value)

    return spoil


def drop(name: str) -> Spoil:
    return lambda image: image.__delattr__(name)


def syntax(uid: str) -> Spoil:
    return lambda image: setattr(image.file_meta, "TransferSyntaxUID", pydicom.uid.UID(uid))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (drop("PixelData"), "no_pixels"),
        (drop("PhotometricInterpretation"), "photometric"),
        (put(PhotometricInterpretation="HSV"), "photometric"),
        (drop("Rows"), "sizes"),
        (put(Columns=0), "sizes"),
        (drop("BitsAllocated"), "sizes"),
        (put(BitsStored=0), "sizes"),
        (put(NumberOfFrames=0), "sizes"),
        (put(NumberOfFrames=-3), "sizes"),
        (put(BitsAllocated=12), "bits"),
        (put(BitsAllocated=64), "bits"),
        (put(BitsStored=17), "bits"),
        (put(SamplesPerPixel=3), "samples"),
        (put(SamplesPerPixel=4), "samples"),
        (put(PhotometricInterpretation="RGB"), "samples"),
        (put(Rows=65535, Columns=65535), "too_large"),
        (put(NumberOfFrames=10**9), "too_large"),
        (put(Rows=17), "pixel_length"),
        (put(NumberOfFrames=2), "pixel_length"),
        (put(PixelData=b""), "pixel_length"),
        (put(PixelData=RAMP.tobytes()[:-2]), "pixel_length"),
        (put(PixelData=RAMP.tobytes() + bytes(64)), "pixel_length"),
        (lambda image: delattr(image.file_meta, "TransferSyntaxUID"), "transfer_syntax"),
        (syntax("1.2.840.10008.1.2.4.100"), "transfer_syntax"),  # MPEG2
        (syntax("1.2.840.10008.1.2.8.1"), "transfer_syntax"),  # deflated frames
        (syntax("1.2.3.4"), "transfer_syntax"),
        (syntax(JPEG2000Lossless), "decode"),  # raw pixels where fragments are announced
        (syntax(RLELossless), "decode"),
        (put(RescaleSlope="1e300", RescaleIntercept="0"), "not_finite"),
    ],
)
def test_an_odd_image_is_refused_by_name(spoil: Spoil, reason: str) -> None:
    image = an_image()
    spoil(image)

    assert refused(image) == reason


def test_a_palette_that_is_not_there_is_refused() -> None:
    image = an_image(np.zeros((4, 4), dtype=np.uint8), 8)
    image.PhotometricInterpretation = "PALETTE COLOR"

    assert refused(image) == "decode"


def test_a_refusal_shows_nothing_of_the_patient() -> None:
    image = an_image(PatientName="DOE^JANE", PhotometricInterpretation="DOE JANE", PatientID="P42")

    with pytest.raises(PixelsRefused) as error:
        decode(image)

    assert "DOE" not in str(error.value) and "P42" not in str(error.value)


# Files ---------------------------------------------------------------------------------------


def saved(image: Dataset, path: Path) -> Path:
    image.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize("share", [0.0, 0.1, 0.4, 0.6, 0.9, 0.99])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    path = saved(an_image(np.tile(RAMP, (8, 8))), tmp_path / "whole.dcm")
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])

    with pytest.raises(PixelsRefused) as error:
        decode(read_file(path))

    assert error.value.reason in {"unreadable", "no_pixels", "pixel_length"}


def deflated(path: Path, size: int) -> Path:
    """A deflated file that inflates to about `size` bytes of zeros."""
    image = an_image(np.zeros((size // 1000, 1000), dtype=np.uint8), 8)
    image.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    return saved(image, path)


def test_a_deflated_file_is_read(tmp_path: Path) -> None:
    picture = decode(read_file(deflated(tmp_path / "small.dcm", 50_000)))

    assert picture.values.shape == (1, 50, 1000)


def test_a_deflated_bomb_is_refused_before_it_is_inflated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = deflated(tmp_path / "bomb.dcm", 5_000_000)
    monkeypatch.setattr(decoding, "FILE_LIMIT", 1 << 20)
    monkeypatch.setattr(decoding, "_PIECE", 1 << 16)
    assert path.stat().st_size < 100_000

    with pytest.raises(PixelsRefused, match="inflated bytes expected"):
        read_file(path)


def test_a_damaged_deflated_file_is_refused(tmp_path: Path) -> None:
    path = deflated(tmp_path / "damaged.dcm", 50_000)
    data = bytearray(path.read_bytes())
    data[-20:] = bytes(20)
    path.write_bytes(data)

    with pytest.raises(PixelsRefused, match="not DICOM"):
        read_file(path)


# Fuzz ----------------------------------------------------------------------------------------


def is_counted(attempt: Callable[[], Picture]) -> None:
    """Finite numbers, or a refusal whose reason is a known word."""
    reason = ""
    try:
        assert np.isfinite(attempt().values).all()
    except PixelsRefused as error:
        reason = error.reason
    assert reason in {"", *REASONS}


_SIZED = ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "SamplesPerPixel",
          "PixelRepresentation", "PlanarConfiguration", "NumberOfFrames")  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.dictionaries(st.sampled_from(_SIZED), st.integers(0, 65535), max_size=4),
    photometric=st.sampled_from((*decoding.GREY, *decoding.COLOUR, "ARGB", "")),
    slope=st.one_of(st.none(), st.floats(-1e30, 1e30).map("{:.8g}".format)),
    uid=st.sampled_from(
        (ExplicitVRLittleEndian, RLELossless, JPEG2000Lossless, JPEGLSLossless, HTJ2KLossless)
    ),
)
def test_no_header_makes_it_fall_over(
    sizes: dict[str, int], photometric: str, slope: str | None, uid: pydicom.uid.UID
) -> None:
    image = an_image(PhotometricInterpretation=photometric)
    image.file_meta.TransferSyntaxUID = uid
    for name, value in sizes.items():
        setattr(image, name, value)
    if slope is not None:
        image.RescaleSlope, image.RescaleIntercept = slope, "0"
    is_counted(lambda: decode(image))


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_no_bytes_make_it_fall_over(tmp_path: Path, data: st.DataObject) -> None:
    path = saved(an_image(RescaleSlope="1", RescaleIntercept="0"), tmp_path / "fuzzed.dcm")
    whole = bytearray(path.read_bytes())
    for at in data.draw(st.lists(st.integers(128, len(whole) - 1), min_size=1, max_size=8)):
        whole[at] = data.draw(st.integers(0, 255))
    path.write_bytes(whole)
    is_counted(lambda: decode(read_file(path)))


# Real files ----------------------------------------------------------------------------------


@pytest.mark.shared
def test_real_files_decode_or_are_refused_by_name() -> None:
    """175 real and broken files of many vendors in 15 transfer syntaxes; none falls over."""
    files = sorted(path for path in shared("dicom").glob("*/*") if path.is_file())
    outcomes: dict[str, list[str]] = {}
    for path in files:
        try:
            picture = decode(read_file(path))
        except PixelsRefused as error:
            outcomes.setdefault(error.reason, []).append(path.name)
        else:
            assert np.isfinite(picture.values).all(), path.name
            outcomes.setdefault("decoded", []).append(path.name)

    assert set(outcomes) - {"decoded"} <= REASONS
    assert len(outcomes["decoded"]) >= 137
    # What does not decode although it is an image: 12-bit lossy JPEG, one-bit RLE.
    assert len(outcomes["decode"]) <= 6, outcomes["decode"]
