"""Case tables with known causes, row by row: worlds that know nothing of how lockwatch works.

Independent of `app.lab.simulate`: severities are continuous or graded, scores may saturate, be
rounded or come in clusters, and characteristics are skewed, discrete or tied to disease.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

START = pd.Timestamp("2025-01-06")  # a Monday
LAYOUT = {"H1": 2, "H2": 2, "H3": 1, "H4": 1}  # scanners of each site
ACQUISITION = ("noise", "sharpness", "dose", "kvp", "field", "contrast")
EMBEDDING = tuple(f"e{i}" for i in range(6))
IMAGES = 150  # of the sentinel set


@dataclass(frozen=True, kw_only=True)
class Change:
    """One planted change from monitored day `day` on, at `sites` (all if empty).

    size: scanner in SD of the characteristics it moves; prevalence an odds ratio; annotation in
    SD of a reader's perception; performance in SD of positives' visibility; lock in logits.
    """

    cause: str
    day: int
    sites: tuple[str, ...] = ()
    scanner: str = ""
    reader: str = ""
    size: float = 1.0
    ramp: int = 0


@dataclass(frozen=True, kw_only=True)
class World:
    """A fleet's ordinary life."""

    mechanism: str = "graded"
    layout: dict[str, int] = field(default_factory=lambda: dict(LAYOUT))
    volume: float = 25.0  # cases a scanner and day
    reference: int = 90
    monitored: int = 120
    audit: float = 0.2
    follow_up: float = 0.0
    lag: float = 8.0
    prevalence: float = 0.15
    day_sd: float = 0.1
    weekday: float = 0.0
    season: float = 0.0
    heavy_days: bool = False
    late: float = 0.0
    outages: float = 0.0
    protocol_mix: float = 0.0
    tied: float = 0.0  # SD by which positives' acquisition differs
    volume_step: tuple[str, int, float] | None = None
    reads_every: int = 28
    reads_from: int = 5
    reads_pause: tuple[int, int] | None = None
    images: int = IMAGES
    scores_every: int = 7
    changes: tuple[Change, ...] = ()

    @property
    def reference_end(self) -> str:
        return str((START + pd.Timedelta(days=self.reference - 1)).date())

    def date_of(self, change: Change) -> pd.Timestamp:
        return START + pd.Timedelta(days=self.reference + change.day)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


class _Draw:
    """The random draws of one world."""

    def __init__(self, world: World, seed: int) -> None:
        self.w, self.rng = world, np.random.default_rng([seed, 4711])
        self.days = world.reference + world.monitored
        self.scanners = [(s, f"{s}-{k}") for s, n in world.layout.items() for k in range(n)]
        self.sites = list(world.layout)
        k, rng = len(ACQUISITION), self.rng
        self.offset = rng.normal(0, 0.6, (len(self.scanners), k))
        self.site_level = rng.normal(0, 0.25, len(self.sites))
        scale = world.day_sd * (
            rng.standard_t(3, (len(self.sites), self.days, k + 1)) if world.heavy_days else 1
        )
        self.day_level = scale * rng.normal(size=(len(self.sites), self.days, k + 1))
        self.loading = rng.normal(size=(len(EMBEDDING), k + 3)) / 3
        moved = rng.permutation(k)[:2]
        self.scanner_direction = np.zeros(k)
        self.scanner_direction[moved] = rng.choice([-1, 1], 2) * np.array([1.0, 0.7])
        self.influence = rng.normal(0, 0.12, k)

    def strength(self, cause: str, day, site, scanner=None) -> np.ndarray:
        """How much of each change of `cause` acts on each row."""
        total = np.zeros(len(day))
        for c in self.w.changes:
            if c.cause != cause:
                continue
            part = np.clip((day - self.w.reference - c.day + 1) / max(c.ramp, 1), 0, 1)
            here = np.isin(site, c.sites) if c.sites else np.ones(len(day), bool)
            if c.scanner and scanner is not None:
                here &= scanner == c.scanner
            size = np.log(c.size) if cause == "prevalence" else c.size
            total += np.where(here, part * size, 0)
        return total

    def convention(self, day, site, reader) -> np.ndarray:
        total = np.zeros(len(day))
        for c in self.w.changes:
            if c.cause == "annotation":
                here = np.isin(site, c.sites) if c.sites else np.ones(len(day), bool)
                if c.reader:
                    here &= reader == c.reader
                begun = (day - self.w.reference - c.day + 1) / max(c.ramp, 1)
                total += np.where(here, np.clip(begun, 0, 1) * c.size, 0)
        return total

    def rows(self) -> pd.DataFrame:
        """Site, scanner, day and cluster of every case."""
        w, rng = self.w, self.rng
        day = np.arange(self.days)
        parts = []
        for i, (site, scanner) in enumerate(self.scanners):
            mean = w.volume * (1 - w.weekday * (day % 7 >= 5))
            mean = mean * (1 + 0.3 * w.season * np.sin(2 * np.pi * day / 365))
            if w.volume_step and w.volume_step[0] == site:
                mean = np.where(
                    day >= w.reference + w.volume_step[1], mean * w.volume_step[2], mean
                )
            mean = mean * (rng.random(self.days) >= w.outages)
            if w.mechanism == "clustered":
                patients = rng.poisson(mean / 4)
                which = np.repeat(day, patients)
                size = 1 + rng.poisson(3, which.size)
                at = np.repeat(which, size)
                cluster = np.repeat(np.arange(which.size), size) + i * 10_000_000
            else:
                at = np.repeat(day, rng.poisson(mean))
                cluster = np.arange(at.size) + i * 10_000_000
            parts.append(
                pd.DataFrame(
                    {"site": site, "scanner": scanner, "at": at, "cluster": cluster, "i": i}
                )
            )
        return pd.concat(parts, ignore_index=True)


