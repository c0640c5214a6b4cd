"""The change-control loop of a demonstration: from the prevalence signal to an operating point in
use, and back.

Three people at the manufacturer and one edge do it over the API and by their own files, as they
would: an administrator puts a plan in force, the analyst confirms the signal and proposes, the
approver approves and releases; the edge pulls and applies; a window names the new operating
point; the approver takes it back. The gate may refuse: that is an outcome, recorded as such.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from app.contracts.signals import Signal
from app.lab.demo_central import Api, Colleague
from app.lab.demo_deployment import Deployment
from app.lab.demo_edges import DemoEdge
from app.lab.demo_processes import DemoFailed

STEPS = ("start_assessment", "confirm")
# Of the rise in PPV: the whole of it lies outside the cleared envelope at three times the odds.
GIVEN_BACK = 1 / 3
# What some 32 cases a day can show within weeks; the usual hospital keeps the draft's limits.
GATE = {"residual": 0.05, "relative_half_width": 0.25}
Outcome = Literal["applied and rolled back", "refused", "incomplete"]


class Recalibration(BaseModel):
    """What came of the loop. Thresholds are those of the site; ids are operating points."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    outcome: Outcome = "incomplete"
    signal: str = ""
    site: str = ""
    proposal: str = ""
    policy: str = ""
    author: str = ""
    approver: str = ""
    refused_because: tuple[str, ...] = ()
    prevalence: tuple[float, float] | None = None  # before the change, and as used
    old_threshold: float | None = None
    new_threshold: float | None = None
    operating_point: str = ""
    released_on: date | None = None
    applied_on: date | None = None
    named_in_window_on: date | None = None
    rolled_back_to_threshold: float | None = None
    rolled_back_by: str = ""
    back_on: date | None = None
    back_named_in_window_on: date | None = None
    faults: tuple[str, ...] = ()


