"""Fixed sentences a person reads, and the few rules that build sentences from facts.

Reviewers read diffs of these files (`wording_*.py`). Words are the glossary's. Sentences for
hospitals use no statistics; counts come from one partition of the fleet, so that they add up.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from app.contracts.signals import Attribution, Effect, PartOfSignal, Signal
from dashboards.charts.spec import State

if TYPE_CHECKING:
    from app.central.reports.service import Rebuilt

CAUTION = (
    "A signal suggests a change worth verifying. It does not show that the device's performance "
    "has fallen."
)
LIMITS = (
    "A signal is not evidence of harm; absence of a signal is not evidence of absence. Statistics "
    "of groups of cases were compared; no case was looked at."
)
LOCKED = (
    "The installed device remains locked. Nothing changes at any site until a change is approved "
    "and a release is installed."
)
SIGNING = "Signing asks for your password and records your name, the time and the meaning."
NO_DEVICE = (
    "No device is under surveillance yet. Register a device version and its reference period."
)
NO_REFERENCE_READS = "No reference reads exist for this period; performance could not be measured."
NO_CHART = "No chart: this signal was raised by an event, not by a statistic."
NO_PANELS = "Not assessable: the evidence of this signal holds no distributions to compare."
NO_CHANGES = "No other change is on record at this site within 30 days."
NO_DECISION = "Nobody has decided on this signal yet."
SUMMARY_CLAIMS = 5
METHOD = (
    "Each site's windows are compared with its own reference period: characteristics of the "
    "images, scores, image content and readers' labels. Evidence is added up as windows arrive; "
    "a signal is raised when it passes a limit that was fixed before."
)
NOT_EVALUATED_SENTENCE = "Nothing was evaluated in this period."
NOTHING_LIMITED = "No limit of what could be assessed is on record."
NO_SIGNAL_IN_PERIOD = "No signal was raised in this period."
READS_COMPARED = (
    "Reference reads were compared with scores to find changes of labelling. Sensitivity and "
    "specificity were not estimated in this report."
)
NO_SUBGROUPS = "Sub-groups of patients were not analysed in this report."
NO_EARLIER = "Earlier periods are not on record."
EARLIER = (
    "Counts of whole windows inside each period, all sites together. A difference alone is no "
    "signal: sites join, and case mix changes with the season."
)
COMPARED_PERIODS = ("This period", "The one before", "A year before")
REPORT_STATES = {
    "requested": "being drafted",
    "failed": "drafting failed",
    "draft": "draft, waits for review",
    "reviewed": "reviewed, waits for approval",
    "issued": "issued",
    "superseded": "superseded",
    "withdrawn": "withdrawn",
}
REPORT_MEANINGS = {
    "review": "review: the content is complete and follows from the evidence",
    "approval": "approval: the report is issued",
    "withdrawal": "withdrawal: the report is not issued",
}
BEING_DRAFTED = (
    "Being drafted: a worker {progress}. This page looks again by itself; it may be left, and the "
    "report is found again in the list."
)
NO_SCHEDULE = "No report comes by itself yet."
CHOOSE_FREQUENCY = "How often: choose one."
CHOOSE_SECTION = "Section: choose one."
CHOOSE_MEANING = "Meaning: choose one."
NOT_SIGNED = "Nobody has signed yet."
NO_REMARK = "Nobody has written a remark."
GLOSSARY = (
    ("Signal", "A change that the plan's rules found; worth verifying, not proof of harm."),
    ("Reference period", "Approved days that later ones are compared with."),
    ("Control limits", "What common cause leaves inside almost always; not limits of acceptance."),
    ("Not assessable", "Too few cases or reads to say anything; never taken for good."),
    ("Silent", "Nothing was heard; nothing is known."),
    ("Window", "Counts and sums of a site's cases over a day or longer, signed by its edge."),
    ("Lock", "Proof that the installed chain is, byte for byte, the one that was cleared."),
    ("Flagged", "Called positive by the device at its operating point."),
)
PRIVACY = (
    "Only counts and sums of groups of cases left the sites; small groups were merged before "
    "they left, never shown."
)
NOT_EVALUATED = "nothing has been evaluated yet"
TOO_LITTLE = "too few cases for any monitor"
NO_EDGE = "No edge is active here yet."
NOT_INSTALLED = "The device is not installed here."
NO_REPORT = "No report is on record yet."
NOT_ALLOWED = "Your role does not allow this."
SIGN_IN_FAILED = "Name, password or code is not right, or the account is locked for a while."
RATIONALE_TOO_SHORT = "Rationale: at least {least} characters expected, got {got}."
CHOOSE_VERDICT = "Verdict: choose one."
WRONG_PASSWORD = "Password: it is not yours, so the decision was not signed."  # noqa: S105
RATIONALE_LEAST = 20
EVIDENTLY_NOTE = (
    "This drift report by Evidently is given for comparison. Its verdicts are not controlled for "
    "false signals: it compares each characteristic once with fixed thresholds, takes no account "
    "of how many are compared or how often, and its table of cases was rebuilt from counts per "
    "bin. No decision should rest on it alone."
)

SCANNERS = (
    "A new software version is an event: its windows are compared with those of the version "
    "before, until a new reference period is approved."
)
LOCK_PROOF = (
    "An edge hashes every file of the bundle at start and daily, and re-scores stored cases with "
    "known answers; fixed images are scored weekly."
)
REFERENCES = (
    "A reference period is frozen when it is proposed, approved by a second person, and "
    "superseded, never edited."
)

MAIL_NOT_MEANT = (
    CAUTION,
    "No picture and no patient was looked at: numbers of many cases were compared.",
)
MAIL_UNMEASURED = "Whether the device's results have become better or worse has not been measured."
MAIL_TO_DO = ("Read the evidence, decide, and sign the decision:",)
MAIL_CLOCKS = (
    "Whether anything must be reported is decided by a person. If you believe that it may, note "
    "the time at which you read this: reporting times run from then."
)
MAIL_WHY = (
    "You receive this because you are listed for signals of this kind. It is sent once for each "
    "signal. Ask the administrator of the surveillance service to change what you receive."
)
MAIL_REPORT = (
    "The {frequency} drift report {number} was reviewed, approved and issued. Both signatures are "
    "on its first page."
)
MAIL_REPORT_TO_DO = (
    "Sign in to read it. The PDF holds its evidence; its SHA-256 must be the one above:",
)
MAIL_REPORT_WHY = (
    "You receive this because you belong to the group “{group}” of a report schedule. Ask the "
    "administrator of the surveillance service to change what you receive."
)
MAIL_DIGEST_WHY = (
    "You receive this once a day when there were signals below the severity at which you are "
    "written to at once, or more within an hour than are sent singly."
)

CAUSES = {
    "scanner": "scanner or image processing",
    "prevalence": "share of positive cases",
    "population": "patients and share of positives together",
    "annotation": "labelling by readers",
    "performance": "how positive cases present",
    "lock": "broken lock",
    "data_quality": "data quality",
    "undetermined": "undetermined",
}
CAUSE_SENTENCES = {
    "scanner": "The images themselves changed: most likely the scanner or its image processing.",
    "prevalence": "The share of positive cases changed; cases of one kind look as they did.",
    "population": "The patients and the share of positive cases changed together.",
    "annotation": "Readers label differently than before; the device's scores did not move.",
    "performance": "Positive cases present differently to the device than before.",
    "lock": "The installed device no longer scores as it did when it was cleared.",
    "data_quality": "Data are missing, unreadable, duplicated or out of their usual volume.",
    "undetermined": "The cause could not be named with enough certainty.",
}
EVENTS = {
    "lock": "The installed device is not the cleared one",
    "lock_broken": "The installed device is not the cleared one",
    "silence": "Site has not been heard from",
    "lateness": "Site still answers, but closes no more windows",
    "alarm_test": "A change made on purpose in a copy was not found",
    "stored_windows": "Stored windows are not what the edge signed",
    "routing": "Site receives far fewer studies than before",
    "silent": "Site has not been heard from",
    "software_version": "Scanner software changed",
    "model": "Scanner model changed",
    "new_scanner": "New scanner",
    "protocol": "Protocol changed",
    "device_version": "Device version changed",
    "known_answer": "Known-answer cases deviate",
}
PLANNED = {
    "service": "Service",
    "protocol_change": "Change of protocol",
    "software_update": "Software update",
    "replaced_part": "Replaced part",
    "other": "Other event",
}
EVALUATE_NOW = (
    "Everything that had arrived by the newest 06:00 UTC, under the plan and the reference in "
    "force. The daily evaluation does the same by itself; asking adds no look and no false signal."
)
NO_EVALUATION = "Not evaluated yet: an approved reference period is needed."
RUN_STATES = {
    "due": "An evaluation asked for or due at {} waits for a worker.",
    "running": "An evaluation asked for or due at {} is running.",
    "failed": "The evaluation asked for or due at {} failed and was given up.",
}
NO_LIMITS = " Readings without limits are of a stage that has no baseline yet."
NOISE = " An edge adds noise to what it sends; the limits allow for it."
UNDER_NOISE = "not assessable under noise"
EVENT_VERDICTS = {
    "": "waits for the quality role, after its last day",
    "new_stage": "new stage",
    "annotation_only": "annotation only",
}
EVENTS_EXPLAINED = (
    "An event is drawn on the charts and named beside signals; it silences nothing. After it, "
    "another person of the quality role may approve that it opens a new stage: windows of the "
    "scanner that begin after the event are then held against a baseline of their own, and are not "
    "assessable until a reference period with enough of its cases is approved. Signals that were "
    "raised stay."
)
ACTIONS = {
    "start_assessment": "You take responsibility for the assessment of this signal.",
    "confirm": "confirmed: something did change",
    "refute": "refuted: nothing changed",
    "leave_open": "inconclusive: the evidence does not decide",
    "reopen": "reopen the assessment",
}
NOTES = {
    "answer": "Answer of a site",
    "file": "Number of the manufacturer's CAPA or complaint file",
}
NOTE_HINT = (
    "Nothing of a patient. What is signed here is kept as it is; something later is another record."
)
CHOOSE_NOTE = "What it is: choose one."
VERDICTS = {
    "start_assessment": "assessment started",
    "confirm": "confirmed",
    "refute": "refuted",
    "leave_open": "inconclusive",
    "reopen": "reopened",
}
DUTY = (
    "Whether anything must be reported is decided by a person. Until someone has signed that a "
    "duty does not apply, its time may be running."
)
READ_HERE = "read on the signal's page"
NOT_AWARE = "Nobody has recorded awareness yet."
NOT_ASSESSED = "Nobody has assessed the duty to report yet."
CLOCK_STATES = {
    "possible": "not assessed, may be running",
    "running": "applies, running",
    "ruled_out": "held not to apply",
    "met": "applies, met",
}
DUTY_INCOMPLETE = "Assessment: facts, and for every duty an answer and a reason, are needed."
TAKEN = "Assessment started."
SHOWN_IN_PART = (
    "This signal also lies at other sites, which your account does not show. Nobody signs what "
    "they were not shown: somebody who sees every site decides."
)
DECIDED = "This signal has been decided; nothing waits."
STATES = {
    "detected": "waiting",
    "under_assessment": "under assessment",
    "confirmed": "confirmed",
    "refuted": "refuted",
    "inconclusive": "inconclusive",
}


@dataclass(frozen=True, slots=True)
class Standing:
    """The one state of one site. `since` is when it was last heard, `reason` why not assessable."""

    site: str
    state: State
    since: datetime | None = None
    reason: str = ""


def count(n: int, one: str, many: str = "") -> str:
    """`1 site`, `2 sites`, `no sites`."""
    word = one if n == 1 else many or f"{one}s"
    return f"{n or 'no'} {word}"


def listed(names: Iterable[str], most: int = 4) -> str:
    """`A, B and C`; beyond `most`, `A, B, C, D and 3 more`."""
    all_names = list(names)
    shown, rest = all_names[:most], len(all_names) - most
    if rest > 0:
        return f"{', '.join(shown)} and {rest} more"
    if len(shown) < 2:
        return "".join(shown)
    return f"{', '.join(shown[:-1])} and {shown[-1]}"


SILENT_ONE_BY_ONE = 4  # more silent sites than these share a sentence


def fleet_sentences(waiting: int, standings: Sequence[Standing]) -> tuple[str, ...]:
    """What a colleague would say at the door. Every site is counted in exactly one sentence."""
    if not standings:
        return ("No site is enrolled yet.",)
    by_state = {s: [one for one in standings if one.state is s] for s in State}
    return (
        *_waiting(waiting, by_state[State.SIGNAL]),
        *_in_control(by_state[State.IN_CONTROL]),
        *_not_assessable(by_state[State.NOT_ASSESSABLE]),
        *_silent(by_state[State.SILENT]),
    )


def _waiting(waiting: int, sites: Sequence[Standing]) -> tuple[str, ...]:
    if not waiting:
        return ("No signal waits for a decision.",)
    verb = "waits" if waiting == 1 else "wait"
    where = f" at {count(len(sites), 'site')}" if sites else ""
    return (f"{count(waiting, 'signal')} {verb} for a decision{where}.",)


def _in_control(sites: Sequence[Standing]) -> tuple[str, ...]:
    if not sites:
        return ()
    verb = "shows" if len(sites) == 1 else "show"
    return (f"{count(len(sites), 'site')} {verb} common-cause variation only.",)


def _not_assessable(sites: Sequence[Standing]) -> tuple[str, ...]:
    if not sites:
        return ()
    reasons = {one.reason for one in sites if one.reason}
    why = f" ({reasons.pop()})" if len(reasons) == 1 else ""
    verb = "is" if len(sites) == 1 else "are"
    names = listed(one.site for one in sites)
    return (f"{count(len(sites), 'site')} {verb} not assessable{why}: {names}.",)


def _silent(sites: Sequence[Standing]) -> tuple[str, ...]:
    if len(sites) > SILENT_ONE_BY_ONE:
        names = listed(one.site for one in sites)
        return (f"{count(len(sites), 'site')} are silent; nothing is known about them: {names}.",)
    return tuple(_silent_one(one) for one in sites)


def _silent_one(one: Standing) -> str:
    if one.since is None:
        return f"{one.site} has never been heard from; nothing is known about it."
    since = one.since.date().isoformat()
    return f"{one.site} has not been heard from since {since}; nothing is known about it."


NAMES = {
    "score_probability": "mean score",
    "score_logit": "score on the logit scale",
    "score_logit_square": "spread of the score",
    "sentinel_score": "score of a fixed image",
    "kvp": "kVp",
    "age_band": "age",
}
SEXES = {"F": "female", "M": "male", "O": "other"}  # DICOM's codes
# Coordinates nobody can picture, or that say again what the mean score says.
SPOKEN = 3  # effects in the claim; the page's table has all
TABLES = {
    "windows": "Windows that arrived, and what became of them (CSV)",
    "counts": "Cases, outcomes and means by window and stratum (CSV)",
    "signals": "Signals (CSV)",
    "effects": "How far each characteristic of a signal moved, with its interval (CSV)",
    "traces": "Every stream of the newest evaluation against its limit (CSV)",
}
TABLES_TO_TAKE_AWAY = (
    "Of the last year, as far as you may see it. The API gives other periods, and Parquet."
)
UNSPOKEN = ("embedding_", "score_logit", "labels_given_score")


def characteristic(name: str) -> str:
    """A characteristic's name as words."""
    if name.startswith("embedding_"):
        return f"image content {name.removeprefix('embedding_')}"
    return NAMES.get(name, name.replace("_", " ")) or "unnamed"


