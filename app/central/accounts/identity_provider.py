"""The manufacturer's identity provider (OpenID Connect Core 1.0): its document, keys and tokens.

Authorisation code flow with PKCE (RFC 7636). A token is believed only when a key that the
provider publishes has signed it with an asymmetric algorithm of the list below, and issuer,
audience, authorised party, times and nonce fit (OpenID Connect Core 3.1.3.7).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote_plus

import httpx
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import (
    BadSignatureError,
    ClaimError,
    InvalidKeyIdError,
    JoseError,
    UnsupportedAlgorithmError,
)
from joserfc.jwk import KeySet

from app import clock
from app.central.errors import ProviderUnavailable, SignInRefused
from app.central.settings import CentralSettings, check_address

# Asymmetric only: "none" proves nothing, and with HS* our own secret or a public key would sign.
ALGORITHMS = tuple(f"{kind}{bits}" for kind in ("RS", "PS", "ES") for bits in (256, 384, 512))
TIMEOUT_S = 10
KEPT_S = (
    3600  # for which document and keys are believed unread; an unknown key is asked for at once
)
SKEW_S = 60
OLDEST = timedelta(minutes=10)  # of a token; longer than any sign-in may take
LONGEST_SUBJECT = 255  # ASCII characters, OpenID Connect Core 2
RETURN_PATH = "/sign-in/provider/return"
CLAIM_REASONS = {"iss": "issuer", "aud": "audience", "azp": "audience", "nonce": "nonce"}
CLAIM_REASONS |= {"exp": "expired", "iat": "issued", "nbf": "issued"}
ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")


@dataclass(frozen=True, slots=True)
class Document:
    """What the provider says of itself (OpenID Connect Discovery 1.0), and its keys."""

    said: dict[str, Any]
    keys: KeySet
    read_at: float  # seconds of `clock.elapsed`

    def __getitem__(self, name: str) -> str:
        return str(self.said[name])


class IdentityProvider:
    """One provider, as the settings name it. Its document is read at the first sign-in."""

    def __init__(self, settings: CentralSettings) -> None:
        self.issuer = settings.oidc_issuer
        self.client_id = settings.oidc_client_id
        self.name = settings.oidc_name
        self.redirect_uri = settings.base_url.rstrip("/") + RETURN_PATH
        self._secret_file = settings.oidc_client_secret_file
        self._document: Document | None = None

    def document(self, *, anew: bool = False) -> Document:
        """Document and keys, at most an hour old; `ProviderUnavailable` where they do not fit."""
        kept = self._document
        if anew or kept is None or clock.elapsed() - kept.read_at > KEPT_S:
            self._document = kept = self._read()
        return kept

    def _read(self) -> Document:
        said = self._get(self.issuer.rstrip("/") + "/.well-known/openid-configuration")
        if said.get("issuer") != self.issuer:
            raise _unusable(f"issuer {self.issuer} expected, got {str(said.get('issuer'))[:200]}")
        for name in ENDPOINTS:
            try:
                check_address(str(said.get(name, "")).partition("?")[0], name)
            except ValueError as error:
                raise _unusable(str(error)) from error
        _check_support(said)
        try:
            keys = KeySet.import_key_set(self._get(str(said["jwks_uri"])))  # type: ignore[arg-type]
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise _unusable("a set of keys expected at its jwks_uri") from error
        return Document(said, keys, clock.elapsed())

    def _get(self, url: str) -> dict[str, Any]:
        answer = self._ask("GET", url)
        if answer.status_code != 200:
            raise _unusable(f"status 200 expected from {url}, got {answer.status_code}")
        return _object(answer)

    def _ask(self, method: str, url: str, **parts: Any) -> httpx.Response:
        try:
            with httpx.Client(timeout=TIMEOUT_S) as client:
                return client.request(method, url, **parts)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ProviderUnavailable(
                "unreachable",
                f"{self.name} does not answer ({type(error).__name__}). Try again in a while, or "
                "ask an administrator.",
            ) from error

    def address(self, *, state: str, nonce: str, verifier: str) -> str:
        """Where the browser goes to sign in."""
        return str(
            prepare_grant_uri(
                self.document()["authorization_endpoint"],
                client_id=self.client_id,
                response_type="code",
                redirect_uri=self.redirect_uri,
                scope="openid",
                state=state,
                nonce=nonce,
                code_challenge=create_s256_code_challenge(verifier),
                code_challenge_method="S256",
            )
        )

    def subject(self, code: str, *, verifier: str, nonce: str, now: datetime) -> str:
        """Redeem a code: the subject whom the provider's token names."""
        token = self._redeem(code, verifier)
        decoded = self._decoded(token)
        claims = CodeIDToken(
            decoded.claims,
            decoded.header,
            options={
                "iss": {"essential": True, "value": self.issuer},
                "aud": {"essential": True, "value": self.client_id},
            },
            params={"nonce": nonce, "client_id": self.client_id},
        )
        return _subject(claims, now)

    def _redeem(self, code: str, verifier: str) -> str:
        given = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_uri,
            "code_verifier": verifier,
        }
        document, auth = self.document(), None
        if self._secret_file is None:
            given["client_id"] = self.client_id
        else:
            secret = self.secret()
            methods = document.said.get("token_endpoint_auth_methods_supported")
            if methods and "client_secret_basic" not in methods:
                given |= {"client_id": self.client_id, "client_secret": secret}
            else:  # RFC 6749 2.3.1
                auth = httpx.BasicAuth(quote_plus(self.client_id), quote_plus(secret))
        answer = self._ask("POST", document["token_endpoint"], data=given, auth=auth)
        if answer.status_code >= 500:
            raise _unusable(f"a token expected, got status {answer.status_code}")
        if answer.status_code != 200:
            raise _refused("code")
        return str(_object(answer).get("id_token", ""))

    def secret(self) -> str:
        """The client secret, read anew each time, so that it can be changed under a service."""
        try:
            return self._secret_file.read_text().strip() if self._secret_file else ""
        except (OSError, UnicodeDecodeError) as error:
            raise ProviderUnavailable(
                "secret", "The file of oidc_client_secret_file cannot be read by the service."
            ) from error

    def _decoded(self, token: str) -> jwt.Token:
        try:
            return self._by_key(token, self.document())
        except InvalidKeyIdError:
            pass  # the provider may have changed its keys: ask once
        try:
            return self._by_key(token, self.document(anew=True))
        except InvalidKeyIdError as error:
            raise _refused("key") from error

    def _by_key(self, token: str, document: Document) -> jwt.Token:
        try:
            return jwt.decode(token, document.keys, algorithms=ALGORITHMS)
        except InvalidKeyIdError:
            raise
        except UnsupportedAlgorithmError as error:
            raise _refused("algorithm") from error
        except BadSignatureError as error:
            raise _refused("signature") from error
        except (JoseError, ValueError) as error:
            raise _refused("token") from error


