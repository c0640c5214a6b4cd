"""Invented people, places and numbers, so that what must never leave can be searched for."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Protocol

import numpy as np
from pydicom.uid import generate_uid

IMPLEMENTATION_UID = "1.2.826.0.1.3680043.10.1338.1"


class Person(Protocol):
    """Whoever is examined."""

    @property
    def age(self) -> int:
        """Years."""

    @property
    def sex(self) -> str:
        """F or M."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who and where, invented; every value is something that must never leave a hospital."""

    patient_name: str
    patient_id: str
    birth_date: str
    address: str
    accession_number: str
    study_uid: str
    series_uid: str
    sop_uid: str
    institution: str
    referring: str
    performing: str

    def values(self) -> tuple[str, ...]:
        """Every identifying value, for leak searches."""
        return tuple(getattr(self, field.name) for field in fields(self))


_FAMILY = (
    "Abernathy Brandvold Castellanos Dimitrova Eskildsen Fontaine Grzybowski Haverkamp Iyengar "
    "Jorgensen Kovalenko Lindqvist Mbeki Nakagawa Oyelaran Papadakis Quintanilla Rosenthal "
    "Szymanski Thibodeaux Urquhart Vandenberg Wojciechowski Xanthopoulos Yilmaz Zimmermann"
)
_GIVEN = {
    "F": "Agnieszka Beatriz Chiara Dagmar Eleni Fatoumata Greta Hanneke Ingrid",
    "M": "Anselm Bartolomeo Cornelius Dragan Emeka Fridolin Gustavo Hiroshi Ivar",
}


def invent_identity(
    rng: np.random.Generator, person: Person, acquired: datetime, institution: str
) -> Identity:
    """An invented patient of that person's age and sex, with fresh UIDs; all drawn from `rng`."""
    entropy = rng.integers(0, 2**63, size=2).tobytes().hex()
    born = acquired - timedelta(days=365.25 * person.age + int(rng.integers(5, 360)))
    number = int(rng.integers(10**7, 10**8))
    street = int(rng.integers(1, 200))
    return Identity(
        patient_name=f"{_pick(rng, _FAMILY)}^{_pick(rng, _GIVEN[person.sex])}",
        patient_id=f"MRN{number}",
        birth_date=f"{born:%Y%m%d}",
        address=f"{street} {_pick(rng, _FAMILY)} Lane",
        accession_number=f"ACC{int(rng.integers(10**8, 10**9))}",
        study_uid=_uid("study", entropy),
        series_uid=_uid("series", entropy),
        sop_uid=_uid("sop", entropy),
        institution=institution,
        referring=f"{_pick(rng, _FAMILY)}^{_pick(rng, _GIVEN['F'])}^^Dr",
        performing=f"{_pick(rng, _FAMILY)}^{_pick(rng, _GIVEN['M'])}^^Dr",
    )


def _pick(rng: np.random.Generator, names: str) -> str:
    return str(rng.choice(names.split()))


def _uid(kind: str, entropy: str) -> str:
    return str(generate_uid(entropy_srcs=[kind, entropy]))
