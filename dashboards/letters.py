"""The letter to a site: drafted from a signal, then as page, PDF and mail of the same words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.central.alerts.letters import About, LetterView
from app.central.alerts.ports import RenderedMail
from app.contracts.signing import canonical
from dashboards import filters
from dashboards import wording_letter as words
from dashboards.pages.views import Fact, Link
from dashboards.reports.views import ReportView, Section
from dashboards.templating import render


@dataclass(frozen=True, slots=True)
class LetterPage:
    """A letter that was sent, or a draft with the form that sends it (`action` is not empty)."""

    title: str
    signal: str
    sections: tuple[Section, ...]
    facts: tuple[Fact, ...]
    files: tuple[Link, ...] = ()
    action: str = ""
    told: str = ""
    digest: str = ""
    addition: str = ""
    sending: str = ""
    errors: tuple[str, ...] = ()


def drafted(about: About, addition: str = "") -> dict[str, Any]:
    """The words of the letter, as they are kept and signed."""
    device = f"{about.one.device} {about.one.version}"
    state = words.STATES[about.one.state.value]
    sections = [
        (words.WHAT, (words.INTRODUCTION.format(device=device), *words.noticed(about.part))),
        (words.MEANS, (*words.means(about.part), state)),
        (words.NOT, words.not_meant(about.part)),
        (words.NEXT, words.asks(about.part, about.one.id)),
    ]
    if addition:
        sections.append((words.MORE, tuple(addition.splitlines())))
    return {
        "site": about.site,
        "device": device,
        "sections": [{"title": t, "sentences": list(s)} for t, s in sections],
    }


def sections_of(document: Mapping[str, Any]) -> tuple[Section, ...]:
    """The sections of a kept letter, or of a draft."""
    return tuple(Section(s["title"], tuple(s["sentences"])) for s in document["sections"])


def facts_of(letter: LetterView) -> tuple[Fact, ...]:
    """To whom, about what, by whom and when."""
    return (
        Fact("To", f"{letter.document['site']} ({letter.site_id})"),
        Fact("Device", letter.document["device"]),
        Fact("About", f"signal {letter.signal_id}"),
        Fact("Written by", letter.printed_name),
        Fact("Sent", filters.instant(letter.sent_at)),
    )


def title_of(number: str, document: Mapping[str, Any]) -> str:
    """What stands over it."""
    return f"Letter {number}: {document['device']}, {document['site']}"


def letter_mail(letter: LetterView) -> RenderedMail:
    """The letter as a mail; it holds the whole of it and no link."""
    view = {
        "heading": title_of(letter.id, letter.document),
        "facts": facts_of(letter),
        "sections": sections_of(letter.document),
    }
    return RenderedMail(
        subject=f"[Surveillance] {view['heading']}",
        text=render("mail/letter.txt", view=view),
        html=render("mail/letter.html", view=view),
    )


def letter_pdf(letter: LetterView) -> bytes:
    """The letter as PDF/A to print; the same letter gives the same bytes."""
    from dashboards.reports.document import report_html, report_pdf  # WeasyPrint

    report = ReportView(
        number=letter.id,
        title=f"Letter to {letter.document['site']}",
        status="sent",
        digest=letter.digest,
        about_signals=False,
        cover=facts_of(letter),
        sections=sections_of(letter.document),
    )
    return report_pdf(report, report_html(report), canonical(letter.document), letter.sent_at)