def _subject(claims: CodeIDToken, now: datetime) -> str:
    instant = int(now.timestamp())
    try:
        claims.validate(now=instant, leeway=SKEW_S)
    except ClaimError as error:
        raise _refused(CLAIM_REASONS.get(error.claim, "token")) from error
    except (JoseError, ValueError) as error:
        raise _refused("token") from error
    if claims["iat"] < instant - OLDEST.total_seconds():
        raise _refused("issued")
    subject = str(claims["sub"])
    if not is_subject(subject):
        raise _refused("subject")
    return subject


def is_subject(text: str) -> bool:
    """Whether this can be a subject: 1 to 255 printable ASCII characters."""
    return 0 < len(text) <= LONGEST_SUBJECT and text.isascii() and text.isprintable()


def _check_support(said: dict[str, Any]) -> None:
    """What the document lists must hold what we use; what it leaves out is taken as there."""
    needed = {
        "response_types_supported": {"code"},
        "code_challenge_methods_supported": {"S256"},
        "id_token_signing_alg_values_supported": set(ALGORITHMS),
    }
    for name, ours in needed.items():
        listed = said.get(name)
        if listed is not None and not (isinstance(listed, list) and ours & set(map(str, listed))):
            raise _unusable(f"{name}: {' or '.join(sorted(ours))} expected")


def _object(answer: httpx.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise _unusable(f"a JSON object expected from {answer.url.copy_with(query=None)}")
    return found


def _unusable(why: str) -> ProviderUnavailable:
    return ProviderUnavailable("document", f"The identity provider answers amiss: {why}.")


def _refused(reason: str) -> SignInRefused:
    return SignInRefused(
        reason,
        f"What the identity provider sent cannot be accepted ({reason}). Begin the sign-in again; "
        "if it stays so, tell an administrator this word.",
    )
