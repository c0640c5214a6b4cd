"""The centre from a notebook: what it holds, typed, with an API token that reads.

    from app.lab.client import Client

    centre = Client("https://lockwatch.example", token)
    for record in centre.signals(only_open=True):
        print(record.id, record.signal.sites, record.signal.history[-1].causes)
    counts = centre.table(lock_digest, "counts", since=date(2026, 1, 1))   # a pandas DataFrame

Nothing but Python's standard library speaks to the network; a DataFrame needs pandas.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Literal
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urljoin, urlsplit
from urllib.request import Request, build_opener

from pydantic import BaseModel, ConfigDict

from app.contracts.signals import Signal, SignalsFile
from app.errors import AppError

if TYPE_CHECKING:
    from pandas import DataFrame

TIMEOUT_S = 60.0
TableName = Literal["windows", "counts", "signals", "effects", "traces"]


class Refused(AppError):
    """The centre did not answer as asked; `status` is its own, 0 where it was not reached."""

    title = "Refused by the centre"

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class _Answer(BaseModel):
    """Read from an answer: fields that a later centre adds are passed over."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class DeviceVersion(_Answer):
    """A registered device version."""

    lock_digest: str
    device: str
    version: str
    udi_di: str
    operating_point: str
    threshold: float | None
    edges: int


class Edge(_Answer):
    """An edge at a site."""

    id: str
    state: str
    expected_lock: str
    reported_lock: str
    lock_state: str
    last_seen_at: datetime | None


class Site(_Answer):
    """A hospital."""

    id: str
    name: str
    timezone: str
    edges: tuple[Edge, ...]


class SignalRecord(_Answer):
    """A signal and where it stands. `digest` names what the centre shows of it."""

    id: str
    signal: Signal
    lock_digest: str
    severity: str
    state: str
    raised_at: datetime
    digest: str


@dataclass(frozen=True, slots=True)
class Client:
    """A centre at `address`, seen with the eyes of whoever owns `token`."""

    address: str
    token: str = field(repr=False)

    def sites(self) -> list[Site]:
        """Hospitals and their edges."""
        return [Site.model_validate(s) for s in self._json("/api/v1/sites")]

    def device_versions(self) -> list[DeviceVersion]:
        """Every registered device version."""
        return [DeviceVersion.model_validate(v) for v in self._json("/api/v1/device-versions")]

    def signals(
        self, *, only_open: bool = False, lock_digest: str | None = None, page: int = 200
    ) -> Iterator[SignalRecord]:
        """Signals, newest first, page after page as they are looked at."""
        asked = {"only_open": str(only_open).lower(), "limit": page, "lock_digest": lock_digest}
        path: str | None = _path("/api/v1/signals", asked)
        while path is not None:
            content, headers = self._get(path)
            yield from (SignalRecord.model_validate(s) for s in json.loads(content))
            path = _next(headers.get("link", ""))

    def signals_file(self, lock_digest: str) -> SignalsFile:
        """The signals of a device version as the laboratory writes them."""
        path = f"/api/v1/device-versions/{quote(lock_digest, safe='')}/signals-file"
        return SignalsFile.model_validate(self._json(path))

    def evidence(self, signal_id: str) -> dict[str, Any]:
        """Traces, distributions and series beside a signal."""
        found: dict[str, Any] = self._json(f"/api/v1/signals/{quote(signal_id, safe='')}/evidence")
        return found

    def table(
        self,
        lock_digest: str,
        name: TableName,
        *,
        since: date | None = None,
        until: date | None = None,
    ) -> DataFrame:
        """A table of the days from `since` to before `until` (the last year), columns typed."""
        import pandas as pd

        path = f"/api/v1/device-versions/{quote(lock_digest, safe='')}/tables/{name}.parquet"
        content, _ = self._get(_path(path, {"since": since, "until": until}))
        return pd.read_parquet(io.BytesIO(content))

    def _json(self, path: str) -> Any:
        return json.loads(self._get(path)[0])

    def _get(self, path: str) -> tuple[bytes, Mapping[str, str]]:
        if urlsplit(self.address).scheme not in ("https", "http"):
            raise Refused(0, f"address: https://… expected, got {self.address[:60]!r}")
        request = Request(urljoin(self.address, path))  # noqa: S310 - the scheme was looked at
        request.add_unredirected_header("Authorization", f"Bearer {self.token}")
        try:
            with build_opener().open(request, timeout=TIMEOUT_S) as answer:
                return answer.read(), {k.lower(): v for k, v in answer.headers.items()}
        except HTTPError as error:
            raise Refused(error.code, _detail(error)) from error
        except (URLError, OSError) as error:
            raise Refused(0, f"{self.address} is not reached: {error}") from error


def _path(path: str, asked: Mapping[str, object]) -> str:
    given = {k: str(v) for k, v in asked.items() if v is not None}
    return f"{path}?{urlencode(given)}" if given else path


def _next(link: str) -> str | None:
    target, _, rest = link.partition(">")
    return target.lstrip("<") if 'rel="next"' in rest else None


def _detail(error: HTTPError) -> str:
    try:
        return str(json.loads(error.read())["detail"])
    except (ValueError, KeyError, TypeError):
        return f"{error.code} {error.reason}"