@dataclass(slots=True)
class ChangeControl:
    """Plays the loop night by night; `report` is what has come of it so far."""

    parts: Deployment
    lock_digest: str
    report: Recalibration = field(default_factory=Recalibration)

    def begin(self, now: datetime) -> None:
        """From the signal to a signed release; later nights find what the edge made of it."""
        raised = self._as(self.parts.people[1]).signals()
        found = [s for s in raised if s.history and s.history[-1].causes == ("prevalence",)]
        if not found:
            self._note(faults=("no signal names prevalence: there is nothing to recalibrate on",))
            return
        try:
            self._propose(found[0])
            if not self.report.refused_because:
                self._release(now)
        except DemoFailed as error:
            self._note(faults=(str(error),))

    def look(self, now: datetime) -> None:
        """What the edge and its windows say this night; the roll-back once both were seen."""
        if not self.report.operating_point or self.report.faults:
            return
        point, back = self.report.operating_point, self.report.rolled_back_by
        try:
            if back:
                self._first_seen("back_on", "back_named_in_window_on", back, now.date())
                return
            self._first_seen("applied_on", "named_in_window_on", point, now.date())
            if self.report.named_in_window_on:
                self._roll_back()
        except DemoFailed as error:
            self._note(faults=(str(error),))

    def conclude(self) -> Recalibration:
        """The report, with everything that should have been seen and was not."""
        seen = {
            "applied_on": "the edge did not apply it",
            "named_in_window_on": "no window named it",
            "rolled_back_by": "it was not rolled back",
            "back_on": "the edge did not go back",
            "back_named_in_window_on": "no window named the way back",
        }
        left = [words for name, words in seen.items() if not getattr(self.report, name)]
        if self.report.refused_because:
            self._note(outcome="refused")
        elif left and not self.report.faults:
            self._note(faults=tuple(f"{self.report.operating_point}: {words}" for words in left))
        elif not self.report.faults:
            self._note(outcome="applied and rolled back")
        return self.report

    def _note(self, **found: object) -> None:
        self.report = self.report.model_copy(update=found)

    def _as(self, person: Colleague) -> Api:
        """Signed in anew: simulated nights outlast a session."""
        return Api(self.parts.central.url, person)

    @property
    def _edge(self) -> DemoEdge:
        return next(edge for edge in self.parts.edges if edge.site.code == self.report.site)

    def _propose(self, signal: Signal) -> None:
        administrator, analyst, *_ = self.parts.people
        where = f"/api/v1/device-versions/{self.lock_digest}/change-plan"
        api = self._as(administrator)
        plan = api.get(f"{where}/draft")
        api.post("/api/v1/change-plans", plan | {"gate": plan["gate"] | GATE})
        api = self._as(analyst)
        self._confirm(api, signal.id, analyst)
        known = api.get(f"/api/v1/signals/{signal.id}/recalibration")
        site = known["sites"][0]
        was, now = (float(site[when]["ppv"]["value"]) for when in ("before", "now"))
        target = now + GIVEN_BACK * (was - now)
        body = {"signal_id": signal.id, "held": "ppv", "target": target}
        made = api.post("/api/v1/recalibrations", body | _signed(analyst, REASONS["propose"]))
        reasons = made["document"]["reasons"]
        unmet = [o for o in made["document"].get("acceptance", ()) if not o["met"]]
        self._note(
            signal=signal.id,
            site=site["site_id"],
            proposal=made["id"],
            policy=f"hold ppv at {target:.3f}",
            author=analyst.full_name,
            prevalence=(known["prevalence_before"], known["prevalence"]),
            old_threshold=site["threshold"],
            refused_because=tuple(
                [r["found"] for r in reasons]
                + [f"{o['criterion']}: {o['figure']:.3g}, limit {o['limit']:.3g}" for o in unmet]
            ),
        )

    def _confirm(self, api: Api, signal_id: str, analyst: Colleague) -> None:
        address = f"/api/v1/signals/{signal_id}"
        for action in STEPS:
            body = {
                "action": action,
                "rationale": REASONS[action],
                "cause": "prevalence" if action == "confirm" else "",
                "seen_digest": api.get(address)["digest"],
                "password": analyst.password,
            }
            api.post(f"{address}/decisions", body)

    def _release(self, now: datetime) -> None:
        approver = self.parts.people[2]
        api, address = self._as(approver), f"/api/v1/recalibrations/{self.report.proposal}"
        seen = {"seen_digest": api.get(address)["digest"]}
        decision = {"action": "approve"} | seen | _signed(approver, REASONS["approve"])
        api.post(f"{address}/decisions", decision)
        body = {"site_id": self.report.site, "effective_from": now.isoformat()} | seen
        made = api.post(f"{address}/releases", body | _signed(approver, REASONS["release"]))
        self._note(
            approver=approver.full_name,
            operating_point=made["id"],
            new_threshold=made["thresholds"][0]["value"],
            released_on=now.date(),
        )

    def _roll_back(self) -> None:
        approver = self.parts.people[2]
        address = f"/api/v1/point-releases/{self.report.operating_point}/roll-back"
        made = self._as(approver).post(address, _signed(approver, REASONS["roll_back"]))
        self._note(
            rolled_back_by=made["id"], rolled_back_to_threshold=made["thresholds"][0]["value"]
        )

    def _first_seen(self, applied: str, named: str, point: str, today: date) -> None:
        """Note the first night on which the edge uses `point`, and that a window names it."""
        if getattr(self.report, applied) is None:
            if self._edge.status().get("operating_point", {}).get("id") == point:
                self._note(**{applied: today})
        elif getattr(self.report, named) is None:
            address = f"/api/v1/recalibrations/{self.report.proposal}"
            releases: list[dict[str, Any]] = self._as(self.parts.people[1]).get(address)["releases"]
            if any(r["id"] == point and r["reported"] for r in releases):
                self._note(**{named: today})


REASONS = {
    "start_assessment": "The share of flagged patients at this site has risen; I take it.",
    "confirm": "More patients with the finding; images and reads are as they were.",
    "propose": "Fewer missed positives, for a third of what the predictive value has gained.",
    "approve": "Inside the envelope; every acceptance criterion is met.",
    "release": "First and only site of this proposal.",
    "roll_back": "Demonstration of the way back: one signature.",
}


def _signed(person: Colleague, reason: str) -> dict[str, str]:
    return {"reason": reason, "password": person.password}
