"""One signal, gathered: what was seen, how sure, where it is, what else changed, who decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from app.central.alerts import letters
from app.central.alerts import service as alerts
from app.central.alerts.models import MailState
from app.central.events import service as events
from app.central.intake.arrival import evaluation_instant
from app.central.surveillance import evidence as stored
from app.central.surveillance import notes
from app.central.surveillance.evidence import OtherChange, Proof
from app.central.surveillance.models import Action
from app.central.surveillance.notes import NoteKind
from app.central.surveillance.pool import pool_within
from app.central.surveillance.service import SignalView as StoredSignal
from app.contracts.signals import Signal
from dashboards import evidence, wording
from dashboards.charts.spec import Chart, Stage
from dashboards.evidence import Period, Scope
from dashboards.pages.event_marks import event_label
from dashboards.pages.views import (
    AssessmentForm,
    ChangeRow,
    Choice,
    DecisionView,
    DutyView,
    EffectRow,
    Fact,
    HistoryRow,
    Link,
    Shares,
    SignalView,
)
from monitors.observations import History

CANDIDATES_SHOWN = 5
SMALLEST_SHOWN = 0.01
MAIL_WORDS = {
    MailState.SENT: "Alert sent to",
    MailState.DEAD: "Alert could not be sent to",
}


@dataclass(frozen=True, slots=True)
class Exhibits:
    """The charts of a signal, and the sentences on how sure they make one."""

    seen: tuple[Chart, ...] = ()
    where: tuple[Chart, ...] = ()
    sure: tuple[str, ...] = ()


def signal_view(
    session: Session,
    one: StoredSignal,
    *,
    duty: DutyView,
    may_assess: bool,
    scope: str | None,
    form: AssessmentForm | None = None,
) -> SignalView:
    """Everything the signal page shows; `form` keeps what was typed before a refusal."""
    proof = stored.signal_proof(session, one.id, scope=scope)
    shown = exhibits(session, one, proof, scope)
    return SignalView(
        id=one.id,
        crumb=f"Signal {one.id} · {one.device} {one.version} · {wording.place(one.signal)}",
        title=wording.title(one.signal),
        state=wording.STATES[one.state.value],
        is_open=one.is_open,
        claim=wording.claim(one.signal),
        seen=shown.seen,
        sure=shown.sure,
        effects=effect_rows(one.signal),
        candidates=candidates(one.signal),
        where=shown.where,
        changes=_changes(proof.changes if proof else ()),
        history=_history(session, one, scope),
        facts=_facts(one, proof),
        decisions=decisions(one),
        form=(form or empty_form(one)) if may_assess and one.actions else None,
        duty=duty,
        form_absent=_form_absent(one),
        may_note=duty.may_sign and scope is None,
        letters=_letters(one) if duty.may_sign and scope is None else (),
        may_recalibrate=not one.other_sites and (scope is None or may_assess),
    )


def _letters(one: StoredSignal) -> tuple[Link, ...]:
    """Where a letter to each site that the signal concerns is drafted."""
    return tuple(Link(s, f"/signals/{one.id}/letters/{s}") for s in one.signal.sites)


def _form_absent(one: StoredSignal) -> str:
    if one.other_sites:
        return wording.SHOWN_IN_PART
    return wording.NOT_ALLOWED if one.actions else wording.DECIDED


def exhibits(
    session: Session, one: StoredSignal, proof: Proof | None, scope: str | None
) -> Exhibits:
    """Charts and sentences from the windows that the signal's evaluation saw."""
    if proof is None:
        return Exhibits(sure=(wording.evidence_sentence(None, None),))
    everywhere = None
    if scope is None:
        pool = pool_within(session, one.lock_digest, upto=proof.evaluated_upto, scope=None)
        everywhere = pool.arrived_by(proof.evaluated_upto)
    no_site = everywhere is not None and not one.signal.sites
    history = everywhere if everywhere is not None and no_site else proof.history
    period = Period(proof.reference_until + timedelta(1), proof.evaluated_upto)
    return Exhibits(
        seen=(
            *_series(history, one.signal, period, _planned(session, one, scope)),
            *_path(one.signal, proof),
        ),
        where=_where(history, everywhere, one.signal, period),
        sure=_sure(one.signal, proof),
    )


