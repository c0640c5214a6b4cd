"""Sentences: counts from one partition, intervals given, nothing claimed that is not known."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.contracts.signals import Attribution, Cause, Effect, Signal, SignalsFile
from dashboards import filters, wording
from dashboards.charts.spec import State
from dashboards.wording import Standing

GOLDEN = Path(__file__).parents[1] / "contracts" / "golden" / "signals.json"
LAST_HEARD = datetime(2026, 10, 19, 6, tzinfo=UTC)


def a_signal(**changes: object) -> Signal:
    [signal] = SignalsFile.model_validate_json(GOLDEN.read_text()).runs[0].signals
    document = json.loads(signal.model_dump_json()) | changes
    return Signal.model_validate(document)


def counted(sentences: tuple[str, ...]) -> int:
    """Sites that the sentences account for."""
    total = 0
    for sentence in sentences:
        if "heard from" in sentence:
            total += 1
        elif found := re.search(r"(\d+) sites?", sentence):
            total += int(found.group(1))
    return total


@given(st.lists(st.sampled_from(list(State)), min_size=1, max_size=40))
def test_every_site_is_counted_in_exactly_one_sentence(states: list[State]) -> None:
    standings = [Standing(f"S-{i:02d}", s, LAST_HEARD) for i, s in enumerate(states)]

    sentences = wording.fleet_sentences(states.count(State.SIGNAL), standings)

    assert counted(sentences) == len(states)


def test_the_door_sentence_reads_like_the_mock_up() -> None:
    standings = [Standing(f"Site {i:02d}", State.IN_CONTROL) for i in range(1, 10)]
    standings += [Standing("Site 04", State.SIGNAL), Standing("Site 10", State.SIGNAL)]
    standings += [Standing("Site 07", State.SILENT, LAST_HEARD)]

    assert " ".join(wording.fleet_sentences(3, standings)) == (
        "3 signals wait for a decision at 2 sites. 9 sites show common-cause variation only. "
        "Site 07 has not been heard from since 2026-10-19; nothing is known about it."
    )


def test_no_news_is_not_good_news() -> None:
    sentences = wording.fleet_sentences(0, [Standing("H01", State.SILENT)])

    assert sentences == (
        "No signal waits for a decision.",
        "H01 has never been heard from; nothing is known about it.",
    )


def test_an_empty_fleet_says_so() -> None:
    assert wording.fleet_sentences(0, []) == ("No site is enrolled yet.",)


def test_not_assessable_gives_its_reason_when_all_share_one() -> None:
    standings = [Standing(s, State.NOT_ASSESSABLE, reason="9 cases, 30 needed") for s in "AB"]

    [_, sentence] = wording.fleet_sentences(0, standings)

    assert sentence == "2 sites are not assessable (9 cases, 30 needed): A and B."


def test_the_claim_has_effect_interval_onset_and_cause() -> None:
    claim = " ".join(wording.claim(a_signal()))

    assert "Noise rose by 0.90 reference SD (95 % interval 0.70 to 1.10)" in claim
    assert "between 2026-02-25 and 2026-03-01" in claim
    assert "most likely the scanner" in claim and "97 % probable" in claim


def test_an_undetermined_cause_is_not_named_but_its_likeliest_candidate_is() -> None:
    history = [
        {
            "date": "2026-03-02",
            "causes": ["undetermined"],
            "probability": 0.55,
            "candidates": {"scanner": 0.55, "prevalence": 0.4},
        }
    ]

    claim = wording.claim(a_signal(history=history))

    assert claim[-2:] == (
        "The cause could not be named with enough certainty.",
        "Most likely so far: scanner or image processing, 55 %.",
    )


def test_an_interval_around_zero_keeps_its_signs() -> None:
    effect = Effect(name="noise", effect=-0.2, interval=(-0.5, 0.1), unit="SD")

    assert "fell by 0.20 SD (95 % interval -0.50 to 0.10)" in wording.effect_sentence(effect)


def an_effect(name: str, effect: float) -> dict[str, object]:
    interval = [effect - 0.1, effect + 0.1]
    return {"name": name, "effect": effect, "interval": interval, "unit": "reference SD"}


def test_a_signal_is_named_for_something_that_can_be_pictured() -> None:
    moved = [an_effect("embedding_3", 2.0), an_effect("score_logit", 1.5), an_effect("kvp", -1.0)]

    assert wording.title(a_signal(characteristics=moved)) == "kVp has shifted downward"


def test_a_change_of_prevalence_is_named_for_the_score() -> None:
    moved = [an_effect("noise", 2.0), an_effect("score_probability", 0.4)]
    history = [
        {"date": "2026-03-02", "causes": ["prevalence"], "probability": 0.9, "candidates": {}}
    ]

    signal = a_signal(characteristics=moved, history=history)

    assert wording.title(signal) == "Mean score has shifted upward"
    assert wording.claim(signal)[0].startswith("Mean score rose by 0.4")


def test_a_change_of_the_readers_is_named_for_them() -> None:
    history = [
        {"date": "2026-03-02", "causes": ["annotation"], "probability": 0.9, "candidates": {}}
    ]

    signal = a_signal(history=history)

    assert wording.title(signal) == "Readers label differently than before"
    assert not any("Noise" in sentence for sentence in wording.claim(signal))


def test_what_did_not_move_is_not_claimed_to_have_moved() -> None:
    claim = wording.claim(a_signal(characteristics=[an_effect("noise", 0.05)]))

    assert claim[0] == "No single characteristic of the cases moved beyond its 95 % interval."


def test_an_event_claims_no_effect() -> None:
    signal = a_signal(
        kind="deterministic",
        event="software_version",
        characteristics=[],
        history=[],
        change_date=None,
        change_interval=None,
    )

    assert wording.title(signal) == "Scanner software changed"
    assert wording.claim(signal) == ("Scanner software changed at H02.",)


def test_the_subject_says_claim_place_and_device() -> None:
    assert wording.subject("S-0001", a_signal(), "Chest Triage 1.0.0") == (
        "[Surveillance] Signal S-0001: noise has shifted upward, H02, Chest Triage 1.0.0"
    )


def test_every_cause_of_the_contract_has_its_words() -> None:
    causes = set(Cause.__args__)  # type: ignore[attr-defined]

    assert set(wording.CAUSES) == set(wording.CAUSE_SENTENCES) == causes


@pytest.mark.parametrize(
    ("share", "shown"), [(0.0, "0 %"), (0.999, "99 %"), (1.0, "100 %"), (0.001, "1 %")]
)
def test_what_is_not_certain_is_not_shown_as_certain(share: float, shown: str) -> None:
    assert wording.percent(share) == shown


def test_the_price_of_looking_is_stated() -> None:
    assert "at most 1 false signal a year is expected" in wording.budget(1.0)
    assert "one every 26 weeks" in wording.budget(2.0)
    assert "No false-signal rate is promised" in wording.budget(0.0)


def test_words_that_overclaim_are_not_used() -> None:
    text = Path(wording.__file__).read_text().lower().replace('"alarm_test"', "")  # an event's key

    banned = ("anomaly", "drift detected", "model degraded", "alarm", "everything is fine")
    assert [word for word in banned if word in text] == []


def test_an_attribution_without_candidates_says_only_that_it_is_open() -> None:
    attribution = Attribution(
        date=date(2026, 3, 2), causes=("undetermined",), probability=0, candidates={}
    )

    assert wording.cause_sentences(attribution) == [
        "The cause could not be named with enough certainty."
    ]


def test_an_empty_queue_says_when_it_was_last_filled() -> None:
    assert "Nothing has been evaluated yet" in wording.empty_queue(None, 0, 3)
    assert wording.empty_queue(LAST_HEARD, 11, 12) == (
        "No signal waits for a decision. Last evaluated 2026-10-19 06:00 UTC, "
        "11 of 12 sites assessable."
    )


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([], ""),
        (["A"], "A"),
        (["A", "B"], "A and B"),
        (list("ABCDEF"), "A, B, C, D and 2 more"),
    ],
)
def test_lists_of_names_stay_short(names: list[str], text: str) -> None:
    assert wording.listed(names) == text


@pytest.mark.parametrize(
    ("effect", "interval", "words"),
    [
        (0.12, (0.00023, 0.25), "rose by 0.12 SD (95 % interval 0.00 to 0.25)"),
        (0.12, (-0.0002, 0.25), "rose by 0.12 SD (95 % interval 0.00 to 0.25)"),
        (-0.016, (-0.02, -0.0121), "fell by 0.016 SD (95 % interval 0.012 to 0.020)"),
        (151.0, (9.6, 300.2), "rose by 151 SD (95 % interval 10 to 300)"),
    ],
)
def test_an_interval_has_the_decimals_of_its_effect(
    effect: float, interval: tuple[float, float], words: str
) -> None:
    told = Effect(name="noise", effect=effect, interval=interval, unit="SD")

    assert words in wording.effect_sentence(told)
    assert filters.interval((0.00023, 0.25), 0.12) == "0.00 to 0.25"
    assert filters.effect(0.1) == "0.10"


@pytest.mark.parametrize(
    ("margin", "name", "words"),
    [
        ("age_band", "18_39", "age 18 to 39"),
        ("age_band", "80_up", "age 80 and over"),
        ("age_band", "", "age"),
        ("sex", "F", "female"),
        ("sex", "M", "male"),
        ("scanner_model", "BX-2", "scanner model BX-2"),
        ("all", "all", "all"),
    ],
)
def test_a_sub_group_is_spelled_in_words(margin: str, name: str, words: str) -> None:
    assert wording.subgroup(margin, name) == words


def test_every_age_band_of_the_devices_has_words() -> None:
    from app.device.pixels.header import AGE_BANDS, band_name

    words = [wording.level("age_band", band_name(low)) for low, _ in AGE_BANDS]

    assert "_" not in "".join(words)
    assert words[-1].endswith(" and over")


def test_a_sub_group_named_in_a_record_is_spelled_and_other_names_stay() -> None:
    assert wording.spelled("age_band 18_39") == "age 18 to 39"
    assert wording.spelled("sex F") == "female"
    assert wording.spelled("original version") == "original version"
    assert wording.spelled("sensitivity") == "sensitivity"


def test_no_sentence_takes_the_name_of_another() -> None:
    """The later one would stand where the earlier was meant, and nobody would be told."""
    twice = {}
    for path in sorted(Path(wording.__file__).parent.glob("wording*.py")):
        body = ast.parse(path.read_text("utf-8")).body
        targets = [t for node in body if isinstance(node, ast.Assign) for t in node.targets]
        names = Counter(t.id for t in targets if isinstance(t, ast.Name))
        twice[path.name] = [name for name, n in names.items() if n > 1]

    assert len(twice) > 2
    assert {name: found for name, found in twice.items() if found} == {}


def test_a_site_that_nothing_was_evaluated_for_says_so() -> None:
    waiting = Standing("Hospital A", State.NOT_ASSESSABLE, reason=wording.NOT_EVALUATED)

    assert wording.fleet_sentences(0, [waiting])[1] == (
        "1 site is not assessable (nothing has been evaluated yet): Hospital A."
    )
