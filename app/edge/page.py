"""The edge's own page for people on its machine: read only, no script, loopback by default.

It shows what `status.json` says, and nothing else: counts and closed words, no identifier.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from app.edge.logs import log

Status = Callable[[], Mapping[str, Any]]
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;"
    "color:#1b2733}h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:"
    "collapse}td,th{padding:.2rem 1.5rem .2rem 0;text-align:left}td:last-child{text-align:right;"
    "font-variant-numeric:tabular-nums}.bad{color:#a61b1b;font-weight:600}"
    ".good{color:#17602f;font-weight:600}"
)
_LOCK: Final = {
    "holds": ("good", "The lock holds: the chain is the cleared one."),
    "broken": ("bad", "The lock is broken: nothing is analysed, everything is received and kept."),
    "not_checked": ("", "The lock has not been proved yet."),
}

_TROUBLE: Final = (
    (("paused", True), "Paused: everything is received and kept, nothing is analysed or sent."),
    (("data_dir", "not_writable"), "Nothing can be written: senders are told to come again."),
    (
        ("clock", "not_believed"),
        "The clock of this machine is not believed: no day is closed until it is right, or the"
        " centre confirms it.",
    ),
)


class QuietServer(ThreadingHTTPServer):
    """A server that prints no traceback: it may quote an address or what was sent."""

    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Say nothing; the connection ends."""


def serve(host: str, port: int, status: Status) -> ThreadingHTTPServer | None:
    """Serve the page until `shutdown` is called on what is returned; None if it cannot listen."""

    class Handler(BaseHTTPRequestHandler):
        server_version, sys_version = "lockwatch", ""
        timeout = 10

        def do_GET(self) -> None:
            if self.path not in ("/", "/status.json"):
                return self.send_error(404)
            told = status()
            is_page = self.path == "/"
            body = page(told) if is_page else json.dumps(told, sort_keys=True)
            self.send_response(200)
            kind = "text/html" if is_page else "application/json"
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            for name, value in _HEADERS.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body.encode())
            return None

        def log_message(self, *_: Any) -> None:
            """Say nothing: an address or a path in a log helps nobody here."""

    try:
        server = QuietServer((host, port), Handler)
    except OSError as error:
        log.warning("page.not_served", error=type(error).__name__, port=port)
        return None
    threading.Thread(target=server.serve_forever, name="page", daemon=True).start()
    return server


def page(status: Mapping[str, Any]) -> str:
    """The status as one HTML page."""
    mood, words = _LOCK.get(str(status.get("lock")), ("", ""))
    reason = f" ({escape(str(status['lock_reason']))})" if status.get("lock_reason") else ""
    parts = [
        f"<p class='{mood}'>{words}{reason}</p>",
        f"<p>{escape(str(detail))}</p>" if (detail := status.get("lock_detail")) else "",
        *(f"<p class=bad>{said}</p>" for (name, bad), said in _TROUBLE if status.get(name) == bad),
        _table("Cases", status.get("balance", {})),
        *(
            _table(f"Why: {_words(kind)}", found)
            for kind, found in sorted(status.get("reasons", {}).items())
        ),
        *(
            _table(f"Results to {_words(name)}", found)
            for name, found in status.get("results", {}).items()
            if found
        ),
        _table("Windows for the centre", status.get("windows", {})),
        _table("Labels", status.get("labels", {})),
        _table("This edge", {name: status.get(name, "") for name in _ABOUT}),
    ]
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>lockwatch edge</title>"
        f"<meta http-equiv=refresh content=10><style>{STYLE}</style>"
        f"<h1>lockwatch edge</h1>{''.join(parts)}"
        "<p>What left, number by number: <code>lockwatch edge sent</code>.</p></html>"
    )


_ABOUT: Final = (
    *("edge_id", "enrolment", "uplink", "key_fingerprint", "new_key", "new_key_fingerprint"),
    *("as_of", "port"),
)


def _table(title: str, rows: Mapping[str, Any]) -> str:
    shown = [
        f"<tr><th scope=row>{escape(_words(name))}<td>{escape(str(value))}"
        for name, value in rows.items()
        if not isinstance(value, Mapping)
    ]
    inner = "".join(
        _table(f"{title}: {_words(n)}", v) for n, v in rows.items() if isinstance(v, Mapping) and v
    )
    table = f"<h2>{escape(title)}</h2><table>{''.join(shown)}</table>" if shown else ""
    return table + inner


def _words(name: str) -> str:
    return name.replace("_", " ")
