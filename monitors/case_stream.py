"""The case streams: e-detectors of every watched stratum, of sites and of the fleet.

Local streams see one stratum. Group streams see the case-weighted mean of several on each day,
which finds a small common change sooner. All blocks of all strata advance as one array.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monitors.case_windows import CaseWindows
from monitors.detectors import advance, average, shift_evidence, stream_weights
from monitors.margins import reference_margin
from monitors.null_model import Basis, NoiseShare, coordinates, noise_of_reference
from monitors.reference import Reference, Stream, block_z, combine, shares
from monitors.schema import FloatArray, IntArray

SAME_DAY = 1e-3  # days between two looks of one day


@dataclass(frozen=True, slots=True, eq=False)
class BlockEvidence:
    """One block of every window: coordinates (W, K), log e-values (W, K', 2, 3), weight (K',)."""

    basis: Basis
    value: FloatArray
    variance: FloatArray
    reference: FloatArray
    noise: NoiseShare
    evidence: FloatArray
    weight: FloatArray

    @property
    def log_weight(self) -> FloatArray:
        """(K', 2, 3): equal over signs and sizes."""
        return np.asarray(np.log(np.repeat(self.weight / 6, 6)).reshape(-1, 2, 3))


def block_evidence(
    reference: Reference, windows: CaseWindows, limit: float
) -> dict[str, BlockEvidence]:
    """The evidence of every window in every block, scaled by how its stratum really varies."""
    found = {}
    for name, basis in reference.bases.items():
        value, variance, share = coordinates(
            reference.null, basis, windows.n, windows.mean, windows.unit, windows.noise
        )
        factor = reference.scale[name][windows.unit] ** 2
        variance, share = variance * factor, share * factor
        noise = _noise(reference, windows).scaled(factor.max(axis=1, keepdims=True))
        z, part = block_z(basis, value, variance, share, noise)
        weight = _weights(basis)
        evidence = shift_evidence(z, reference_margin(part, limit, weight))
        found[name] = BlockEvidence(basis, value, variance, share, noise, evidence, weight)
    return found


def _noise(reference: Reference, windows: CaseWindows) -> NoiseShare:
    lent = noise_of_reference(reference.null, windows.unit)
    return NoiseShare(windows.noise + lent, lent)


def _weights(basis: Basis) -> FloatArray:
    """Each coordinate's share (K',) of its stream."""
    single = basis.size - basis.whitened
    return stream_weights(basis.direction is not None, basis.whitened, single)


class CaseStreams:
    """Running state of all case streams; `step` once per batch of windows, in arrival order."""

    def __init__(self, reference: Reference, windows: CaseWindows, limit: float) -> None:
        self.reference, self.windows, self.limit = reference, windows, limit
        self.blocks = block_evidence(reference, windows, limit)
        units = len(reference.units)
        self.log_m = {
            name: np.full((units, *block.log_weight.shape), -np.inf)
            for name, block in self.blocks.items()
        }
        self.last = np.full(units, reference.until)
        self.at_site = {
            site: np.array([u.site == site for u in reference.units])
            for site in sorted({u.site for u in reference.units})
        }
        self.groups = [
            _Group(name, members, self.blocks, reference, limit)
            for name, members in reference.groups
        ]

    def step(self, day: int, which: IntArray) -> None:
        """Consume windows `which`, of different strata, that arrive on `day`."""
        unit = self.windows.unit[which]
        days = np.maximum(day - self.last[unit], SAME_DAY)
        for name, block in self.blocks.items():
            self.log_m[name][unit] = advance(
                self.log_m[name][unit], days[:, None, None, None], block.evidence[which]
            )
        self.last[unit] = day

    def step_groups(self, day: int, which: IntArray, excluded: IntArray) -> None:
        """Let sites consume all windows of `day`, the fleet all but those of `excluded` units."""
        free = np.ones(len(self.reference.units), dtype=bool)
        free[excluded] = False
        for group in self.groups:
            watched = group.inside if group.site else group.inside & free
            inside = watched[self.windows.unit[which]]
            if inside.any():
                group.step(day, which[inside], self.windows)

    def directed_evidence(self, site: str, which: IntArray) -> FloatArray | None:
        """log e-values (2, 3) of a site's score along the label-shift direction on one day."""
        block = self.blocks.get("score")
        mine = which[self.at_site[site][self.windows.unit[which]]]
        if block is None or block.basis.direction is None or not mine.size:
            return None
        value, variance, share = combine(
            block.value[mine], block.variance[mine], block.reference[mine], self.windows.n[mine]
        )
        index = [name for name, _ in self.reference.groups]
        factor = 1.0
        if site in index:
            at = list(self.blocks).index("score")
            factor = float(self.reference.group_scale[index.index(site), at]) ** 2
        noise = block.noise.select(mine).combined(shares(self.windows.n[mine])).scaled(factor)
        z, part = block_z(
            block.basis, value[None], variance[None] * factor, share[None] * factor, noise
        )
        margin = reference_margin(part[0], self.limit, block.weight)
        return shift_evidence(z[0, 0], margin[0])

    def reset(self, day: int, units: IntArray) -> None:
        """Begin again for `units`, and for every group that has seen them."""
        for log_m in self.log_m.values():
            log_m[units] = -np.inf
        self.last[units] = np.maximum(self.last[units], day)
        for group in self.groups:
            if group.inside[units].any():
                group.reset(day)

    def statistics(self) -> dict[Stream, float]:
        """log M of every case stream."""
        found: dict[Stream, float] = {}
        for name, block in self.blocks.items():
            mean = average(self.log_m[name], block.log_weight)
            for u, unit in enumerate(self.reference.units):
                stream = Stream(name, unit.site, unit.scanner, protocol=unit.protocol)
                found[stream] = max(float(mean[u]), found.get(stream, -np.inf))
        for group in self.groups:
            for name, block in self.blocks.items():
                if not group.site or name == "score":
                    stream = Stream(name, group.site)
                    found[stream] = float(average(group.log_m[name], block.log_weight))
        return found


class _Group:
    """The state of one site's or the fleet's streams."""

    def __init__(
        self,
        site: str,
        members: IntArray,
        blocks: dict[str, BlockEvidence],
        reference: Reference,
        limit: float,
    ) -> None:
        self.site, self.blocks, self.limit = site, blocks, limit
        self.inside = np.zeros(len(reference.units), dtype=bool)
        self.inside[members] = True
        index = [name for name, _ in reference.groups].index(site)
        self.scale = dict(zip(blocks, reference.group_scale[index], strict=True))
        self.reset(reference.until)

    def reset(self, day: int) -> None:
        """Begin again on `day`."""
        self.log_m = {n: np.full(b.log_weight.shape, -np.inf) for n, b in self.blocks.items()}
        self.last = day

    def step(self, day: int, which: IntArray, windows: CaseWindows) -> None:
        """One look at the case-weighted mean of windows `which`."""
        days = np.array(max(day - self.last, SAME_DAY))
        for name, b in self.blocks.items():
            if self.site and name != "score":
                continue
            value, variance, share = combine(
                b.value[which], b.variance[which], b.reference[which], windows.n[which]
            )
            factor = self.scale[name] ** 2
            noise = b.noise.select(which).combined(shares(windows.n[which])).scaled(factor)
            z, part = block_z(
                b.basis, value[None], variance[None] * factor, share[None] * factor, noise
            )
            evidence = shift_evidence(z[0], reference_margin(part[0], self.limit, b.weight))
            self.log_m[name] = advance(self.log_m[name], days, evidence)
        self.last = day
