"""New stages: a scanner's windows after an approved event are a stratum of their own.

A stage has no baseline until a reference contains enough of its cases. Until then it is tested
against nothing: neither against the period before the event, from which it is known to differ,
nor against itself.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from monitors.case_windows import POOLED
from monitors.observations import History, OpenedStage, Stratum
from monitors.schema import IntArray


def staged(history: History, in_reference: Collection[str]) -> History:
    """The history with each window in the stratum of the newest stage that had begun at its start.

    A window that arrived before its stage was known stays where it was looked at, so that a longer
    history repeats the signals of a shorter one; unless the reference contains the stage already.
    """
    if not history.stages or not history.strata:
        return history
    strata, cases = list(history.strata), history.cases
    place = {stratum: i for i, stratum in enumerate(strata)}
    moved: IntArray = cases.stratum.copy()
    for stage in sorted(history.stages, key=lambda s: (s.day, s.name)):
        since = 0 if stage.name in in_reference else stage.known
        rows = _is_covered(history, stage) & (cases.start >= stage.day) & (cases.arrival >= since)
        for i in np.unique(cases.stratum[rows]):
            target = replace(history.strata[i], stage=stage.name)
            if target not in place:
                place[target] = len(strata)
                strata.append(target)
            moved[rows & (cases.stratum == i)] = place[target]
    return replace(history, strata=tuple(strata), cases=replace(cases, stratum=moved))


def in_retrospect(history: History) -> History:
    """The history with each window in its stage, whenever people came to know of that."""
    return staged(history, {stage.name for stage in history.stages})


def unstaged(stratum: Stratum) -> Stratum:
    """The scanner, software version and protocol, whatever the stage."""
    return replace(stratum, stage="")


def _is_covered(history: History, stage: OpenedStage) -> npt.NDArray[np.bool_]:
    """Mask of the case windows whose scanner the stage is about. Pooled cases have none."""
    mine = [
        s.site == stage.site and s.scanner != POOLED and stage.scanner in ("", s.scanner)
        for s in history.strata
    ]
    return np.asarray(np.array(mine, dtype=np.bool_)[history.cases.stratum])