def level(margin: str, name: str) -> str:
    """A level of a sub-group's margin as words: `18_39` of the age is "18 to 39"."""
    if margin == "age_band":
        low, _, high = name.partition("_")
        return f"{low} and over" if high == "up" else f"{low} to {high}" if high else name
    return SEXES.get(name, name) if margin == "sex" else name.replace("_", " ")


def subgroup(margin: str, name: str) -> str:
    """A sub-group as words: "age 18 to 39", "female"."""
    words = level(margin, name)
    if margin in {"sex", "all", ""}:
        return words
    return f"{characteristic(margin)} {words}".strip()


def spelled(name: str) -> str:
    """A sub-group that a record names in one string, `age_band 18_39`; other names stay."""
    margin, gap, rest = name.partition(" ")
    known = gap and (margin in {"sex", "all"} or "_" in margin)
    return subgroup(margin, rest) if known else name


def sentence_case(text: str) -> str:
    """First letter large, the rest as it is; `kVp` stays `kVp`."""
    if text[1:2].isupper():
        return text
    return text[:1].upper() + text[1:]


def direction(effect: float) -> str:
    """Upward or downward."""
    return "upward" if effect > 0 else "downward"


def title(signal: Signal) -> str:
    """The claim in a few words: the page's heading and the mail's subject."""
    if signal.kind == "deterministic":
        return EVENTS.get(signal.event, sentence_case(characteristic(signal.event or "event")))
    if named(signal) == ("annotation",):
        return "Readers label differently than before"
    lead = leading(signal)
    if lead is None:
        return "Something has changed"
    return f"{sentence_case(characteristic(lead.name))} has shifted {direction(lead.effect)}"


