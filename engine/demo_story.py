"""Who wrote when, how and about what: the made-up fortnight behind the demo tickets, the same for the same randomness."""
from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from engine.domain import Channel, Priority

REPEATS = 0.10
WEEKEND = 0.35
# What customers ask most often, they ask in few words.
SHORT, OFTEN = 70, 3
# Median hours to a solution; the spread is the standard deviation of the logarithm.
_HOURS = {
    "Billing and Payments": 7.0, "Technical Support": 10.0, "Account Access": 2.0, "Orders and Delivery": 9.0,
    "Returns and Refunds": 20.0, "Sales": 5.0, "Fraud and Security": 3.0, "Complaints": 30.0, "General Enquiries": 1.5,
}
_SPREAD = 0.6
_DELAY_WHEN_WRONG = 1.7
# Shares of 1 to 5 points.
_SATISFIED = (0.03, 0.07, 0.20, 0.40, 0.30)
_DISSATISFIED = (0.22, 0.30, 0.28, 0.15, 0.05)
_ANSWERED = 0.7

_GREETED = re.compile(r"(?:hi|hello|hey|dear|good|um|uh)\b", re.IGNORECASE)
_SPOKEN = re.compile(r"(?:^|\s)um\b", re.IGNORECASE)
_OPENINGS = ("Hi, ", "Hello, ", "Hello,\n", "Good morning, ", "Hi there, ", "hey ", "Dear team,\n", "Good afternoon,\n")
_CLOSINGS = (" Thanks.", " thx", "\nThank you.", "\nKind regards", "\nBest regards", " Please reply soon.", " Thanks in advance!", " Cheers")
_SUBJECTS = ("Question", "Please help", "Request", "Need an answer", "Customer request", "Urgent", "My account with you", "Problem")


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One made-up message and the department that is right for it.

    `number` is its place in the making, 1 for the first, and does not depend on the time; `at` is aware.
    """

    number: int
    body: str
    subject: str
    department: str
    channel: Channel
    priority: Priority
    customer_ref: str
    at: datetime


def tell(
    texts: Sequence[tuple[str, str]], *, tickets: int, since: datetime, until: datetime, chance: random.Random
) -> list[Message]:
    """`tickets` messages between `since` and `until`, oldest first, made from `texts` (text, department).

    A tenth are sent a second time within the hour; short texts come OFTEN times as often as long ones. What is written, under which
    number, depends on `chance` and `tickets` alone, and not on the times.
    """
    times = random.Random(chance.random())
    common = [text for text in texts for _ in range(1 if len(text[0]) > SHORT else OFTEN)]
    repeats = int(tickets * REPEATS)
    deck: list[tuple[str, str]] = []
    told: list[Message] = []
    for number in range(1, tickets - repeats + 1):
        if not deck:
            deck = chance.sample(common, len(common))
        told.append(_message(*deck.pop(), number=number, at=moment(since, until, times), chance=chance))
    originals = tuple(told)
    for number in range(len(originals) + 1, tickets + 1):
        told.append(_again(chance.choice(originals), number=number, until=until, chance=chance))
    return sorted(told, key=lambda message: message.at)


def moment(since: datetime, until: datetime, chance: random.Random) -> datetime:
    """A time in between, mostly in office hours with peaks before and after noon, seldom at weekends."""
    span = (until - since).total_seconds()
    for _ in range(200):
        day = since + timedelta(seconds=chance.random() * span)
        if day.weekday() >= 5 and chance.random() > WEEKEND:
            continue
        kind = chance.random()
        hour = chance.gauss(10.2, 1.2) if kind < 0.5 else chance.gauss(14.8, 1.6) if kind < 0.88 else chance.uniform(0, 24)
        at = day.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(hours=min(23.99, max(0.0, hour)))
        if since <= at <= until:
            return at
    # A span without office hours, such as one that begins on a Sunday evening.
    return since + timedelta(seconds=chance.random() * span)


def resolution_hours(department: str, *, right: bool, chance: random.Random) -> float:
    """Hours to the solution, log-normal around the department's median; longer when the ticket first went astray."""
    hours = _HOURS.get(department, 8.0) * chance.lognormvariate(0.0, _SPREAD)
    return round(max(0.1, hours if right else hours * _DELAY_WHEN_WRONG), 2)


