"""What pages ask of sums, asked of decoded windows row by row: slow, and plainly right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.central.surveillance.measured import Counts, Days
from monitors.observations import History
from monitors.schema import IntArray
from monitors.summaries import score_counts


def counts(history: History, days: Days, sites: Sequence[str] = ()) -> Counts:
    """Cases and audited reads of these days, at `sites` or at all."""
    cases = history.cases
    mine = np.array([not sites or s.site in sites for s in history.strata], dtype=np.bool_)
    inside = days.holds(cases.start) & mine[cases.stratum]
    scores = score_counts(history.schema, cases.rows[inside].sum(axis=0))[0, :-1]
    return Counts(scores, *reads(history, days, sites=sites))


def reads(
    history: History, days: Days, *, group: str = "", sites: Sequence[str] = ()
) -> tuple[IntArray, IntArray]:
    """Labelled and positive reads of the random audit per bin of labels."""
    labels, columns = history.labels, history.schema.label_columns
    mine = np.array(
        [
            labels.source[i] == "random_audit"
            and (not group or labels.reader_group[i] == group)
            and (not sites or labels.site[i] in sites)
            for i in range(len(labels.site))
        ],
        dtype=np.bool_,
    )
    row = labels.rows[mine & days.holds(labels.week)].sum(axis=0)
    return row[columns["labelled"]], row[columns["positive"]]
