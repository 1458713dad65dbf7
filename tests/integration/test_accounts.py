"""Accounts, sessions, tokens and limits on a real database, with a clock that the tests move."""
from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from db.attempts import Attempts
from db.session import connect
from engine import bootstrap
from engine.bootstrap import Engine
from engine.errors import AccountRejected, Conflict, NotFound, ServiceUnavailable, SignInRefused, TooManyRequests
from engine.sessions import Sessions
from engine.settings import Settings
from pages.parts import words
from tests.integration.test_watching import task
from tests.unit.test_metrics import value
from tests.servers.ports import free_port
from tests.serving import ROOT

GOOD = "green-river-table-9"


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 9, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def move(self, **more: float) -> None:
        self.now += timedelta(**more)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def few(console_settings: Settings) -> Settings:
    """Few tickets a minute."""
    return console_settings.model_copy(update={"rate_submit_per_minute": 5})


@pytest.fixture
def engine(few: Settings, clock: Clock):  # noqa: ANN201
    made = bootstrap.build(few, log_stream=None, clock=clock, chance=random.Random(1))
    made.accounts.add("ann", role="agent", by="test", password=GOOD, must_change=False)
    made.accounts.add("root", role="admin", by="test", password=GOOD, must_change=False)
    yield made
    made.close()


def refused(engine: Engine, name: str, password: str = "wrong", **more: str) -> float:
    with pytest.raises(SignInRefused) as error:
        engine.accounts.sign_in(name, password, **more)
    return error.value.wait


def test_a_thousand_wrong_passwords_lock_the_account_with_a_growing_delay_and_nobody_else(engine: Engine, clock: Clock) -> None:
    checked, waits = 0, []
    for _ in range(1000):
        wait = refused(engine, "ann", address="10.0.0.1")
        checked += wait == 0
        waits.append(wait)
        clock.move(seconds=0.2)
    assert waits[:5] == [0] * 5
    assert checked <= 15, "200 seconds allow five free attempts and those after 1, 2, 4 ... 64 seconds"
    assert max(waits) >= 32
    assert refused(engine, "ann", GOOD, address="10.0.0.1") > 0, "the right password does not help while the account is locked"
    assert engine.accounts.sign_in("root", GOOD, address="10.0.0.1").name == "root", "others at the same address are not locked out"
    clock.move(seconds=900)
    assert engine.accounts.sign_in("ann", GOOD, address="10.0.0.1").name == "ann"


def test_a_thousand_wrong_passwords_at_once_are_counted_one_by_one(engine: Engine) -> None:
    def attempt(_: int) -> bool:
        try:
            engine.accounts.sign_in("ann", "wrong", address="10.0.0.1")
        except SignInRefused as error:
            return error.wait == 0
        return True

    with ThreadPoolExecutor(8) as threads:
        looked_at = sum(threads.map(attempt, range(1000)))
    assert looked_at <= 6


def test_the_owner_still_comes_in_from_a_browser_that_is_known(engine: Engine) -> None:
    known = engine.sessions.known_browser("ann")
    for _ in range(20):
        refused(engine, "ann", address="10.0.0.1")
    assert refused(engine, "ann", GOOD, address="10.0.0.2") > 0
    assert engine.accounts.sign_in("ann", GOOD, address="10.0.0.2", known_browser=known).name == "ann"
    assert refused(engine, "ann", GOOD, address="10.0.0.2", known_browser=engine.sessions.known_browser("root")) > 0
    assert [refused(engine, "ann", known_browser=known) > 0 for _ in range(8)][6:] == [True] * 2, "a known browser is counted as well"


def test_a_new_one_time_password_unlocks_the_browsers_of_its_owner_too(engine: Engine) -> None:
    known = engine.sessions.known_browser("ann")
    for _ in range(20):
        refused(engine, "ann", known_browser=known)
    assert refused(engine, "ann", GOOD, known_browser=known) > 0
    new = engine.accounts.reset_password("ann", by="root")
    assert engine.accounts.sign_in("ann", new, known_browser=known).name == "ann"