def named(signal: Signal) -> tuple[str, ...]:
    """The causes named last."""
    return signal.history[-1].causes if signal.history else ()


def notable(signal: Signal) -> tuple[Effect, ...]:
    """Effects that can be pictured and whose interval leaves out zero, in the signal's order."""
    return tuple(
        effect
        for effect in signal.characteristics
        if not effect.name.startswith(UNSPOKEN) and effect.interval[0] * effect.interval[1] > 0
    )


def leading(signal: Signal) -> Effect | None:
    """The characteristic a signal is named for: the mean score where the share of positives
    changed, else the one that moved most."""
    effects = notable(signal)
    if named(signal) == ("prevalence",):
        effects = tuple(e for e in effects if e.name == "score_probability") or effects
    return effects[0] if effects else None


def sites_of(signal: Signal) -> str:
    """The sites by name; those that somebody bound to one is not shown, only counted."""
    named = listed(signal.sites)
    if not isinstance(signal, PartOfSignal):
        return named
    others = count(signal.other_sites, "other site")
    return f"{named} and {others}" if named else others


def place(signal: Signal) -> str:
    """Where, in the words of the stratum."""
    parts = [
        sites_of(signal) or "fleet",
        *([f"scanner {listed(signal.scanners)}"] if signal.scanners else ()),
        *([f"reader group {listed(signal.readers)}"] if signal.readers else ()),
    ]
    return " · ".join(parts)


