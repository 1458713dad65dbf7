"""Who is told, and how: the channels that the settings name, and the watch over the database. Part of the bootstrap."""
from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from engine.adapters.alertmanager import Alertmanager
from engine.adapters.machine import instance_name
from engine.adapters.mail import Mail
from engine.adapters.webhook import Webhook
from engine.alert_rules import SHIPPED, Measure, Rule
from engine.background import Background
from engine.notify import Channel
from engine.outage import Outage
from engine.ports import Clock
from engine.ports import DecisionLog as Log
from engine.settings import Settings
from engine.telemetry.log import DecisionLog

# Seconds between two looks at the database.
LOOK_EVERY = 5.0


@dataclass(frozen=True, slots=True)
class Lookout:
    """The watch over the database, on a thread of its own from `start` to `close`."""

    outage: Outage
    start: Callable[[], None]
    close: Callable[[], None]


def channels(settings: Settings, clock: Clock) -> Mapping[str, Channel]:
    """The channels that are set up, by name."""
    found: dict[str, Channel] = {}
    if settings.alert_webhook_url is not None:
        found["webhook"] = Webhook(settings.alert_webhook_url.get_secret_value())
    if settings.smtp_host is not None and settings.alert_mail_to is not None:
        found["mail"] = Mail(
            # The brackets of an address of version 6 belong to a URL.
            host=settings.smtp_host.strip("[]"), port=settings.smtp_port,
            # A host's full name may end in a dot, an address does not.
            sender=settings.alert_mail_from or f"console@{settings.smtp_host.rstrip('.')}",
            receivers=[address.strip() for address in settings.alert_mail_to.split(",") if address.strip()], user=settings.smtp_user,
            password=settings.smtp_password.get_secret_value() if settings.smtp_password else None, encryption=settings.smtp_encryption,
        )
    if settings.alertmanager_url is not None:
        found["alertmanager"] = Alertmanager(settings.alertmanager_url, clock=clock)
    return found


def page(settings: Settings) -> str:
    """The address of the alerts page, for notices."""
    return f"{settings.own_url}/alerts"


def about_the_database(rules: Sequence[Rule]) -> Rule:
    """The rule whose alert an outage is."""
    return next(rule for rule in rules if rule.measure is Measure.DATABASE_FAILURES)


def lookout(settings: Settings, *, answers: Callable[[], bool], clock: Clock, log: Log | None = None) -> Lookout:
    """A watch that needs no engine: it asks `answers` and knows the shipped rule, until an engine lets it follow.

    Without `log` it writes a decision log of its own until then.
    """
    # Only the console that is served begins without an engine; its log goes to standard output.
    own = DecisionLog(settings.routing_log_path, stream=sys.stdout) if log is None else None
    outage = Outage(
        answers=answers, channels=channels(settings, clock), rule=about_the_database(SHIPPED), page=page(settings), instance=instance_name(),
        clock=clock, log=log or own,
    )
    worker = Background("outage", outage.look, log=log or own, interval=LOOK_EVERY)

    def close() -> None:
        worker.close()
        if own is not None:
            own.close()

    return Lookout(outage, worker.start, close)
