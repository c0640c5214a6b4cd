"""The five devices beside the chest one: phantoms, bundles, chains, with tiny trainings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from app.device import reference
from app.device.bundle import open_bundle
from app.device.chain import Chain, LockBroken
from app.device.pixels import header
from app.device.reference.common.cohort import ACQUIRED, Drawn, declared, phantom
from app.device.reference.common.declaration import ReferenceDevice
from app.device.reference.common.evaluation import agreement, auc, calibration
from app.device.reference.common.identity import invent_identity
from app.device.reference.common.phantom import Phantom
from app.device.result import CaseResult, Outcome
from app.device.ventricle import length_mm, volume_ml
from tests.support.chest_bundle import KEY
from tests.support.chest_bundle import SEED as SEEDED
from tests.support.reference_bundles import PATTERNS, reference_bundle

SEED = 31


def device_of(pattern: str) -> ReferenceDevice:
    return declared(reference.DECLARED[pattern])


def case(pattern: str, index: int) -> tuple[Phantom, Dataset]:
    """A phantom and its object, as a scanner would send it."""
    device = device_of(pattern)
    vendor, found = phantom(device, Drawn("", SEED, 0, 0.5), index)
    identity = invent_identity(np.random.default_rng(index), found, ACQUIRED, "Hospital")
    return found, device.to_dicom(found, identity, device.scanners[vendor], ACQUIRED)


@pytest.fixture(scope="session", params=PATTERNS)
def chain_of(request: pytest.FixtureRequest) -> Chain:
    """The chain of each device, trained with small effort."""
    return Chain.load(open_bundle(reference_bundle(request.param), [KEY.public], 1))


def run(chain: Chain, dataset: Dataset) -> CaseResult:
    point = chain.manifest.operating_points[0]
    return chain.run_dataset(dataset, {t.stage: t.value for t in point.thresholds})


def answered(chain: Chain) -> list[tuple[Phantom, CaseResult]]:
    cases = [case(chain.manifest.pattern, index) for index in range(8)]
    results = [(found, run(chain, dataset)) for found, dataset in cases]
    kept = [(p, r) for p, r in results if r.outcome in (Outcome.FLAGGED, Outcome.NOT_FLAGGED)]
    assert len(kept) >= 4, [(r.outcome, r.reason) for _, r in results]
    return kept


def test_known_answers_hold(chain_of: Chain) -> None:
    assert chain_of.prove() == 0.0


def test_a_moved_answer_breaks_the_lock(chain_of: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = dict(chain_of.bundle.arrays("known_answers.npz"))
    stored["scores"] = stored["scores"] + np.where(np.arange(len(stored["scores"])) == 1, 2e-3, 0)
    monkeypatch.setattr(type(chain_of.bundle), "arrays", lambda _self, _name: stored)
    with pytest.raises(LockBroken, match=r"known-answer case 1: score moved by -0\.002"):
        chain_of.prove()


def test_the_same_seed_gives_the_same_files(tmp_path: Path) -> None:
    """Built once in a process of its own and once here, to the byte; the manifests may differ by
    the commit that they name."""
    first = open_bundle(reference_bundle("dermatology"), [KEY.public], 1).manifest
    again = reference.builder("dermatology")(tmp_path / "again", [KEY], SEEDED, effort="small")
    assert again.files == first.files
    assert again.schema_ == first.schema_


def test_sentinels_score_as_cleared(chain_of: Chain) -> None:
    stored = chain_of.bundle.arrays("sentinel.npz")
    np.testing.assert_allclose(chain_of.sentinel_scores(), stored["scores"], atol=1e-6)
    assert len(stored["scores"]) == chain_of.manifest.schema_.sentinels


def test_every_case_is_scored_and_measured(chain_of: Chain) -> None:
    names = {f.name for f in chain_of.manifest.schema_.numeric}
    acquisition = set(device_of(chain_of.manifest.pattern).acquisition)
    for _, result in answered(chain_of):
        assert set(result.scores) == {chain_of.scoring.name, "out_of_distribution"}
        assert acquisition <= set(result.numeric) <= names
        assert "OTHER" not in result.categorical.values()
        assert result.stratum["protocol"]


def test_what_a_clinician_is_shown(chain_of: Chain) -> None:
    for found, result in answered(chain_of):
        kind = chain_of.scoring.kind
        if kind in ("classifier", "ensemble"):
            assert result.heat_map is not None
            assert 0 <= result.heat_map.min() <= result.heat_map.max() <= 1
        if kind == "detector":
            rows, columns = found.pixels.shape
            for box in result.boxes:
                assert box.left < box.right <= columns * 1.5
                assert box.upper < box.lower <= rows * 1.5
        if kind == "measurement":
            assert result.measurement is not None
            assert result.measurement.unit == "%"
            assert result.measurement.sd > 0
            assert [len(o.points) for o in result.outlines if o.name.endswith("length")] == [2, 2]


def test_triage_follows_the_outcome(chain_of: Chain) -> None:
    for _, result in answered(chain_of):
        if chain_of.manifest.pattern == "dermatology":
            assert (result.triage == "urgent") == (result.outcome is Outcome.FLAGGED)
        else:
            assert result.triage == ""


def test_noise_is_refused_or_not_known(chain_of: Chain) -> None:
    """White noise is nothing that the device was cleared for."""
    found, dataset = case(chain_of.manifest.pattern, 0)
    rng = np.random.default_rng(0)
    dataset.PixelData = rng.integers(0, 256, found.pixels.size, dtype=np.uint8).tobytes()
    if len(dataset.PixelData) % 2:
        dataset.PixelData += b"\0"
    assert run(chain_of, dataset).outcome in (Outcome.QUALITY_REJECTED, Outcome.ABSTAINED)


def test_a_child_is_outside_the_limits(chain_of: Chain) -> None:
    _, dataset = case(chain_of.manifest.pattern, 0)
    dataset.PatientAge = "009Y"
    result = run(chain_of, dataset)
    assert (result.outcome, result.reason) == (Outcome.OUTSIDE_LIMITS, "patientage")


def test_the_wrong_kind_of_pixels_fails_with_a_reason(chain_of: Chain) -> None:
    found, dataset = case(chain_of.manifest.pattern, 0)
    if found.pixels.ndim == 2:
        dataset.NumberOfFrames = 2
        dataset.PixelData = found.pixels.tobytes() * 2
        wanted = "not_one_grey_frame"
    elif found.spacing_mm is None:
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.PixelData = found.pixels[..., 0].tobytes()
        wanted = "photometricinterpretation"
    else:
        del dataset.SequenceOfUltrasoundRegions
        wanted = "spacing"
    result = run(chain_of, dataset)
    assert result.outcome in (Outcome.FAILED, Outcome.OUTSIDE_LIMITS)
    assert result.reason == wanted


def test_the_manifest_says_what_was_seen(chain_of: Chain) -> None:
    validation = chain_of.manifest.validation
    rows = {(row.margin, row.level): row for row in validation.subgroups}
    everyone = rows["all", "all"]
    assert everyone.cases == validation.cases
    for margin in ("scanner", "sex"):
        parts = [row for (name, _), row in rows.items() if name == margin]
        assert sum(row.cases for row in parts) == everyone.cases
    report = json.loads(chain_of.bundle.read("evaluation.json"))
    assert report["cases_answered"] == validation.cases <= report["cases_offered"]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_phantom_repeats_and_its_header_is_in_the_limits(pattern: str) -> None:
    first, dataset = case(pattern, 3)
    again, _ = case(pattern, 3)
    np.testing.assert_array_equal(first.pixels, again.pixels)
    assert header.protocol(dataset)
    assert first.severity == "none" or first.positive


@pytest.mark.parametrize("pattern", PATTERNS)
def test_vendors_look_different(pattern: str) -> None:
    """The same patient in front of two products gives another picture, not only another size."""
    device = device_of(pattern)
    levels = []
    for vendor in device.scanners:
        found = [
            device.make(np.random.default_rng([5, index]), vendor, False, 0.0).pixels
            for index in range(4)
        ]
        levels.append(np.mean([p[p > 0].mean() for p in found]))
    assert np.ptp(levels) > 1.0


def test_breast_lesions_are_darker_than_what_lies_around_them() -> None:
    inside, around = [], []
    for index in range(12):
        found, _ = case("cadx", index)
        assert found.truth.boxes is not None
        left, upper, right, lower = found.truth.boxes[0].astype(int)
        inside.append(found.pixels[upper:lower, left:right].mean())
        around.append(found.pixels[upper:lower].mean())
    assert np.mean(inside) < np.mean(around) - 5


def test_true_ejection_fraction_decides_what_is_positive() -> None:
    for index in range(6):
        found, _ = case("echo", index)
        assert found.truth.masks is not None
        area = found.truth.masks.sum(axis=(1, 2))
        assert found.positive == (found.truth.value < 50)
        assert area.argmax() == 0  # the clip begins at the end of diastole
        assert found.pixels.shape == found.truth.masks.shape


def test_one_plane_does_not_tell_the_whole_ejection_fraction() -> None:
    """The truth is of two planes, of which one is seen: no outline of it is without error."""
    off = []
    for index in range(16):
        found, _ = case("echo", index)
        truth, spacing = found.truth, found.spacing_mm
        assert truth.masks is not None and truth.points is not None and spacing is not None
        area = truth.masks.sum(axis=(1, 2)) * spacing**2
        volume = volume_ml(area, length_mm(truth.points, spacing))
        off.append(100 * (1 - volume.min() / volume.max()) - truth.value)
    assert 2 < np.std(off) < 7
    assert abs(np.mean(off)) < 3


def test_agreement_of_a_constant_error() -> None:
    true = np.array([40.0, 50.0, 60.0, 70.0])
    found = agreement(true + np.array([1.0, 3.0, 1.0, 3.0]), true)
    assert found["bias"] == pytest.approx(2.0)
    assert found["sd"] == pytest.approx(np.sqrt(4 / 3))
    assert found["mean_absolute_error"] == pytest.approx(2.0)


def test_calibration_error_of_a_constant_score() -> None:
    found = calibration(np.full(100, 0.4), np.arange(100) % 2 == 0)
    assert found["expected_calibration_error"] == pytest.approx(0.1, abs=1e-9)


def test_auc_of_separated_and_of_tied_scores() -> None:
    assert auc(np.array([3.0, 4.0]), np.array([1.0, 2.0]))[0] == 1.0
    assert auc(np.array([1.0, 1.0]), np.array([1.0, 1.0]))[0] == 0.5


@pytest.mark.slow
@pytest.mark.parametrize("pattern", reference.PATTERNS)
def test_full_training_is_good_and_not_perfect(pattern: str, tmp_path: Path) -> None:
    """A device that is never wrong cannot show drift."""
    manifest = reference.builder(pattern)(tmp_path / "bundle", [KEY], 20260105)
    everyone = manifest.validation.subgroups[0]
    report = json.loads((tmp_path / "bundle" / "evaluation.json").read_text())
    assert report["expected_calibration_error"] < 0.05
    assert everyone.auc is not None
    assert 0.85 <= everyone.auc <= 0.97
    if pattern == "echo":  # two readers of one clip differ as much (Lang 2015)
        assert 5 <= report["sd"] <= 7
        assert abs(report["bias"]) < 2
