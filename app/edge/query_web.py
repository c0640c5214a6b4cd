"""An archive that speaks DICOMweb (PS3.18): QIDO-RS to list, WADO-RS to fetch.

Objects are kept byte for byte as the archive sends them; only their file header is read here.
What an archive answers is bounded in size, and no UID of it becomes a path unless it is one.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from email.message import Message
from typing import Any, Final

import httpx

from app.edge.file_header import named
from app.edge.query import Gone, RoundFailed
from app.edge.receive import MEGABYTE, OUT_OF_RESOURCES, Receiver, Refused
from app.edge.settings import EdgeSettings

TIMEOUT_S: Final = 30.0
LIST_LIMIT: Final = 16 * MEGABYTE  # of one answer to a search
PAGE: Final = 500
DICOM: Final = "application/dicom"
STUDY, SERIES, INSTANCE, MODALITY = "0020000D", "0020000E", "00080018", "00080060"
_UID = re.compile(r"[0-9.]{1,64}")


@dataclass(frozen=True, slots=True)
class WebArchive:
    """One DICOMweb service."""

    settings: EdgeSettings
    url: str
    receiver: Receiver
    mark: str = "query_web_through"
    client: httpx.Client = field(init=False, repr=False)

    def __post_init__(self) -> None:
        ca = self.settings.query_ca
        # No proxy from the environment and no redirect: patients' images come from this address.
        client = httpx.Client(
            verify=ssl.create_default_context(cafile=str(ca) if ca else None),
            trust_env=False,
            timeout=TIMEOUT_S,
            limits=httpx.Limits(max_keepalive_connections=0),
        )
        object.__setattr__(self, "client", client)

    def studies(self, since: int, until: int) -> list[str]:
        """Studies of these days that have one of the modalities."""
        days = f"{date.fromordinal(since):%Y%m%d}-{date.fromordinal(until):%Y%m%d}"
        found: dict[str, None] = {}
        for modality in self.settings.query_modalities:
            asked = {"StudyDate": days, "ModalitiesInStudy": modality}
            found |= dict.fromkeys(
                _uid(one, STUDY) for one in self._search("/studies", asked, STUDY)
            )
        return list(found)

    def series(self, study: str) -> Iterator[tuple[str, str]]:
        """Series of a study, each with its modality."""
        for one in self._search(f"/studies/{study}/series", {}, SERIES):
            yield _uid(one, SERIES), _first(one, MODALITY)

    def instances(self, study: str, series: str) -> list[str]:
        """Objects of a series."""
        path = f"/studies/{study}/series/{series}/instances"
        return [_uid(one, INSTANCE) for one in self._search(path, {}, INSTANCE)]

    def fetch(self, study: str, series: str, instances: list[str]) -> None:
        """Bring these objects here; what is refused for good is counted and remembered."""
        for instance in instances:
            raw = self._retrieve(f"/studies/{study}/series/{series}/instances/{instance}")
            try:
                uid, sop_class, syntax = named(raw)
                if uid != instance:
                    raise RoundFailed("another_object_came")
                self.receiver.keep(raw, uid, sop_class, syntax)
            except Refused as refused:
                if refused.status == OUT_OF_RESOURCES:
                    raise RoundFailed(refused.reason) from None
                self.receiver.refuse(instance, refused)
            except OSError:
                raise RoundFailed("disk_write_error") from None

    def _search(self, path: str, asked: dict[str, str], key: str) -> Iterator[dict[str, Any]]:
        """Every match. Archives cap their answers differently, so pages end with nothing new."""
        seen: set[str] = set()
        while True:
            page = {"limit": str(PAGE), "offset": str(len(seen))}
            new = [m for m in self._page(path, asked | page) if _uid(m, key) not in seen]
            if not new:
                return
            seen |= {_uid(match, key) for match in new}
            yield from new

    def _page(self, path: str, asked: dict[str, str]) -> list[dict[str, Any]]:
        kind = {"accept": "application/dicom+json"}
        with self._asked(path, kind, asked) as answer:
            if answer.status_code == 204:
                return []
            said = _bounded(answer, LIST_LIMIT)
        try:
            found = json.loads(said)
        except ValueError:
            found = None
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise RoundFailed("answer_not_readable")
        return found

    def _retrieve(self, path: str) -> bytes:
        kind = {"accept": f'multipart/related; type="{DICOM}"; transfer-syntax=*'}
        with self._asked(path, kind, {}) as answer:
            raw = _bounded(answer, self.settings.largest_object_mb * MEGABYTE)
            return _single_part(answer.headers.get("content-type", ""), raw)

    @contextmanager
    def _asked(
        self, path: str, headers: dict[str, str], asked: dict[str, str]
    ) -> Iterator[httpx.Response]:
        """The open answer to a request, if it is a success; `Gone` when nothing comes back."""
        url = self.url + path
        file = self.settings.query_authorization_file
        known = {"authorization": file.read_text().strip()} if file else {}
        try:
            with self.client.stream("GET", url, params=asked, headers=headers | known) as answer:
                if answer.status_code not in (200, 204):
                    raise RoundFailed(f"status_{answer.status_code}")
                yield answer
        except (httpx.HTTPError, OSError) as error:
            raise Gone(type(error).__name__) from None


def _bounded(answer: httpx.Response, limit: int) -> bytes:
    """The whole body, or `RoundFailed` as soon as it is longer than `limit`."""
    parts, size = [], 0
    for part in answer.iter_bytes():
        size += len(part)
        if size > limit:
            raise RoundFailed("answer_too_large")
        parts.append(part)
    return b"".join(parts)


def _single_part(content_type: str, body: bytes) -> bytes:
    """The one object of a multipart/related answer (RFC 2387), or of a plain one."""
    kind = Message()
    kind["content-type"] = content_type
    if kind.get_content_type() == DICOM:
        return body
    boundary = kind.get_param("boundary")
    if kind.get_content_type() != "multipart/related" or not isinstance(boundary, str):
        raise RoundFailed("answer_not_dicom")
    line = b"--" + boundary.encode("ascii", "replace")
    _, opened, rest = body.partition(line + b"\r\n")
    _, headed, rest = rest.partition(b"\r\n\r\n")
    content, closed, _ = rest.rpartition(b"\r\n" + line + b"--")
    if not (opened and headed and closed) or b"\r\n" + line + b"\r\n" in content:
        raise RoundFailed("answer_not_one_object")
    return content


def _first(match: dict[str, Any], tag: str) -> str:
    """The first value of an element in the DICOM JSON model (PS3.18 F.2), "" if there is none."""
    element = match.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return str(values[0]) if isinstance(values, list) and values else ""


def _uid(match: dict[str, Any], tag: str) -> str:
    found = _first(match, tag)
    if not _UID.fullmatch(found):
        raise RoundFailed("answer_without_uid")
    return found
