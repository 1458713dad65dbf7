"""Signing in with an OpenID Connect provider: a claim becomes a role, and a provider or visitor that lies is refused."""
from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from itsdangerous import TimestampSigner
from joserfc.jwk import OctKey, RSAKey
from starlette.requests import Request
from starlette.responses import Response

from engine.access import Role
from engine.adapters import oidc
from engine.adapters.oidc import OpenIdProvider
from engine.errors import AccountRejected, ServiceUnavailable, SignInRefused
from engine.web import oidc as web_oidc
from engine.web.desk import Desk
from engine.web.gate import ASK_AGAIN, COOKIE
from engine.web.oidc import AT_ONCE, STATE, _signer, role_map, role_of
from tests import websocket
from tests.contract.test_index import wait_until
from tests.serving import Served
from tests.servers.identity import CLIENT, LEFT_OUT, SECRET, IdentityProvider


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityProvider]:
    made = IdentityProvider()
    yield made
    made.close()


@pytest.fixture(scope="module")
def served(databases, learned, servers, tmp_path_factory, overheard, provider: IdentityProvider) -> Iterator[Served]:  # noqa: ANN001
    url = databases.make(learned)
    console = Served(
        url, f"{servers.redis_url}?db=2", tmp_path_factory.mktemp("oidc"), public_url="{url}", oidc_issuer=provider.url, oidc_client_id=CLIENT,
        oidc_client_secret=SECRET, oidc_role_claim="realm.groups", oidc_roles="console-bosses=admin,console-people=agent",
    )
    try:
        yield console.start()
        assert console.leaked(SECRET) == []
    finally:
        overheard.secret(*console.secrets)
        console.close()
        databases.drop(url)


@pytest.fixture(autouse=True)
def honest(provider: IdentityProvider) -> None:
    provider.claims = {"sub": "s-1", "preferred_username": "Zoe@corp.example", "realm": {"groups": ["others", "console-people"]}}
    provider.overrides = {}
    provider.signing_key, provider.algorithm = provider.key, "RS256"


def enter(served: Served, http: requests.Session | None = None) -> tuple[requests.Session, requests.Response]:
    """Follow every redirect between the console and the provider, up to the console's first page or a refusal."""
    http = http or requests.Session()
    http.headers["Accept"] = "text/html"
    return http, http.get(f"{served.url}/auth/oidc", timeout=30)


def client_of(provider: IdentityProvider, *, end: str = "") -> OpenIdProvider:
    return OpenIdProvider(issuer=provider.url + end, client_id=CLIENT, client_secret=SECRET, redirect="http://127.0.0.1:1/back")


def signed_in(client: OpenIdProvider) -> dict[str, object]:
    verifier = "v" * 43
    way = requests.get(client.start(state="s", nonce="n", verifier=verifier), timeout=30, allow_redirects=False).headers["Location"]
    return client.finish(code=parse_qs(urlsplit(way).query)["code"][0], nonce="n", verifier=verifier)


def shown(served: Served, http: requests.Session) -> list[str]:
    with websocket.opened(served.url, http.cookies[COOKIE]) as socket:
        return websocket.run(socket).texts


def test_the_claim_becomes_a_role_and_a_new_user(served: Served) -> None:
    http, answer = enter(served)
    assert (answer.status_code, answer.url) == (200, f"{served.url}/")
    assert any("zoe@corp.example (agent)" in text for text in shown(served, http))
    user = served.engine.accounts.named("zoe@corp.example")
    assert (user.source, user.password_hash) == ("oidc", None)
    assert STATE not in http.cookies


@pytest.mark.parametrize("own", ["", "/"], ids=["bare", "slash"])
@pytest.mark.parametrize("given", ["", "/"], ids=["bare", "slash"])
def test_a_slash_behind_the_issuer_does_not_matter_where_tokens_name_it_as_the_provider_does(own: str, given: str) -> None:
    provider = IdentityProvider()
    try:
        provider.issuer = provider.url + own
        client = client_of(provider, end=given)
        provider.claims = {"sub": "s-1"}
        assert signed_in(client)["sub"] == "s-1"
        provider.overrides = {"iss": f"{provider.issuer}/"}
        with pytest.raises(SignInRefused):
            signed_in(client)
        provider.overrides = {"iss": provider.issuer.rstrip("/") + ("" if own else "/")}
        with pytest.raises(SignInRefused):
            signed_in(client)
    finally:
        provider.close()