def case_table(world: World, seed: int) -> pd.DataFrame:
    """Cases and sentinel rows of one world, as a hospital's export would hold them."""
    d = _Draw(world, seed)
    rng, f = d.rng, d.rows()
    day, site, scanner = f["at"].to_numpy(), f["site"].to_numpy(), f["scanner"].to_numpy()
    s = np.searchsorted(d.sites, site)
    n, k = len(f), len(ACQUISITION)
    codes, cluster = np.unique(f["cluster"].to_numpy(), return_inverse=True)
    bedside = (rng.random(codes.size) < world.protocol_mix)[cluster]
    logit = np.log(world.prevalence / (1 - world.prevalence)) + d.site_level[s]
    logit = logit + d.day_level[s, day, k] + 0.8 * bedside
    logit = logit + world.season * 0.3 * np.sin(2 * np.pi * day / 365)
    logit = logit + 0.2 * world.weekday * (day % 7 >= 5) + d.strength("prevalence", day, site)
    logit = logit + 0.7 * d.strength("population", day, site)
    positive = _positive(world, rng, logit, cluster, codes.size)
    severity = _severity(world, d, positive, cluster, codes.size, day, site)
    acquisition = rng.normal(size=(n, k))
    if world.mechanism == "clustered":
        acquisition = 0.7 * rng.normal(size=(codes.size, k))[cluster] + 0.7 * acquisition
    if world.mechanism == "bounded":
        acquisition = rng.standard_t(5, (n, k)) / 1.29
    acquisition = acquisition + d.offset[f["i"].to_numpy()] + d.day_level[s, day, :k]
    acquisition[:, :2] += world.tied * positive[:, None] + 0.9 * bedside[:, None]
    acquisition += d.strength("scanner", day, site, scanner)[:, None] * d.scanner_direction
    seen = severity + acquisition @ d.influence + d.strength("lock", day, site) / 2
    seen = seen + _oddity(d, day, site, severity, rng)
    score = _score(world, seen)
    latent = np.column_stack([severity, acquisition, rng.normal(size=(n, 2))])
    embedding = np.tanh(latent @ d.loading.T) * 2 + 0.4 * rng.normal(size=(n, len(EMBEDDING)))
    embedding[:, 0] += d.strength("anatomy", day, site)
    return _frame(
        world,
        d,
        f,
        day,
        site,
        scanner,
        bedside,
        severity,
        score,
        _units(acquisition),
        embedding,
    )


def _positive(world, rng, logit, cluster, clusters) -> np.ndarray:
    """Truth; clustered worlds share most of it within a patient."""
    u = rng.random(logit.size)
    if world.mechanism == "clustered":
        own, shared = rng.random(logit.size) < 0.8, rng.random(clusters)[cluster]
        u = np.where(own, shared, u)
    return (u < _sigmoid(logit)).astype(int)


def _severity(world, d, positive, cluster, clusters, day, site) -> np.ndarray:
    """What an image shows, in SD of noise; around 0 for negatives, around 2 for positives."""
    rng, n = d.rng, positive.size
    noise = rng.normal(size=n)
    lost = d.strength("performance", day, site)
    if world.mechanism == "graded":  # mild, moderate, severe disease, and mimics
        grade = rng.choice([1.2, 2.0, 3.0], n, p=[0.3, 0.4, 0.3])
        mimic = (rng.random(n) < 0.06) * 1.0
        value = np.where(positive, grade - lost, mimic) + 0.9 * noise
    elif world.mechanism == "clustered":
        shared = rng.normal(size=clusters)[cluster]
        value = positive * (2.0 - lost) + 0.6 * shared + 0.8 * noise
    elif world.mechanism == "subtypes":  # one in four positives is of a kind hard to see
        hard = rng.random(n) < 0.25
        value = np.where(positive, np.where(hard, 0.9, 2.4) - lost, 0) + noise
    else:
        value = positive * (2.0 - lost) + noise
    mild = 0.35 * d.strength("population", day, site)
    return value - mild * (1 - positive)


def _oddity(d, day, site, severity, rng) -> np.ndarray:
    """Mechanisms that nobody modelled."""
    spread = d.strength("score_noise", day, site)
    lazy = d.strength("truncation", day, site)
    return spread * rng.normal(size=day.size) - lazy * np.maximum(severity - 1.0, 0)


