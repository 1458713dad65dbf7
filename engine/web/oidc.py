"""Signing in with the organisation's identity provider: /auth/oidc goes there, /auth/oidc/callback comes back.

What comes back becomes the same server-side session that a password opens, so it can be ended at once like any other.
"""
from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from engine import audit, process
from engine.access import Role
from engine.bootstrap import Engine
from engine.errors import AccountRejected, Conflict, ServiceUnavailable, SignInRefused
from engine.secret import cookie_secret
from engine.web import forms, signin
from engine.web.desk import Busy, Desk
from engine.web.gate import ASK_AGAIN

STATE = "console_oidc"
STATE_SECONDS = 600
# So many wait for the provider at a time, which may say nothing until the time is up.
AT_ONCE = 8
_DESK = Desk(at_once=AT_ONCE, waiting=60, patience=5.0)
_AWAY = "The identity provider does not answer. Try again soon, or ask an admin."
_REFUSED = "The identity provider did not let you in, or your account has no role here. Ask an admin."


def routes() -> list[Route]:
    """The two routes; without a configured provider they say so."""
    return [Route("/auth/oidc", _apart(start), methods=["GET"]), Route("/auth/oidc/callback", _apart(callback), methods=["GET"])]


def _apart(handler: Callable[[Request], Response]) -> Callable[[Request], object]:
    """Answer on a thread of the desk's: one that waits for the provider is none that the gate runs on."""

    async def answered(request: Request) -> Response:
        try:
            return await _DESK.run(handler, request)
        except Busy:
            page = forms.message("Sign in", _AWAY, status=503)
            page.headers["Retry-After"] = str(ASK_AGAIN)
            return page

    return answered


def start(request: Request) -> Response:
    """Send the browser to the provider, with what must come back in a short-lived signed cookie."""
    engine = process.running()
    if engine.identity_provider is None:
        return forms.message("Sign in", "No identity provider is configured.", status=404)
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    target = signin.local(request.query_params.get("next", "/"))
    try:
        address = engine.identity_provider.start(state=state, nonce=nonce, verifier=verifier)
    except ServiceUnavailable:
        return forms.message("Sign in", _AWAY, status=503)
    response = RedirectResponse(address, 303, {"Cache-Control": "no-store"})
    # Lax, because the provider sends the browser back from another site.
    response.set_cookie(
        STATE, _signer(engine).dumps([state, nonce, verifier, target]), max_age=STATE_SECONDS, path="/auth/oidc", httponly=True, samesite="lax",
        secure=request.url.scheme == "https",
    )
    return response


def callback(request: Request) -> Response:
    """Check what came back and open a session; the state is used once."""
    engine, query = process.running(), request.query_params
    if engine.identity_provider is None:
        return forms.message("Sign in", "No identity provider is configured.", status=404)
    audit.coming_from(signin.address_of(request))
    try:
        state, nonce, verifier, target = _signer(engine).loads(request.cookies.get(STATE, ""), max_age=STATE_SECONDS)
        if not hmac.compare_digest(state.encode(), query.get("state", "").encode()) or not query.get("code"):
            raise SignInRefused
        claims = engine.identity_provider.finish(code=query["code"], nonce=nonce, verifier=verifier)
        settings = engine.settings
        role = role_of(claims, claim=settings.oidc_role_claim, roles=role_map(settings.oidc_roles))
        name = claims.get(settings.oidc_name_claim)
        if role is None or not isinstance(name, str):
            raise SignInRefused
        user = engine.accounts.from_provider(f"{claims['iss']}|{claims['sub']}", name=name, role=role)
        response = signin.entered(request, engine, user, signin.local(target))
    except AccountRejected as error:
        # The provider takes the last admin's role away: whoever comes must hear why nobody gets in.
        response = forms.message("Sign in", str(error), status=403)
    except Conflict:
        response = forms.message("Sign in", "Somebody else signed in with this name at the same moment. Try again.", status=409)
    except (SignInRefused, BadSignature, ValueError):
        response = forms.message("Sign in", _REFUSED, status=403)
    except ServiceUnavailable:
        response = forms.message("Sign in", _AWAY, status=503)
    response.delete_cookie(STATE, path="/auth/oidc", httponly=True, samesite="lax")
    return response


def role_map(text: str) -> dict[str, Role]:
    """`theirs=ours` pairs, separated by commas, as the settings check them: what a value of the claim means here."""
    pairs = [pair.partition("=") for pair in text.split(",")]
    return {theirs.strip(): Role(ours) for theirs, _, ours in pairs}


def role_of(claims: Mapping[str, Any], *, claim: str, roles: Mapping[str, Role]) -> Role | None:
    """The highest role that the claim's values stand for, None when there is none. A dot in the name goes into nested claims."""
    value: Any = claims
    for part in (claim,) if claim in claims else claim.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    values = value if isinstance(value, list) else [value]
    found = {roles[one] for one in values if isinstance(one, str) and one in roles}
    return next((role for role in reversed(Role) if role in found), None)


def _signer(engine: Engine) -> URLSafeTimedSerializer:
    secret = cookie_secret(engine.settings)
    return URLSafeTimedSerializer(secret, salt="console.oidc", signer_kwargs={"digest_method": hashlib.sha256})
