"""What a re-evaluation of the locked chain on a freshly labelled holdout found, as it is signed.

Aggregates only: no file name and no label of a single case. It says whether the cleared figures
still hold when somebody reads anew, which is how annotation drift is settled.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from app.contracts.manifest import Digest, Proportion

HOLDOUT_TYPE = "application/vnd.lockwatch.holdout.v1+json"
Verdict = Literal["as cleared", "not shown", "worse than cleared"]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Change(_Closed):
    """A difference of two rates, holdout less cleared, with its 95 % interval."""

    value: float
    low: float
    high: float


class HoldoutRate(_Closed):
    """One figure of one sub-group on the holdout, as cleared, and the change between them."""

    found: Proportion
    cleared: Proportion | None
    change: Change | None


class HoldoutRow(_Closed):
    """One sub-group. A figure without a case of its class is None."""

    margin: str
    level: str
    cases: int = Field(ge=0)
    positives: int = Field(ge=0)
    sensitivity: HoldoutRate | None
    specificity: HoldoutRate | None


class SharedCases(_Closed):
    """Cases that were part of the cleared cohort as well: the same scores, read twice.

    agreement_change : of the share on which device and label agree, paired. p_value : exact, that
    labels move in both directions alike.
    """

    cases: int = Field(ge=1)
    now_positive: int = Field(ge=0)
    now_negative: int = Field(ge=0)
    p_value: float = Field(ge=0, le=1)
    agreement_change: Change


class ScoreCounts(_Closed):
    """Fresh labels of one scanner class ("" = all) on the bins of the compared stage."""

    scanner_class: str
    label: Literal[0, 1]
    counts: tuple[int, ...]


class HoldoutCriterion(_Closed):
    """One criterion: what was found, the limit it was held to, and whether it was met."""

    name: str
    found: float
    limit: float
    met: bool


class HoldoutRecord(_Closed):
    """What is signed."""

    contract: Literal["lockwatch/holdout/v1"] = "lockwatch/holdout/v1"
    lock_digest: str = Digest
    device: str
    version: str
    holdout: str = Field(min_length=1, max_length=200)
    labels_digest: str = Digest
    files_digest: str = Digest
    evaluated_at: datetime
    agent_version: str
    stage: str
    threshold: float
    known_answer_deviation: float = Field(ge=0)
    cases: int = Field(ge=1)
    outcomes: dict[str, int]
    rows: tuple[HoldoutRow, ...] = Field(min_length=1)
    shared: SharedCases | None
    scores: tuple[ScoreCounts, ...]
    criteria: tuple[HoldoutCriterion, ...]
    verdict: Verdict
