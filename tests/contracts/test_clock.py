from __future__ import annotations

from datetime import UTC, datetime

import pytest

from app import clock


def test_simulated_time_is_what_the_file_says(tmp_path, monkeypatch) -> None:
    path = tmp_path / "clock"
    instant = datetime(2031, 5, 6, 7, 8, tzinfo=UTC)
    monkeypatch.setenv(clock.VARIABLE, str(path))

    clock.set_simulated(path, instant)

    assert clock.now() == instant == clock.simulated()


def test_without_a_file_the_clock_is_real(monkeypatch) -> None:
    monkeypatch.delenv(clock.VARIABLE, raising=False)

    assert clock.simulated() is None
    assert abs((clock.now() - datetime.now(UTC)).total_seconds()) < 5


def test_a_naive_instant_is_refused(tmp_path) -> None:
    with pytest.raises(ValueError, match="needs a time zone"):
        clock.set_simulated(tmp_path / "clock", datetime(2031, 5, 6))  # noqa: DTZ001