def claim(signal: Signal) -> tuple[str, ...]:
    """What was seen, since when, and why it may be so: sentences that can be read aloud."""
    return (*_seen(signal), *_since(signal), *_why(signal))


def _seen(signal: Signal) -> tuple[str, ...]:
    if signal.kind == "deterministic":
        return (f"{title(signal)} at {sites_of(signal) or 'no named site'}.",)
    if named(signal) == ("annotation",):
        return labels_sentence(signal)
    lead = leading(signal)
    if lead is None:
        return ("No single characteristic of the cases moved beyond its 95 % interval.",)
    others = [effect for effect in notable(signal) if effect != lead]
    return tuple(effect_sentence(effect) for effect in (lead, *others[: SPOKEN - 1]))


def labels_sentence(signal: Signal) -> tuple[str, ...]:
    """By what factor the odds of a positive label moved at the same score, with its interval."""
    return tuple(
        f"At the same score the odds of a positive label are {math.exp(e.effect):.2f} times those "
        f"of the reference (95 % interval {math.exp(e.interval[0]):.2f} to "
        f"{math.exp(e.interval[1]):.2f})."
        for e in signal.characteristics
        if e.name == "labels_given_score"
    )


def effect_sentence(effect: Effect) -> str:
    """How far one characteristic moved, with its interval."""
    verb = "rose" if effect.effect > 0 else "fell"
    crosses = effect.interval[0] * effect.interval[1] < 0
    low, high = effect.interval if crosses else sorted(abs(v) for v in effect.interval)
    unit = f" {effect.unit}" if effect.unit else ""
    name = sentence_case(characteristic(effect.name))
    return (
        f"{name} {verb} by {beside(abs(effect.effect), effect.effect)}{unit} (95 % interval "
        f"{beside(low, effect.effect)} to {beside(high, effect.effect)}) "
        "against the reference period."
    )


