"""The case streams: e-detectors of every watched stratum, of sites and of the fleet.

Local streams see one stratum. Group streams see the case-weighted mean of several on each day,
which finds a small common change sooner. All blocks of all strata advance as one array, a day at
a time: nothing is kept of a day but what it did to the detectors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from monitors.case_windows import CaseWindows
from monitors.detectors import SHIFTS, SIGNS, advance, average, shift_evidence, stream_weights
from monitors.margins import reference_margin
from monitors.null_model import Basis, NoiseShare, coordinates, noise_of_reference
from monitors.reference import Reference, Stream, block_z, combine, groups_of_units
from monitors.schema import BoolArray, FloatArray, IntArray

SAME_DAY = 1e-3  # days between two looks of one day
CHUNK = 128  # scopes looked at together: what they need stays in the processor's cache
# Value, variance, the reference's part, each (k, K), and what of the variance is edges' noise.
Reading = tuple[FloatArray, FloatArray, FloatArray, NoiseShare]
Readings = Mapping[str, Reading]  # by block


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """A block's K coordinates; scale (U, K), by how much more each stratum really varies; weight
    (K',) of each detector's coordinate, the directed one first."""

    name: str
    basis: Basis
    scale: FloatArray
    weight: FloatArray

    @property
    def cell_weight(self) -> FloatArray:
        """(K', 2, 3): equal over signs and sizes."""
        cells = SIGNS.size * SHIFTS.size
        return np.repeat(self.weight / cells, cells).reshape(-1, SIGNS.size, SHIFTS.size)

    def evidence(self, reading: Reading, limit: float) -> FloatArray:
        """log e-values (k, K', 2, 3)."""
        z, part = block_z(self.basis, *reading)
        return shift_evidence(z, reference_margin(part, limit, self.weight))


class _Detectors:
    """The e-detectors of several scopes side by side: strata, sites, or the fleet alone."""

    def __init__(
        self, blocks: tuple[_Block, ...], scopes: tuple[Stream, ...], since: int, limit: float
    ) -> None:
        self.blocks, self.scopes, self.limit = blocks, scopes, limit
        self.weight = {b.name: b.cell_weight for b in blocks}
        self.m = {n: np.zeros((len(scopes), *w.shape)) for n, w in self.weight.items()}
        self.last = np.full(len(scopes), since)

    def look(self, day: int, which: IntArray, readings: Readings) -> None:
        """One look at distinct scopes `which` (k,) on `day`."""
        days = np.maximum(day - self.last[which], SAME_DAY)[:, None, None, None]
        for block in self.blocks:
            m = self.m[block.name]
            for begin in range(0, which.size, CHUNK):
                part = slice(begin, begin + CHUNK)
                evidence = block.evidence(_part(readings[block.name], part), self.limit)
                m[which[part]] = advance(m[which[part]], days[part], evidence)
        self.last[which] = day

    def reset(self, day: int, which: IntArray) -> None:
        """Begin again on `day`."""
        for m in self.m.values():
            m[which] = 0
        self.last[which] = day

    def statistics(self) -> FloatArray:
        """M of every scope, block by block."""
        found = [average(self.m[b.name], self.weight[b.name]) for b in self.blocks]
        return np.concatenate([np.zeros(0), *found])


@dataclass(frozen=True, slots=True, eq=False)
class _Layer:
    """Groups of strata that share none: the sites, or the fleet alone.

    of_unit : (U,) the group of each stratum, -1 for none. scale : by block (groups,).
    """

    detectors: _Detectors
    of_unit: IntArray
    scale: Mapping[str, FloatArray]

    def look(self, day: int, unit: IntArray, n: IntArray, readings: Readings) -> None:
        """One look at each group's case-weighted mean of the windows of strata `unit` (k,)."""
        group = self.of_unit[unit]
        used = np.flatnonzero(group >= 0)
        present, place = np.unique(group[used], return_inverse=True)
        pooled = {}
        for block in self.detectors.blocks:
            own = _part(readings[block.name], used)
            factor = self.scale[block.name][present, None]
            pooled[block.name] = _widened(combine(place, present.size, *own, n[used]), factor)
        self.detectors.look(day, present, pooled)

    def reset(self, day: int, units: IntArray) -> None:
        """Begin again for every group that has seen one of `units`."""
        groups = np.unique(self.of_unit[units])
        self.detectors.reset(day, groups[groups >= 0])


class CaseStreams:
    """Running state of all case streams; `step` once a day on which something arrives."""

    def __init__(self, reference: Reference, windows: CaseWindows, limit: float) -> None:
        self.reference, self.windows, self.limit = reference, windows, limit
        self.blocks = _blocks(reference)
        until, units = reference.until, reference.units
        scopes = tuple(Stream("", u.site, u.scanner, protocol=u.protocol) for u in units)
        self.units = _Detectors(self.blocks, scopes, until, limit)
        self.sites, self.fleet = _layers(reference, self.blocks, limit)
        self.site_names, self.site_of, self.site_scale = _sites(reference)
        parts = (self.units, self.sites.detectors, self.fleet.detectors)
        scoped = [replace(s, block=b.name) for d in parts for b in d.blocks for s in d.scopes]
        place = {stream: i for i, stream in enumerate(dict.fromkeys(scoped))}
        self.streams = tuple(place)
        self._place = np.array([place[stream] for stream in scoped], dtype=np.int64)

    def step(self, day: int, which: IntArray, free: BoolArray) -> dict[str, FloatArray]:
        """Consume windows `which` that arrive on `day`; the fleet those of its `free` strata (U,).

        Returns the day's log e-values (2, 3) of each site's score along the label-shift direction.
        """
        unit, n = self.windows.unit[which], self.windows.n[which]
        readings = {b.name: self._reading(b, which) for b in self.blocks}
        for same in _in_turn(unit):
            self.units.look(day, unit[same], _parts(readings, same))
        self.sites.look(day, unit, n, readings)
        heard = np.flatnonzero(free[unit])
        self.fleet.look(day, unit[heard], n[heard], _parts(readings, heard))
        return self._along_label_shift(unit, n, readings)

    def _reading(self, block: _Block, which: IntArray) -> Reading:
        """Windows in a block's coordinates, scaled by how their stratum really varies."""
        w = self.windows
        unit, null = w.unit[which], self.reference.null
        own = coordinates(null, block.basis, w.n[which], w.mean[which], unit, w.noise[which])
        lent = noise_of_reference(null, unit)
        return _widened((*own, NoiseShare(w.noise[which] + lent, lent)), block.scale[unit])

    def _along_label_shift(
        self, unit: IntArray, n: IntArray, readings: Readings
    ) -> dict[str, FloatArray]:
        block = next((b for b in self.blocks if b.name == "score"), None)
        if block is None or block.basis.direction is None:
            return {}
        present, place = np.unique(self.site_of[unit], return_inverse=True)
        pooled = combine(place, present.size, *readings["score"], n)
        z, part = block_z(block.basis, *_widened(pooled, self.site_scale[present, None]))
        margin = reference_margin(part[:, 0], self.limit, block.weight[:1])
        names = [self.site_names[i] for i in present]
        return dict(zip(names, shift_evidence(z[:, 0], margin), strict=True))

    def reset(self, day: int, units: IntArray) -> None:
        """Begin again for `units`, and for every group that has seen them."""
        self.units.reset(day, units)
        self.sites.reset(day, units)
        self.fleet.reset(day, units)

    def reset_fleet(self, day: int) -> None:
        """Begin again for the fleet's own streams."""
        self.fleet.reset(day, np.arange(len(self.reference.units)))

    def statistics(self) -> FloatArray:
        """M of every stream, in the order of `streams`; the largest of strata of one name."""
        parts = (self.units, self.sites.detectors, self.fleet.detectors)
        found = np.zeros(len(self.streams))
        np.maximum.at(found, self._place, np.concatenate([d.statistics() for d in parts]))
        return found


def _blocks(reference: Reference) -> tuple[_Block, ...]:
    return tuple(
        _Block(
            name,
            basis,
            reference.scale[name],
            stream_weights(
                basis.direction is not None, basis.whitened, basis.size - basis.whitened
            ),
        )
        for name, basis in reference.bases.items()
    )


def _layers(
    reference: Reference, blocks: tuple[_Block, ...], limit: float
) -> tuple[_Layer, _Layer]:
    """The sites, which are watched for their score alone, and the fleet."""
    names = [name for name, _ in reference.groups]
    of_unit = groups_of_units(reference.groups, len(reference.units))
    made = []
    for is_fleet, of in zip((False, True), of_unit, strict=True):
        mine = [i for i, name in enumerate(names) if is_fleet == (not name)]
        watched = tuple(b for b in blocks if is_fleet or b.name == "score")
        scopes = tuple(Stream("", names[i]) for i in mine)
        scale = {b.name: reference.group_scale[mine, at] for at, b in enumerate(blocks)}
        local = np.where(of < 0, -1, of - min(mine, default=0))
        made.append(_Layer(_Detectors(watched, scopes, reference.until, limit), local, scale))
    return made[0], made[1]


def _sites(reference: Reference) -> tuple[tuple[str, ...], IntArray, FloatArray]:
    """Every site, that of each stratum (U,), and how much more the site's score varies."""
    unique, of = np.unique([u.site for u in reference.units], return_inverse=True)
    names, scale = tuple(str(name) for name in unique), np.ones(unique.size)
    for group, (name, _) in enumerate(reference.groups):
        if name and "score" in reference.bases:
            scale[names.index(name)] = reference.group_scale[
                group, list(reference.bases).index("score")
            ]
    return names, of, scale


def _in_turn(unit: IntArray) -> Iterator[IntArray]:
    """Places of each stratum's first window of the day, then of the second ones; `unit` sorted."""
    begin = np.flatnonzero(np.diff(unit, prepend=-1))
    rank = np.arange(unit.size) - np.repeat(begin, np.diff(np.append(begin, unit.size)))
    for turn in range(int(rank.max(initial=-1)) + 1):
        yield np.flatnonzero(rank == turn)


def _part(reading: Reading, which: IntArray | slice) -> Reading:
    value, variance, share, noise = reading
    return value[which], variance[which], share[which], noise.select(which)


def _parts(readings: Readings, which: IntArray) -> Readings:
    return {name: _part(reading, which) for name, reading in readings.items()}


def _widened(reading: Reading, factor: FloatArray) -> Reading:
    """With standard deviations `factor` (k, K) or (k, 1) times as large."""
    value, variance, share, noise = reading
    square = factor**2
    widest = square.max(axis=1, keepdims=True)
    return value, variance * square, share * square, noise.scaled(widest)
