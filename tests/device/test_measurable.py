"""A schema may name only what the chain can measure of the device's images, in the unit it has."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.contracts.characteristics import CategoricalSpec, MarginSpec, NumericSpec
from app.contracts.manifest import PAYLOAD_TYPE, Allowed, InputLimits, Manifest, Range, Stage
from app.contracts.signing import seal
from app.device import reference
from app.device.build import add_signature, entries, write_bundle
from app.device.bundle import MANIFEST, SIGNATURE, BundleRefused, open_bundle
from app.device.commands import bundle
from app.device.measurable import categories, check_measurable, numeric_units
from app.device.reference.common.cohort import declared
from tests.contracts.examples import a_manifest
from tests.device.conftest import written
from tests.support.chest_bundle import KEY

Change = Callable[[Manifest], Manifest]


def of(*modalities: str) -> InputLimits:
    return InputLimits(allowed=(Allowed(attribute="Modality", values=modalities),))


def counting(name: str, unit: str = "1") -> Change:
    """The manifest, its schema with one more characteristic in numbers."""
    more = NumericSpec(name=name, unit=unit, edges=(0.0, 1.0, 2.0, 3.0))
    return lambda m: with_schema(m, numeric=(*m.schema_.numeric, more))


def in_words(name: str, *values: str) -> Change:
    more = CategoricalSpec(name=name, categories=values)
    return lambda m: with_schema(m, categorical=(*m.schema_.categorical, more))


def by_margin(name: str, *levels: str) -> Change:
    return lambda m: with_schema(m, margins=(MarginSpec(name=name, levels=levels),))


def judging(kind: str, limit: str) -> Change:
    stage = Stage(name="judge", kind=kind, parameters={limit: 0.5})  # type: ignore[arg-type]
    return lambda m: m.model_copy(update={"stages": (stage, *m.stages)})


def limited(limits: InputLimits) -> Change:
    return lambda m: m.model_copy(update={"input_limits": limits})


def with_schema(manifest: Manifest, **changes: object) -> Manifest:
    return manifest.model_copy(update={"schema_": manifest.schema_.model_copy(update=changes)})


REFUSED: dict[str, tuple[Change, str]] = {
    "no code measures it": (
        counting("sharpnes"),
        r"sharpnes: a characteristic of images \(CR, DX\) expected, got one that nothing measures",
    ),
    "in another unit": (counting("sharpness", "mm-1"), "sharpness: the unit 1 expected, got mm-1"),
    "header, in another unit": (
        counting("exposure", "mA.s"),
        r"exposure: the unit uA\.s expected, got mA\.s",
    ),
    "of another kind of image": (counting("tissue_noise", "[hnsf'U]"), r"images \(CR, DX\)"),
    "of another kind of header": (counting("echo_time", "ms"), "nothing measures"),
    "of a mask that no stage gives": (counting("lung_area"), "nothing measures"),
    "words that no header has": (in_words("colour", "RED"), "colour: .* nothing measures"),
    "words of another kind": (in_words("kernel", "B30f"), "kernel: .* nothing measures"),
    "a word that none can be": (
        in_words("presentation_intent", "FOR PRESENTATION", "FOR SHOW"),
        "presentation_intent: of FOR PRESENTATION, FOR PROCESSING expected, got FOR SHOW",
    ),
    "a modality outside the limits": (
        in_words("modality", "DX", "MG"),
        "modality: of CR, DX expected, got MG",
    ),
    "a margin that nobody knows": (by_margin("ethnicity", "A"), "ethnicity: .* nothing measures"),
    "a level that none can be": (by_margin("sex", "F", "W"), "sex: of F, M, O expected, got W"),
    "an age band of another cut": (by_margin("age_band", "18_30"), "age_band: of 18_39, "),
    "a limit on nothing": (
        judging("quality_gate", "blur_highest"),
        "stage judge: a measured characteristic with _lowest or _highest expected, got blur_high",
    ),
    "a limit with no side": (judging("segmenter", "noise_most"), "expected, got noise_most"),
    "an attribute that is none": (
        limited(InputLimits(ranges=(Range(attribute="KVp", lowest=60, highest=150),))),
        "input limits: the keyword of an attribute expected, got KVp",
    ),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_cannot_be_measured_is_refused_by_its_name(why: str) -> None:
    change, message = REFUSED[why]

    with pytest.raises(BundleRefused, match=message) as refused:
        check_measurable(change(a_manifest()))
    assert refused.value.reason == "characteristic"


@pytest.mark.parametrize(
    "change",
    [
        counting("sharpness"),
        counting("exposure", "uA.s"),
        in_words("presentation_intent", "FOR PROCESSING"),
        in_words("modality", "CR", "DX"),
        by_margin("age_band", "18_39", "80_up"),
        judging("quality_gate", "noise_highest"),
        limited(InputLimits(ranges=(Range(attribute="KVP", lowest=60, highest=150),))),
    ],
)
def test_what_can_be_is_not(change: Change) -> None:
    check_measurable(change(a_manifest()))


@pytest.mark.parametrize(
    ("limits", "names", "not_names"),
    [
        (of("CT"), {"tissue_noise", "pitch", "kvp"}, {"air_snr", "echo_time", "exposure_index"}),
        (of("MR"), {"air_snr", "echo_time"}, {"tissue_noise", "kvp", "speckle_snr"}),
        (of("US"), {"speckle_snr", "depth", "heart_rate"}, {"kvp", "red_ratio"}),
        (of("XA"), {"kvp", "frames"}, {"depth", "speckle_snr"}),
        (of("CT", "MR"), {"tissue_noise", "air_snr", "pitch", "echo_time"}, {"exposure"}),
        (InputLimits(), {"tissue_noise", "air_snr", "speckle_snr", "kvp"}, {"red_ratio"}),
        (of("NM"), {"noise", "slice_thickness", "heart_rate"}, {"tissue_noise"}),
    ],
)
def test_what_can_be_measured_depends_on_the_modality(
    limits: InputLimits, names: set[str], not_names: set[str]
) -> None:
    units = numeric_units(limited(limits)(a_manifest()))

    assert names <= set(units)
    assert not not_names & set(units)


def test_words_depend_on_the_modality_and_say_all_their_values() -> None:
    known = categories(limited(of("MR"))(a_manifest()))

    assert {"echo_pulse_sequence", "contrast_agent", "sex"} <= set(known)
    assert not {"kernel", "view", "pupil_dilated"} & set(known)
    assert known["modality"] == ("MR",)
    assert known["receive_coil"] is None  # free text: only the schema says which


@pytest.mark.parametrize("pattern", reference.PATTERNS)
def test_a_reference_device_measures_what_its_declaration_says(pattern: str) -> None:
    device = declared(reference.DECLARED[pattern])
    manifest = a_manifest(
        input_limits=device.limits, preprocessing=device.preprocessing, stages=device.stages
    )

    units = numeric_units(manifest)
    assert device.units.items() <= units.items()
    assert {c.name for c in device.categories} <= set(categories(manifest))


# Where it is refused ---------------------------------------------------------------------------


def unmeasurable(files: dict[str, bytes]) -> Manifest:
    manifest = a_manifest(files=entries(files), sentinel=None)
    return with_schema(counting("sharpnes")(manifest), sentinels=0)


def smuggled(folder: Path, files: dict[str, bytes]) -> Path:
    """A signed bundle that an earlier builder would have let through."""
    written(folder, files)
    payload = json.loads(unmeasurable(files).canonical)
    (folder / MANIFEST).write_bytes(unmeasurable(files).canonical)
    (folder / SIGNATURE).write_bytes(seal(PAYLOAD_TYPE, payload, [KEY]))
    return folder


def test_it_is_not_built(tmp_path: Path, files: dict[str, bytes]) -> None:
    with pytest.raises(BundleRefused, match="sharpnes: "):
        write_bundle(tmp_path / "bundle", unmeasurable(files), files, [KEY])
    assert not (tmp_path / "bundle").exists()


def test_nobody_else_signs_it(tmp_path: Path, files: dict[str, bytes]) -> None:
    with pytest.raises(BundleRefused, match="sharpnes: "):
        add_signature(smuggled(tmp_path / "bundle", files), KEY)


def test_it_is_not_verified_but_runs_on_where_it_runs(
    tmp_path: Path, files: dict[str, bytes]
) -> None:
    """A new agent that no longer measures something must not stop a cleared device."""
    folder = smuggled(tmp_path / "bundle", files)

    result = CliRunner().invoke(bundle, ["verify", str(folder), f"--trusted={KEY.public.hex()}"])

    assert isinstance(result.exception, BundleRefused)
    assert "sharpnes" in str(result.exception)
    assert open_bundle(folder, [KEY.public], 1).manifest.schema_.numeric[-1].name == "sharpnes"
