"""Headers of pages: a strict policy, no opener, nothing kept by caches.

The centre's own guard gives every other answer a policy that allows nothing at all.
"""

from __future__ import annotations

# What plotly.js puts into a <style> when it is loaded: nothing, and the rules of maps, which no
# page draws. Named by digest, so that nothing else may stand there and no page complains.
PLOTLY_STYLES = (
    "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='",
    "'sha256-gG0b4ixT/IQUp7JJLbyKcpYcYDjq2Wp8NGv3f+aasqo='",
)
# style-src-attr: without it Plotly's heat maps are smoothed, silently (screens.md 5.3).
POLICY = (
    f"default-src 'none'; script-src 'self'; style-src 'self' {' '.join(PLOTLY_STYLES)}; "
    "style-src-attr 'unsafe-inline'; img-src 'self' data: blob:; connect-src 'self'; "
    "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
