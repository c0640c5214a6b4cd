"""The judge of the demonstration must be able to say no."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from app.contracts.signals import Attribution, Signal
from app.lab.demo_scenario import Change, Planted
from app.lab.demo_verdict import EdgeBalance, judge

DAY = date(2026, 3, 20)
PLANTED = (
    Planted(Change.SCANNER, "H01", DAY, 1.0, "processing", "DRX"),
    Planted(Change.SOFTWARE_VERSION, "H01", DAY, 1.0, "version", "YSIO"),
    Planted(Change.PREVALENCE, "H02", DAY, 3.0, "odds"),
    Planted(Change.ANNOTATION, "H03", DAY, 0.8, "threshold"),
)


def a_signal(name: str, site: str, cause: str, **changes: Any) -> Signal:
    fields: dict[str, Any] = {
        "id": name,
        "kind": "statistical",
        "date": DAY + timedelta(days=5),
        "sites": (site,),
        "scanners": (),
        "scanner_models": (),
        "readers": (),
        "history": (
            Attribution(
                date=DAY + timedelta(days=5),
                causes=("undetermined",),
                probability=0.5,
                candidates={},
            ),
            Attribution(
                date=DAY + timedelta(days=12), causes=(cause,), probability=0.97, candidates={}
            ),
        ),
        "change_date": DAY,
        "change_interval": None,
        "characteristics": (),
        "stream": "joint",
        "statistic": 1.0,
        "limit": 1.0,
    }
    return Signal.model_validate(fields | changes)


def an_event(name: str = "event", **changes: Any) -> Signal:
    return a_signal(
        name,
        "H01",
        "undetermined",
        **{
            "kind": "deterministic",
            "event": "software_version",
            "scanner_models": ("YSIO",),
            "date": DAY + timedelta(days=2),
        }
        | changes,
    )


ALL = (
    a_signal("a", "H01", "scanner", scanner_models=("DRX",)),
    a_signal("b", "H02", "prevalence"),
    a_signal("c", "H03", "annotation"),
    an_event(),
)


def a_balance(**changes: int) -> EdgeBalance:
    counts = {
        "sent": 100,
        "received": 99,
        "analysed": 90,
        "quality_rejected": 4,
        "abstained": 3,
        "outside_limits": 2,
        "failed": 0,
        "waiting": 0,
        "duplicates": 0,
        "refused_objects": 1,
        "produced": 20,
        "stored": 20,
        "quarantined": 0,
        "on_edge": 0,
    }
    return EdgeBalance.model_validate({"site": "H01"} | counts | changes)


def without(name: str) -> tuple[Signal, ...]:
    return tuple(signal for signal in ALL if signal.id != name)


def test_everything_found_and_balanced_is_ok() -> None:
    verdict = judge(PLANTED, ALL, [a_balance()])

    assert verdict.ok
    assert [f.outcome for f in verdict.findings] == ["found"] * 4
    assert verdict.findings[0].delay_days == 5


@pytest.mark.parametrize("name", ["a", "b", "c", "event"])
def test_a_missing_signal_is_not_ok(name: str) -> None:
    verdict = judge(PLANTED, without(name), [a_balance()])

    assert not verdict.ok
    assert [f.outcome for f in verdict.findings].count("missed") == 1


def test_a_wrong_last_word_on_the_cause_is_not_ok() -> None:
    wrong = a_signal("b", "H02", "scanner")

    verdict = judge(PLANTED, (*without("b"), wrong), [a_balance()])

    assert not verdict.ok
    assert verdict.findings[2].outcome == "wrongly_named"
    assert verdict.unexpected == ()


def test_the_right_cause_at_the_wrong_scanner_is_not_ok() -> None:
    elsewhere = a_signal("a", "H01", "scanner", scanner_models=("YSIO",))

    verdict = judge(PLANTED, (*without("a"), elsewhere), [a_balance()])

    assert not verdict.ok
    assert verdict.findings[0].outcome == "wrongly_named"


@pytest.mark.parametrize(
    "extra",
    [
        a_signal("early", "H02", "prevalence", date=DAY - timedelta(days=1)),
        a_signal("twice", "H02", "prevalence", date=DAY + timedelta(days=9)),
        a_signal("fleet", "H02", "prevalence", sites=("H01", "H02")),
        an_event("again", date=DAY + timedelta(days=3)),
        an_event("other", event="protocol"),
    ],
    ids=lambda signal: signal.id,
)
def test_one_signal_too_many_is_not_ok(extra: Signal) -> None:
    verdict = judge(PLANTED, (*ALL, extra), [a_balance()])

    assert not verdict.ok
    assert verdict.unexpected == (extra,)
    assert [f.outcome for f in verdict.findings] == ["found"] * 4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sent": 101}, "sent 101, arrived 100"),
        ({"analysed": 89}, "received 99, accounted for 98"),
        ({"stored": 19}, "produced 20, stored 19"),
        ({"analysed": 88, "waiting": 2}, "2 cases still waiting"),
        ({"analysed": 89, "failed": 1}, "1 cases failed"),
        ({"stored": 19, "quarantined": 1}, "1 windows quarantined"),
        ({"stored": 19, "on_edge": 1}, "1 windows still on the edge"),
    ],
)
def test_an_open_balance_is_not_ok_and_says_which(change: dict[str, int], words: str) -> None:
    verdict = judge(PLANTED, ALL, [a_balance(**change)])

    assert not verdict.ok
    assert any(words in fault for fault in verdict.faults)


def test_a_play_with_nothing_planted_expects_silence() -> None:
    assert judge((), (), [a_balance()]).ok
    assert not judge((), (ALL[0],), [a_balance()]).ok