def beside(value: float, effect: float) -> str:
    """`value` with the decimals that give `effect` two significant digits."""
    places = max(0, 1 - math.floor(math.log10(abs(effect)))) if effect else 2
    return f"{value:z.{places}f}"


def _since(signal: Signal) -> tuple[str, ...]:
    if signal.change_interval:
        start, end = signal.change_interval
        if start == end:
            return (f"The change most likely began on {start.isoformat()}.",)
        return (f"The change most likely began between {start.isoformat()} and {end.isoformat()}.",)
    if signal.change_date:
        return (f"The change most likely began about {signal.change_date.isoformat()}.",)
    return ()


def _why(signal: Signal) -> tuple[str, ...]:
    if not signal.history:
        return ()
    return tuple(cause_sentences(signal.history[-1]))


def causes(name: str) -> str:
    """A candidate of an attribution, which may name several causes at once."""
    if name == "none":
        return "no change"
    return " and ".join(CAUSES.get(part, characteristic(part)) for part in name.split("+"))


def cause_sentences(attribution: Attribution) -> list[str]:
    """Each named cause, and how probable it is held to be."""
    sentences = [CAUSE_SENTENCES[cause] for cause in attribution.causes]
    if attribution.causes != ("undetermined",):
        sentences.append(f"This is held to be {percent(attribution.probability)} probable.")
    elif attribution.candidates:
        name, likely = max(attribution.candidates.items(), key=lambda item: item[1])
        sentences.append(f"Most likely so far: {causes(name)}, {percent(likely)}.")
    return sentences


