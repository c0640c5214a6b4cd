from __future__ import annotations

from tests.edge.conftest import bundle, centre, edge, journal

__all__ = ["bundle", "centre", "edge", "journal"]
