"""The HTML of the sign-in pages: plain forms that work without any script, light and dark."""
from __future__ import annotations

from html import escape
from urllib.parse import quote

from starlette.responses import HTMLResponse, Response

from engine.web.headers import STRICT

STYLE = """
:root { color-scheme: light dark; --page: #f3f5f9; --card: #ffffff; --text: #1b2430; --quiet: #5a6675; --line: #c9d1dc;
  --action: #1f5fbf; --action-text: #ffffff; --bad: #a4262c; --bad-page: #fdecec; --good: #1d6b3a; --good-page: #e9f6ee; }
@media (prefers-color-scheme: dark) { :root { --page: #12171f; --card: #1c2430; --text: #e6ebf2; --quiet: #a3afbf; --line: #3a4757;
  --action: #6ea8ff; --action-text: #0c1420; --bad: #ffb4b4; --bad-page: #3a2023; --good: #a5e3bd; --good-page: #17301f; } }
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1.5rem; background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { width: 100%; max-width: 25rem; background: var(--card); border: 1px solid var(--line); border-radius: .75rem; padding: 2rem; }
.product { margin: 0 0 .25rem; color: var(--quiet); font-size: .9rem; }
h1 { margin: 0 0 1.25rem; font-size: 1.5rem; line-height: 1.2; }
label { display: block; margin: 1rem 0 .3rem; font-weight: 600; font-size: .95rem; }
input { width: 100%; padding: .65rem .75rem; font: inherit; color: inherit; background: var(--page); border: 1px solid var(--line);
  border-radius: .5rem; }
button, a.button { display: block; width: 100%; margin-top: 1.5rem; padding: .7rem 1rem; font: inherit; font-weight: 600; text-align: center;
  text-decoration: none; color: var(--action-text); background: var(--action); border: 1px solid var(--action); border-radius: .5rem; cursor: pointer; }
a.button.second { margin-top: .75rem; color: var(--action); background: transparent; }
input:focus-visible, button:focus-visible, a:focus-visible { outline: 3px solid var(--action); outline-offset: 2px; }
p.note { margin: 0 0 1rem; padding: .65rem .75rem; border-radius: .5rem; }
p.bad { color: var(--bad); background: var(--bad-page); }
p.good { color: var(--good); background: var(--good-page); }
p.hint { margin: .4rem 0 0; color: var(--quiet); font-size: .875rem; }
"""


def _page(title: str, content: str, *, problem: str = "", done: str = "", status: int = 200, head: str = "") -> Response:
    note = f'<p class="note bad" role="alert">{escape(problem)}</p>' if problem else ""
    note += f'<p class="note good" role="status">{escape(done)}</p>' if done else ""
    page = (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(title)} · Routing console</title><link rel="stylesheet" href="/auth/style.css"><link rel="icon" href="/favicon.png">'
        f'{head}</head><body><main><p class="product">Routing console</p><h1>{escape(title)}</h1>{note}{content}</main></body></html>'
    )
    return HTMLResponse(page, status, {"Content-Security-Policy": STRICT, "Cache-Control": "no-store"})


def _hidden(csrf: str) -> str:
    return f'<input type="hidden" name="csrf" value="{escape(csrf)}">'


def sign_in(
    *, csrf: str, target: str, name: str = "", provider: bool = False, problem: str = "", done: str = "", status: int = 200
) -> Response:
    """Name and password, and the identity provider where there is one."""
    form = (
        f'<form method="post" action="/auth/login" autocomplete="on">{_hidden(csrf)}'
        f'<input type="hidden" name="next" value="{escape(target)}">'
        f'<label for="name">Name</label><input id="name" name="name" value="{escape(name)}" autocomplete="username" '
        f'autocapitalize="none" spellcheck="false" maxlength="120" required{"" if name else " autofocus"}>'
        '<label for="password">Password</label><input id="password" name="password" type="password" '
        f'autocomplete="current-password" maxlength="256" required{" autofocus" if name else ""}>'
        '<button type="submit">Sign in</button></form>'
    )
    if provider:
        form += f'<a class="button second" href="/auth/oidc?next={quote(target, safe="/")}">Sign in with your organisation</a>'
    return _page("Sign in", form, problem=problem, done=done, status=status)


def change_password(*, csrf: str, name: str, forced: bool, minimum: int, problem: str = "", status: int = 200) -> Response:
    """The old password and a new one, twice."""
    why = '<p class="hint">This password was made for you. Choose your own before you go on.</p>' if forced else ""
    fields = "".join(
        f'<label for="{key}">{label}</label><input id="{key}" name="{key}" type="password" autocomplete="{kind}" maxlength="256" required>'
        for key, label, kind in (
            ("old", "Password until now", "current-password"), ("new", "New password", "new-password"),
            ("again", "New password again", "new-password"),
        )
    )
    form = (
        f'{why}<form method="post" action="/auth/password">{_hidden(csrf)}'
        f'<input type="hidden" name="username" value="{escape(name)}" autocomplete="username">{fields}'
        f'<p class="hint">At least {minimum} characters. Several words that do not belong together are easy to keep in mind.</p>'
        '<button type="submit">Change the password</button></form>'
    )
    return _page("Choose a new password" if forced else "Change your password", form, problem=problem, status=status)


def sign_out(*, csrf: str, name: str) -> Response:
    """One question, so that nobody is signed out by following a link."""
    form = (
        f'<p>You are signed in as {escape(name)}.</p><form method="post" action="/auth/logout">{_hidden(csrf)}'
        '<button type="submit">Sign out</button></form><a class="button second" href="/">Stay here</a>'
    )
    return _page("Sign out?", form)


def message(title: str, text: str, *, status: int, back: tuple[str, str] = ("/auth/login", "To the sign-in page")) -> Response:
    """A sentence and the way back: its path and its name."""
    return _page(title, f'<a class="button" href="{back[0]}">{back[1]}</a>', problem=text, status=status)


def away(*, starting: bool, seconds: int) -> Response:
    """Why nobody can sign in or work at the moment; the browser asks again by itself after `seconds`."""
    why = (
        "The console has started, but its database does not answer yet. Nobody can sign in before it does."
        if starting else "The console cannot reach its database at the moment, so it cannot tell who you are."
    )
    content = (
        "<p>Nothing that was stored is lost, and tickets that were accepted are kept safe. They are routed as soon as the database "
        f'answers.</p><p class="hint">This page looks again every {seconds} seconds and then goes on by itself.</p>'
    )
    again = f'<meta http-equiv="refresh" content="{seconds}">'
    response = _page("Not ready yet" if starting else "One moment", content, problem=why, status=503, head=again)
    response.headers["Retry-After"] = str(seconds)
    return response
