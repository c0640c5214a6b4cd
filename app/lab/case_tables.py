"""A case table on disk into a fleet's history, with a columns map that gives columns their roles.

The characteristic schema is fitted on the reference part alone. From here on nothing sees a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from app.contracts.case_table import Columns, ColumnsMap
from app.errors import ContractError
from app.lab.fitting import Names, fit_schema
from app.lab.windows import CaseTable, SentinelReads, to_history
from monitors.observations import Event, History, Stratum
from monitors.schema import TALLIES, FloatArray, IntArray, Schema
from monitors.summaries import Cases, score_bin

EMBEDDING_LIMIT = 16
ACQUISITION_LIMIT = 40  # joint moments hold each twice, in at most 128 dimensions
RARE = 0.005  # share of reference cases below which a category is OTHER
READER_LABELS = 100  # reference labels from which a reader is a group of their own
READER_WEEKLY = 10  # and labels a week: a table leaves with 30, and must not wait for months
LEAST_VALUES = 100  # reference values below which a column is as good as absent
NO_SCORE = 0.5  # where a table has none; it never varies, so nothing is tested on it


@dataclass(frozen=True, slots=True)
class TableFacts:
    """What a table held, for the person who asked: counts of rows by what became of them."""

    rows: int
    cases: int
    sentinel_rows: int
    labels: int
    reference_cases: int


def read_table(path: Path) -> pd.DataFrame:
    """A CSV, CSV.gz or Parquet file; every cell as it stands there."""
    if not path.is_file():
        raise ContractError("case_table", f"case table: no file {path.name}")
    if path.name.endswith(".parquet"):
        return pd.read_parquet(path)
    if path.name.endswith((".csv", ".csv.gz")):
        return pd.read_csv(path, dtype=str)
    raise ContractError("case_table", f"case table: .csv, .csv.gz or .parquet, got {path.name}")


def table_history(
    frame: pd.DataFrame, columns: ColumnsMap, reference_end: int
) -> tuple[History, TableFacts]:
    """The windows of a case table; days up to and including `reference_end` are the reference."""
    _require(frame, columns.columns)
    reader = _Reader(frame, columns)
    inside = reader.day <= reference_end
    if not (inside & reader.is_case).any():
        raise ContractError("case_table", "no case on or before the end of the reference")
    schema, cases = reader.measure(inside & reader.is_case)
    table = reader.cases(cases, inside)
    history = to_history(schema, table, reader.reads(), reader.events())
    return history, TableFacts(
        rows=len(frame),
        cases=int(reader.is_case.sum()),
        sentinel_rows=int((~reader.is_case).sum()),
        labels=int((table.label >= 0).sum()),
        reference_cases=int((inside & reader.is_case).sum()),
    )


def two_histories(
    reference: pd.DataFrame, current: pd.DataFrame, columns: ColumnsMap
) -> tuple[History, History]:
    """The windows of two case tables under one schema, fitted on `reference` alone.

    Labels leave in bins that break at the operating threshold, so that it can be judged.
    """
    _require(reference, columns.columns)
    _require(current, columns.columns)
    reader = _Reader(pd.concat([reference, current], ignore_index=True), columns)
    before = np.arange(len(reader.frame)) < len(reference)
    for name, part in (("reference", before), ("current", ~before)):
        if not (part & reader.is_case).any():
            raise ContractError("case_table", f"{name} table: no case in it")
    schema, cases = reader.measure(before & reader.is_case)
    schema = _broken_at_thresholds(schema, columns)
    table = reader.cases(cases, before)
    one, other = (
        to_history(schema, table.select(part[reader.is_case]), reader.reads(part))
        for part in (before, ~before)
    )
    return one, other


def _broken_at_thresholds(schema: Schema, columns: ColumnsMap) -> Schema:
    if columns.operating_point is None:
        return schema
    at = score_bin(schema, np.array([columns.operating_point.threshold]))[0]
    bins = np.asarray(schema.label_bins)
    bins = bins + ((np.arange(bins.size) >= at) & (at > 0 and bins[at] == bins[at - 1]))
    return replace(schema, label_bins=tuple(int(b) for b in bins))


def _require(frame: pd.DataFrame, roles: Columns) -> None:
    wanted: list[str] = []
    for value in roles.model_dump().values():
        wanted += [value] if isinstance(value, str) else list(value or ())
    missing = sorted(set(wanted) - set(frame.columns))
    if missing:
        raise ContractError("case_table", f"case table lacks columns: {', '.join(missing)}")


def _days(values: pd.Series) -> IntArray:
    """Ordinals of dates; -1 where there is none."""
    try:
        parsed = pd.to_datetime(values, format="mixed")
    except (ValueError, TypeError) as error:
        raise ContractError("case_table", f"column {values.name}: not dates") from error
    if parsed.dt.tz is not None:
        parsed = parsed.dt.tz_localize(None)
    epoch = pd.Timestamp("1970-01-01").toordinal()
    days = (parsed - pd.Timestamp("1970-01-01")).dt.days
    return np.where(days.isna(), -1, days.fillna(0) + epoch).astype(np.int64)


def _numbers(values: pd.Series) -> FloatArray:
    """Exact where all are numbers (`to_numeric` is not, on text); NaN for what is none."""
    try:
        return np.asarray(values.to_numpy(dtype="float64", na_value=np.nan))
    except (ValueError, TypeError):
        return np.asarray(pd.to_numeric(values, errors="coerce"), dtype=np.float64)


class _Reader:
    """One frame, column by column."""

    def __init__(self, frame: pd.DataFrame, columns: ColumnsMap) -> None:
        self.frame, self.map, self.roles = frame, columns, columns.columns
        self.day = _days(frame[self.roles.window_date])
        if (self.day < 0).any():
            raise ContractError("case_table", "every row needs a window date")
        sentinel = self.text(self.roles.sentinel_id)
        self.is_case = sentinel == ""
        self.sentinel_id = sentinel
        self.site = self.text(self.roles.site)

    def text(self, column: str | None) -> np.ndarray:
        """A column as text, "" where empty or absent."""
        if column is None:
            return np.full(len(self.frame), "", dtype=object)
        values = self.frame[column]
        text = values.astype(object).where(values.notna(), "").astype(str)
        return np.asarray(text.to_numpy(dtype=object))

    def numbers(self, names: Sequence[str]) -> FloatArray:
        """Columns as numbers (n, len(names)), NaN where there is none."""
        if not names:
            return np.zeros((len(self.frame), 0))
        values = np.column_stack([_numbers(self.frame[name]) for name in names])
        values[~np.isfinite(values)] = np.nan
        return values

    def filled(self, names: Sequence[str], reference: np.ndarray) -> list[str]:
        """The columns that hold enough numbers in the reference to be watched."""
        known = np.isfinite(self.numbers(names)[reference]).sum(axis=0)
        return [name for name, n in zip(names, known, strict=True) if n >= LEAST_VALUES]

    def embedding(self, reference: np.ndarray) -> FloatArray:
        """The embedding, projected on the reference's largest components where it is long."""
        values = self.numbers(self.filled(self.roles.embedding, reference))
        if values.shape[1] <= EMBEDDING_LIMIT:
            return values
        known = values[reference & np.isfinite(values).all(axis=1)]
        centre = known.mean(axis=0)
        components = np.linalg.svd(known - centre, full_matrices=False)[2][:EMBEDDING_LIMIT]
        return np.asarray((values - centre) @ components.T)

    def truth(self, column: str | None) -> np.ndarray:
        """A column of yes and no."""
        if column is None:
            return np.zeros(len(self.frame), dtype=bool)
        return np.isin(np.char.lower(self.text(column).astype(str)), ["1", "true", "yes", "1.0"])

    def measure(self, reference: np.ndarray) -> tuple[Schema, Cases]:
        """The schema of the `reference` rows, and all rows measured with it."""
        roles = self.roles
        acquisition = self.filled(roles.acquisition, reference)[:ACQUISITION_LIMIT]
        numeric = self.numbers(acquisition)
        text = [self.text(name) for name in roles.categorical]
        categories = tuple(_categories(values[reference]) for values in text)
        score = self.numbers([roles.score] if roles.score else [])
        if not score.shape[1]:
            score = np.full((len(self.frame), 1), NO_SCORE)
        cases = Cases(
            numeric=numeric,
            categorical=_codes(text, categories, len(self.frame)),
            scores=_probability(score),
            embedding=self.embedding(reference),
            outcome=self.outcome(score),
        )
        names = Names(
            numeric=tuple(acquisition),
            units=("1",) * len(acquisition),
            categorical=tuple(roles.categorical),
            categories=categories,
        )
        point = self.map.operating_point
        images = len(set(self.sentinel_id[~self.is_case]))
        schema = fit_schema(
            names, take(cases, reference), () if point is None else (point.threshold,), images
        )
        return schema, cases

    def outcome(self, score: FloatArray) -> IntArray:
        """Index into `TALLIES` of each row."""
        outcome = np.zeros(len(self.frame), dtype=np.int64)
        if self.roles.flag is not None:
            outcome[self.truth(self.roles.flag)] = TALLIES.index("flagged")
        elif self.map.operating_point is not None:
            flagged = score[:, 0] >= self.map.operating_point.threshold
            outcome[flagged] = TALLIES.index("flagged")
        outcome[self.truth(self.roles.abstain)] = TALLIES.index("abstained")
        outcome[self.truth(self.roles.quality_reject)] = TALLIES.index("quality_rejected")
        return outcome

    def cases(self, measured: Cases, reference: np.ndarray) -> CaseTable:
        """The case rows, with strata, arrival and labels."""
        roles, here = self.roles, self.is_case
        strata, index = self.strata()
        arrival = self.day + 1
        if roles.arrival_date is not None:
            arrival = np.maximum(_days(self.frame[roles.arrival_date]), arrival)
        label = self.label()
        label_day = arrival
        if roles.label_date is not None:
            label_day = _days(self.frame[roles.label_date])
            label = np.where(label_day < 0, -1, label)
        reader, readers = self.readers(reference & here & (label >= 0))
        source, sources = self.sources()
        return CaseTable(
            cases=take(measured, here),
            strata=strata,
            stratum=index[here],
            day=self.day[here],
            arrival=arrival[here],
            label=label[here],
            label_day=label_day[here],
            source=source[here],
            reader=reader[here],
            sources=sources,
            readers=readers,
        )

    def strata(self) -> tuple[tuple[Stratum, ...], IntArray]:
        """Every stratum, and the one of each row. Without scanners a site is one scanner."""
        roles = self.roles
        parts = [
            self.text(name)
            for name in (
                roles.scanner,
                roles.scanner_model,
                roles.software_version,
                roles.protocol,
            )
        ]
        if roles.scanner is None:
            parts[0] = parts[1]
        keys = list(zip(self.site, *parts, strict=True))
        every = sorted({key for key, case in zip(keys, self.is_case, strict=True) if case})
        place = {key: i for i, key in enumerate(every)}
        strata = tuple(
            Stratum(site, scanner, "", model, version, protocol)
            for site, scanner, model, version, protocol in every
        )
        return strata, np.array([place.get(key, -1) for key in keys], dtype=np.int64)

    def label(self) -> IntArray:
        """0, 1, or -1 for none."""
        if self.roles.label is None:
            return np.full(len(self.frame), -1)
        words = {"true": "1", "false": "0", "yes": "1", "no": "0"}
        text = self.text(self.roles.label)
        values = _numbers(pd.Series([words.get(t.lower(), t) or None for t in text], dtype=object))
        odd = np.isfinite(values) & ~np.isin(values, [0, 1])
        if odd.any():
            raise ContractError("case_table", f"labels must be 0, 1 or empty, {odd.sum()} are not")
        return np.where(np.isfinite(values), values, -1).astype(np.int64)

    def readers(self, reference: np.ndarray) -> tuple[IntArray, tuple[str, ...]]:
        """Readers with enough reference labels are groups of their own, the others are "other"."""
        names = self.text(self.roles.reader)
        known, counts = np.unique(names[reference].astype(str), return_counts=True)
        weeks = (np.ptp(self.day[reference]) + 1) / 7 if reference.any() else 1.0
        enough = max(READER_LABELS, READER_WEEKLY * weeks)
        groups = tuple(sorted(str(k) for k, c in zip(known, counts, strict=True) if c >= enough))
        place = {name: i for i, name in enumerate(groups)}
        rest = "" if self.roles.reader is None else "other"
        if rest not in place:
            groups, place[rest] = (*groups, rest), len(groups)
        index = np.array([place.get(str(n), place[rest]) for n in names], dtype=np.int64)
        return index, groups

    def sources(self) -> tuple[IntArray, tuple[str, ...]]:
        """Random audit or follow-up. Without a column, labels count as a random audit."""
        sources = ("random_audit", "follow_up")
        if self.roles.label_source is None:
            return np.zeros(len(self.frame), dtype=np.int64), sources
        audit = set(self.map.label_sources.random_audit)
        values = self.text(self.roles.label_source)
        return np.array([0 if v in audit else 1 for v in values], dtype=np.int64), sources

    def reads(self, part: np.ndarray | None = None) -> SentinelReads | None:
        """The sentinel rows, all or those of `part`: a score, a read, or both."""
        rows = np.flatnonzero(~self.is_case if part is None else ~self.is_case & part)
        if not rows.size:
            return None
        images = np.unique(self.sentinel_id[~self.is_case].astype(str))
        image = np.searchsorted(images, self.sentinel_id[rows].astype(str))
        sites, site = np.unique(self.site[rows].astype(str), return_inverse=True)
        names = self.text(self.roles.reader)[rows].astype(str)
        readers, reader = np.unique(np.where(names == "", "reader", names), return_inverse=True)
        day = self.day[rows]
        if self.roles.label_date is not None:
            read_on = _days(self.frame[self.roles.label_date])[rows]
            day = np.where(read_on < 0, day, read_on)
        score = self.numbers([self.roles.score] if self.roles.score else [])
        scored = score[rows, 0] if score.shape[1] else np.full(rows.size, np.nan)
        rows_read = SentinelReads(
            site=site.astype(np.int64),
            reader=reader.astype(np.int64),
            day=day,
            image=image.astype(np.int64),
            label=self.label()[rows],
            score=scored,
            sites=tuple(str(s) for s in sites),
            readers=tuple(str(r) for r in readers),
        )
        return SentinelReads.of_rows(rows_read)

    def events(self) -> tuple[Event, ...]:
        """A device version that a site did not run before."""
        if self.roles.device_version is None:
            return ()
        versions = self.text(self.roles.device_version)
        found = []
        for site in sorted(set(self.site)):
            here = self.is_case & (self.site == site)
            firsts = {
                str(v): int(self.day[here & (versions == v)].min()) for v in set(versions[here])
            }
            in_order = sorted(firsts.items(), key=lambda item: (item[1], item[0]))
            found += [Event(day, "device_version", site, "", v) for v, day in in_order[1:]]
        return tuple(found)


