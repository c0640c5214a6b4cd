"""The summary says what went out, how long it took, and what is wrong with it."""

from __future__ import annotations

import io
import json

from rich.console import Console

from app.lab.demo_scenario import scenario
from app.lab.demo_summary import Stopwatch, Summary, faults_of_output, show
from app.lab.demo_verdict import judge
from tests.demo.test_verdict import ALL, PLANTED, a_balance, an_event

PDF = b"%PDF-1.7 ..."


def a_summary(**changes: object) -> Summary:
    verdict = judge(PLANTED, ALL, [a_balance()])
    fields: dict[str, object] = {
        "ok": verdict.ok,
        "seed": 3,
        "days_reference": 60,
        "days_monitored": 60,
        "cases": 99,
        "lock_digest": "0" * 64,
        "planted": verdict.findings,
        "signals": ALL,
        "unexpected": verdict.unexpected,
        "faults": (),
        "balances": (a_balance(),),
        "mails": ("one", "two", "three"),
        "report": "run/D-0001.pdf",
        "seconds": {"bundle": 1.0},
        "peak_rss_mb": 900.0,
    }
    return Summary.model_validate(fields | changes)


def shown(summary: Summary) -> str:
    text = io.StringIO()
    show(Console(file=text, width=200), summary)
    return text.getvalue()


def test_a_mail_a_signal_and_a_pdf_are_fine() -> None:
    assert list(faults_of_output(ALL, ["a", "b", "c"], PDF)) == []


def test_a_missing_mail_and_a_broken_report_are_named() -> None:
    assert list(faults_of_output(ALL, ["a", "b"], b"<html>")) == [
        "2 mails for 3 statistical signals",
        "the report is not a PDF",
    ]


def test_phases_add_up_when_entered_again() -> None:
    watch = Stopwatch()

    for _ in range(2):
        with watch("monitored"):
            pass

    assert list(watch.seconds) == ["monitored"]
    assert watch.seconds["monitored"] >= 0


def test_the_tables_show_every_planted_change_and_its_outcome() -> None:
    text = shown(a_summary())

    for planted in PLANTED:
        assert planted.change.value in text
    assert text.count("found") >= len(PLANTED)
    assert "Everything planted was found, nothing else." in text


def test_the_tables_name_what_is_unexpected_and_what_is_wrong() -> None:
    text = shown(
        a_summary(ok=False, unexpected=(an_event("S-0099"),), faults=("H01: 2 cases failed",))
    )

    assert "S-0099" in text
    assert "H01: 2 cases failed" in text
    assert "Not as planted." in text


def test_the_json_says_all_of_it() -> None:
    found = json.loads(a_summary().model_dump_json())

    assert {"ok", "planted", "signals", "unexpected", "balances", "mails", "report", "seconds"} <= (
        set(found)
    )
    assert found["signals"][0]["history"][-1]["causes"] == ["scanner"]


def test_a_play_knows_how_long_it_is() -> None:
    play = scenario(1, days_reference=6, days_monitored=4)

    assert play.days == 10
    assert (play.reference_end - play.first_day).days == 5
