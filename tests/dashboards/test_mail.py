"""The alert mail: plain words, nothing remote, and what it does not mean."""

from __future__ import annotations

import re
from datetime import date, timedelta

from app.central.alerts.models import Severity
from app.central.alerts.ports import Alert, Delivery, Digest, DigestLine, Escalation, RenderedMail
from dashboards.mail.renderer import MailRenderer
from tests.dashboards.test_wording import a_signal

JARGON = ("σ", "sigma", "cusum", "e-detector", "arl", "p-value", "posterior", "stratum")


def an_alert(
    others: tuple[str, ...] = ("regulatory@example.org",), **changes: object
) -> RenderedMail:
    alert = Alert(
        identifier="S-0001",
        signal=a_signal(**changes),
        device="Chest Triage 1.0.0",
        severity=Severity.WARNING,
        base_url="http://127.0.0.1:8080/",
        promised=1.0,
        others=others,
    )
    return MailRenderer().alert_mail(alert)


def test_a_letter_sent_again_says_how_long_nobody_answered() -> None:
    alert = Alert(
        identifier="S-0001",
        signal=a_signal(),
        device="Chest Triage 1.0.0",
        severity=Severity.WARNING,
        base_url="http://127.0.0.1:8080/",
        promised=None,
        others=(),
    )

    mail = MailRenderer().escalation_mail(Escalation(alert=alert, waited=timedelta(hours=25)))

    assert mail.subject.startswith("[Surveillance] Nobody has answered: Signal S-0001")
    for body in both(mail):
        assert "Nobody has acknowledged this signal for 25 hours." in body


def test_a_digest_names_every_signal_once_with_its_link() -> None:
    line = DigestLine("S-0007", a_signal(sites=("<H02>",)), "Chest Triage 1.0.0", Severity.NOTICE)
    digest = Digest(day=date(2026, 3, 10), lines=(line,), base_url="http://127.0.0.1:8080/")

    mail = MailRenderer().digest_mail(digest)

    assert mail.subject == "[Surveillance] 1 further signal, 2026-03-10"
    for body in both(mail):
        assert body.count("S-0007") in {2, 3}
        assert "http://127.0.0.1:8080/signals/S-0007" in body
        assert "does not show that the device" in body
    assert "&lt;H02&gt;" in mail.html


def both(mail: RenderedMail) -> tuple[str, str]:
    return mail.text, mail.html


def test_both_forms_say_the_claim_the_facts_and_the_limits() -> None:
    for body in both(an_alert()):
        plain = " ".join(re.sub(r"<[^>]+>", " ", body).split())
        assert "Noise rose by 0.90 reference SD" in plain
        assert "between 2026-02-25 and 2026-03-01" in plain
        assert "It does not show that the device" in plain
        assert "has not been measured" in plain
        assert "at most once a year over all sites" in plain
        assert "Also told: regulatory@example.org." in plain
        assert "reporting times run from then" in plain
        assert "http://127.0.0.1:8080/signals/S-0001" in plain


def test_the_mail_loads_nothing_and_runs_nothing() -> None:
    _, html = both(an_alert())

    assert re.findall(r"<(img|script|link|iframe|style|video)", html) == []
    assert re.findall(r"url\(|@import|background-image", html) == []
    assert re.findall(r'href="([^"]+)"', html) == ["http://127.0.0.1:8080/signals/S-0001"]


def test_a_scanner_name_from_outside_stays_text() -> None:
    text, html = both(an_alert(scanners=["</td><script>x</script>"]))

    assert "<script>" not in html and "&lt;script&gt;" in html
    assert "</td><script>x</script>" in text  # plain text is not markup


def test_the_words_are_plain() -> None:
    for body in both(an_alert()):
        assert [word for word in JARGON if word in body.lower()] == []


def test_a_subject_is_one_line_even_when_a_name_is_not() -> None:
    subject = an_alert(sites=["H02\r\nBcc: x@example.org"]).subject

    assert "\n" not in subject and "\r" not in subject


def test_reads_that_were_made_are_not_denied() -> None:
    history = [
        {"date": "2026-03-09", "causes": ["annotation"], "probability": 0.9, "candidates": {}}
    ]

    text, _ = both(an_alert(history=history))

    assert "has not been measured" not in text


def test_an_event_is_not_given_a_chance_rate() -> None:
    text, _ = both(an_alert(kind="deterministic", event="lock"))

    assert "How often by chance" not in text


def test_nobody_else_told_is_said() -> None:
    assert "Nobody else was told." in an_alert(others=()).text


def test_an_issued_report_is_told_with_its_link_and_digest_and_nothing_attached() -> None:
    delivery = Delivery(
        number="DR-0007",
        device="Chest Triage <1.0.0>",
        start=date(2026, 3, 2),
        end=date(2026, 3, 9),
        signals=2,
        group="Board",
        frequency="weekly",
        supersedes="DR-0006",
        pdf_digest="ab" * 32,
        base_url="http://127.0.0.1:8080/",
    )

    mail = MailRenderer().report_mail(delivery)

    assert mail.subject == (
        "[Surveillance] Report DR-0007: Chest Triage <1.0.0>, 2026-03-02 to 2026-03-08"
    )
    for body in both(mail):
        plain = " ".join(re.sub(r"<[^>]+>", " ", body).split())
        assert "http://127.0.0.1:8080/reports/DR-0007" in plain and "ab" * 32 in plain
        assert "DR-0006" in plain and "“Board”" in plain
        assert not any(word in plain.lower() for word in JARGON)
    assert "<1.0.0>" not in mail.html
