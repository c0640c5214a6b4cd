"""Keyed pseudonyms: what may be said of a patient's object, a scanner or a reader.

HMAC-SHA256 with a secret that is made on this machine and never leaves it, so that nobody
outside can try candidate values. The word before the value keeps the kinds apart.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from app.contracts.characteristics import CharacteristicSchema
from app.contracts.signing import SigningKey

Stratum = tuple[str, str, str, str, str]  # scanner, manufacturer, model, software version, protocol
UNKNOWN = "unknown"
SHORT = 8  # hex digits of a pseudonym that leaves


@dataclass(frozen=True, slots=True)
class Pseudonyms:
    """Everything that needs the secret."""

    secret: bytes = field(repr=False)

    @classmethod
    def load_or_create(cls, path: Path) -> Pseudonyms:
        """The secret kept at `path` (mode 0600), made there on first use."""
        SigningKey.load_or_create(path)  # 32 random bytes, created once, never overwritten
        return cls(path.read_bytes())

    def case(self, sop_instance_uid: str) -> bytes:
        """What the journal knows an object by; 32 bytes."""
        return self._digest("case", sop_instance_uid)

    def reader_key(self, name: str) -> bytes:
        """What the journal knows a reader by; 32 bytes."""
        return self._digest("reader", name)

    def reader_group(self, name: str, groups: Mapping[str, str]) -> str:
        """The group the hospital put a reader in, else a pseudonym for this reader alone."""
        return groups.get(name) or f"reader-{self._short('reader', name)}"

    def listed(self, kind: str, value: str, clear: Sequence[str]) -> str:
        """`value` where the list allows it; else a pseudonym, so that a change stays visible."""
        if not value:
            return UNKNOWN
        return value if value in clear else f"unlisted-{self._short(kind, value)}"

    def stratum(self, schema: CharacteristicSchema, raw: dict[str, str]) -> Stratum:
        """The stratum of a case from its raw attributes, by DICOM keyword and `protocol`."""
        serial = raw.get("DeviceSerialNumber", "")
        version = raw.get("SoftwareVersions", "")
        clear = any(re.fullmatch(pattern, version) for pattern in schema.software_versions)
        return (
            f"scanner-{self._short('scanner', serial)}" if serial else UNKNOWN,
            self.listed("manufacturer", raw.get("Manufacturer", ""), schema.manufacturers),
            self.listed("model", raw.get("ManufacturerModelName", ""), schema.models),
            self.listed("version", version, (version,) if clear else ()),
            self.listed("protocol", raw.get("protocol", ""), schema.protocols),
        )

    def _short(self, kind: str, value: str) -> str:
        return self._digest(kind, value).hex()[:SHORT]

    def _digest(self, kind: str, value: str) -> bytes:
        return hmac.digest(self.secret, f"{kind}\0{value}".encode(errors="replace"), hashlib.sha256)
