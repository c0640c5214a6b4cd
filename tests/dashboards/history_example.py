"""Two sites over 80 days; at H02 the noise rises and more cases are flagged from day 60 on."""

from __future__ import annotations

from datetime import date

import numpy as np

from monitors.observations import CaseRows, History, LabelRows, MomentRows, SentinelRows, Stratum
from monitors.schema import Categorical, Joint, Margin, Numeric, Schema, Score
from monitors.summaries import Cases, summarise

FIRST = date(2026, 1, 5)
UNTIL = date(2026, 2, 19)  # 45 days of reference
CHANGE = date(2026, 3, 6)  # day 60
UPTO = date(2026, 3, 25)  # day 79
DAYS, A_DAY = 80, 30
STRATA = (
    Stratum("H01", "X1", "ACME", "BX-2"),
    Stratum("H02", "Y1", "ACME", "BX-2"),
    Stratum("H02", "Y2 </script>", "ACME", "BX-3"),
)


def schema() -> Schema:
    edges = np.linspace(0, 10, 11)
    size = 3 + 2 * 2 + 1 + 2
    return Schema(
        numeric=(Numeric("noise", "HU", edges), Numeric("kvp", "kV", edges + 80)),
        categorical=(Categorical("view", ("PA", "AP", "LL")),),
        scores=(Score("classifier", np.linspace(0, 1, 33)),),
        joint=Joint(
            ("noise", "kvp"),
            1,
            np.ones((2, 1)),
            np.zeros(2),
            np.array([-1.2, 0.25, 2.0, 5.0, 85.0, 1.0, 1.0, *np.zeros(size - 7)]),
            np.full(size, 2.0),
        ),
        label_bins=tuple(i // 8 for i in range(32)),
        margins=(Margin("sex", ("F", "M")),),
        sentinels=4,
    )


def some_cases(rng: np.random.Generator, n: int, moved: bool) -> Cases:
    score = rng.beta(2 + moved, 6, n)
    return Cases(
        numeric=np.column_stack([rng.normal(5 + 2.5 * moved, 1, n), rng.normal(85, 2, n)]),
        categorical=rng.integers(0, 3, (n, 1)),
        scores=score[:, None],
        embedding=rng.normal(0, 1, (n, 1)),
        outcome=(score > 0.35).astype(np.int64),
    )


def history(days: int = DAYS, skip: range = range(0)) -> History:
    rng, layout = np.random.default_rng(11), schema()
    rows, start, stratum = [], [], []
    for day in range(days):
        for i in range(len(STRATA)):
            if i == 0 and day in skip:
                continue
            cases = some_cases(rng, A_DAY, moved=i == 1 and day >= 60)
            rows.append(summarise(layout, cases, np.zeros(A_DAY, dtype=np.int64), 1)[0])
            start.append(FIRST.toordinal() + day)
            stratum.append(i)
    first = np.array(start, dtype=np.int64)
    return History(
        schema=layout,
        strata=STRATA,
        cases=CaseRows(np.array(rows), first, first + 1, first + 2, np.array(stratum)),
        moments=MomentRows(
            *(np.zeros((0, 1), dtype=np.int64),), *(np.zeros(0, dtype=np.int64),) * 4
        ),
        labels=_labels(layout),
        sentinels=SentinelRows(
            np.zeros((0, 9), dtype=np.int64),
            np.zeros(0, dtype=np.int64),
            np.zeros(0, dtype=np.int64),
            (),
            (),
        ),
    )


def _labels(layout: Schema) -> LabelRows:
    weeks = np.array([FIRST.toordinal() + 7 * i for i in range(11)], dtype=np.int64)
    rows = np.array([[20, 20, 20, 20, 1, 4, 8, 12 + (i > 8) * 6] for i in range(11)])
    return LabelRows(
        rows, weeks, weeks + 8, ("H01",) * 11, ("random_audit",) * 10 + ("follow_up",), ("g1",) * 11
    )
