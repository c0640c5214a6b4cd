"""Suites of worlds: in control with every nuisance, and planted changes of known causes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from benchmarks.case_worlds import ACQUISITION, EMBEDDING, Change, World

MECHANISMS = ("graded", "clustered", "bounded", "subtypes")
CONTROL: dict[str, dict] = {
    "plain": {},
    "weekday": {"weekday": 0.5},
    "seasonal": {"season": 0.3},
    "low_volume": {"volume": 6.0},
    "day_sd": {"day_sd": 0.25},
    "heavy_days": {"heavy_days": True},
    "protocol_mix": {"protocol_mix": 0.25},
    "late": {"late": 0.2, "outages": 0.05},
    "tied": {"tied": 0.8},
    "volume_step": {"volume_step": ("H1", 40, 2.5)},
    "few_labels": {"audit": 0.09, "images": 40},
    "late_sentinel": {"reads_from": 110},
    "paused": {"reads_pause": (20, 90)},
    "follow_up": {"audit": 0.1, "follow_up": 0.4},
    "bare": {"_drop": "embedding"},
    "no_acquisition": {"_drop": "acquisition"},
    "score_only": {"_drop": "both"},
    "no_scanner": {"_drop": "scanner"},
    "no_labels": {"_drop": "labels"},
    "site_step": {"volume_step": ("H4", 30, 0.25)},
}
HALF = ("H2", "H3")


@dataclass(frozen=True)
class Scenario:
    """A world, what its table leaves out, and which causes must or may be named."""

    name: str
    suite: str
    world: World
    drop: str = ""
    unmodelled: bool = False

    @property
    def causes(self) -> set[str]:
        return set() if self.unmodelled else {c.cause for c in self.world.changes}


def in_control(seed: int, monitored: int = 180) -> Scenario:
    """One table in control; nuisance and mechanism by the seed."""
    names = sorted(CONTROL)
    name = names[seed % len(names)]
    options = dict(CONTROL[name])
    drop = options.pop("_drop", "")
    mechanism = MECHANISMS[(seed // len(names)) % len(MECHANISMS)]
    return Scenario(
        f"{name}/{mechanism}",
        "control",
        World(mechanism=mechanism, monitored=monitored, **options),
        drop,
    )


CHANGES: dict[str, tuple[Change, ...]] = {
    "scanner": (Change(cause="scanner", day=0, sites=("H1",), scanner="H1-0", size=1.0),),
    "scanner_single": (Change(cause="scanner", day=0, sites=("H3",), scanner="H3-0", size=1.0),),
    "scanner_ramp": (Change(cause="scanner", day=0, sites=("H2",), scanner="H2-1", ramp=30),),
    "prevalence_half": (Change(cause="prevalence", day=0, sites=HALF, size=2.5),),
    "prevalence_one": (Change(cause="prevalence", day=0, sites=("H1",), size=2.5),),
    "prevalence_fall": (Change(cause="prevalence", day=0, sites=("H2", "H1"), size=1 / 2.5),),
    "annotation_one": (Change(cause="annotation", day=0, sites=("H1",), size=0.5),),
    "annotation_all": (Change(cause="annotation", day=0, size=0.5),),
    "annotation_under": (Change(cause="annotation", day=0, sites=("H2", "H4"), size=-0.5),),
    "annotation_reader": (
        Change(cause="annotation", day=0, sites=("H2",), reader="H2-R1", size=0.8),
    ),
    "lock": (Change(cause="lock", day=0, sites=("H2",), size=0.8),),
}
COMBINED: dict[str, tuple[Change, ...]] = {
    "scanner+prevalence": (
        Change(cause="scanner", day=0, sites=("H1",), size=1.0),
        Change(cause="prevalence", day=0, sites=("H1",), size=2.5),
    ),
    "scanner+annotation": (
        Change(cause="scanner", day=0, sites=("H2",), size=1.0),
        Change(cause="annotation", day=0, sites=("H2",), size=0.6),
    ),
    "prevalence+annotation": (
        Change(cause="prevalence", day=0, sites=HALF, size=2.5),
        Change(cause="annotation", day=0, sites=HALF, size=0.6),
    ),
    "apart": (
        Change(cause="scanner", day=0, sites=("H1",), scanner="H1-1", size=1.0),
        Change(cause="annotation", day=15, sites=("H3",), size=0.6),
    ),
}
UNMODELLED: dict[str, tuple[Change, ...]] = {
    "score_noise": (Change(cause="score_noise", day=0, sites=("H1",), size=1.0),),
    "truncation": (Change(cause="truncation", day=0, sites=("H2",), size=0.5),),
    "anatomy": (Change(cause="anatomy", day=0, sites=("H1",), size=0.8),),
    "label_noise": (Change(cause="label_noise", day=0, sites=("H2",), size=1.5),),
}


def planted(suite: str, seed: int) -> Scenario:
    """One table of `suite` (medium, small, combined, unmodelled)."""
    rng = np.random.default_rng([seed, 99])
    table = {"medium": CHANGES, "small": CHANGES, "combined": COMBINED, "unmodelled": UNMODELLED}[
        suite
    ]
    names = sorted(table)
    name = names[seed % len(names)]
    start = int(rng.integers(10, 40))
    changes = tuple(replace(c, day=start + c.day) for c in table[name])
    if suite == "small":
        changes = tuple(
            replace(c, size=c.size**0.5 if c.cause == "prevalence" else c.size / 2) for c in changes
        )
    mechanism = MECHANISMS[(seed // len(names)) % len(MECHANISMS)]
    world = World(mechanism=mechanism, monitored=120 + start, changes=changes)
    return Scenario(f"{name}/{mechanism}", suite, world, unmodelled=suite == "unmodelled")


def columns_map(scenario: Scenario) -> str:
    """The `columns.toml` of a scenario's table."""
    drop = scenario.drop
    lines = [
        "[columns]",
        'window_date = "acquired"',
        'site = "hospital"',
        'score = "score"',
        'arrival_date = "uploaded"',
    ]
    if drop != "scanner":
        lines += ['scanner = "scanner"', 'scanner_model = "model"', 'software_version = "sw"']
    if drop != "labels":
        lines += [
            'label = "y"',
            'label_date = "read_on"',
            'label_source = "source"',
            'reader = "reader"',
        ]
    lines.append('sentinel_id = "sentinel"')
    if drop not in ("acquisition", "both"):
        lines.append(f"acquisition = {list(ACQUISITION)}".replace("'", '"'))
    if drop not in ("embedding", "both"):
        lines.append(f"embedding = {list(EMBEDDING)}".replace("'", '"'))
    lines += [
        "[label_sources]",
        'random_audit = ["audit"]',
        'follow_up = ["followup"]',
        'sentinel = ["sentinel"]',
        "[operating_point]",
        "threshold = 0.5",
    ]
    return "\n".join(lines) + "\n"
