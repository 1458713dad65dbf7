"""An OpenID Connect provider: the authorization code flow with PKCE, and ID tokens checked against the provider's keys."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import requests
from authlib.integrations.requests_client import OAuth2Session
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, KeySet

from engine.errors import ServiceUnavailable, SignInRefused

TIMEOUT = 5.0
ALGORITHMS = ["RS256", "RS384", "RS512", "ES256", "ES384", "PS256"]


class OpenIdProvider:
    """Asks the provider for its addresses and keys when they are first needed. `issuer` is its URL; a slash at the end does not matter, but
    ID tokens must name the issuer as the provider's own metadata do, to the letter (OpenID Connect Core 1.0, section 3.1.3.7).
    """

    def __init__(self, *, issuer: str, client_id: str, client_secret: str, redirect: str) -> None:
        self._issuer = issuer.rstrip("/")
        self._client_id = client_id
        self._client_secret = client_secret
        self._redirect = redirect
        self._metadata: dict[str, Any] | None = None
        self._keys: KeySet | None = None

    def start(self, *, state: str, nonce: str, verifier: str) -> str:
        """Where to send the browser. Raises ServiceUnavailable."""
        with self._client() as client, _translated():
            address, _ = client.create_authorization_url(
                self._known()["authorization_endpoint"], state=state, nonce=nonce, code_verifier=verifier
            )
        return str(address)

    def finish(self, *, code: str, nonce: str, verifier: str) -> dict[str, Any]:
        """The checked claims of the ID token. Raises SignInRefused for anything that does not fit, ServiceUnavailable."""
        with self._client() as client, _translated():
            try:
                answer = client.fetch_token(
                    self._known()["token_endpoint"], grant_type="authorization_code", code=code, code_verifier=verifier, timeout=TIMEOUT
                )
            except (requests.RequestException, ServiceUnavailable):
                raise
            except Exception as error:
                # The library raises many kinds for a provider that says no; all mean that nobody was signed in.
                raise SignInRefused from error
        return self._claims(str(answer.get("id_token", "")), nonce)

    def _claims(self, token: str, nonce: str) -> dict[str, Any]:
        with _translated():
            keys = self._signing_keys(fresh=False)
            try:
                decoded = jwt.decode(token, keys, algorithms=ALGORITHMS)
            except (JoseError, ValueError):
                # The provider may have changed its keys since they were read.
                keys = self._signing_keys(fresh=True)
                try:
                    decoded = jwt.decode(token, keys, algorithms=ALGORITHMS)
                except (JoseError, ValueError) as error:
                    raise SignInRefused from error
        claims = decoded.claims
        registry = jwt.JWTClaimsRegistry(
            leeway=60, iss={"essential": True, "value": self._known()["issuer"]}, aud={"essential": True, "value": self._client_id},
            exp={"essential": True}, iat={"essential": True}, nonce={"essential": True, "value": nonce}, sub={"essential": True},
        )
        try:
            registry.validate(claims)
        except (JoseError, ValueError) as error:
            raise SignInRefused from error
        audience = claims["aud"]
        if isinstance(audience, list) and len(audience) > 1 and claims.get("azp") != self._client_id:
            raise SignInRefused
        return dict(claims)

    def _client(self) -> OAuth2Session:
        return OAuth2Session(
            self._client_id, self._client_secret, scope="openid profile email", redirect_uri=self._redirect, code_challenge_method="S256"
        )

    # Without a lock: two who ask at once read the same, and behind a provider that says nothing each would wait for all before.

    def _known(self) -> dict[str, Any]:
        known = self._metadata
        if known is None:
            known = _json(f"{self._issuer}/.well-known/openid-configuration")
            if str(known.get("issuer", "")).rstrip("/") != self._issuer:
                raise ServiceUnavailable("identity provider", "it calls itself by another name than OIDC_ISSUER")
            self._metadata = known
        return known

    def _signing_keys(self, *, fresh: bool) -> KeySet:
        keys = self._keys
        if fresh or keys is None:
            keys = self._keys = _readable(_json(self._known()["jwks_uri"])["keys"])
        return keys


def _json(address: str) -> dict[str, Any]:
    answer = requests.get(address, timeout=TIMEOUT)
    answer.raise_for_status()
    found = answer.json()
    if not isinstance(found, dict):
        raise ServiceUnavailable("identity provider", "it answers something else than a JSON object")
    return found


def _readable(given: object) -> KeySet:
    """The keys of a provider; one of a kind or a curve that is not known here is passed over (RFC 7517, section 5)."""
    keys = []
    for one in given if isinstance(given, list) else ():
        # The library raises KeyError for a curve.
        with suppress(JoseError, KeyError, TypeError, ValueError):
            keys.append(JWKRegistry.import_key(one))
    if not keys:
        raise ServiceUnavailable("identity provider", "its keys cannot be read")
    return KeySet(keys)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (requests.RequestException, KeyError) as error:
        raise ServiceUnavailable("identity provider", type(error).__name__) from error
