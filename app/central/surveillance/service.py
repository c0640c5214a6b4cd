"""Evaluate what arrived, raise signals once, and record what people decide about them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import lru_cache

from sqlalchemy.orm import Session

from app.central.accounts.service import Signer
from app.central.alerts.models import Severity
from app.central.alerts.service import severity_of
from app.central.audit import service as audit
from app.central.errors import Forbidden, NotAllowed, NotFound
from app.central.fleet import repository as fleet_repository
from app.central.numbering import next_number
from app.central.references import repository as references_repository
from app.central.references import service as references
from app.central.surveillance import plans, repository
from app.central.surveillance.history import assemble
from app.central.surveillance.models import (
    TRANSITIONS,
    Action,
    Decision,
    Evaluation,
    Signal,
    SignalState,
)
from app.central.surveillance.plans import InForce, Mode
from app.central.surveillance.results import (
    Evidence,
    TraceView,
    read_evidence,
    read_traces,
    standing_of,
    stored_evidence,
)
from app.central.surveillance.scoped import part_of
from app.central.texts import check_text
from app.contracts.signals import Attribution, PartOfSignal
from app.contracts.signals import Signal as SignalDocument
from app.contracts.signing import SigningKey, canonical, sha256
from monitors.engine import Evaluation as EngineResult
from monitors.engine import evaluate as run_engine

DECISION_DOMAIN = "lockwatch/decision/v1"
OPEN = (SignalState.DETECTED, SignalState.UNDER_ASSESSMENT)
MEANING = {
    Action.START_ASSESSMENT: "responsibility for the assessment",
    Action.CONFIRM: "review: the signal is confirmed",
    Action.REFUTE: "review: the signal is refuted",
    Action.LEAVE_OPEN: "review: the evidence does not decide",
    Action.REOPEN: "responsibility for a new assessment",
}
LONGEST_RATIONALE = 10_000
LONGEST_CAUSE = 64
EVERY = 10_000  # more signals than ever wait at once


@dataclass(frozen=True, slots=True)
class DecisionView:
    """A signed decision, with all that 21 CFR 11.50 wants shown."""

    action: Action
    cause: str
    rationale: str
    decided_by: str
    printed_name: str
    meaning: str
    decided_at: datetime
    artefact_digest: str
    signature: str


@dataclass(frozen=True, slots=True)
class SignalView:
    """A signal as pages, mails and the API show it. `digest` names the whole of it, also where only
    the part of one site is shown."""

    id: str
    signal: SignalDocument
    lock_digest: str
    device: str
    version: str
    severity: Severity
    state: SignalState
    raised_at: datetime
    updated_at: datetime
    digest: str
    evaluation: str | None
    actions: tuple[Action, ...]
    decisions: tuple[DecisionView, ...]

    @property
    def is_open(self) -> bool:
        """Somebody still has to decide."""
        return self.state in OPEN

    @property
    def other_sites(self) -> int:
        """How many sites this view does not name; nobody signs what is shown in part."""
        return self.signal.other_sites if isinstance(self.signal, PartOfSignal) else 0

    @property
    def owner(self) -> str:
        """Who decided last; "" while nobody has."""
        return self.decisions[-1].printed_name if self.decisions else ""


@dataclass(frozen=True, slots=True)
class EvaluationView:
    """One run of the engine."""

    input_digest: str
    result_digest: str
    lock_digest: str
    reference_id: str
    plan_digest: str
    upto: date
    windows: int
    evaluated_at: datetime
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Seen:
    """What the engine looked at: so many windows by `upto`, under a plan, against a reference."""

    lock_digest: str
    input_digest: str
    reference_id: str
    plan: InForce
    upto: date
    windows: int


Announce = Callable[[Session, SignalView], None]
"""Tells people about a signal that was just raised, or has reached another site, in the same
transaction; whoever was told of it before is not told again."""


def evaluate(
    session: Session, lock_digest: str, upto: date, *, announce: Announce, now: datetime
) -> Evaluation | None:
    """Evaluate everything that had arrived by 06:00 UTC of `upto`; None without a reference.

    The same input is evaluated once: a second call waits for the first and finds its result.
    """
    repository.lock_evaluations(session, lock_digest)
    reference = references_repository.in_force(session, lock_digest)
    if reference is None:
        return None
    in_force = plans.in_force(session, lock_digest)
    # A reference knows the stages that were opened before it was proposed.
    arrived = assemble(session, lock_digest, upto=upto, known_by=reference.proposed_at)
    named = [in_force.digest, reference.digest, arrived.digest, upto.isoformat()]
    input_digest = sha256(canonical(named))
    known = repository.find_evaluation(session, input_digest)
    if known is not None:
        return known
    frozen = references.statistics_of(reference)
    result = run_engine(in_force.plan, frozen, arrived.history, upto.toordinal())
    seen = Seen(lock_digest, input_digest, reference.id, in_force, upto, arrived.windows)
    return keep(session, seen, result, announce=announce, now=now)


def keep(
    session: Session, seen: Seen, result: EngineResult, *, announce: Announce, now: datetime
) -> Evaluation:
    """Store what the engine found in `seen`, and raise or grow its signals."""
    result = _without_what_is_off(result, seen.plan)
    evidence = stored_evidence(result)
    evaluation = Evaluation(
        input_digest=seen.input_digest,
        lock_digest=seen.lock_digest,
        reference_id=seen.reference_id,
        plan_digest=seen.plan.digest,
        upto=seen.upto,
        windows=seen.windows,
        evidence=evidence.content,
        outline=evidence.outline,
        result_digest=evidence.digest,
        standing=standing_of(result),
        promised=result.false_signals_promised_per_year,
        evaluated_at=now,
    )
    session.add(evaluation)
    session.flush()
    for source, document in read_evidence(evaluation.evidence).signals.items():
        if seen.plan.mode_of(document.stream) is Mode.TRIAL:
            continue
        _raise_or_grow(session, seen.lock_digest, source, document, evaluation, announce, now)
    return evaluation


def _without_what_is_off(result: EngineResult, in_force: InForce) -> EngineResult:
    return replace(
        result,
        signals=tuple(s for s in result.signals if in_force.mode_of(s.stream) is not Mode.OFF),
        traces=tuple(t for t in result.traces if in_force.mode_of(t.stream) is not Mode.OFF),
    )


def raise_event(
    session: Session,
    lock_digest: str,
    *,
    source: str,
    event: str,
    cause: str,
    site: str,
    announce: Announce,
    now: datetime,
) -> bool:
    """Raise a deterministic signal of our own (lock, silence), once; False if it was raised."""
    if repository.find_signal_by_source(session, lock_digest, source) is not None:
        return False
    today = now.date()
    belief = {"date": today, "causes": (cause,), "probability": 1.0, "candidates": {cause: 1.0}}
    document = SignalDocument(
        id=source,
        kind="deterministic",
        date=today,
        sites=(site,),
        scanners=(),
        scanner_models=(),
        readers=(),
        history=(Attribution.model_validate(belief),),
        change_date=today,
        change_interval=None,
        characteristics=(),
        stream=f"event:{site}",
        statistic=None,
        limit=None,
        event=event,
    )
    _raise(session, lock_digest, source, document, None, announce, now)
    return True


def _raise_or_grow(
    session: Session,
    lock_digest: str,
    source: str,
    document: SignalDocument,
    evaluation: Evaluation,
    announce: Announce,
    now: datetime,
) -> None:
    known = repository.find_signal_by_source(session, lock_digest, source)
    if known is None:
        _raise(session, lock_digest, source, document, evaluation, announce, now)
        return
    if known.state not in OPEN:
        return  # what was decided stays as it was decided on
    known.evaluation = evaluation.input_digest
    grown = document.model_copy(update={"id": known.id})
    reached = set(grown.sites) - set(known.document["sites"])
    if grown.model_dump(mode="json") != known.document:
        known.document = grown.model_dump(mode="json")
        known.updated_at = now
        known.severity = severity_of(grown)
    session.flush()
    if reached:  # who was told of it before is not told again
        announce(session, _view(fleet_repository.version_names(session), known, ()))


def _raise(
    session: Session,
    lock_digest: str,
    source: str,
    document: SignalDocument,
    evaluation: Evaluation | None,
    announce: Announce,
    now: datetime,
) -> None:
    identifier = next_number(session, Signal.id, "S")
    document = document.model_copy(update={"id": identifier})
    signal = Signal(
        id=identifier,
        source=source,
        lock_digest=lock_digest,
        kind=document.kind,
        severity=severity_of(document),
        state=SignalState.DETECTED,
        raised_on=document.date,
        raised_at=now,
        updated_at=now,
        document=document.model_dump(mode="json"),
        evaluation=evaluation.input_digest if evaluation else None,
    )
    session.add(signal)
    session.flush()
    audit.record(
        session,
        actor="lockwatch",
        action="surveillance:signal:raise",
        subject=identifier,
        at=now,
        detail={"digest": document_digest(signal), "stream": document.stream},
    )
    announce(session, _view(fleet_repository.version_names(session), signal, ()))


def decide(
    session: Session,
    signal_id: str,
    action: Action,
    *,
    rationale: str,
    cause: str,
    seen_digest: str,
    signer: Signer,
    key: SigningKey,
) -> Signal:
    """Apply a person's signed decision, in the caller's transaction.

    The row is locked first, so of two people who act at once one gets a refusal. The decision
    is bound to what was on the screen: it is refused when the signal has changed since.
    """
    signal = lock(session, signal_id)
    new_state = TRANSITIONS.get((signal.state, action))
    if new_state is None:
        raise NotAllowed(f"{action.value}: signal {signal.id} is {signal.state.value}")
    check_text("rationale", rationale, LONGEST_RATIONALE)
    check_text("cause", cause, LONGEST_CAUSE, least=0)
    if seen_digest != document_digest(signal):
        raise NotAllowed("the signal has changed since it was shown: look at it again")
    session.add(_signed(signal, action, rationale, cause, seen_digest, signer, key))
    audit.record(
        session,
        actor=signer.name,
        action=f"surveillance:signal:{action.value}",
        subject=signal.id,
        at=signer.at,
        reason=rationale,
        detail={"from": signal.state.value, "to": new_state.value, "digest": seen_digest},
    )
    signal.state = new_state
    session.flush()
    return signal


def lock(session: Session, signal_id: str) -> Signal:
    """The stored signal, nobody else's to change until the transaction ends."""
    found = repository.find_signal(session, signal_id, lock=True)
    if found is None:
        raise NotFound(f"no signal {signal_id[:32]}")
    return found


