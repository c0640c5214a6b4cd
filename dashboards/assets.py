"""Files the browser needs, each under a URL that contains its digest, so that it may be kept
for a year. plotly.js comes from the installed wheel; everything else lies in `static/`."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse

from app.central.accounts.permissions import Anyone

FOLDER = Path(__file__).parent / "static"
KEPT = "public, max-age=31536000, immutable"
TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}

router = APIRouter(include_in_schema=False)


def _files() -> dict[str, Path]:
    plotly = find_spec("plotly")
    assert plotly is not None and plotly.origin is not None  # a dependency of this package
    return {
        "app.css": FOLDER / "app.css",
        "plotly.css": FOLDER / "plotly.css",
        "charts.js": FOLDER / "charts.js",
        "htmx.min.js": FOLDER / "vendor" / "htmx.min.js",
        "plotly.min.js": Path(plotly.origin).parent / "package_data" / "plotly.min.js",
    }


FILES = _files()


@cache
def digest(name: str) -> str:
    """The first 16 characters of the file's SHA-256."""
    return hashlib.sha256(FILES[name].read_bytes()).hexdigest()[:16]


def url(name: str) -> str:
    """Where the file `name` is served."""
    return f"/static/{digest(name)}/{name}"


@router.get("/static/{version}/{name}")
def serve(_: Anyone, version: str, name: str) -> FileResponse:
    """A static file, only under its present digest."""
    if name not in FILES or version != digest(name):
        raise HTTPException(404)
    path = FILES[name]
    return FileResponse(path, media_type=TYPES[path.suffix], headers={"Cache-Control": KEPT})
