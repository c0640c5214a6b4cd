"""What the chain can measure of a device's images: all that its schema may name, and in which unit.

A name that nothing measures would count as missing for ever, and a limit on it would never be
judged. Both are refused where a bundle is built, verified or installed; what runs, runs on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet

from pydicom.datadict import tag_for_keyword

from app.contracts.manifest import InputLimits, Manifest, Stage
from app.device.bundle import BundleRefused
from app.device.pixels import attributes, characteristics, ct, modality, mr

AREAS = {"lungs": "lung_area", "ventricle": "ventricle_area"}  # mask -> characteristic
SIDES = ("lowest", "highest")
_JUDGING = ("quality_gate", "segmenter")
_KNOWN = frozenset[str]().union(*attributes.MODALITIES.values())


def check_measurable(manifest: Manifest) -> None:
    """Refuse a manifest whose schema or limits name what its chain cannot measure of its images."""
    for trouble in _troubles(manifest):
        raise BundleRefused("characteristic", trouble)


def numeric_units(manifest: Manifest) -> dict[str, str]:
    """Unit (UCUM) of every characteristic in numbers that a case of the device can have."""
    taken = modalities(manifest.input_limits)
    read = {name: unit for name, (_, unit) in attributes.NUMERIC.items() if _may_have(name, taken)}
    seen = image_units(taken, manifest.preprocessing.intensity)
    return seen | area_units(manifest.stages) | read


def image_units(taken: AbstractSet[str], intensity: str) -> dict[str, str]:
    """Those that the pixels of these modalities show; of no stated modality, those of all."""
    units = dict(characteristics.UNITS)
    if not taken or "CT" in taken:
        units |= ct.UNITS
    if not taken or "MR" in taken:
        units |= mr.UNITS
    if intensity == "colour":
        units |= modality.COLOUR_UNITS
    elif not taken or "US" in taken:
        units |= modality.ULTRASOUND_UNITS
    return units


def area_units(stages: Sequence[Stage]) -> dict[str, str]:
    """The share of the image in each mask that a stage gives."""
    return {AREAS[output]: "1" for stage in stages for output in stage.outputs if output in AREAS}


def categories(manifest: Manifest) -> dict[str, tuple[str, ...] | None]:
    """Every characteristic and margin in words, with all its values where these are enumerated."""
    taken = modalities(manifest.input_limits)
    known = dict(attributes.ENUMERATED) | ({"modality": tuple(sorted(taken))} if taken else {})
    return {name: known.get(name) for name in attributes.CATEGORICAL if _may_have(name, taken)}


def modalities(limits: InputLimits) -> frozenset[str]:
    """Those that the input limits let in; none where they do not say."""
    allowed = [set(limit.values) for limit in limits.allowed if limit.attribute == "Modality"]
    return frozenset(set.intersection(*allowed) if allowed else ())


def _may_have(name: str, taken: frozenset[str]) -> bool:
    """Whether objects of these modalities may have it; of a modality that is not known here,
    anything is believed."""
    of = attributes.MODALITIES.get(name)
    return of is None or not taken or bool(taken & of) or not taken <= _KNOWN


def _troubles(manifest: Manifest) -> Iterator[str]:
    units = numeric_units(manifest)
    yield from _numbers(manifest, units)
    yield from _words(manifest)
    yield from _limits(manifest.stages, units)
    yield from _attributes(manifest.input_limits)


def _numbers(manifest: Manifest, units: dict[str, str]) -> Iterator[str]:
    for named in manifest.schema_.numeric:
        if named.name not in units:
            yield _unknown(named.name, manifest)
        elif named.unit != units[named.name]:
            yield f"{named.name}: the unit {units[named.name]} expected, got {named.unit}"


def _words(manifest: Manifest) -> Iterator[str]:
    known = categories(manifest)
    named = [(c.name, c.categories) for c in manifest.schema_.categorical]
    named += [(m.name, m.levels) for m in manifest.schema_.margins]
    for name, values in named:
        if name not in known:
            yield _unknown(name, manifest)
        for value in values:
            if (possible := known.get(name)) is not None and value not in possible:
                yield f"{name}: of {', '.join(possible)} expected, got {value}"


def _unknown(name: str, manifest: Manifest) -> str:
    of = ", ".join(sorted(modalities(manifest.input_limits))) or "any modality"
    return f"{name}: a characteristic of images ({of}) expected, got one that nothing measures"


def _limits(stages: Sequence[Stage], units: dict[str, str]) -> Iterator[str]:
    for stage in stages:
        for limit in stage.parameters if stage.kind in _JUDGING else ():
            measure, _, side = limit.rpartition("_")
            if measure not in units or side not in SIDES:
                yield (
                    f"stage {stage.name}: a measured characteristic with _lowest or _highest "
                    f"expected, got {limit}"
                )


def _attributes(limits: InputLimits) -> Iterator[str]:
    named = [limit.attribute for limit in limits.allowed]
    named += [limit.attribute for limit in limits.ranges]
    for attribute in (*named, *limits.may_be_missing):
        if tag_for_keyword(attribute) is None:
            yield f"input limits: the keyword of an attribute expected, got {attribute}"