@pytest.mark.parametrize(("path", "content"), [
    ("/.well-known/openid-configuration", []), ("/keys", []), ("/keys", {}), ("/keys", {"keys": [1]}), ("/keys", {"keys": [{"kty": "RSA"}]}),
    ("/keys", {"keys": 1}),
    ("/.well-known/openid-configuration", {"issuer": "https://elsewhere.invalid", "authorization_endpoint": "http://127.0.0.1:1/authorize"}),
])
def test_a_provider_whose_answers_make_no_sense_counts_as_away(monkeypatch: pytest.MonkeyPatch, path: str, content: object) -> None:
    provider = IdentityProvider()
    try:
        answered = provider.get
        monkeypatch.setattr(provider, "get", lambda asked, query: (200, content) if asked == path else answered(asked, query))
        with pytest.raises(ServiceUnavailable):
            signed_in(client_of(provider))
    finally:
        provider.close()


def test_a_provider_may_change_its_keys_while_the_console_runs() -> None:
    provider = IdentityProvider()
    try:
        provider.claims = {"sub": "s-1"}
        client = client_of(provider)
        assert signed_in(client)["nonce"] == "n"
        provider.key = provider.signing_key = RSAKey.generate_key(2048, parameters={"kid": "one"})
        assert signed_in(client)["nonce"] == "n"
    finally:
        provider.close()


def test_a_key_that_is_not_known_here_beside_the_one_that_signs_keeps_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = IdentityProvider()
    try:
        provider.claims, answered = {"sub": "s-1"}, provider.get
        beside = [{"kty": "OKP", "crv": "X999", "x": "AA", "kid": "two"}, {"kty": "EC", "crv": "P-999", "x": "AA", "y": "AA", "kid": "three"}]
        keys = {"keys": [*beside, provider.key.as_dict(private=False)]}
        monkeypatch.setattr(provider, "get", lambda asked, query: (200, keys) if asked == "/keys" else answered(asked, query))
        assert signed_in(client_of(provider))["nonce"] == "n"
    finally:
        provider.close()


def test_a_token_for_several_is_taken_where_it_was_made_out_to_this_console() -> None:
    provider = IdentityProvider()
    try:
        provider.claims, provider.overrides = {"sub": "s-1"}, {"aud": [CLIENT, "somebody-else"], "azp": CLIENT}
        assert signed_in(client_of(provider))["sub"] == "s-1"
    finally:
        provider.close()


def test_who_waits_for_a_provider_that_says_nothing_waits_beside_others_and_not_behind_them(monkeypatch: pytest.MonkeyPatch) -> None:
    provider, here, go = IdentityProvider(), threading.Semaphore(0), threading.Event()
    try:
        answered = provider.get

        def slow(*given: object) -> tuple[int, object]:
            here.release()
            go.wait(30)
            return answered(*given)

        monkeypatch.setattr(provider, "get", slow)
        monkeypatch.setattr(oidc, "TIMEOUT", 60.0)
        client = client_of(provider)
        with ThreadPoolExecutor(4) as pool:
            sent = [pool.submit(client.start, state="s", nonce="n", verifier="v" * 43) for _ in range(4)]
            try:
                assert all(here.acquire(timeout=20) for _ in range(4))
            finally:
                go.set()
            assert all(one.result().startswith(provider.url) for one in sent)
    finally:
        provider.close()


def test_a_changed_claim_changes_the_role_at_the_next_sign_in(served: Served, provider: IdentityProvider) -> None:
    enter(served)
    provider.claims["realm"] = {"groups": ["console-people", "console-bosses"]}
    http, _ = enter(served)
    assert any("zoe@corp.example (admin)" in text for text in shown(served, http))


def test_a_shared_view_survives_the_way_to_the_provider_and_back(served: Served, provider: IdentityProvider) -> None:
    provider.claims["realm"] = {"groups": ["console-bosses"]}
    http = requests.Session()
    http.headers["Accept"] = "text/html"
    form = http.get(f"{served.url}/dashboard?span=Last+hour&department=A%20%26%20B", timeout=30)
    (way,) = re.findall(r'href="(/auth/oidc[^"]*)"', form.text)
    assert http.get(served.url + unescape(way), timeout=30).url == f"{served.url}/dashboard?span=Last+hour&department=A%20%26%20B"


