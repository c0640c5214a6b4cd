"""May this operating point be used here? One rule, kept by the centre before it signs and by the
edge before it applies; the edge takes the envelope from its own signed bundle and from nowhere
else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from app.contracts.exchange import OperatingPoint
from app.contracts.manifest import Bounds, Manifest, Threshold
from app.errors import ContractError

Key = tuple[str, str]  # stage, scanner class ("" = every class)
TOUCH = 1e-12  # of a step: bounds are given on bin edges, which are floats


class PointRefused(ContractError):
    """An operating point that may not be used here; `reason` is a closed, countable word."""

    title = "Operating point refused"


@dataclass(frozen=True, slots=True)
class InUse:
    """The newest operating point of one installation. The cleared one has counter 0.

    rollback : the thresholds that `rollback_to` names: going back there needs no waiting.
    """

    id: str
    thresholds: tuple[Threshold, ...]
    counter: int = 0
    effective_from: datetime | None = None
    rollback: tuple[Threshold, ...] = field(default=())


def cleared(manifest: Manifest) -> InUse:
    """The operating point that the bundle was cleared with."""
    name = manifest.default_operating_point
    points = {p.id: p.thresholds for p in manifest.operating_points}
    return InUse(name, points[name])


def thresholds_for(thresholds: Iterable[Threshold], scanner_class: str) -> dict[str, float]:
    """Score thresholds by stage for one class of scanners: its own, or everybody's."""
    found = {t.stage: t.value for t in thresholds if not t.scanner_class}
    own = {t.stage: t.value for t in thresholds if t.scanner_class == scanner_class}
    return found | own


def scanner_class(manufacturer: str, model: str) -> str:
    """The name of a class of scanners in bounds and thresholds."""
    return f"{manufacturer}/{model}"


def check(point: OperatingPoint, manifest: Manifest, site: str, in_use: InUse) -> None:
    """Raise `PointRefused` unless `point` may follow what is in use at `site` on this device."""
    if point.lock_digest != manifest.lock_digest:
        raise PointRefused("other_device", "it is for another device version")
    if site not in point.sites:
        raise PointRefused("wrong_site", f"it is for {', '.join(point.sites)}, not for {site}")
    if point.counter == in_use.counter:
        raise PointRefused("replayed", f"a counter above {in_use.counter} expected")
    if point.counter < in_use.counter:
        raise PointRefused(
            "downgraded", f"a counter above {in_use.counter} expected, got {point.counter}"
        )
    if point.previous != in_use.id:
        raise PointRefused("out_of_order", f"it follows {point.previous}, {in_use.id} is in use")
    check_thresholds(point.thresholds, manifest)
    _check_move(point, manifest, in_use)


def check_thresholds(thresholds: Iterable[Threshold], manifest: Manifest) -> None:
    """Raise `PointRefused` unless every threshold lies on a bin edge inside the envelope."""
    edges = {score.stage: score.edges for score in manifest.schema_.scores}
    given = [(t.stage, t.scanner_class) for t in thresholds]
    expected = {(t.stage, "") for t in cleared(manifest).thresholds if not t.scanner_class}
    if len(set(given)) != len(given) or not expected <= set(given):
        raise PointRefused("incomplete", "one threshold for every stage and class expected")
    for t in thresholds:
        bounds = bounds_of(manifest, (t.stage, t.scanner_class))
        if t.value not in edges.get(t.stage, ()):
            raise PointRefused("not_on_edge", f"{t.stage}: a score-bin edge expected")
        if not bounds.lowest <= t.value <= bounds.highest:
            raise PointRefused(
                "outside_envelope",
                f"{t.stage}: {bounds.lowest} to {bounds.highest} cleared, got {t.value}",
            )


def bounds_of(manifest: Manifest, key: Key) -> Bounds:
    """The envelope of a threshold: of its scanner class, else of every class."""
    stage, scanners = key
    found = {(b.stage, b.scanner_class): b for b in manifest.change_control}
    bounds = found.get(key) or found.get((stage, ""))
    if bounds is None:
        raise PointRefused("outside_envelope", f"{stage or scanners}: no envelope was cleared")
    return bounds


def _check_move(point: OperatingPoint, manifest: Manifest, in_use: InUse) -> None:
    goes_back = bool(in_use.rollback) and _same(point.thresholds, in_use.rollback)
    for key, before, after in _moves(in_use.thresholds, point.thresholds):
        bounds = bounds_of(manifest, key)
        if abs(after - before) > bounds.largest_step + TOUCH:
            raise PointRefused(
                "step", f"{key[0]}: a step of at most {bounds.largest_step}, got {after - before:+}"
            )
        least = timedelta(days=bounds.fewest_days_between)
        since = in_use.effective_from
        if since is not None and point.effective_from - since < least and not goes_back:
            raise PointRefused(
                "too_soon", f"{key[0]}: {bounds.fewest_days_between} days between changes expected"
            )


def _moves(
    before: tuple[Threshold, ...], after: tuple[Threshold, ...]
) -> Iterator[tuple[Key, float, float]]:
    """Every stage and class whose threshold differs, with its old and new value."""
    old, new = _by_key(before), _by_key(after)
    for key in sorted(old.keys() | new.keys()):
        was, becomes = (x.get(key, x.get((key[0], ""))) for x in (old, new))
        if was is None or becomes is None:
            raise PointRefused("incomplete", f"{key[0]}: a threshold before and after expected")
        if was != becomes:
            yield key, was, becomes


def _by_key(thresholds: Iterable[Threshold]) -> Mapping[Key, float]:
    return {(t.stage, t.scanner_class): t.value for t in thresholds}


def _same(one: tuple[Threshold, ...], other: tuple[Threshold, ...]) -> bool:
    return _by_key(one) == _by_key(other)