def satisfaction(department: str, *, right: bool, chance: random.Random) -> int | None:
    """1 to 5, or None from customers who do not answer; lower when the ticket first went astray."""
    if chance.random() > _ANSWERED:
        return None
    points = chance.choices((1, 2, 3, 4, 5), _SATISFIED if right else _DISSATISFIED)[0]
    return max(1, points - 1) if department == "Complaints" else points


def _message(text: str, department: str, *, number: int, at: datetime, chance: random.Random) -> Message:
    channel = _channel(text, chance)
    weights = (1, 6, 5, 2) if department == "Fraud and Security" else (2, 6, 3, 1) if department == "Complaints" else (2, 16, 2, 0.4)
    subject = chance.choice(_SUBJECTS) if channel in {Channel.EMAIL, Channel.WEB} and chance.random() < 0.25 else ""
    return Message(
        number=number,
        body=varied(text, channel, chance=chance),
        subject=subject,
        department=department,
        channel=channel,
        priority=chance.choices(tuple(Priority), weights)[0],
        customer_ref=f"C-{chance.randrange(100_000, 999_999)}" if chance.random() < 0.7 else "",
        at=at,
    )


def _again(message: Message, *, number: int, until: datetime, chance: random.Random) -> Message:
    """The same message once more, as impatient customers and shared forms send it."""
    at = min(until, message.at + timedelta(minutes=chance.uniform(2, 55)))
    body = message.body
    if chance.random() < 0.4:
        body = f"{body} {_identifier(chance)}"
    return replace(message, number=number, body=body, at=at)


def _channel(text: str, chance: random.Random) -> Channel:
    if _SPOKEN.search(text):
        return Channel.PHONE
    if len(text) > 160:
        return chance.choice((Channel.EMAIL, Channel.EMAIL, Channel.WEB))
    return chance.choices(
        (Channel.EMAIL, Channel.WEB, Channel.CHAT, Channel.SOCIAL, Channel.PHONE, Channel.OTHER), (30, 26, 28, 8, 6, 2)
    )[0]


def varied(text: str, channel: Channel, *, chance: random.Random) -> str:
    """The same concern in slightly other words: greeting, sign-off, reference, typing errors, all lower case."""
    spoken = channel is Channel.PHONE
    if not spoken and not _GREETED.match(text) and chance.random() < (0.35 if channel is Channel.EMAIL else 0.15):
        # "Hello, the lamp", but "Hello, I" and "Hello, ETA".
        plain = text[1:2].islower() and not text.startswith("I'")
        text = chance.choice(_OPENINGS) + (text[0].lower() + text[1:] if plain else text)
    if not spoken and chance.random() < 0.12:
        text = f"{text} {_identifier(chance)}"
    if not spoken and chance.random() < (0.45 if channel is Channel.EMAIL else 0.12):
        text += chance.choice(_CLOSINGS)
    if chance.random() < 0.18:
        text = _mistyped(text, chance)
    if channel in {Channel.CHAT, Channel.SOCIAL} and chance.random() < 0.35 or spoken:
        text = text.lower()
    return text


def _identifier(chance: random.Random) -> str:
    kind = chance.choice(("Customer number", "Ref", "Order", "My reference is", "Contract"))
    return f"{kind} {chance.randrange(10, 99)}-{chance.randrange(10_000, 99_999)}."


def _mistyped(text: str, chance: random.Random) -> str:
    """One slip in one longer word: two letters swapped, one left out or one doubled."""
    words = [match.span() for match in re.finditer(r"[a-zA-Z]{5,}", text)]
    if not words:
        return text
    start, end = chance.choice(words)
    place = chance.randrange(start + 1, end - 1)
    kind = chance.randrange(3)
    if kind == 0:
        return text[:place] + text[place + 1] + text[place] + text[place + 2:]
    return text[:place] + (text[place + 1:] if kind == 1 else text[place] + text[place:])