@pytest.mark.parametrize("target", ["//elsewhere.invalid", "https://elsewhere.invalid", "/auth/logout", "/%0d%0aX: y"])
def test_the_provider_sends_nobody_elsewhere(served: Served, target: str) -> None:
    http = requests.Session()
    assert http.get(f"{served.url}/auth/oidc", params={"next": target}, timeout=30).url == f"{served.url}/"


def test_a_provider_that_takes_the_last_admins_role_is_told_so_and_changes_nothing(served: Served, provider: IdentityProvider) -> None:
    provider.claims["realm"] = {"groups": ["console-bosses"]}
    enter(served)
    others = [user.name for user in served.engine.accounts.all() if user.role == "admin" and user.source == "local"]
    for name in others:
        served.engine.accounts.disable(name, by="test")
    try:
        provider.claims["realm"] = {"groups": ["console-people"]}
        http, answer = enter(served)
        assert (answer.status_code, "is the last admin" in answer.text) == (403, True) and COOKIE not in http.cookies
        assert served.engine.accounts.named("zoe@corp.example").role == "admin"
    finally:
        for name in others:
            served.engine.accounts.enable(name, by="test")


def test_a_disabled_user_is_out_at_once_whatever_the_provider_says(served: Served) -> None:
    http, _ = enter(served)
    served.engine.accounts.disable("zoe@corp.example", by="test")
    try:
        assert http.get(f"{served.url}/", allow_redirects=False, timeout=30).status_code == 303
        assert enter(served)[1].status_code == 403
    finally:
        served.engine.accounts.enable("zoe@corp.example", by="test")


@pytest.mark.parametrize("realm", [None, {}, {"groups": []}, {"groups": ["others"]}, {"groups": "admin"}, "console-bosses", {"groups": {"console-bosses": 1}}])
def test_nobody_without_a_mapped_role_comes_in(served: Served, provider: IdentityProvider, realm: object) -> None:
    provider.claims["realm"] = realm
    http, answer = enter(served)
    assert answer.status_code == 403 and COOKIE not in http.cookies


def test_a_local_account_is_not_taken_over_by_its_name(served: Served, provider: IdentityProvider) -> None:
    provider.claims |= {"sub": "s-evil", "preferred_username": "ADMIN", "realm": {"groups": ["console-bosses"]}}
    http, answer = enter(served)
    assert answer.status_code == 403 and COOKIE not in http.cookies
    assert served.engine.accounts.named("admin").source == "local"


@pytest.mark.parametrize("lie", [
    {"nonce": "another"}, {"aud": "somebody-else"}, {"aud": [CLIENT, "somebody-else"]}, {"iss": "https://elsewhere.invalid"},
    {"aud": [CLIENT, "somebody-else"], "azp": "somebody-else"},
    {"exp": int(time.time()) - 3600}, {"iat": int(time.time()) + 86_400}, {"sub": ""}, {"preferred_username": None},
    {"exp": LEFT_OUT}, {"iat": LEFT_OUT}, {"nonce": LEFT_OUT}, {"aud": LEFT_OUT}, {"iss": LEFT_OUT}, {"sub": LEFT_OUT},
])
def test_tokens_that_do_not_fit_are_refused(served: Served, provider: IdentityProvider, lie: dict[str, object]) -> None:
    provider.overrides = lie
    http, answer = enter(served)
    assert answer.status_code == 403 and COOKIE not in http.cookies


def test_tokens_signed_with_another_key_or_with_the_clients_secret_are_refused(served: Served, provider: IdentityProvider) -> None:
    provider.signing_key = RSAKey.generate_key(2048, parameters={"kid": "one"})
    assert enter(served)[1].status_code == 403
    provider.signing_key, provider.algorithm = OctKey.import_key(SECRET), "HS256"
    assert enter(served)[1].status_code == 403


