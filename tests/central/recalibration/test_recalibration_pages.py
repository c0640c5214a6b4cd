"""Pages around a change: the gate explained on a signal, notices to users, the correction pack."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from pypdf import PdfReader

from app.central.accounts.models import Role
from dashboards.web import install
from tests.central.recalibration.test_recalibration_loop import Loop
from tests.central.recalibration.test_recalibration_loop import loop as loop
from tests.central.recalibration.test_recalibration_loop import submitted as submitted
from tests.support.fleet import PASSWORD

pytestmark = pytest.mark.filterwarnings("ignore:.*sRGB2014.icc:ResourceWarning")


def words(pdf: bytes) -> str:
    return " ".join("".join(p.extract_text() for p in PdfReader(io.BytesIO(pdf)).pages).split())


def test_a_signal_leads_to_the_gate_and_its_form(loop: Loop) -> None:
    install(loop.world.app)
    loop.raise_signal()
    before = loop.author.get("/signals/S-0001/recalibration").text
    loop.confirm()
    page = loop.author.get("/signals/S-0001/recalibration").text
    viewer = loop.world.browser("viewer", Role.VIEWER).get("/signals/S-0001/recalibration").text

    assert "/signals/S-0001/recalibration" in loop.author.get("/signals/S-0001").text
    assert "has to confirm the signal" in before
    assert "Sign proposal" not in before
    assert "Sign proposal" not in viewer
    assert "The cause allows a new operating point" in page
    [offered] = re.findall(r'name="target".* value="([\d.]+)"', page)
    assert float(offered) == pytest.approx(0.455, abs=0.01)  # PPV before: .09 / (.09 + .108)
    fields = {"signal": "S-0001", "held": "ppv", "target": "0.455", "floor": "0"}
    made = loop.author.post(
        "/recalibrations", data=fields | {"reason": "as before", "password": PASSWORD}
    )
    assert made.status_code == 200
    assert "RC-0001 hold ppv at 0.455" in made.text


@pytest.mark.parametrize(
    ("cause", "advice"),
    [
        ("annotation", "freshly labelled holdout"),
        ("performance", "a freshly labelled set would show what is lost"),
        ("undetermined", "labels or re-reads of the sentinel set would decide it"),
    ],
)
def test_a_refusal_says_what_would_change_it(loop: Loop, cause: str, advice: str) -> None:
    install(loop.world.app)
    loop.raise_signal(cause)
    loop.confirm()

    page = loop.author.get("/signals/S-0001/recalibration").text

    assert "The gate refuses" in page
    assert advice in page
    assert "Sign proposal" not in page


def test_the_api_says_the_same(loop: Loop) -> None:
    loop.raise_signal()

    found = loop.author.get("/api/v1/signals/S-0001/recalibration").json()

    assert (found["route"], found["reasons"]) == ("prevalence", [])
    assert found["prevalence_low"] < 0.25 < found["prevalence_high"]
    assert found["sites"][0]["now"]["ppv"]["value"] > found["sites"][0]["before"]["ppv"]["value"]
    assert loop.author.get("/api/v1/signals/S-0009/recalibration").status_code == 404


def test_every_site_gets_a_notice_and_the_pack_names_what_a_person_must_give(
    loop: Loop, submitted: Any
) -> None:
    install(loop.world.app)
    loop.decide(submitted)
    release = loop.release(submitted).json()
    address = f"/recalibrations/{submitted['id']}"

    page = loop.author.get(address).text
    notice = loop.author.get(f"{address}/notices/{release['id']}.pdf").content
    pack = loop.author.get(f"{address}/correction.pdf").content
    data = loop.author.get(f"{address}/correction.json").json()

    assert f"{address}/notices/{release['id']}.pdf" in page
    assert f"{address}/correction.pdf" in page
    told = words(notice)
    assert "The scores are the same" in told
    assert "flags from 0.125 on" in told
    assert "H01" in told
    assert notice == loop.author.get(f"{address}/notices/{release['id']}.pdf").content
    assert loop.author.get(f"{address}/notices/H01-0-9.pdf").status_code == 404
    assert "21 CFR 806.10(c)" in words(pack)
    [report, record] = data["elements"].values()
    assert [row["item"] for row in report] == [str(n) for n in range(1, 14)]
    assert [row["item"] for row in record] == [str(n) for n in range(1, 6)]
    assert report[4]["content"] == loop.world.manifest.udi_di
    assert report[7]["content"] == "to be given by a person"
