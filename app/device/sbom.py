"""The software bill of materials of a bundle as CycloneDX 1.6 JSON (ECMA-424)."""

from __future__ import annotations

import json
import uuid
from typing import Any

from app.contracts.manifest import FileEntry, Manifest


def cyclonedx(manifest: Manifest) -> str:
    """The bill of `manifest`: libraries of the runtime, and the bundle's own files with hashes.

    The same manifest gives the same bytes: the serial number is derived from the lock digest,
    and there is no time of day in it.
    """
    device = {
        "type": "device",
        "bom-ref": manifest.lock_digest,
        "name": manifest.device,
        "version": manifest.version,
        "hashes": [{"alg": "SHA-256", "content": manifest.lock_digest}],
        "properties": [{"name": "lockwatch:udi-di", "value": manifest.udi_di}],
    }
    libraries = [
        {"type": "library", "bom-ref": c.purl, "name": c.name, "version": c.version, "purl": c.purl}
        for c in manifest.components
    ]
    files = [_file(entry) for entry in manifest.files]
    parts = [*libraries, *files]
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.UUID(manifest.lock_digest[:32])}",
        "version": 1,
        "metadata": {"component": device},
        "components": parts,
        "dependencies": [
            {"ref": manifest.lock_digest, "dependsOn": [part["bom-ref"] for part in parts]}
        ],
    }
    return json.dumps(bill, indent=2) + "\n"


def _file(entry: FileEntry) -> dict[str, Any]:
    return {
        "type": "machine-learning-model" if entry.path.endswith(".pt2") else "data",
        "bom-ref": f"file:{entry.path}",
        "name": entry.path,
        "hashes": [{"alg": "SHA-256", "content": entry.sha256}],
    }