def _categories(values: np.ndarray) -> tuple[str, ...]:
    known, counts = np.unique(values[values != ""].astype(str), return_counts=True)
    kept = tuple(str(k) for k, c in zip(known, counts, strict=True) if c >= RARE * counts.sum())
    return kept or ("none",)


def _codes(text: list[np.ndarray], categories: tuple[tuple[str, ...], ...], n: int) -> IntArray:
    """Code of each value: -1 missing, len(categories) for OTHER."""
    codes = np.zeros((n, len(text)), dtype=np.int64)
    for i, (values, known) in enumerate(zip(text, categories, strict=True)):
        place = {name: k for k, name in enumerate(known)} | {"": -1}
        codes[:, i] = [place.get(str(v), len(known)) for v in values]
    return codes


def _probability(score: FloatArray) -> FloatArray:
    """Scores as they are; a score that is no probability is refused."""
    known = score[np.isfinite(score)]
    if known.size and (known.min() < 0 or known.max() > 1):
        raise ContractError(
            "case_table", f"scores must lie in [0, 1], got {known.min():g} to {known.max():g}"
        )
    return score


def take(cases: Cases, rows: np.ndarray) -> Cases:
    """Some of the cases."""
    return Cases(
        cases.numeric[rows],
        cases.categorical[rows],
        cases.scores[rows],
        cases.embedding[rows],
        cases.outcome[rows],
    )