def test_what_comes_back_must_belong_to_this_browser_and_works_once(served: Served) -> None:
    victim, attacker = requests.Session(), requests.Session()
    to_provider = attacker.get(f"{served.url}/auth/oidc", allow_redirects=False, timeout=30).headers["location"]
    back = attacker.get(to_provider, allow_redirects=False, timeout=30).headers["location"]
    assert victim.get(back, allow_redirects=False, timeout=30).status_code == 403, "another browser's way back"
    state = attacker.cookies[STATE]
    assert attacker.get(back, allow_redirects=False, timeout=30).status_code == 303
    attacker.cookies.set(STATE, state, path="/auth/oidc")
    assert attacker.get(back, allow_redirects=False, timeout=30).status_code == 403, "the code is used up"
    assert requests.get(f"{served.url}/auth/oidc/callback?code=a&state=b", timeout=30).status_code == 403


@pytest.mark.parametrize("part", ["state", "code"])
@pytest.mark.parametrize("instead", [None, "another"])
def test_a_way_back_with_another_state_or_code_or_none_is_refused(served: Served, part: str, instead: str | None) -> None:
    http = requests.Session()
    to_provider = http.get(f"{served.url}/auth/oidc", allow_redirects=False, timeout=30).headers["location"]
    address, _, query = http.get(to_provider, allow_redirects=False, timeout=30).headers["location"].partition("?")
    came = {**{name: value for name, (value,) in parse_qs(query).items()}, part: instead}
    answer = http.get(address, params=came, allow_redirects=False, timeout=30)
    assert answer.status_code == 403 and COOKIE not in http.cookies


@pytest.mark.parametrize(("age", "status"), [(590, 303), (601, 403)])
def test_the_way_to_the_provider_may_take_ten_minutes(served: Served, monkeypatch: pytest.MonkeyPatch, age: int, status: int) -> None:
    http, signer = requests.Session(), _signer(served.engine)
    to_provider = http.get(f"{served.url}/auth/oidc", allow_redirects=False, timeout=30).headers["location"]
    back = http.get(to_provider, allow_redirects=False, timeout=30).headers["location"]
    began = int(time.time()) - age
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda _: began)
    older = signer.dumps(signer.loads(http.cookies[STATE]))
    assert requests.get(back, cookies={STATE: older}, allow_redirects=False, timeout=30).status_code == status


def test_what_must_come_back_is_closed_to_scripts_and_secure_behind_tls(served: Served) -> None:
    plain, tls = (
        requests.get(f"{served.url}/auth/oidc", headers={"X-Forwarded-Proto": scheme}, allow_redirects=False, timeout=30).headers["set-cookie"]
        for scheme in ("http", "https")
    )
    assert all("HttpOnly" in line and "SameSite=lax" in line and "Path=/auth/oidc" in line and "Max-Age=600" in line for line in (plain, tls))
    assert ("Secure" in plain, "Secure" in tls) == (False, True)


def test_who_comes_from_the_provider_is_noted_with_where_from_and_known_by_the_providers_own_number(served: Served, provider: IdentityProvider) -> None:
    provider.claims |= {"sub": "s-2", "preferred_username": "kim@corp.example"}
    enter(served)
    provider.claims["realm"] = {"groups": ["console-bosses"]}
    enter(served)
    rows = served.engine.audit.find(limit=9, words="kim@corp.example")
    assert [(row.actor, row.action) for row in rows] == [
        ("kim@corp.example", "signed_in"), ("identity provider", "role_changed"), ("kim@corp.example", "signed_in"), ("identity provider", "user_added"),
    ]
    assert {row.address for row in rows} == {"127.0.0.1"}
    assert served.engine.accounts.named("kim@corp.example").subject == f"{provider.issuer}|s-2"
    # The same person under another name stays who they were; another one of the same name does not come in.
    provider.claims["preferred_username"] = "kim-smith@corp.example"
    http, _ = enter(served)
    assert any("kim@corp.example (admin)" in one for one in shown(served, http))
    provider.claims |= {"sub": "s-3", "preferred_username": "kim@corp.example"}
    assert enter(served)[1].status_code == 403


def test_a_disabled_user_gets_no_new_role_either(served: Served, provider: IdentityProvider) -> None:
    provider.claims |= {"sub": "s-4", "preferred_username": "lee@corp.example"}
    enter(served)
    served.engine.accounts.disable("lee@corp.example", by="test")
    provider.claims["realm"] = {"groups": ["console-bosses"]}
    assert enter(served)[1].status_code == 403
    assert served.engine.accounts.named("lee@corp.example").role == "agent"