def test_attempts_at_the_same_moment_do_not_refuse_each_other(engine: Engine, clock: Clock) -> None:
    late, early = clock.now + timedelta(seconds=1), clock.now
    attempts = Attempts(connect(engine.settings.postgres_url))
    assert [attempts.reserve("a", free=5, now=now) for now in (late, early, late, early)] == [1, 2, 3, 4]
    attempts.give_back("a")
    assert attempts.reserve("a", free=5, now=early) == 4


@pytest.mark.parametrize("back", [timedelta(minutes=5), timedelta(days=1)], ids=["another instance's is behind", "it was ahead and is put right"])
def test_whoever_signed_in_by_a_clock_that_was_ahead_locks_nobody_out(engine: Engine, clock: Clock, back: timedelta) -> None:
    assert engine.accounts.sign_in("ann", GOOD, address="10.0.0.5").name == "ann"
    assert refused(engine, "root", address="10.0.0.5") == 0
    clock.now -= back
    assert engine.accounts.sign_in("ann", GOOD, address="10.0.0.5").name == "ann"
    assert engine.accounts.sign_in("root", GOOD, address="10.0.0.5").name == "root"


def test_no_account_stays_locked_for_the_day_that_a_clock_was_ahead(engine: Engine, clock: Clock) -> None:
    while not refused(engine, "ann", address="10.0.0.1"):
        continue
    clock.move(days=-1)
    assert engine.accounts.sign_in("ann", GOOD, address="10.0.0.1").name == "ann"


def test_an_address_that_tries_many_names_is_locked_and_others_are_not(engine: Engine) -> None:
    waits = [refused(engine, f"somebody{i}", address="10.0.0.9") for i in range(60)]
    assert waits[:50] == [0] * 50 and waits[-1] > 0
    assert all(refused(engine, "ann", GOOD, address="10.0.0.9") > 0 for _ in range(10))
    known = engine.sessions.known_browser("root")
    assert engine.accounts.sign_in("root", GOOD, address="10.0.0.9", known_browser=known).name == "root", "whoever works there still comes in"
    assert engine.accounts.sign_in("ann", GOOD, address="10.0.0.1").name == "ann", "what a locked address asks for is not counted for the account"


def test_an_ipv6_network_counts_as_one_address(engine: Engine) -> None:
    """Whoever has one address of it has as many as there are wrong passwords."""
    waits = [refused(engine, f"somebody{i}", address=f"2001:db8::{i:x}") for i in range(60)]
    assert waits[:50] == [0.0] * 50 and max(waits) > 0
    assert refused(engine, "ann", GOOD, address="2001:db8::ffff:1") > 0
    assert engine.accounts.sign_in("ann", GOOD, address="2001:db8:0:1::1").name == "ann", "the neighbours' network is another one"


def test_an_ipv4_address_written_as_ipv6_is_itself(engine: Engine) -> None:
    for i in range(60):
        refused(engine, f"somebody{i}", address="::ffff:10.0.0.9")
    assert refused(engine, "ann", GOOD, address="10.0.0.9") > 0
    assert engine.accounts.sign_in("ann", GOOD, address="::ffff:10.0.0.1").name == "ann"


def test_many_people_behind_one_address_do_not_lock_it_by_signing_in(engine: Engine) -> None:
    for _ in range(60):
        assert engine.accounts.sign_in("ann", GOOD, address="10.0.0.5").name == "ann"


def test_who_came_in_has_all_free_attempts_again_and_a_name_may_be_typed_in_capitals(engine: Engine) -> None:
    for _ in range(3):
        assert [refused(engine, "ann") for _ in range(4)] == [0] * 4
        assert engine.accounts.sign_in(" Ann ", GOOD).name == "ann"