def percent(share: float) -> str:
    """Whole per cent, but never 0 or 100 for what is not certain."""
    whole = min(max(round(100 * share), 1), 99) if 0 < share < 1 else round(100 * share)
    return f"{whole} %"


def budget(promised_per_year: float) -> str:
    """The price of looking, beside the limits."""
    if promised_per_year <= 0:
        return "No false-signal rate is promised for this evaluation."
    weeks = round(52.18 / promised_per_year)
    return (
        f"With this plan at most {promised_per_year:g} false "
        f"{'signal' if promised_per_year == 1 else 'signals'} a year "
        f"{'is' if promised_per_year == 1 else 'are'} expected over the whole fleet, one every "
        f"{weeks} weeks."
    )


def empty_queue(evaluated: datetime | None, assessable: int, sites: int) -> str:
    """An empty queue says when it was last filled, and by how much data."""
    if evaluated is None:
        return "No signal waits for a decision. Nothing has been evaluated yet."
    return (
        f"No signal waits for a decision. Last evaluated {instant(evaluated)}, "
        f"{assessable} of {sites} sites assessable."
    )


def instant(when: datetime) -> str:
    """Absolute, in one zone."""
    return f"{when:%Y-%m-%d %H:%M} UTC"


def age(day: date, today: date) -> str:
    """Only ever shown beside an absolute date."""
    days = (today - day).days
    if days <= 0:
        return "today"
    return "1 day" if days == 1 else f"{days} days"


