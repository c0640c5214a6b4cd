"""Sentences of the letter to a site: plain words, nothing of a patient, no other site's name."""

from __future__ import annotations

from app.contracts.signals import PartOfSignal, Signal
from dashboards import wording

WHAT = "What we noticed"
MEANS = "What this may mean"
NOT = "What this does not mean"
NEXT = "What we ask of you"
MORE = "From the person who writes to you"
INTRODUCTION = (
    "We watch how the device {device} works in your hospital, from counts that your installation "
    "sends us. They say nothing about any one patient."
)
NOT_MEANT = (
    "It does not show that results of the device were wrong. No picture and no patient was looked "
    "at: numbers of many cases were compared. Nothing at your hospital is changed by this letter."
)
UNCHANGED = "The device itself has not changed."
CAUSES = {
    "scanner": "Most likely the images changed: the scanner, or how it processes its images.",
    "prevalence": "Most likely the share of cases with the finding changed.",
    "population": "Most likely other patients are examined than before.",
    "annotation": "Most likely the reads changed: they differ from earlier ones of like cases.",
    "performance": "Cases with the finding may look different to the device than before.",
    "lock": "The installed device may not be the one that was approved.",
    "data_quality": "Data from your hospital are missing, late or not readable.",
    "undetermined": "We cannot yet say what the cause is.",
}
ASKS = {
    "scanner": (
        "Please tell us whether a scanner was serviced, updated, replaced or set differently "
        "about that time."
    ),
    "prevalence": "Please tell us whether referrals or the group of patients changed.",
    "population": "Please tell us whether referrals or the group of patients changed.",
    "annotation": "Please tell us whether readers, reading rules or report forms changed.",
    "performance": "Please tell us of cases in which the device's result surprised you.",
    "lock": "Please call us before the device is used further.",
    "data_quality": "Please let your imaging IT look at the connection of the device.",
    "undetermined": "Please tell us what changed at your hospital about that time.",
}
GO_ON = (
    "Until you hear from us, use the device as its instructions say, and tell us at once if its "
    "results seem wrong."
)
ANSWER = "Please answer this letter, and name {signal}."
STATES = {
    "detected": "We have begun to look into it.",
    "under_assessment": "A person of ours is looking into it.",
    "confirmed": "A person of ours has confirmed that something changed.",
    "refuted": "A person of ours has looked into it and found no lasting change.",
    "inconclusive": "A person of ours has looked into it; what we have does not decide it.",
}
NO_CONTACT = (
    "No mail address is kept for this site alone, so nothing will be mailed: print the letter and "
    "send it. Addresses are kept under Admin, Recipients."
)
SENDING = (
    "Sending asks for your password. The letter is kept with your name and the time, and cannot "
    "be changed after that."
)


def noticed(signal: Signal) -> tuple[str, ...]:
    """What was seen at this site, since when, and whether elsewhere, too."""
    return (*_seen(signal), *_where(signal), *_since(signal), *_elsewhere(signal))


def _seen(signal: Signal) -> tuple[str, ...]:
    if signal.kind == "deterministic":
        return (f"{wording.EVENTS.get(signal.event, wording.sentence_case(signal.event))}.",)
    moved = [
        f"{wording.characteristic(e.name)} ({'higher' if e.effect > 0 else 'lower'})"
        for e in wording.notable(signal)[: wording.SPOKEN]
    ]
    if not moved:
        return ("Your cases differ from those of an earlier period that we compare with.",)
    return (
        "Your cases differ from those of an earlier period that we compare with. What differs "
        f"most: {wording.listed(moved)}.",
    )


def _where(signal: Signal) -> tuple[str, ...]:
    if not signal.scanners:
        return ()
    names = wording.listed(signal.scanners)
    return (f"It concerns the scanner that your installation names {names}.",)


def _since(signal: Signal) -> tuple[str, ...]:
    if signal.change_interval is not None:
        first, last = signal.change_interval
        return (f"It most likely began between {first} and {last}.",)
    return (f"We noticed it on {signal.date}.",)


def _elsewhere(signal: Signal) -> tuple[str, ...]:
    if not isinstance(signal, PartOfSignal) or not signal.other_sites:
        return ()
    others = wording.count(signal.other_sites, "other hospital")
    return (f"The same was seen at {others}.",)


def means(signal: Signal) -> tuple[str, ...]:
    """The causes held to be likeliest, in plain words."""
    return tuple(CAUSES[cause] for cause in _causes(signal))


def not_meant(signal: Signal) -> tuple[str, ...]:
    """What it does not show; of a broken lock nobody says that the device is as it was."""
    return (NOT_MEANT,) if _is_lock(signal) else (NOT_MEANT, UNCHANGED)


def asks(signal: Signal, number: str) -> tuple[str, ...]:
    """What the hospital is asked, by cause, and to name the signal `number` in its answer."""
    asked = dict.fromkeys(ASKS[cause] for cause in _causes(signal))
    go_on = () if _is_lock(signal) else (GO_ON,)
    return (*asked, *go_on, ANSWER.format(signal=number))


def _is_lock(signal: Signal) -> bool:
    return "lock" in _causes(signal)


def _causes(signal: Signal) -> tuple[str, ...]:
    return tuple(signal.history[-1].causes) if signal.history else ("undetermined",)
