"""Many strangers who send passwords at the same moment: the memory stays, and everybody else goes on."""
from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from starlette.concurrency import run_in_threadpool

from engine.access import Role
from engine.passwords import AT_ONCE, Passwords
from engine.web.desk import Busy, Desk
from tests import signin, websocket
from tests.serving import Served

# The memory of a real installation; one pass, because here it is not the time that counts.
SERVED_WITH = {"password_memory_kib": 65_536, "password_time_cost": 1, "sign_in_free_attempts_per_address": 10_000}
ONE_HASH = 65_536 * 1024


def test_sixty_sign_ins_at_once_take_the_memory_of_a_few(served: Served) -> None:
    http = served.sign_in(Role.AGENT)
    before = served.most_memory()
    everybody = threading.Barrier(60)

    def strangers(number: int) -> requests.Response:
        mine = requests.Session()
        token = signin.csrf_of(mine.get(f"{served.url}/auth/login", timeout=60).text)
        everybody.wait(60)
        fields = {"csrf": token, "name": f"stranger-{number}", "password": "not-a-password-of-anybody"}
        return mine.post(f"{served.url}/auth/login", data=fields, allow_redirects=False, timeout=60)

    with ThreadPoolExecutor(60) as pool:
        sent = [pool.submit(strangers, number) for number in range(60)]
        with websocket.opened(served.url, http.cookies["console_session"]) as socket:
            assert websocket.run(socket).headings, "who is signed in goes on working"
        answers = [one.result() for one in sent]
    assert {answer.status_code for answer in answers} <= {401, 503}
    assert sum(answer.status_code == 401 for answer in answers) >= AT_ONCE
    assert all("Retry-After" in answer.headers for answer in answers if answer.status_code == 503)
    assert served.most_memory() - before < (AT_ONCE + 2) * ONE_HASH


def test_hashes_are_made_a_few_at_a_time_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    passwords = Passwords(memory=8, time_cost=1)
    within, most, lock, full = 0, 0, threading.Lock(), threading.Event()
    make = passwords._hasher.hash

    def counted(password: str) -> str:
        nonlocal within, most
        with lock:
            within += 1
            most = max(most, within)
            if within >= AT_ONCE:
                full.set()
        full.wait(10)
        result = make(password)
        with lock:
            within -= 1
        return result

    class Counting:
        hash = staticmethod(counted)

    monkeypatch.setattr(passwords, "_hasher", Counting)
    with ThreadPoolExecutor(20) as pool:
        assert len(set(pool.map(passwords.hashed, ["x"] * 20))) == 20
    assert most == AT_ONCE


def test_a_full_desk_turns_away_and_leaves_the_other_threads_alone() -> None:
    async def scene() -> None:
        desk, go = Desk(at_once=2, waiting=3, patience=0.05), threading.Event()
        begun: list[int] = []

        def work(number: int) -> int:
            begun.append(number)
            go.wait(30)
            return number

        first = [asyncio.create_task(desk.run(work, number)) for number in range(2)]
        while len(begun) < 2:
            await asyncio.sleep(0.01)
        waiting = [asyncio.create_task(desk.run(work, number)) for number in range(2, 5)]
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await desk.run(work, 5)
        # The server's own threads answer while the desk is full.
        assert await asyncio.gather(*(run_in_threadpool(lambda: 7) for _ in range(50))) == [7] * 50
        assert [type(one) for one in await asyncio.gather(*waiting, return_exceptions=True)] == [Busy] * 3
        go.set()
        assert await asyncio.gather(*first) == [0, 1], "what has begun is not broken off"
        assert sorted(begun) == [0, 1]
        assert await desk.run(work, 6) == 6

    asyncio.run(scene())


def test_what_the_work_raises_comes_out() -> None:
    def work() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        asyncio.run(Desk(at_once=1, waiting=1, patience=1).run(work))


def test_a_machine_that_gives_no_thread_takes_no_place_at_the_desk_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def scene() -> None:
        desk = Desk(at_once=1, waiting=1, patience=30)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", none_left)
            for _ in range(3):
                with pytest.raises(RuntimeError):
                    await desk.run(begun.append, 1)
        assert await desk.run(lambda: 2) == 2

    begun: list[int] = []
    asyncio.run(scene())
    assert not begun, "what nobody waits for any more is not done later"