def _signed(
    signal: Signal,
    action: Action,
    rationale: str,
    cause: str,
    seen_digest: str,
    signer: Signer,
    key: SigningKey,
) -> Decision:
    content = canonical(
        {
            "signal": signal.id,
            "action": action.value,
            "cause": cause,
            "rationale": rationale,
            "decided_by": signer.name,
            "printed_name": signer.full_name,
            "meaning": MEANING[action],
            "decided_at": signer.at.isoformat(),
            "artefact_digest": seen_digest,
        }
    )
    return Decision(
        id=str(uuid.uuid4()),
        signal_id=signal.id,
        action=action,
        cause=cause,
        rationale=rationale,
        decided_by=signer.name,
        printed_name=signer.full_name,
        meaning=MEANING[action],
        decided_at=signer.at,
        artefact_digest=seen_digest,
        signature=key.sign(DECISION_DOMAIN, content).hex(),
    )


def document_digest(signal: Signal) -> str:
    """SHA-256 of the signal as it is shown: what a signature is bound to."""
    return _digest(json.dumps(signal.document))


@lru_cache(maxsize=4096)
def _digest(document: str) -> str:
    return sha256(canonical(json.loads(document)))


def signals(
    session: Session,
    *,
    only_open: bool = False,
    lock_digest: str | None = None,
    site_id: str | None = None,
    scope: str | None = None,
    before: str | None = None,
    raised: tuple[date, date] | None = None,
    limit: int = 200,
) -> tuple[SignalView, ...]:
    """Signals, newest first, of one site or of all; where a person is bound to site `scope`, only
    its own, and of each what that site may be shown.

    `before` names the last signal of the page before; `raised` the first and the last day of the
    evidence that raised them.
    """
    last = repository.find_signal(session, before) if before else None
    if before and last is None:
        raise NotFound(f"no signal {before[:32]}")
    found = repository.signals(
        session,
        states=OPEN if only_open else (),
        lock_digest=lock_digest,
        site_id=scope or site_id,
        before=last,
        raised=raised,
        limit=limit,
    )
    decided: dict[str, list[Decision]] = {s.id: [] for s in found}
    for d in repository.decisions(session, list(decided)):
        decided[d.signal_id].append(d)
    names = fleet_repository.version_names(session)
    return tuple(seen_from(session, _view(names, s, decided[s.id]), scope) for s in found)