@pytest.mark.parametrize("name", ["Zo\u00eb M\u00fcller", "zoe mueller", "z", "<b>zoe</b>", "", 7])
def test_a_name_that_no_user_can_have_lets_nobody_in(served: Served, provider: IdentityProvider, name: object) -> None:
    provider.claims |= {"sub": "s-5", "preferred_username": name}
    http, answer = enter(served)
    assert answer.status_code == 403 and COOKIE not in http.cookies


def test_a_password_of_the_providers_is_none_to_change_here(served: Served) -> None:
    enter(served)
    accounts = served.engine.accounts
    with pytest.raises(AccountRejected, match="signs in with the identity provider"):
        accounts.change_password("zoe@corp.example", "", "seven-quiet-boats")
    with pytest.raises(AccountRejected, match="signs in with the identity provider"):
        accounts.reset_password("zoe@corp.example", by="test")
    assert accounts.named("zoe@corp.example").password_hash is None


def test_two_who_come_first_under_one_number_at_the_same_moment_are_told_to_try_again(served: Served, provider: IdentityProvider) -> None:
    """Such a number is stored up to 512 characters, and one that goes on behind them is taken when it is stored."""
    for end, status in (("a", 200), ("b", 409)):
        provider.claims |= {"sub": "s" * 512 + end, "preferred_username": f"{end * 3}@corp.example"}
        assert enter(served)[1].status_code == status


def test_passwords_do_not_open_a_providers_account(served: Served) -> None:
    from tests import signin

    enter(served)
    assert signin.post_form(requests.Session(), f"{served.url}/auth/login", name="zoe@corp.example", password="").status_code == 401


def test_a_provider_that_does_not_answer_is_said_to_be_away(served: Served, provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    http = requests.Session()
    to_provider = http.get(f"{served.url}/auth/oidc", allow_redirects=False, timeout=30).headers["location"]
    back = http.get(to_provider, allow_redirects=False, timeout=30).headers["location"]
    monkeypatch.setattr(provider, "token", lambda *_: None)
    answer = http.get(back, timeout=30)
    assert (answer.status_code, "does not answer" in answer.text) == (503, True) and COOKIE not in http.cookies


def test_who_waits_for_the_provider_holds_up_nobody_who_is_signed_in(served: Served, provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    within, most, lock, go, answered = 0, 0, threading.Lock(), threading.Event(), provider.token
    http = served.sign_in(Role.AGENT)

    def slow(*given: object) -> tuple[int, object]:
        nonlocal within, most
        with lock:
            within += 1
            most = max(most, within)
        go.wait(30)
        with lock:
            within -= 1
        return answered(*given)

    def coming(_: int) -> int:
        return enter(served)[1].status_code

    monkeypatch.setattr(provider, "token", slow)
    with ThreadPoolExecutor(48) as pool:
        sent = [pool.submit(coming, number) for number in range(48)]
        wait_until(lambda: within >= AT_ONCE)
        assert http.get(f"{served.url}/", timeout=60).status_code == 200
        go.set()
        assert {one.result() for one in sent} <= {200, 503}
    assert most == AT_ONCE


def test_who_finds_no_place_in_the_queue_for_the_provider_is_told_when_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    monkeypatch.setattr(web_oidc, "_DESK", Desk(at_once=1, waiting=0, patience=60))

    async def answers() -> list[Response]:
        before = asyncio.create_task(web_oidc._DESK.run(go.wait, 60))
        await asyncio.sleep(0)
        try:
            return [await route.endpoint(Request({"type": "http"})) for route in web_oidc.routes()]
        finally:
            go.set()
            await before

    there, back = asyncio.run(answers())
    for answer in (there, back):
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, str(ASK_AGAIN))
        assert b"The identity provider does not answer. Try again soon" in answer.body


def test_the_sign_in_page_offers_the_provider(served: Served) -> None:
    assert "/auth/oidc" in requests.get(f"{served.url}/auth/login", timeout=30).text


def test_the_highest_of_several_roles_counts() -> None:
    roles = role_map("a=agent,b=manager,c=admin")
    assert role_of({"roles": ["a", "b"]}, claim="roles", roles=roles) is Role.MANAGER
    assert role_of({"x.y": "a"}, claim="x.y", roles=roles) is Role.AGENT
    assert role_of({}, claim="roles", roles=roles) is None
