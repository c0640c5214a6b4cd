"""What the database says of every balance is what the balances themselves say."""

from __future__ import annotations

from datetime import date, timedelta

from sqlalchemy import update

from app.central.fleet.models import Edge, EdgeAction
from app.central.intake.closing import Closing, closings
from app.central.intake.service import EdgeBalance, balances, balances_of
from tests.support.fleet import World

DAY = date(2026, 3, 1)


def closing(of: EdgeBalance) -> Closing:
    numbers = of.produced, of.stored, of.quarantined, of.on_edge
    return Closing(of.edge_id, of.site_id, *numbers, of.closes, of.cases_close)


def test_every_edge_closes_or_not_as_its_balance_does(world: World) -> None:
    new, good, gap, first, aside, cases, epochs = (world.an_edge(f"H{i:02d}") for i in range(7))
    received = good.balance(received=5, analysed=3, failed=2)
    assert good.send(good.window(DAY, tables={"balance": received})).status_code == 200
    for edge, sent in ((gap, (1, 3)), (first, (2, 3))):
        windows = [edge.window(DAY + timedelta(i)) for i in range(3)]
        for i in sent:
            assert edge.send(windows[i - 1]).status_code == 200
    assert aside.send(aside.window(DAY)).status_code == 200
    world.act(aside, EdgeAction.SUSPEND)
    aside.send(aside.window(DAY + timedelta(1)))
    lost = cases.balance(received=5, analysed=3)
    assert cases.send(cases.window(DAY, tables={"balance": lost})).status_code == 200
    for epoch in (1, 2):
        epochs.epoch, epochs.sequence, epochs.previous = epoch, 0, "0" * 64
        with world.sessions.begin() as session:
            session.execute(update(Edge).where(Edge.id == epochs.edge_id).values(epoch=epoch))
        of = epochs.balance(received=4, analysed=4)
        assert epochs.send(epochs.window(DAY, tables={"balance": of})).status_code == 200

    with world.sessions() as session:
        found, wanted = closings(session), balances(session)
        assert found == [closing(b) for b in wanted]
        assert closings(session, scope="H02") == [c for c in found if c.site_id == "H02"]
        ids = [b.edge_id for b in reversed(wanted)]
        assert balances_of(session, ids) == tuple(reversed(wanted))
    by_site = {c.site_id: c for c in found}
    assert [c.closes for c in by_site.values()] == [True, True, False, False, True, True, True]
    assert [s for s, c in by_site.items() if not c.cases_close] == ["H05"]
    assert by_site["H04"].quarantined == 1 and by_site["H00"].produced == 0
    assert new.sequence == 0
