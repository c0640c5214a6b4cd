"""The page that takes a picture: one form, no script."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from html import escape
from typing import Final

from app.edge.page import STYLE
from app.edge.settings import EdgeSettings

_FORM_STYLE: Final = (
    "label{display:block;margin:.8rem 0 .2rem}input,select,button{font:inherit;"
    "padding:.35rem .5rem;min-width:18rem;box-sizing:border-box}"
    "button{margin-top:1.2rem;min-width:10rem}"
    "fieldset{border:1px solid #c4ccd4;margin-top:1.5rem;padding:.4rem 1rem 1rem}"
)


@dataclass(frozen=True, slots=True)
class Said:
    """What became of the last upload, and the form as it was filled in, if it must be corrected."""

    words: str
    is_good: bool
    fields: Mapping[str, str]


def page(said: Said, token: str, settings: EdgeSettings, today: date) -> str:
    """The form, below what became of the last upload."""
    mood = "good" if said.is_good else "bad"
    told = f"<p class={mood} role=status>{escape(said.words)}</p>" if said.words else ""
    details = _details(said.fields, settings, today) if settings.upload_cameras else ""
    takes = "DICOM file or JPEG" if settings.upload_cameras else "DICOM file"
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width'><title>lockwatch edge: upload</title>"
        f"<style>{STYLE}{_FORM_STYLE}</style><h1>Upload an image</h1>{told}"
        "<form method=post action=/ enctype=multipart/form-data>"
        f"<input type=hidden name=token value='{token}'>"
        f"<label for=file>{takes}, at most {settings.largest_object_mb} MB</label>"
        f"<input id=file type=file name=file required>{details}"
        "<button>Upload</button></form></html>"
    )


def _details(given: Mapping[str, str], settings: EdgeSettings, today: date) -> str:
    def line(name: str, label: str, how: str, usual: str = "") -> str:
        value = escape(given.get(name, usual))
        return (
            f"<label for={name}>{label}</label><input id={name} name={name} {how} value='{value}'>"
        )

    def choice(name: str, label: str, options: Mapping[str, str]) -> str:
        shown = "".join(
            f"<option value='{value}'{' selected' * (value == given.get(name))}>{escape(text)}"
            for value, text in options.items()
        )
        return f"<label for={name}>{label}</label><select id={name} name={name}>{shown}</select>"

    return (
        "<fieldset><legend>For a JPEG only; a DICOM file says this itself</legend>"
        + choice("camera", "Camera", {name: name for name in settings.upload_cameras})
        + line("patient_id", "Patient ID", "maxlength=64 autocomplete=off")
        + line("age", "Age in years", "type=number min=0 max=120")
        + choice("sex", "Sex", {"": "not known", "F": "female", "M": "male", "O": "other"})
        + choice("side", "Side, for an eye", {"": "", "R": "right", "L": "left"})
        + line("taken_on", "Taken on", f"type=date max={today}", str(today))
        + line("accession_number", "Accession number, if any", "maxlength=16 autocomplete=off")
        + "</fieldset>"
    )
