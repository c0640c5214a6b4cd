"""Every page as HTML: escaped, labelled, captioned, and with nothing inline or from elsewhere."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from jinja2 import UndefinedError

from dashboards.templating import ENVIRONMENT, render
from tests.dashboards.page_examples import FORM, PAGES, SHELL, SIGNAL

VOID = {"meta", "link", "input", "br", "img"}


class Page(HTMLParser):
    """Elements with their attributes, in order; checks that tags are closed as opened."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.scripts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def html(name: str) -> str:
    template, view = PAGES[name]
    return render(template, view=view, shell=None if name == "sign_in" else SHELL, live=True)


@pytest.fixture(params=list(PAGES), name="source")
def _source(request: pytest.FixtureRequest) -> str:
    return html(request.param)


def test_tags_are_closed_in_the_order_they_were_opened(source: str) -> None:
    assert Page(source).open == []


def test_a_name_from_outside_never_becomes_markup(source: str) -> None:
    assert "<script>alert" not in source
    assert "</script><script>" not in source.replace("\n", "").replace(" ", "")


def test_nothing_runs_inline_and_nothing_is_fetched_from_elsewhere(source: str) -> None:
    page = Page(source)

    for attributes in page.named("script"):
        is_data = attributes.get("type") == "application/json"
        assert is_data or str(attributes["src"]).startswith("/static/")
    for attributes in page.named("link"):
        assert re.match(r"^(/static/|data:,$)", attributes["href"] or "")
    for tag, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "action"):
            if tag != "link" and attributes.get(name) is not None:
                assert re.match(r"^(/(?!/)|#|\?|mailto:)", attributes[name] or "")
    assert not page.named("style")


def test_every_field_has_its_label(source: str) -> None:
    page = Page(source)

    labelled = {attributes.get("for") for attributes in page.named("label")}
    for tag in ("input", "select", "textarea"):
        for attributes in page.named(tag):
            assert attributes.get("type") == "hidden" or attributes["id"] in labelled


def test_every_figure_has_a_caption_and_a_table_of_values(source: str) -> None:
    figures = re.findall(r"<figure.*?</figure>", source, flags=re.DOTALL)

    assert all("<figcaption>" in f and "<table>" in f and "<svg" in f for f in figures)
    assert len(figures) == source.count("<figure")


def test_a_page_has_one_heading_a_language_and_a_way_past_the_navigation(source: str) -> None:
    page = Page(source)

    assert len(page.named("h1")) == 1
    assert page.named("html") == [{"lang": "en"}]
    assert {"class": "skip", "href": "#main"} in page.named("a")


def test_names_on_a_page_are_unique(source: str) -> None:
    ids = [a["id"] for _, a in Page(source).elements if "id" in a]

    assert len(ids) == len(set(ids))


def test_figures_for_the_screen_are_data_that_parses(source: str) -> None:
    drawings = [json.loads(text) for text in Page(source).scripts if text.strip()]

    assert all(set(drawing) == {"data", "layout"} for drawing in drawings)
    assert len(drawings) == source.count("data-live")


def test_a_page_stays_below_its_weight(source: str) -> None:
    assert len(source.encode()) < 500_000


def test_a_template_fails_on_a_name_it_was_not_given() -> None:
    with pytest.raises(UndefinedError, match="'nothing' is undefined"):
        ENVIRONMENT.from_string("{{ nothing }}").render()


def test_the_signal_page_answers_in_the_agreed_order() -> None:
    source = html("signal")

    headings = ("What was seen", "How sure", "Where it is", "Who decided")
    places = [source.index(f"<h2>{heading}</h2>") for heading in headings]
    assert places == sorted(places)
    for heading in ("Assessment", "Facts", "What else changed", "History"):
        assert f"<h2>{heading}</h2>" in source


def test_a_decision_is_shown_with_name_time_meaning_and_the_very_words() -> None:
    source = html("signal")

    assert "images were compared &lt;side by side&gt;." in source
    assert "Signed by A. Reviewer, 2026-10-19 06:00 UTC, meaning “assessment”" in source


def test_a_refused_form_keeps_what_was_typed_and_says_why() -> None:
    form = replace(FORM, rationale="too short </textarea>", errors=("Rationale: too short.",))

    source = render("signal.html", view=replace(SIGNAL, form=form), shell=SHELL)

    assert "too short &lt;/textarea&gt;</textarea>" in source
    assert re.search(r'role="alert"[^>]*data-errors', source)


def test_a_person_who_may_not_decide_sees_no_form_but_the_reason() -> None:
    view = replace(
        SIGNAL,
        duty=replace(SIGNAL.duty, may_sign=False),
        form=None,
        form_absent="Your role does not allow this.",
    )

    source = render("signal.html", view=view, shell=SHELL)

    assert "<textarea" not in source and "Your role does not allow this." in source


def test_empty_parts_say_so() -> None:
    view = replace(SIGNAL, seen=(), where=(), changes=(), decisions=())

    source = render("signal.html", view=view, shell=SHELL)

    for sentence in ("No chart:", "Not assessable: the evidence", "No other change", "Nobody has"):
        assert sentence in source