def count(session: Session, *, only_open: bool, scope: str | None = None) -> int:
    """How many signals there are, of site `scope` where a person is bound to one."""
    return repository.count_signals(session, states=OPEN if only_open else (), site_id=scope)


def signal(session: Session, signal_id: str, *, scope: str | None = None) -> SignalView:
    """One signal, as somebody bound to site `scope` is shown it, or `NotFound`."""
    found = repository.find_signal(session, signal_id)
    if found is None or not (scope is None or scope in found.document["sites"]):
        raise NotFound(f"no signal {signal_id[:32]}")
    names = fleet_repository.version_names(session)
    view = _view(names, found, repository.decisions(session, [found.id]))
    return seen_from(session, view, scope)


def seen_from(session: Session, view: SignalView, scope: str | None) -> SignalView:
    """The same for somebody bound to site `scope`: other sites only counted, nothing to decide."""
    shown = part_of(session, view.signal, view.lock_digest, scope)
    return view if shown is view.signal else replace(view, signal=shown, actions=())


def whole(session: Session, signal_id: str, *, scope: str | None) -> SignalView:
    """One signal for somebody who decides on it: `Forbidden` where they are shown a part of it."""
    found = signal(session, signal_id, scope=scope)
    if found.other_sites:
        raise Forbidden(
            f"signal {found.id} also lies at other sites, which your account does not show: "
            "somebody who sees every site decides and signs"
        )
    return found