def subject(identifier: str, signal: Signal, device: str) -> str:
    """The mail's subject: claim, place, device."""
    what = title(signal)
    what = what if what[:2].isupper() else what[:1].lower() + what[1:]
    where = sites_of(signal) or "fleet"
    text = f"[Surveillance] Signal {identifier}: {what}, {where}, {device}"
    return " ".join(text.split())  # one line, whatever a name holds


def told(others: Sequence[str]) -> str:
    """Who else was told."""
    return f"Also told: {', '.join(others)}." if others else "Nobody else was told."


def chance(promised_per_year: float) -> str:
    """The price of looking, in words for a letter."""
    if promised_per_year <= 0:
        return "not stated"
    often = f"{promised_per_year:g} times" if promised_per_year != 1 else "once"
    return f"a signal without a cause is expected at most {often} a year over all sites"


def evidence_sentence(statistic: float | None, limit: float | None) -> str:
    """How much evidence there was when the signal was raised."""
    if statistic is None or limit is None:
        return "This signal reports an event; no statistic was needed."
    return (
        f"The evidence stood at {large(statistic)} days when it was raised, against a limit of "
        f"{large(limit)} days."
    )


def volume_sentence(reference: int, current: int, since: date) -> str:
    """How many cases were compared."""
    return (
        f"{count(current, 'case')} since {since.isoformat()} "
        f"{'was' if current == 1 else 'were'} compared with {reference} of the reference period."
    )


def others_sentence(streams: int, over: int) -> str:
    """Multiplicity: what else looked, and what it saw."""
    return (
        f"{count(streams, 'stream')} of the same sites and of the fleet "
        f"{'was' if streams == 1 else 'were'} watched at the same time; {over or 'none'} of them "
        f"reached {'its' if over == 1 else 'their'} limit. The false-signal rate counts them all."
    )


def missing_sentence(missing: Sequence[str]) -> tuple[str, ...]:
    """What would help to tell the causes apart."""
    if not missing:
        return ()
    return (f"Not available, and it would help: {listed(missing)}.",)


def sites_left_out(more: int, quiet: int) -> str:
    """What a heat map of a large fleet does not show: `more` like those shown, and the quiet."""
    parts = [
        *([f"{more} more of these"] if more else []),
        *([f"{count(quiet, 'site')} with common-cause variation only"] if quiet else []),
    ]
    return f"Not shown: {' and '.join(parts)}." if parts else ""


def lanes_left_out(more: int, empty: int) -> str:
    """What a time line of a large fleet does not show: `more` like those shown, and the empty."""
    parts = [
        *([f"{more} more of these"] if more else []),
        *([f"{count(empty, 'site')} where nothing happened"] if empty else []),
    ]
    return f"Not shown: {' and '.join(parts)}." if parts else ""


EVERY_LOCK_EQUAL = "Every installation is equal to the release; the page Lock lists them all."


def locks_left_out(more: int, equal: int) -> str:
    """The lock at the sites of a large fleet: how many are equal, and what is not listed."""
    rest = f" and {more} that are not" if more else ""
    return f"Lock, without {count(equal, 'installation')} equal to the release{rest}"


def rows_shown(first: int, last: int, of: int, one: str) -> str:
    """`Sites 1 to 100 of 1000.`"""
    return f"{sentence_case(one)}s {first} to {last} of {of}."


