"""The characteristic schema as signed JSON inside a manifest, and as `monitors.schema.Schema`."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from app.contracts.signing import canonical, sha256
from monitors.schema import Categorical, Joint, Margin, Numeric, Schema, Score

Privacy = Literal["technical", "quasi_identifying"]
Name = Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class NumericSpec(_Closed):
    """A measured characteristic and its fixed bins, in `unit` (UCUM)."""

    name: str = Name
    unit: str
    edges: tuple[float, ...]
    privacy: Privacy = "technical"


class CategoricalSpec(_Closed):
    """A characteristic with its approved categories."""

    name: str = Name
    categories: tuple[str, ...]
    privacy: Privacy = "technical"


class ScoreSpec(_Closed):
    """A stage whose score is counted on fixed bins."""

    stage: str = Name
    edges: tuple[float, ...]


class JointSpec(_Closed):
    """The joint moment vector; see `monitors.schema.Joint` for its order and meaning."""

    acquisition: tuple[str, ...]
    embedding: int = Field(ge=0, le=16)
    omega: tuple[tuple[float, ...], ...]
    phase: tuple[float, ...]
    centre: tuple[float, ...]
    scale: tuple[float, ...]


class MarginSpec(_Closed):
    """A sub-group margin with its closed levels."""

    name: str = Name
    levels: tuple[str, ...]


class CharacteristicSchema(_Closed):
    """Everything a window of one device version may count."""

    version: Literal[1] = 1
    numeric: tuple[NumericSpec, ...]
    categorical: tuple[CategoricalSpec, ...]
    scores: tuple[ScoreSpec, ...]
    joint: JointSpec
    label_bins: tuple[int, ...]
    margins: tuple[MarginSpec, ...] = ()
    sentinels: int = Field(default=0, ge=0, le=1000)
    # What a stratum key may say in clear. Anything else leaves as "unlisted-" and a keyed
    # pseudonym, so that a change stays visible without the text. `software_versions` are
    # regular expressions that must match the whole value.
    manufacturers: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    software_versions: tuple[str, ...] = ()
    protocols: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON: what a window names as its schema."""
        return sha256(canonical(self.model_dump(mode="json")))

    def layout(self) -> Schema:
        """The same as arrays, for counting and for the monitors."""
        j = self.joint
        return Schema(
            numeric=tuple(
                Numeric(f.name, f.unit, np.array(f.edges), f.privacy) for f in self.numeric
            ),
            categorical=tuple(
                Categorical(c.name, c.categories, c.privacy) for c in self.categorical
            ),
            scores=tuple(Score(s.stage, np.array(s.edges)) for s in self.scores),
            joint=Joint(
                acquisition=j.acquisition,
                embedding=j.embedding,
                omega=np.array(j.omega, dtype=np.float64).reshape(len(j.phase), j.embedding),
                phase=np.array(j.phase, dtype=np.float64),
                centre=np.array(j.centre),
                scale=np.array(j.scale),
            ),
            label_bins=self.label_bins,
            margins=tuple(Margin(m.name, m.levels) for m in self.margins),
            sentinels=self.sentinels,
        )

    @classmethod
    def of(cls, schema: Schema, **keys: tuple[str, ...]) -> CharacteristicSchema:
        """The JSON form of `schema`; `keys` are the stratum key lists, by field name."""
        j = schema.joint
        return cls(
            numeric=tuple(
                NumericSpec.model_validate(
                    {
                        "name": f.name,
                        "unit": f.unit,
                        "edges": f.edges.tolist(),
                        "privacy": f.privacy,
                    }
                )
                for f in schema.numeric
            ),
            categorical=tuple(
                CategoricalSpec.model_validate(
                    {"name": c.name, "categories": c.categories, "privacy": c.privacy}
                )
                for c in schema.categorical
            ),
            scores=tuple(
                ScoreSpec(stage=s.stage, edges=tuple(s.edges.tolist())) for s in schema.scores
            ),
            joint=JointSpec(
                acquisition=j.acquisition,
                embedding=j.embedding,
                omega=tuple(tuple(row) for row in j.omega.tolist()),
                phase=tuple(j.phase.tolist()),
                centre=tuple(j.centre.tolist()),
                scale=tuple(j.scale.tolist()),
            ),
            label_bins=schema.label_bins,
            margins=tuple(MarginSpec(name=m.name, levels=m.levels) for m in schema.margins),
            sentinels=schema.sentinels,
            **keys,
        )