def _series(
    history: History, signal: Signal, period: Period, planned: tuple[Stage, ...]
) -> tuple[Chart, ...]:
    scope = Scope(signal.sites, signal.scanners)
    lead = wording.leading(signal)
    if wording.named(signal) == ("annotation",):
        series = evidence.label_series(history, Scope(signal.sites), period.upto)
    else:
        name = lead.name if lead else "score_probability"
        found = evidence.series_of(history, name, scope, period.upto)
        series = found or evidence.flagged_series(history, scope, period.upto)
    chart = evidence.control_chart(series, scope, period, (*_stages(signal), *planned))
    return (chart,) if chart else ()


def _stages(signal: Signal) -> tuple[Stage, ...]:
    if signal.kind != "deterministic" or signal.change_date is None:
        return ()
    return (Stage(signal.change_date, wording.title(signal).lower()),)


def _planned(session: Session, one: StoredSignal, scope: str | None) -> tuple[Stage, ...]:
    """Events of the signal's own scanners. None restarts the limits here: a signal is shown against
    the baseline that it was raised against."""
    found = events.events(session, lock_digest=one.lock_digest, site_id=scope)
    mine = [
        e
        for e in found
        if e.site_id in one.signal.sites
        and (not e.scanner or not one.signal.scanners or e.scanner in one.signal.scanners)
    ]
    return tuple(Stage(e.first_day, event_label(e)) for e in mine)


def _path(signal: Signal, proof: Proof) -> tuple[Chart, ...]:
    trace = next((t for t in proof.traces if t.stream == signal.stream), None)
    if trace is None:
        return ()
    days = [day.toordinal() for day in trace.days]
    chart = evidence.path_chart(
        trace.stream, days, trace.statistic, trace.limit, signal.change_interval, signal.date
    )
    return (chart,) if chart else ()


def _where(
    history: History, everywhere: History | None, signal: Signal, period: Period
) -> tuple[Chart, ...]:
    if not signal.sites:
        return ()
    since = signal.change_date or signal.date
    lead = wording.leading(signal)
    names = dict.fromkeys([*([lead.name] if lead else ()), "score_probability"])
    charts = (
        evidence.comparison(history, n, signal.sites, period, since, everywhere) for n in names
    )
    return tuple(chart for chart in charts if chart is not None)


def _sure(signal: Signal, proof: Proof) -> tuple[str, ...]:
    since = signal.change_date or signal.date
    others = [t for t in proof.traces if t.stream != signal.stream]
    over = sum(1 for t in others if any(v >= t.limit for v in t.statistic))
    priced = () if signal.statistic is None else (wording.budget(proof.promised),)
    return (
        wording.evidence_sentence(signal.statistic, signal.limit),
        wording.volume_sentence(proof.reference_cases, proof.current_cases, since),
        *priced,
        wording.others_sentence(len(others), over),
        *wording.missing_sentence(proof.missing),
    )


def effect_rows(signal: Signal) -> tuple[EffectRow, ...]:
    """Every effect of the signal, in its order."""
    return tuple(
        EffectRow(
            wording.sentence_case(wording.characteristic(e.name)), e.effect, e.interval, e.unit
        )
        for e in signal.characteristics
    )


def candidates(signal: Signal) -> tuple[Shares, ...]:
    """The likeliest causes, as believed last."""
    if not signal.history or signal.kind == "deterministic":
        return ()
    ranked = sorted(signal.history[-1].candidates.items(), key=lambda item: (-item[1], item[0]))
    return tuple(
        Shares(wording.causes(name), share)
        for name, share in ranked[:CANDIDATES_SHOWN]
        if share >= SMALLEST_SHOWN
    )


def _changes(changes: Sequence[OtherChange]) -> tuple[ChangeRow, ...]:
    return tuple(_planned_row(c) if c.described else _signal_row(c) for c in changes)