def _score(world, seen) -> np.ndarray:
    if world.mechanism == "bounded":  # a device that gives whole per cents and saturates
        return np.round(np.clip(0.5 + 0.28 * (seen - 1.3), 0, 1), 2)
    if world.mechanism == "subtypes":
        return np.round(_sigmoid(1.5 * (seen - 1.8)), 4)
    return _sigmoid(2.0 * (seen - 1.9))


def _units(acquisition) -> np.ndarray:
    a = acquisition.copy()
    a[:, 0] = 10 + 2 * a[:, 0]
    a[:, 1] = np.exp(0.3 * a[:, 1])
    a[:, 2] = np.exp(1 + 0.5 * a[:, 2])
    a[:, 3] = np.round((a[:, 3] * 8 + 100) / 5) * 5
    a[:, 4] = 300 + 40 * a[:, 4]
    return a


def _frame(
    world, d, f, day, site, scanner, bedside, severity, score, acquisition, embedding
) -> pd.DataFrame:
    rng, n = d.rng, len(f)
    audited = rng.random(n) < world.audit
    followed = ~audited & (score >= 0.5) & (rng.random(n) < world.follow_up)
    labelled = audited | followed
    read = day + 1 + rng.gamma(2, world.lag / 2, n).astype(int)
    reader = np.array([f"{x}-R{j}" for x, j in zip(site, rng.integers(1, 3, n), strict=True)])
    changed = d.strength("label_noise", day, site)
    perceived = severity + 0.7 * rng.normal(size=n) * (1 + changed)
    perceived += 1.22 * d.convention(read, site, reader)
    label = (perceived > 1.6).astype(float)
    late = np.where(rng.random(n) < world.late, rng.integers(1, 8, n), 0)
    table = pd.DataFrame(
        {
            "acquired": START + pd.to_timedelta(day, "D"),
            "uploaded": START + pd.to_timedelta(day + 1 + late, "D"),
            "hospital": site,
            "scanner": scanner,
            "model": ["BX-" + x[-1] for x in scanner],
            "sw": "1.0",
            "protocol": np.where(bedside, "bedside", "room"),
            "score": score,
            "y": np.where(labelled, label, np.nan),
            "read_on": pd.Series(START + pd.to_timedelta(read, "D")).where(pd.Series(labelled)),
            "source": np.where(audited, "audit", np.where(followed, "followup", "")),
            "reader": np.where(labelled, reader, ""),
            "sentinel": "",
        }
        | {name: acquisition[:, i] for i, name in enumerate(ACQUISITION)}
        | {name: embedding[:, i] for i, name in enumerate(EMBEDDING)}
    )
    end = START + pd.Timedelta(days=d.days - 1)
    table.loc[table["read_on"] > end, ["y", "read_on", "source", "reader"]] = np.nan
    return pd.concat([table, _sentinels(world, d)], ignore_index=True)


def _sentinels(world, d) -> pd.DataFrame:
    """Weekly scores and periodical reads of the fixed images at every site."""
    rng, w = d.rng, world
    severity = np.concatenate(
        [
            rng.normal(0.2, 0.8, w.images // 3),
            rng.normal(1.6, 0.5, w.images // 3),
            rng.normal(2.8, 0.7, w.images - 2 * (w.images // 3)),
        ]
    )
    base, rows = _score(w, severity), []
    for site in d.sites:
        for day in range(2, d.days, w.scores_every) if w.scores_every else ():
            moved = d.strength("lock", np.array([day]), np.array([site]))[0]
            rows.append(
                pd.DataFrame(
                    {
                        "at": day,
                        "hospital": site,
                        "reader": "",
                        "y": np.nan,
                        "image": np.arange(w.images),
                        "score": _score(w, severity + moved / 2) if moved else base,
                    }
                )
            )
        for turn, day in (
            enumerate(range(w.reads_from, d.days, w.reads_every)) if w.reads_every else ()
        ):
            if w.reads_pause and w.reads_pause[0] <= day - w.reference < w.reads_pause[1]:
                continue
            for j in (1, 2):
                image = np.flatnonzero((np.arange(w.images) + turn + j) % 2 == 0)
                name = f"{site}-R{j}"
                seen = severity[image] + 0.7 * rng.normal(size=image.size)
                seen += 1.22 * d.convention(
                    np.full(image.size, day), np.full(image.size, site), np.full(image.size, name)
                )
                rows.append(
                    pd.DataFrame(
                        {
                            "at": day,
                            "hospital": site,
                            "reader": name,
                            "y": (seen > 1.6) * 1.0,
                            "image": image,
                            "score": np.nan,
                        }
                    )
                )
    if not rows:
        return pd.DataFrame()
    f = pd.concat(rows, ignore_index=True)
    date = START + pd.to_timedelta(f["at"], "D")
    return pd.DataFrame(
        {
            "acquired": date,
            "uploaded": date + pd.Timedelta(days=1),
            "hospital": f["hospital"],
            "score": f["score"],
            "y": f["y"],
            "read_on": date.where(f["y"].notna()),
            "reader": f["reader"],
            "source": np.where(f["y"].notna(), "sentinel", ""),
            "sentinel": "img" + f["image"].astype(str),
        }
    )
