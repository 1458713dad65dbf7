"""The made-up fortnight is plausible, stays in its time and is the same for the same seed."""
from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from statistics import mean

from engine.demo_story import Message, resolution_hours, satisfaction, tell
from engine.fingerprint import fingerprint

UNTIL = datetime(2026, 3, 12, 16, 0, tzinfo=UTC)
SINCE = UNTIL - timedelta(days=14)
TEXTS = [
    (f"{what} my {thing} please", department)
    for thing, department in (("invoice", "Billing and Payments"), ("parcel", "Orders and Delivery"), ("stolen card", "Fraud and Security"))
    for what in ("check", "look at", "explain", "find", "stop", "change", "send me", "tell me about", "help with", "forget")
]


def story(seed: int = 7, *, tickets: int = 400, until: datetime = UNTIL) -> list[Message]:
    return tell(TEXTS, tickets=tickets, since=until - timedelta(days=14), until=until, chance=random.Random(seed))


def test_as_many_messages_as_asked_come_in_the_order_of_their_time_within_the_span() -> None:
    told = story()
    assert len(told) == 400
    assert {message.number for message in told} == set(range(1, 401))
    assert [message.at for message in told] == sorted(message.at for message in told)
    assert SINCE <= told[0].at and told[-1].at <= UNTIL


def test_the_same_seed_tells_the_same_story_and_another_seed_another() -> None:
    assert story() == story()
    assert story() != story(8)


def test_what_is_written_under_a_number_does_not_depend_on_the_time() -> None:
    def written(told: list[Message]) -> dict[int, Message]:
        return {message.number: replace(message, at=UNTIL) for message in told}

    assert written(story()) == written(story(until=UNTIL + timedelta(days=3, hours=5)))


def test_most_messages_come_in_office_hours_of_working_days() -> None:
    told = story(tickets=2_000)
    hours = Counter(message.at.hour for message in told)
    assert sum(hours[hour] for hour in range(8, 18)) > 0.8 * len(told)
    weekend = sum(message.at.weekday() >= 5 for message in told)
    assert 0 < weekend < 0.25 * len(told)


def test_a_tenth_of_the_messages_ask_again_what_was_asked_within_the_hour_before() -> None:
    told = story()
    originals = [message for message in told if message.number <= 360]
    for message in (message for message in told if message.number > 360):
        assert any(
            fingerprint(message.body) == fingerprint(other.body) or message.body.startswith(other.body)
            for other in originals
            if timedelta(0) <= message.at - other.at <= timedelta(hours=1)
        )


def test_a_span_shorter_than_a_day_still_holds_every_message() -> None:
    until = datetime(2026, 3, 8, 3, 0, tzinfo=UTC)
    told = tell(TEXTS, tickets=30, since=until - timedelta(hours=4), until=until, chance=random.Random(1))
    assert len(told) == 30
    assert all(until - timedelta(hours=4) <= message.at <= until for message in told)


def test_a_ticket_that_went_astray_takes_longer_and_pleases_less() -> None:
    chance = random.Random(3)
    right = [resolution_hours("Sales", right=True, chance=chance) for _ in range(2_000)]
    wrong = [resolution_hours("Sales", right=False, chance=chance) for _ in range(2_000)]
    assert 0.1 <= min(right) and mean(wrong) > 1.4 * mean(right)
    happy = [points for _ in range(2_000) if (points := satisfaction("Sales", right=True, chance=chance)) is not None]
    unhappy = [points for _ in range(2_000) if (points := satisfaction("Sales", right=False, chance=chance)) is not None]
    assert set(happy) | set(unhappy) == {1, 2, 3, 4, 5}
    assert mean(happy) > mean(unhappy) + 1