def _signal_row(c: OtherChange) -> ChangeRow:
    what = wording.sentence_case(wording.EVENTS.get(c.what, wording.causes(c.what)))
    return ChangeRow(what, c.day.isoformat(), c.detail, f"/signals/{c.detail}")


def _planned_row(c: OtherChange) -> ChangeRow:
    what = f"{wording.PLANNED[c.what]}, registered: {c.described}"
    return ChangeRow(what, c.day.isoformat(), c.detail, f"/sites/{c.site}/scanners#{c.detail}")


def _history(session: Session, one: StoredSignal, scope: str | None) -> tuple[HistoryRow, ...]:
    rows: list[tuple[datetime, str, str]] = [(one.raised_at, "Raised", "")]
    for mail in alerts.mails(session, cause=f"signal:{one.id}", scope=scope):
        words = MAIL_WORDS.get(mail.state, "Alert waits for")
        rows.append((mail.sent_at or mail.queued_at, f"{words} {mail.recipient}", ""))
    for belief in one.signal.history:
        words = " and ".join(wording.CAUSES[cause] for cause in belief.causes)
        rows.append((max(evaluation_instant(belief.date), one.raised_at), f"Cause: {words}", ""))
    for sent in letters.of_signal(session, one.id, scope=scope):
        words = f"Letter {sent.id} to {sent.site_id}, {sent.printed_name}"
        rows.append((sent.sent_at, words, f"/letters/{sent.id}"))
    for note in notes.of_signal(session, one.id, scope=scope):
        what = f"Answer of {note.site_id}" if note.kind is NoteKind.ANSWER else "File"
        rows.append((note.noted_at, f"{what}: {note.text} ({note.id}, {note.printed_name})", ""))
    for decision in one.decisions:
        verdict = wording.VERDICTS[decision.action.value]
        words = f"{wording.sentence_case(verdict)}, {decision.printed_name}"
        rows.append((decision.decided_at, words, ""))
    ordered = sorted(rows, key=lambda row: row[0])
    return tuple(HistoryRow(wording.instant(when), what, href) for when, what, href in ordered)


def _facts(one: StoredSignal, proof: Proof | None) -> tuple[Fact, ...]:
    signal = one.signal
    site = signal.sites[0] if len(signal.sites) == 1 else ""
    facts = [
        Fact("Monitor", evidence.stream_words(signal.stream)),
        Fact("Kind", f"{signal.kind}, {one.severity.value}"),
        Fact("Raised on", signal.date.isoformat()),
        Fact("Device", f"{one.device} {one.version}", href=f"/devices/{one.lock_digest}"),
        Fact("Site", wording.sites_of(signal) or "–", href=f"/sites/{site}" if site else ""),
    ]
    if signal.scanner_models:
        facts.append(Fact("Scanner model", wording.listed(signal.scanner_models)))
    if proof is not None:
        facts += [
            Fact("Reference", f"{proof.reference_id}, up to {proof.reference_until}"),
            Fact("Evaluated", f"up to {proof.evaluated_upto}, {proof.windows} windows"),
            Fact("Evidence", f"sha256 {proof.result_digest}", True),
        ]
    return tuple(facts)


def decisions(one: StoredSignal) -> tuple[DecisionView, ...]:
    """Signed decisions, oldest first."""
    return tuple(
        DecisionView(
            verdict=wording.sentence_case(wording.VERDICTS[d.action.value]),
            cause=wording.CAUSES.get(d.cause, d.cause),
            rationale=d.rationale,
            printed_name=d.printed_name,
            meaning=d.meaning,
            decided_at=d.decided_at,
            digest=d.artefact_digest,
        )
        for d in one.decisions
    )


def empty_form(one: StoredSignal) -> AssessmentForm:
    """The form for what may be decided now."""
    return AssessmentForm(
        action=f"/signals/{one.id}/decision",
        verdicts=tuple(Choice(a.value, wording.ACTIONS[a.value]) for a in one.actions),
        causes=tuple(Choice(name, words) for name, words in wording.CAUSES.items()),
        digest=one.digest,
        is_first=one.actions == (Action.START_ASSESSMENT,),
    )
