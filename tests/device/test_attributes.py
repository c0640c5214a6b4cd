"""What a header says becomes numbers, and words of which a schema lists those that are kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset

from app.contracts.characteristics import CategoricalSpec, CharacteristicSchema
from app.contracts.manifest import Allowed, InputLimits, Preprocessing, Range
from app.device.chain import Chain
from app.device.pixels.attributes import CATEGORICAL, CODES, NUMERIC, WORDS
from app.device.pixels.decode import PixelsRefused, decode, read_file
from app.device.pixels.functional_groups import ENHANCED
from app.device.pixels.header import number, text
from app.device.result import CaseResult, Outcome
from app.device.study import examine, header_categories, header_numbers, outside
from app.edge.measure import pack
from tests.contracts.examples import a_manifest
from tests.device.test_ct_characteristics import SPACING, phantom
from tests.device.test_pixels import an_image
from tests.support.shared_data import shared

NUMBERS = {"DS", "IS", "FD", "FL", "US", "UL"}
GREY = Preprocessing(
    spacing_mm=5, rows=64, columns=64, intensity="grey", parameters={"low": 1, "high": 99}
)


def group(**attributes: object) -> Dataset:
    """A data set with these attributes; a data set among them becomes a sequence of one item."""
    made = Dataset()
    for keyword, value in attributes.items():
        setattr(made, keyword, [value] if isinstance(value, Dataset) else value)
    return made


def an_enhanced_slice() -> Dataset:
    """Enhanced CT of two frames, 100 and 300, with slopes of 2 and 3."""
    pixels = np.stack([np.full((16, 16), 100), np.full((16, 16), 300)]).astype(np.uint16)
    frames = [
        group(
            PixelValueTransformationSequence=group(RescaleSlope=slope, RescaleIntercept=-1000),
            CTExposureSequence=group(ExposureInmAs=load, XRayTubeCurrentInmA=200.0),
        )
        for slope, load in ((2, 80.0), (3, 90.0))
    ]
    return an_image(
        pixels,
        Modality="CT",
        SharedFunctionalGroupsSequence=[
            group(
                PixelMeasuresSequence=group(PixelSpacing=[0.7, 0.8], SliceThickness=2.5),
                CTReconstructionSequence=group(ConvolutionKernel="Br40"),
                CTXRayDetailsSequence=group(KVP=100),
            )
        ],
        PerFrameFunctionalGroupsSequence=frames,
    )


def with_words(**categories: tuple[str, ...]) -> CharacteristicSchema:
    """A schema that lists these values."""
    listed = [CategoricalSpec(name=n, categories=c) for n, c in categories.items()]
    return a_manifest().schema_.model_copy(update={"categorical": tuple(listed), "margins": ()})


# Names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(NUMERIC))
def test_numeric_attributes_are_of_the_standard_and_numbers(name: str) -> None:
    assert dictionary_VR(NUMERIC[name][0]) in NUMBERS


def test_words_codes_and_enhanced_attributes_are_of_the_standard() -> None:
    assert all(dictionary_VR(keyword) != "SQ" for keyword in WORDS.values())
    assert all(dictionary_VR(keyword) == "SQ" for keyword in CODES.values())
    assert all(dictionary_VR(new) in NUMBERS | {"SH"} for new in ENHANCED.values())


def test_a_characteristic_is_a_number_or_a_word() -> None:
    assert not set(NUMERIC) & set(CATEGORICAL)


# Classic objects -----------------------------------------------------------------------------


def test_absent_empty_and_odd_values_are_missing() -> None:
    odd = an_image(KVP=None, FlipAngle="90")
    odd.add_new("MagneticFieldStrength", "LO", "three")

    found = header_numbers(odd)

    assert found["flip_angle"] == 90
    assert not {"kvp", "field_strength", "echo_time"} & set(found)


def test_kernels_and_sequences_are_kept_only_where_the_schema_lists_them() -> None:
    """They are free text: somebody may write a name into them."""
    schema = with_words(
        kernel=("FC21", "B30f"), sequence_name=("*fl3d1",), scan_options=("FS",), grid=("NONE",)
    )
    image = an_image(ConvolutionKernel="B30f", SequenceName="Dr. Jones", ScanOptions=["FS", "PFP"])

    assert header_categories(image, schema) == {
        "kernel": "B30f",
        "sequence_name": "OTHER",
        "scan_options": "OTHER",
    }


@pytest.mark.parametrize(
    ("modality", "agent", "expected"),
    [
        ("CT", "Ultravist 370", "yes"),
        ("MR", "NONE", "no"),
        ("CT", "", "no"),
        ("CT", None, "no"),
        ("DX", "Ultravist 370", None),
    ],
)
def test_a_contrast_agent_is_named_or_not(
    modality: str, agent: str | None, expected: str | None
) -> None:
    image = an_image(Modality=modality)
    if agent is not None:
        image.ContrastBolusAgent = agent

    assert CATEGORICAL["contrast_agent"](image) == expected


def test_a_code_is_its_value() -> None:
    lamp = group(CodeValue="111741", CodeMeaning="Transillumination of Jones")

    assert CATEGORICAL["illumination"](an_image(IlluminationTypeCodeSequence=[lamp])) == "111741"
    assert CATEGORICAL["illumination"](an_image(IlluminationTypeCodeSequence=[])) is None


# Enhanced objects ----------------------------------------------------------------------------


def test_functional_groups_are_read_where_the_top_has_nothing() -> None:
    found = header_numbers(an_enhanced_slice())

    expected = {"kvp": 100, "slice_thickness": 2.5, "frames": 2}
    assert {name: found[name] for name in expected} == expected
    assert (found["tube_load"], found["tube_current"]) == (80, 200)  # of the first frame
    assert text(an_enhanced_slice(), "ConvolutionKernel") == "Br40"


def test_what_stands_at_the_top_is_believed_first() -> None:
    image = an_enhanced_slice()
    image.KVP = 140

    assert number(image, "KVP") == 140


def test_a_classic_object_is_not_asked_for_enhanced_names() -> None:
    assert "tube_load" not in header_numbers(an_image(ExposureInmAs=80.0))


def test_frames_are_rescaled_each_by_its_own() -> None:
    picture = decode(an_enhanced_slice())

    assert picture.values[:, 0, 0].tolist() == [-800.0, -100.0]
    assert (picture.lowest, picture.highest) == (-1000.0, 4095 * 3 - 1000)
    assert picture.spacing_mm == (0.7, 0.8)


def test_a_shared_rescale_holds_for_every_frame() -> None:
    image = an_enhanced_slice()
    shared_group = image.SharedFunctionalGroupsSequence[0]
    shared_group.PixelValueTransformationSequence = [group(RescaleSlope=1, RescaleIntercept=-1024)]

    assert decode(image).values[:, 0, 0].tolist() == [-924.0, -724.0]


def test_frames_without_a_rescale_of_their_own_are_refused() -> None:
    image = an_enhanced_slice()
    image.PerFrameFunctionalGroupsSequence.append(image.PerFrameFunctionalGroupsSequence[0])

    with pytest.raises(PixelsRefused) as refused:
        decode(image)
    assert refused.value.reason == "decode"


def test_groups_without_a_rescale_leave_values_as_they_are() -> None:
    """Whatever their number: segmentations have more items than frames in some files."""
    image = an_enhanced_slice()
    image.PerFrameFunctionalGroupsSequence = [group(StackID="1") for _ in range(3)]

    assert decode(image).values[:, 0, 0].tolist() == [100.0, 300.0]


def test_input_limits_hold_for_enhanced_objects() -> None:
    limits = InputLimits(
        ranges=(Range(attribute="SliceThickness", lowest=0, highest=2),),
        allowed=(Allowed(attribute="ConvolutionKernel", values=("Br40",)),),
    )

    assert outside(an_enhanced_slice(), limits) == "SliceThickness"


def test_damaged_groups_are_missing_not_fatal() -> None:
    image = an_enhanced_slice()
    image.SharedFunctionalGroupsSequence = []
    image.PerFrameFunctionalGroupsSequence[0].CTExposureSequence = []

    assert "tube_load" not in header_numbers(image)


# Through the chain's own path ----------------------------------------------------------------


def a_ct_slice(**attributes: object) -> Dataset:
    stored = np.clip(np.round(phantom()) + 1024, 0, 4095).astype(np.uint16)
    return an_image(
        stored,
        Modality="CT",
        PixelSpacing=[SPACING, SPACING],
        RescaleSlope=1,
        RescaleIntercept=-1024,
        **attributes,
    )


def test_a_stored_ct_slice_is_measured_in_hu() -> None:
    found = examine(a_ct_slice(SliceThickness=3), GREY).numeric

    assert found["tissue_noise"] == pytest.approx(12, rel=0.06)
    assert found["slice_thickness"] == 3
    assert {"noise", "field_fill"} <= set(found)


@pytest.mark.parametrize(
    "changed", [{"RescaleType": "US"}, {"PhotometricInterpretation": "MONOCHROME1"}]
)
def test_what_is_not_in_hu_is_not_measured_as_such(changed: dict[str, str]) -> None:
    assert "tissue_noise" not in examine(a_ct_slice(**changed), GREY).numeric


def test_a_missing_characteristic_costs_no_case() -> None:
    """A row of the same length, with a hole where the slice showed no such thing."""
    spec = a_manifest().schema_.numeric[0]
    names = ("noise", "tissue_noise", "slice_thickness")
    numeric = tuple(spec.model_copy(update={"name": name}) for name in names)
    schema = a_manifest().schema_.model_copy(update={"numeric": numeric})
    layout = schema.layout()
    rows = [
        np.frombuffer(pack(layout, CaseResult(Outcome.NOT_FLAGGED, numeric=found.numeric)))
        for found in (examine(a_ct_slice(**a), GREY) for a in ({"SliceThickness": 3}, {}))
    ]

    assert rows[0][1:3] == pytest.approx([12, 3], rel=0.06)
    assert np.isnan(rows[1][2]) and rows[1][1] == rows[0][1]


def test_a_schema_chooses_what_a_chain_keeps(chain: Chain) -> None:
    """Numbers and words by name; free text that the schema does not list never stays."""
    old = chain.manifest.schema_
    numeric = tuple(
        old.numeric[0].model_copy(update={"name": name})
        for name in ("tissue_noise", "slice_thickness", "echo_time")
    )
    listed = (CategoricalSpec(name="kernel", categories=("B30f",)),)
    schema = old.model_copy(update={"numeric": numeric, "categorical": listed, "margins": ()})
    manifest = chain.manifest.model_copy(update={"schema_": schema, "input_limits": InputLimits()})
    choosing = replace(chain, bundle=replace(chain.bundle, manifest=manifest))
    image = a_ct_slice(SliceThickness=3, KVP=120, ConvolutionKernel="Dr. Jones")

    result = choosing.run_dataset(image, {chain.scoring.name: 0.5})

    assert set(result.numeric) == {"tissue_noise", "slice_thickness"}
    assert result.categorical == {"kernel": "OTHER"}


# Real files ----------------------------------------------------------------------------------


@pytest.mark.shared
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (
            "CT/dicom-test-files__CT2_UNC",
            {"kvp": 120, "tube_load": 380, "slice_thickness": 10, "tissue_level": 35},
        ),
        (
            "CT/dicom-test-files__03.dcm",
            {"kvp": 120, "slice_thickness": 1.25, "tissue_level": 55, "fat_level": -110},
        ),
        ("CT/pydicom-data__693_UNCR.dcm", {"revolution_time": 2, "air_level": -989}),
        (
            "MR/dcm_qa_nih__axial_epi_fmri_sequential_i_to_s-00088.dcm",
            {"field_strength": 3, "echo_time": 30, "pixel_bandwidth": 7812.5},
        ),
    ],
)
def test_real_slices_have_plausible_values(path: str, expected: dict[str, float]) -> None:
    found = examine(read_file(shared("dicom", *path.split("/"))), GREY).numeric

    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=0.02)
    assert set(found) >= ({"tissue_noise"} if path.startswith("CT") else {"tissue_snr"})


@pytest.mark.shared
@pytest.mark.parametrize("kind", ["CT", "MR"])
def test_every_real_object_is_measured_or_refused_by_name(kind: str) -> None:
    """All values are finite; signal to noise is what a scanner can have."""
    measured = 0
    for path in sorted(shared("dicom", kind).iterdir()):
        dataset = read_file(path)
        try:
            found = examine(dataset, GREY).numeric
        except PixelsRefused:
            continue
        measured += bool({"tissue_noise", "tissue_snr"} & set(found))
        assert np.isfinite(list(found.values())).all(), path.name
        assert found.get("air_snr", 0) < 1e4, path.name
        assert -1100 < found.get("air_level", -1000) < -800, path.name
    assert measured >= {"CT": 14, "MR": 15}[kind]


@pytest.mark.shared
def test_a_lossy_copy_shows_in_noise_and_texture() -> None:
    """The same slice, not and heavily compressed (lossy JPEG 2000, 338 to 1)."""
    plain, lossy = (
        examine(read_file(shared("dicom", "CT", name)), GREY).numeric
        for name in ("pydicom-data__693_UNCR.dcm", "dicom-test-files__693_J2KI.dcm")
    )

    assert lossy["tissue_noise"] < plain["tissue_noise"] / 5
    assert lossy["tissue_level"] == pytest.approx(plain["tissue_level"], abs=2)


@pytest.mark.shared
def test_real_enhanced_objects_are_read_through_their_groups() -> None:
    ct = read_file(shared("dicom", "CT", "pydicom-data__eCT_Supplemental.dcm"))
    mr = read_file(shared("dicom", "MR", "pydicom-data__emri_small.dcm"))

    assert "SliceThickness" not in ct
    assert header_numbers(ct)["slice_thickness"] == 10
    assert decode(ct).spacing_mm == pytest.approx((0.388672, 0.388672))
    assert header_numbers(mr)["pixel_bandwidth"] == 241
    assert text(mr, "MRAcquisitionType") == "3D"