def last_evaluation(
    session: Session, lock_digest: str, *, upto: date | None = None
) -> EvaluationView | None:
    """The newest evaluation of a device version (up to a day), with its evidence."""
    found = repository.last_evaluation(session, lock_digest, upto=upto)
    return evaluation_view(found) if found else None


def newest_evaluation(session: Session, lock_digest: str) -> Evaluation | None:
    """The same without its evidence, which is read where it is asked for: that of a large fleet is
    megabytes."""
    return repository.last_evaluation(session, lock_digest)


def last_evaluated_at(session: Session, lock_digest: str) -> datetime | None:
    """When a device version was evaluated last."""
    found = repository.last_evaluation(session, lock_digest)
    return found.evaluated_at if found else None


def on_trial(session: Session, found: EvaluationView) -> tuple[SignalDocument, ...]:
    """What the monitors on trial have found in an evaluation: kept, and raised to nobody."""
    plan = plans.get(session, found.plan_digest)
    return tuple(s for s in found.evidence.signals.values() if plan.mode_of(s.stream) is Mode.TRIAL)


def evaluation(session: Session, input_digest: str) -> EvaluationView:
    """One evaluation."""
    found = repository.find_evaluation(session, input_digest)
    if found is None:
        raise NotFound(f"no evaluation {input_digest[:12]}…")
    return evaluation_view(found)


def evaluation_view(found: Evaluation) -> EvaluationView:
    """A stored evaluation with its evidence unpacked."""
    return EvaluationView(
        found.input_digest,
        found.result_digest,
        found.lock_digest,
        found.reference_id,
        found.plan_digest,
        found.upto,
        found.windows,
        found.evaluated_at,
        _unpacked(found.result_digest, found.evidence),
    )


@lru_cache(maxsize=2)  # that of a large fleet takes seconds to unpack
def _unpacked(_: str, evidence: bytes) -> Evidence:
    return read_evidence(evidence)


@dataclass(frozen=True, slots=True)
class Findings:
    """What an evaluation found about some sites: the paths of their streams and of the fleet's own,
    and what a signal lacked."""

    missing: tuple[str, ...]
    traces: tuple[TraceView, ...]


def findings(
    session: Session, found: Evaluation, *, source: str, sites: Collection[str]
) -> Findings:
    """Of the signal that the engine calls `source`; the evidence of other sites is not read."""
    if found.outline is None:
        whole = _unpacked(found.result_digest, found.evidence)
        here = tuple(t for t in whole.traces if t.site in (*sites, ""))
        return Findings(whole.missing.get(source, ()), here)
    paths = found.outline["paths"]
    spans = sorted(tuple(span) for site in {*sites, ""} for span in paths.get(site, ()))
    frames = repository.evidence_parts(session, found.input_digest, spans)
    return Findings(tuple(found.outline["missing"].get(source, ())), read_traces(frames))


def _view(
    names: Mapping[str, tuple[str, str]], signal: Signal, decisions: Collection[Decision]
) -> SignalView:
    device, version = names[signal.lock_digest]
    return SignalView(
        id=signal.id,
        signal=SignalDocument.model_validate(signal.document),
        lock_digest=signal.lock_digest,
        device=device,
        version=version,
        severity=Severity(signal.severity),
        state=signal.state,
        raised_at=signal.raised_at,
        updated_at=signal.updated_at,
        digest=document_digest(signal),
        evaluation=signal.evaluation,
        actions=tuple(a for (state, a) in TRANSITIONS if state is signal.state),
        decisions=tuple(_decision_view(d) for d in decisions),
    )


def _decision_view(d: Decision) -> DecisionView:
    return DecisionView(
        d.action,
        d.cause,
        d.rationale,
        d.decided_by,
        d.printed_name,
        d.meaning,
        d.decided_at,
        d.artefact_digest,
        d.signature,
    )
