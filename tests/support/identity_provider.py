"""A small OpenID Connect provider with keys of its own, on a port of the loopback.

It signs what it is told to sign: `forge` makes any token, right or wrong. It keeps to its
standard in what it takes: one code once, the redirect address, the client's secret, PKCE.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlencode

import uvicorn
from joserfc import jwk, jwt
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from app import clock

CLIENT, SECRET = "lockwatch", "a secret: of the client/%"
Claims = dict[str, Any]


class FakeProvider:
    """An issuer, its people (`subject` is who signs in next), its keys, and what it is asked."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.subject = "ann-0001"
        self.algorithm = "RS256"
        self.keys = [self._key("RS256", "first")]
        self.forge: Callable[[Claims], str] = self.sign
        self.changes: Claims = {}  # of the document
        self.answer: dict[str, str] = {}  # beside code and state, on the way back
        self.asked: list[str] = []  # paths
        self._codes: dict[str, dict[str, str]] = {}
        routes = [
            Route("/.well-known/openid-configuration", self._document),
            Route("/jwks", self._jwks),
            Route("/authorize", self._authorize),
            Route("/consent", self._consent, methods=["POST"]),
            Route("/token", self._token, methods=["POST"]),
        ]
        config = uvicorn.Config(
            Starlette(routes=routes), host=host, port=0, log_level="error", lifespan="off"
        )
        self._host = host
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self) -> FakeProvider:
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.issuer = f"http://{self._host}:{port}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()

    # Keys and tokens

    @staticmethod
    def _key(algorithm: str, kid: str) -> jwk.Key:
        parameters: Any = {"kid": kid, "use": "sig", "alg": algorithm}
        if algorithm.startswith("ES"):
            return jwk.ECKey.generate_key("P-256", parameters)
        return jwk.RSAKey.generate_key(2048, parameters)

    def rotate(self, kid: str, algorithm: str = "RS256") -> None:
        """Another key alone, as after an incident."""
        self.algorithm, self.keys = algorithm, [self._key(algorithm, kid)]

    def sign(self, claims: Claims, **header: Any) -> str:
        """A token as it should be, but for what is given."""
        key = self.keys[0]
        return jwt.encode({"alg": self.algorithm, "kid": key.kid} | header, claims, key)

    def unsigned(self, claims: Claims) -> str:
        """`alg` none, and no signature."""
        return ".".join((_part({"alg": "none"}), _part(claims), ""))

    def signed_with_public_key(self, claims: Claims) -> str:
        """HS256, with the published key as the shared secret."""
        public = self.keys[0].as_pem(private=False)  # type: ignore[union-attr]
        body = f"{_part({'alg': 'HS256', 'kid': self.keys[0].kid})}.{_part(claims)}"
        return f"{body}.{_base64(hmac.digest(public, body.encode(), 'sha256'))}"

    # Endpoints

    def _document(self, request: Request) -> Response:
        self.asked.append(request.url.path)
        said = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256"],
            "code_challenge_methods_supported": ["S256"],
        }
        return JSONResponse(said | self.changes)

    def _jwks(self, request: Request) -> Response:
        self.asked.append(request.url.path)
        return JSONResponse({"keys": [key.as_dict(private=False) for key in self.keys]})

    def _authorize(self, request: Request) -> Response:
        """The page on which a person agrees; a test without a browser posts its form itself."""
        asked = dict(request.query_params)
        assert asked["response_type"] == "code" and asked["scope"].split()[0] == "openid"
        assert asked["client_id"] == CLIENT and asked["code_challenge_method"] == "S256"
        fields = "".join(
            f'<input type="hidden" name="{n}" value="{v}">'
            for n, v in asked.items()
            if '"' not in v and "<" not in v
        )
        return HTMLResponse(
            '<!doctype html><link rel="icon" href="data:,"><title>Example SSO</title>'
            "<h1>Example SSO</h1>"
            f'<form method="post" action="/consent">{fields}<button>Continue</button></form>'
        )

    async def _consent(self, request: Request) -> Response:
        asked = await _form(request)
        code = secrets.token_urlsafe(16)
        self._codes[code] = asked | {"subject": self.subject}
        given = {"code": code, "state": asked["state"]} | self.answer
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(given)}", 303)

    async def _token(self, request: Request) -> Response:
        self.asked.append(request.url.path)
        given = await _form(request)
        asked = self._codes.pop(given.get("code", ""), None)  # once
        if asked is None or not self._fits(request, given, asked):
            return JSONResponse({"error": "invalid_grant"}, 400)
        now = int(clock.now().timestamp())
        claims = {
            "iss": self.issuer,
            "sub": asked["subject"],
            "aud": CLIENT,
            "iat": now,
            "exp": now + 300,
            "nonce": asked["nonce"],
        }
        token = self.forge(claims)
        return JSONResponse({"access_token": "x", "token_type": "Bearer", "id_token": token})

    @staticmethod
    def _fits(request: Request, given: dict[str, str], asked: dict[str, str]) -> bool:
        basic = base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode()
        challenge = hashlib.sha256(given["code_verifier"].encode()).digest()
        return (
            tuple(unquote_plus(part) for part in basic.split(":")) == (CLIENT, SECRET)
            and given["grant_type"] == "authorization_code"
            and given["redirect_uri"] == asked["redirect_uri"]
            and _base64(challenge) == asked["code_challenge"]
        )


async def _form(request: Request) -> dict[str, str]:
    body = (await request.body()).decode()
    return {name: values[-1] for name, values in parse_qs(body).items()}


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _part(said: Claims) -> str:
    return _base64(json.dumps(said).encode())