def received(days: int, of: int, cases: int, heard: datetime | None) -> str:
    """How much data came, and when a site was last heard."""
    last = "never heard" if heard is None else f"last heard {instant(heard)}"
    return f"{days} of {of} days received, {count(cases, 'case')}, {last}"


def needs_cases(got: int, needed: int) -> str:
    """Too few cases, in numbers."""
    return f"not assessable: {count(got, 'case')}, {needed} needed"


def rebuilt(found: Rebuilt) -> str:
    """What rebuilding a report showed."""
    if found.is_equal:
        return (
            f"{found.number} was rebuilt from its stored evidence: every byte is as issued "
            f"(PDF sha256 {found.pdf_digest})."
        )
    parts = [
        *([] if found.evidence_holds else ["the stored evidence is not the one it names"]),
        *([] if found.html_is_equal else ["the HTML differs"]),
        *([] if found.issued_digest == found.pdf_digest else ["the PDF differs"]),
    ]
    return (
        f"{found.number} was rebuilt and is not as issued: {listed(parts)}. Software versions "
        "may have changed since; the issued files are kept as they were."
    )


def lock_sentence(words: Sequence[str]) -> str:
    """How many installations are what was cleared; the counts add up."""
    if not words:
        return "Released, not yet installed anywhere."
    parts = [f"{words.count(w)} {w}" for w in dict.fromkeys(words)]
    return f"Of {count(len(words), 'installation')}: {', '.join(parts)}."


def evaluated(upto: str, windows: int, when: str) -> str:
    """What the newest evaluation covers."""
    return f"Evaluated {when}: {count(windows, 'window')} that had arrived by 06:00 UTC of {upto}."


def scanners_sentence(scanners: int, versions: int) -> str:
    """How many scanners, on how many software versions."""
    return (
        f"{sentence_case(count(scanners, 'scanner'))} with {count(versions, 'software version')} "
        "on record."
    )


def timeline_sentence(marks: int, sites: int) -> str:
    """What the time line holds."""
    return f"{sentence_case(count(marks, 'entry', 'entries'))} at {count(sites, 'site')}."


def signals_sentence(n: int, only_open: bool) -> str:
    """What the list of signals holds."""
    if only_open:
        verb = "waits" if n == 1 else "wait"
        return f"{sentence_case(count(n, 'signal'))} {verb} for a decision."
    return f"{sentence_case(count(n, 'signal'))} on record, newest first."


def due(day: date | None, days_left: int | None, starts_with: str) -> str:
    """When a time ends, counted from today."""
    if day is None or days_left is None:
        return f"no date yet, counts from {starts_with}"
    if days_left == 0:
        return f"{day.isoformat()}, today"
    away = count(abs(days_left), "day")
    return f"{day.isoformat()}, {f'in {away}' if days_left > 0 else f'{away} ago'}"


def aware(person: str, aware_at: datetime, how: str) -> str:
    """Who became aware, when and how."""
    return f"{person} has been aware since {instant(aware_at)}: {how}"


def large(number: float) -> str:
    """A large number as a person says it."""
    if number < 1e6:
        return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
    return "over a million" if number < 1e9 else "over a billion"


EXAMPLE = "Example data."
EXAMPLE_NOTE = (
    "Simulated cases of no patient, at hospitals that do not exist, as of one day in the past. "
    "Nothing here counts, nobody is told of it, and nothing can be changed."
)
EXAMPLE_LEAVE = "Leave the example"
EXAMPLE_IS_READ = "example data is for reading: nothing can be changed in it"
EXAMPLE_LOADED = "Example data is loaded beside this fleet. It counts nowhere on these pages."
EXAMPLE_OPEN = "Look at the example"
EXAMPLE_OFFER = (
    "To see what the pages will show, load example data: a simulated fleet, apart from yours."
)
EXAMPLE_LOAD = "Load example data"