def test_a_name_that_was_copied_from_a_page_is_the_same_name(engine: Engine) -> None:
    """Pages put a sign that is not seen into names with an @, so that they become no links."""
    engine.accounts.add("ann@example.com", role="agent", by="test", password=GOOD, must_change=False)
    copied = re.sub(r"\\(?=[@.])", "", words.plain("ann@example.com"))
    assert copied != "ann@example.com"
    assert engine.accounts.sign_in(copied, GOOD).name == engine.accounts.named(copied).name == "ann@example.com"
    with pytest.raises(Conflict):
        engine.accounts.add(copied, role="agent", by="test")


def test_known_and_unknown_names_are_refused_in_the_same_words_and_lock_alike(engine: Engine) -> None:
    messages: dict[str, list[str]] = {}
    for name in ("ann", "nobody", "x' or 1=1 --", "a" * 5000, "\x00"):
        for _ in range(8):
            with pytest.raises(SignInRefused) as error:
                engine.accounts.sign_in(name, "wrong", address="")
            messages.setdefault(name, []).append(str(error.value))
    assert len({tuple(said) for said in messages.values()}) == 1


def test_a_wrong_password_costs_one_hash_whether_the_name_exists_or_not(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    from argon2 import PasswordHasher

    counted: list[str] = []
    verify = PasswordHasher.verify

    def counting(self: PasswordHasher, hashed: str, password: str) -> bool:
        counted.append(hashed.rsplit("$", 2)[0])
        return verify(self, hashed, password)

    monkeypatch.setattr(PasswordHasher, "verify", counting)
    for name in ("ann", "nobody"):
        refused(engine, name)
    assert len(counted) == 2 and counted[0] == counted[1], "the same parameters, so the same time"


def test_the_gauge_counts_sessions_that_live_and_not_those_that_were_idle_for_too_long(engine: Engine, clock: Clock) -> None:
    engine.sessions.open(engine.accounts.named("ann").id)
    for seconds, living in ((0, 1), (7199, 1), (1, 0)):
        clock.move(seconds=seconds)
        task(engine, "gauges")()
        assert value(engine.watch.metrics, "routing_sessions") == living


def test_unused_sessions_and_old_sessions_end(engine: Engine, clock: Clock) -> None:
    user, sessions = engine.accounts.named("ann"), engine.sessions
    key = sessions.key_of(sessions.open(user.id))
    clock.move(seconds=7199)
    assert sessions.find(key).name == "ann"
    assert [session.key for session in sessions.of_user(user.id)] == [key]
    clock.move(seconds=7200)
    assert sessions.find(key) is None
    assert sessions.of_user(user.id) == []
    key = sessions.key_of(sessions.open(user.id))
    for _ in range(12):
        clock.move(hours=1)
        found = sessions.find(key)
    assert found is None, "twelve hours are the end, however busy"
    assert sessions.of_user(user.id) == []
    task(engine, "gauges")()
    assert value(engine.watch.metrics, "routing_sessions") == 0


def test_use_is_written_every_half_minute_and_only_where_it_is_use(engine: Engine, clock: Clock) -> None:
    sessions, began = engine.sessions, clock.now
    key = sessions.key_of(sessions.open(engine.accounts.named("ann").id))
    for seconds, touch, written in ((29, True, 0), (1, False, 0), (0, True, 30), (29, True, 30)):
        clock.move(seconds=seconds)
        assert sessions.find(key, touch=touch) is not None
        assert sessions._store.find(key).seen_at == began + timedelta(seconds=written)


def test_how_a_session_came_to_its_end_is_said_to_its_own_cookie(engine: Engine, clock: Clock) -> None:
    sessions, user = engine.sessions, engine.accounts.named("ann").id
    left, busy, out = (sessions.open(user) for _ in range(3))
    sessions.end(sessions.key_of(out))
    assert [sessions.ended(cookie) for cookie in (left, busy, out, "", f"x{left}")] == [None, None, "", None, None]
    for _ in range(12):
        clock.move(minutes=59, seconds=59)
        assert sessions.ended(busy) is None and sessions.find(sessions.key_of(busy)) is not None
        assert sessions.ended(left) == (None if clock.now < datetime(2026, 3, 1, 11, tzinfo=UTC) else "idle")
    clock.move(seconds=12)
    assert [sessions.ended(cookie) for cookie in (left, busy)] == ["old", "old"]
    again = sessions.open(user)
    clock.move(seconds=7200)
    assert sessions.ended(again) == "idle"
    engine.accounts.disable("ann", by="root")
    assert sessions.ended(again) == ""


def test_a_browser_that_says_much_of_itself_comes_in_too(engine: Engine) -> None:
    sessions = engine.sessions
    found = sessions.find(sessions.key_of(sessions.open(engine.accounts.named("ann").id, address="f" * 100, browser="Mozilla/5.0 " * 50)))
    assert (len(found.address), len(found.browser)) == (64, 200)


def away(_: str) -> None:
    raise ServiceUnavailable("database", "it is away")


def test_a_session_goes_on_for_a_while_without_the_database_and_no_new_one_begins(engine: Engine, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = engine.sessions
    here, elsewhere = (sessions.key_of(sessions.open(engine.accounts.named("ann").id)) for _ in range(2))
    assert sessions.find(here) is not None
    monkeypatch.setattr(sessions._store, "find", away)
    assert sessions.find(here).name == "ann"
    with pytest.raises(ServiceUnavailable):
        sessions.find(elsewhere)
    clock.move(minutes=9)
    assert sessions.find(here).name == "ann"
    clock.move(minutes=1)
    with pytest.raises(ServiceUnavailable):
        sessions.find(here)


def test_a_session_that_opens_while_its_user_is_disabled_is_none(engine: Engine) -> None:
    ann = engine.accounts.sign_in("ann", GOOD)
    engine.accounts.disable("ann", by="root")
    assert engine.sessions.find(engine.sessions.key_of(engine.sessions.open(ann.id))) is None


def test_an_ended_session_does_not_come_back_while_the_database_is_away(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions, ann, root = engine.sessions, engine.accounts.named("ann").id, engine.accounts.named("root").id
    keys = [sessions.key_of(sessions.open(user)) for user in (ann, ann, root)]
    mine, others = (sessions.key_of(sessions.open(user)) for user in (root, engine.accounts.add("joe", role="agent", by="root")[0].id))
    assert all(sessions.find(key) for key in (*keys, mine, others))
    sessions.end(keys[0])
    # By another instance.
    sessions._store.remove(keys[1])
    assert sessions.find(keys[1]) is None
    sessions.end_all(root, but=mine)
    monkeypatch.setattr(sessions._store, "find", away)
    for key in keys:
        with pytest.raises(ServiceUnavailable):
            sessions.find(key)
    assert sessions.find(mine) is not None and sessions.find(others) is not None


def test_of_many_sessions_those_used_last_go_on_without_the_database(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.sessions.REMEMBERED", 2)
    sessions, ann = engine.sessions, engine.accounts.named("ann").id
    first, second, third = (sessions.key_of(sessions.open(ann)) for _ in range(3))
    assert all(sessions.find(key) for key in (first, second, first, third))
    monkeypatch.setattr(sessions._store, "find", away)
    assert sessions.find(first) is not None and sessions.find(third) is not None
    with pytest.raises(ServiceUnavailable):
        sessions.find(second)


def test_twelve_hours_are_the_end_without_the_database_too(engine: Engine, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = engine.sessions
    key = sessions.key_of(sessions.open(engine.accounts.named("ann").id))
    for _ in range(13):
        clock.move(minutes=55)
        assert sessions.find(key) is not None
    monkeypatch.setattr(sessions._store, "find", away)
    clock.move(minutes=4)
    assert sessions.find(key) is not None
    clock.move(minutes=1)
    with pytest.raises(ServiceUnavailable):
        sessions.find(key)


def test_a_short_idle_limit_counts_without_the_database_too_and_so_does_use(engine: Engine, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    store, ann = engine.sessions._store, engine.accounts.named("ann").id
    sessions = Sessions(store, secret="only for this test, and long enough", clock=clock, idle=120, absolute=43_200)
    used, left = (sessions.key_of(sessions.open(ann)) for _ in range(2))
    clock.move(seconds=100)
    assert sessions.find(used) is not None and sessions.find(left) is not None
    monkeypatch.setattr(store, "find", away)
    clock.move(seconds=119)
    assert sessions.find(used) is not None and sessions.find(left, touch=False) is not None
    clock.move(seconds=1)
    with pytest.raises(ServiceUnavailable):
        sessions.find(left)
    clock.move(seconds=118)
    assert sessions.find(used) is not None
    clock.move(seconds=120)
    with pytest.raises(ServiceUnavailable):
        sessions.find(used)


def test_a_changed_password_ends_the_other_sessions(engine: Engine) -> None:
    sessions, user = engine.sessions, engine.accounts.named("ann")
    mine, other = (sessions.key_of(sessions.open(user.id)) for _ in range(2))
    engine.accounts.change_password("ann", GOOD, "seven-quiet-boats", keep_session=mine)
    assert sessions.find(mine) is not None and sessions.find(other) is None
    refused(engine, "ann", GOOD)
    assert engine.accounts.sign_in("ann", "seven-quiet-boats").name == "ann"


def test_strangers_who_guess_do_not_keep_the_owner_from_changing_the_password(engine: Engine) -> None:
    """Nor does a wrong old password lock the sign-in; it is counted by itself."""
    for _ in range(10):
        with pytest.raises(SignInRefused):
            engine.accounts.sign_in("ann", "wrong", address="10.9.9.9")
    assert refused(engine, "ann", GOOD, address="10.9.9.9") > 0, "the account is locked for strangers"
    engine.accounts.change_password("ann", GOOD, "seven-quiet-boats")
    for _ in range(6):
        with pytest.raises(AccountRejected, match="old password"):
            engine.accounts.change_password("root", "wrong", "seven-quiet-boats")
    with pytest.raises(SignInRefused):
        engine.accounts.change_password("root", GOOD, "seven-quiet-boats")
    assert engine.accounts.sign_in("root", GOOD).name == "root"
    engine.accounts.reset_password("root", by="test", password="three-warm-stones")
    engine.accounts.change_password("root", "three-warm-stones", "seven-quiet-boats")


def test_who_knew_the_old_password_may_err_as_often_again(engine: Engine) -> None:
    for old, new in ((GOOD, "seven-quiet-boats"), ("seven-quiet-boats", "three-warm-stones")):
        for _ in range(4):
            with pytest.raises(AccountRejected, match="old password"):
                engine.accounts.change_password("ann", "wrong", new)
        engine.accounts.change_password("ann", old, new)


def test_a_one_time_password_cannot_be_kept(engine: Engine) -> None:
    _, word = engine.accounts.add("joe", role="agent", by="root")
    with pytest.raises(AccountRejected, match="it is the old one"):
        engine.accounts.change_password("joe", word, word)
    assert engine.accounts.named("joe").must_change


def test_passwords_have_twelve_to_256_characters(engine: Engine) -> None:
    long, now = "green-river-" * 22, GOOD
    for length, taken in ((11, False), (12, True), (257, False), (256, True)):
        if taken:
            engine.accounts.change_password("ann", now, now := long[:length])
            continue
        with pytest.raises(AccountRejected, match=f"found {length}"):
            engine.accounts.change_password("ann", now, long[:length])
    assert engine.accounts.sign_in("ann", now).name == "ann"
    refused(engine, "ann", long[:257])
    with pytest.raises(AccountRejected, match="old password"):
        engine.accounts.change_password("ann", long[:257], GOOD)


def test_a_hash_of_a_lower_cost_is_made_anew_at_the_next_sign_in(engine: Engine, few: Settings) -> None:
    before = engine.accounts.named("ann").password_hash
    dearer = bootstrap.build(few.model_copy(update={"password_time_cost": 2}), log_stream=None)
    try:
        dearer.accounts.sign_in("ann", GOOD)
        made = engine.accounts.named("ann").password_hash
        assert made != before and "t=2" in made
        dearer.accounts.sign_in("ann", GOOD)
        assert engine.accounts.named("ann").password_hash == made
    finally:
        dearer.close()


@pytest.mark.parametrize("cost", [1, 2], ids=["same cost", "dearer"])
@pytest.mark.parametrize("deed", ["sign in", "change"])
def test_a_password_that_is_reset_while_the_old_one_is_checked_stands_and_the_old_one_opens_nothing(
    few: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch, deed: str, cost: int
) -> None:
    slow = bootstrap.build(few.model_copy(update={"password_time_cost": cost}), log_stream=None)
    passwords, once = slow.accounts._passwords, [1]
    fits = passwords.fits

    def meanwhile(*given: str) -> bool:
        found = fits(*given)
        while once:
            once.pop()
            engine.accounts.reset_password("ann", by="test", password="three-warm-stones")
        return found

    monkeypatch.setattr(passwords, "fits", meanwhile)
    try:
        if deed == "sign in":
            refused(slow, "ann", GOOD)
        else:
            with pytest.raises(AccountRejected, match="changed meanwhile"):
                slow.accounts.change_password("ann", GOOD, "seven-quiet-boats")
        assert engine.accounts.sign_in("ann", "three-warm-stones").must_change
    finally:
        slow.close()


@pytest.mark.parametrize("password", ["short", "a" * 20, "passwordpassword1", "ann-likes-green-tea", "Password12345!", "x" * 300])
def test_weak_passwords_are_refused(engine: Engine, password: str) -> None:
    with pytest.raises(AccountRejected):
        engine.accounts.change_password("ann", GOOD, password)
    assert engine.accounts.sign_in("ann", GOOD).name == "ann"


def test_a_password_that_is_reset_ends_the_sessions_unlocks_the_account_and_must_be_changed(engine: Engine) -> None:
    accounts, sessions = engine.accounts, engine.sessions
    key = sessions.key_of(sessions.open(accounts.named("ann").id))
    for _ in range(8):
        refused(engine, "ann")
    with pytest.raises(AccountRejected, match="found 5"):
        accounts.reset_password("ann", by="root", password="short")
    assert sessions.find(key) is not None and not accounts.named("ann").must_change
    new = accounts.reset_password("ann", by="root")
    assert sessions.find(key) is None and accounts.named("ann").must_change
    assert accounts.sign_in("ann", new).name == "ann"
    accounts.disable("ann", by="root")
    with pytest.raises(AccountRejected, match="ann is disabled"):
        accounts.reset_password("ann", by="root")
    assert refused(engine, "ann", new) == 0


def test_sessions_of_a_disabled_user_do_not_come_back_with_the_user(engine: Engine) -> None:
    sessions = engine.sessions
    key = sessions.key_of(sessions.open(engine.accounts.named("ann").id))
    engine.accounts.disable("ann", by="root")
    engine.accounts.enable("ann", by="root")
    assert sessions.find(key) is None
    assert engine.accounts.sign_in("ann", GOOD).name == "ann"


def test_every_deed_about_a_user_is_noted_with_what_was_before(engine: Engine) -> None:
    accounts, sessions = engine.accounts, engine.sessions
    began = accounts.add("joe", role="agent", by="root", password=GOOD, must_change=False)[0]
    mine, other = (sessions.key_of(sessions.open(began.id)) for _ in range(2))
    accounts.set_role("joe", "manager", by="root")
    accounts.change_password("joe", GOOD, "seven-quiet-boats", keep_session=mine)
    assert sessions.find(other) is None
    sessions.open(began.id)
    assert accounts.sign_out_everywhere("joe", by="joe", but=mine) == 1 and sessions.find(mine) is not None
    accounts.disable("joe", by="root")
    accounts.enable("joe", by="root")
    accounts.reset_password("joe", by="root", password="three-warm-stones")
    accounts.sign_in("joe", "three-warm-stones")
    agent, manager, out = ({"role": role, "disabled": gone, "source": "local"} for role, gone in (("agent", False), ("manager", False), ("manager", True)))
    assert [(row.actor, row.action, row.before, row.after) for row in reversed(engine.audit.find(limit=20, words="joe"))] == [
        ("root", "user_added", None, agent), ("root", "role_changed", agent, manager), ("joe", "password_changed", manager, manager),
        ("joe", "signed_out_everywhere", None, {"sessions": 1}), ("root", "user_disabled", manager, out), ("root", "user_enabled", out, manager),
        ("root", "password_reset", manager, manager), ("joe", "signed_in", None, None),
    ]
    assert accounts.named("joe").signed_in_at is not None


def test_the_last_admin_stays(engine: Engine) -> None:
    for change in (lambda: engine.accounts.disable("root", by="t"), lambda: engine.accounts.set_role("root", "agent", by="t")):
        with pytest.raises(AccountRejected, match="last admin"):
            change()
    engine.accounts.set_role("ann", "admin", by="root")
    engine.accounts.disable("root", by="ann")
    with pytest.raises(AccountRejected, match="last admin"):
        engine.accounts.disable("ann", by="ann")


def test_two_admins_who_disable_each_other_leave_one(engine: Engine) -> None:
    engine.accounts.set_role("ann", "admin", by="root")

    def disable(name: str) -> bool:
        try:
            engine.accounts.disable(name, by="test")
        except AccountRejected:
            return False
        return True

    with ThreadPoolExecutor(2) as threads:
        assert sorted(threads.map(disable, ["ann", "root"])) == [False, True]


def test_names_are_taken_once_and_unknown_names_are_said_to_be(engine: Engine) -> None:
    with pytest.raises(Conflict):
        engine.accounts.add("ANN", role="agent", by="test")
    for name in ("", "a", "ann smith", "x;y", "ann\x00", "é"):
        with pytest.raises(AccountRejected):
            engine.accounts.add(name, role="agent", by="test")
    with pytest.raises(AccountRejected):
        engine.accounts.add("joe", role="root", by="test")
    with pytest.raises(NotFound):
        engine.accounts.disable("nobody", by="test")


def test_the_first_admin_is_made_once_even_by_two_starts_at_a_time(build: Callable[..., Engine]) -> None:
    one, two = build(), build()
    with ThreadPoolExecutor(2) as threads:
        words = list(threads.map(lambda e: e.accounts.add_first_admin(), [one, two]))
    assert sorted(word is None for word in words) == [False, True]
    assert one.accounts.named("admin").must_change


def test_a_first_admins_own_password_stays(build: Callable[..., Engine]) -> None:
    engine = build()
    assert engine.accounts.add_first_admin(name="boss", password=GOOD) == GOOD
    assert not engine.accounts.named("boss").must_change


def test_tokens_hold_their_scopes_as_long_as_role_time_and_owner_allow(engine: Engine, clock: Clock) -> None:
    tokens, ann = engine.tokens, engine.accounts.named("ann")
    with pytest.raises(AccountRejected, match="does not hold users"):
        tokens.make(ann, name="x", scopes=["submit", "users"], by="ann")
    token = tokens.make(ann, name="x", scopes=["submit", "overrule"], days=2, by="ann")
    assert {str(p) for p in tokens.find(token).permissions} == {"submit", "overrule"}
    assert tokens.all(user_id=ann.id)[0].used_at == clock.now
    assert token.split("_", 2)[2] not in repr(tokens.all()), "only a hash is kept"
    for bad in (token[:-1] + "A" * (token[-1] != "A") + "B" * (token[-1] == "A"), token.upper(), "", "crt_x_y", token + "x", "\x00"):
        assert tokens.find(bad) is None
    engine.accounts.disable("ann", by="root")
    assert tokens.find(token) is None
    engine.accounts.enable("ann", by="root")
    assert tokens.find(token) is not None
    clock.move(days=2)
    assert tokens.find(token) is None


def test_a_lower_role_takes_scopes_from_tokens_and_a_revoked_token_is_dead(engine: Engine) -> None:
    tokens = engine.tokens
    engine.accounts.set_role("ann", "manager", by="root")
    token = tokens.make(engine.accounts.named("ann"), name="x", scopes=["submit", "dashboard"], by="ann")
    engine.accounts.set_role("ann", "agent", by="root")
    found = tokens.find(token)
    assert {str(p) for p in found.permissions} == {"submit"}
    with pytest.raises(NotFound):
        tokens.revoke(found.token_id, by="root", user_id=engine.accounts.named("root").id)
    tokens.revoke(found.token_id, by="ann", user_id=engine.accounts.named("ann").id)
    assert tokens.find(token) is None
    with pytest.raises(NotFound, match="revoked already"):
        tokens.revoke(found.token_id, by="root")


def test_limits_count_by_user_and_minute(engine: Engine, clock: Clock) -> None:
    clock.move(seconds=20)
    for _ in range(5):
        engine.limits.take("submit", "ann")
    with pytest.raises(TooManyRequests) as error:
        engine.limits.take("submit", "ann")
    assert error.value.wait == 40
    engine.limits.take("submit", "root")
    clock.move(minutes=1)
    engine.limits.take("submit", "ann")


def test_limits_let_everything_pass_and_count_it_while_the_counter_is_away(few: Settings, clock: Clock) -> None:
    from pydantic import SecretStr

    engine = bootstrap.build(few.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:1")}), log_stream=None, clock=clock)
    door = engine.limits._counter._service
    door.breaker._pause = 600.0
    try:
        for _ in range(8):
            engine.limits.take("submit", "ann")
        assert 'routing_rate_limit_unchecked_total{kind="submit"} 8.0' in engine.watch.metrics.render().decode()
        assert door.state().calls == 3, "who comes later does not wait for it"
    finally:
        engine.close()


def test_the_cookie_secret_is_made_once_and_read_by_its_owner_alone(tmp_path) -> None:  # noqa: ANN001
    from engine import settings
    from engine.secret import cookie_secret

    own = settings.load(data_dir=tmp_path / "data")
    with ThreadPoolExecutor(8) as threads:
        made = set(threads.map(lambda _: cookie_secret(own), range(16)))
    assert len(made) == 1 and len(made.pop()) >= 32
    assert (tmp_path / "data" / "cookie.secret").stat().st_mode & 0o777 == 0o600
    assert len(list((tmp_path / "data").iterdir())) == 1


def test_a_first_admins_weak_password_is_one_line_that_names_the_setting(console_settings: Settings) -> None:
    given = {
        "DATABASE_URL": console_settings.database_url.get_secret_value(), "REDIS_URL": console_settings.redis_url.get_secret_value(),
        "DATA_DIR": str(console_settings.data_dir), "PORT": str(free_port()), "ADMIN_USER": "boss", "ADMIN_PASSWORD": "the-boss-likes-boats",
    }
    clean = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
    made = subprocess.run(
        [sys.executable, "-m", "engine", "serve"], cwd=ROOT, env={**clean, **given}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=120, check=False,
    )
    said = [line for line in made.stderr.splitlines() if "The console will be at" not in line]
    assert said == [
        "error: ADMIN_PASSWORD: the user's name is in it. Take several words that do not belong together. Change the setting and start again."
    ]
    assert made.returncode == 2


def test_a_one_time_password_that_holds_the_name_by_chance_is_none_to_refuse(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.accounts.one_time", lambda: "x7ADA-k2mpr-9tqwz-vb4ne")
    assert engine.accounts.add("ada", role="agent", by="test")[1] == engine.accounts.reset_password("ada", by="test")
    with pytest.raises(AccountRejected, match="the user's name is in it"):
        engine.accounts.add("ada2", role="agent", by="test", password="x7ada2-k2mpr-9tqwz")
