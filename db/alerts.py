"""Alerts, the managers' edits of rules, silences, and who still has to be told what."""
from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine, Row, delete, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from db.locks import Lock
from db.models import alerts
from db.models_statistics import alert_notices, alert_pending, alert_rules, alert_silences
from db.session import reading, writing
from engine.alerts import Change, OpenAlert
from engine.errors import NotFound
from engine.notice import MAX_ATTEMPTS, Told

# A sender that dies between sending and saying so is followed by another after this long.
LEASE = timedelta(seconds=60)
# An alert about the whole has no subject: who silences it goes on hearing of each department and instance.
_SILENCED = """exists (select 1 from alert_silences s where s.until > :now and (s.rule = '' or s.rule = a.rule)
    and (s.subject = a.subject or s.rule = '' and s.subject = ''))"""
_UNDELIVERED = """(select string_agg(distinct n.channel || ': ' || n.error, '; ') from alert_notices n
    where n.alert_id = a.id and n.sent_at is null and n.error <> '')"""


# Writes the audit log's row about a change in the transaction of the change, given the row before and after it.
Noted = Callable[[Connection, Row | None, Row], None]


class Alerts:
    """Stores what `engine.alerts` decides and what people do about it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    # Rules

    def edits(self) -> dict[str, dict[str, object]]:
        """The managers' changes of rules, by rule name."""
        with reading(self._engine) as connection:
            return {row.name: row.config for row in connection.execute(select(alert_rules.c.name, alert_rules.c.config))}

    def save_edit(self, name: str, config: Mapping[str, object], *, by: str, now: datetime, noted: Noted) -> None:
        """Keep a manager's change of a rule. Two at once come one after the other, and `noted` sees what the first one has stored."""
        values = {"config": dict(config), "updated_by": by, "updated_at": now}
        with writing(self._engine) as connection:
            # Before its first change there is no row that could be locked.
            connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": Lock.ALERT_RULES})
            before = connection.execute(select(alert_rules).where(alert_rules.c.name == name)).first()
            change = upsert(alert_rules).values(name=name, **values).on_conflict_do_update(index_elements=["name"], set_=values)
            noted(connection, before, connection.execute(change.returning(alert_rules)).one())

    # Evaluation

    def state(self) -> tuple[list[OpenAlert], dict[tuple[str, str], datetime]]:
        """The open alerts, and since when conditions that are not alerts yet have been wrong."""
        with reading(self._engine) as connection:
            rows = connection.execute(select(alerts.c.id, alerts.c.rule, alerts.c.subject).where(alerts.c.resolved_at.is_(None))).all()
            waiting = connection.execute(select(alert_pending)).all()
        return [OpenAlert(id=r.id, rule=r.rule, subject=r.subject) for r in rows], {(r.rule, r.subject): r.since for r in waiting}

    def apply(self, changes: Sequence[Change], *, now: datetime, channels: Sequence[str]) -> None:
        """Store the changes and what each channel has to be told, in one transaction."""
        # Every instance takes the rows in one order, whichever it looked at first, so that no two wait for each other.
        changes = sorted(changes, key=lambda change: (change.rule.name, change.subject))
        if not changes:
            return
        with writing(self._engine) as connection:
            for change in changes:
                _stored(connection, change, now=now, channels=channels)

    # What people see and do

    def latest(self, *, limit: int = 20) -> Sequence[Row]:
        """Open alerts first, critical before warning, then the newest resolved ones.

        With `silenced` (bool), and `undelivered`: how and why a notice has not arrived that was tried, None when all have.
        """
        with reading(self._engine) as connection:
            return connection.execute(text(f"""
                (select a.*, {_SILENCED} as silenced, {_UNDELIVERED} as undelivered from alerts a where resolved_at is null
                    order by severity, opened_at desc limit :limit)
                union all
                (select a.*, false, {_UNDELIVERED} from alerts a where resolved_at is not null order by opened_at desc limit :limit)
            """), {"now": _now(connection), "limit": limit}).all()[:limit]

    def open_by_severity(self) -> dict[str, int]:
        """How many alerts are open, by severity; all of them."""
        query = select(alerts.c.severity, func.count()).where(alerts.c.resolved_at.is_(None)).group_by(alerts.c.severity)
        with reading(self._engine) as connection:
            return {severity: number for severity, number in connection.execute(query)}

    def open_at(self, at: datetime) -> int:
        """How many alerts were open at a time (aware), of those that are still kept."""
        query = select(func.count()).where(alerts.c.opened_at <= at, alerts.c.resolved_at.is_(None) | (alerts.c.resolved_at > at))
        with reading(self._engine) as connection:
            return connection.execute(query).scalar_one()

    def acknowledge(self, alert_id: int, *, by: str, now: datetime, noted: Noted) -> None:
        """Say that somebody looks after an open alert; nothing happens when somebody does already. Raises NotFound."""
        with writing(self._engine) as connection:
            done = connection.execute(
                update(alerts).where(alerts.c.id == alert_id, alerts.c.resolved_at.is_(None), alerts.c.acknowledged_at.is_(None))
                .values(acknowledged_at=now, acknowledged_by=by).returning(alerts)
            ).first()
            if done is not None:
                noted(connection, None, done)
            elif connection.execute(select(alerts.c.id).where(alerts.c.id == alert_id)).first() is None:
                raise NotFound(f"alert {alert_id} does not exist.")

    def silence(self, *, rule: str, subject: str, until: datetime, by: str, reason: str, noted: Noted) -> None:
        """Send no notices about a rule ("" = any) and subject ("" = any) until then."""
        values = {"rule": rule, "subject": subject, "until": until, "by": by, "reason": reason}
        with writing(self._engine) as connection:
            noted(connection, None, connection.execute(insert(alert_silences).values(**values).returning(alert_silences)).one())

    def silences(self, now: datetime) -> Sequence[Row]:
        """The silences that hold at `now`, the longest last."""
        with reading(self._engine) as connection:
            return connection.execute(select(alert_silences).where(alert_silences.c.until > now).order_by(alert_silences.c.until)).all()

    def end_silence(self, silence_id: int, *, now: datetime, noted: Noted) -> None:
        """End a silence now. Raises NotFound when it has ended already."""
        here = (alert_silences.c.id == silence_id) & (alert_silences.c.until > now)
        with writing(self._engine) as connection:
            before = connection.execute(select(alert_silences).where(here).with_for_update()).first()
            if before is None:
                raise NotFound("this silence has ended already.")
            noted(connection, before, connection.execute(update(alert_silences).where(here).values(until=now).returning(alert_silences)).one())

    # Outages that people were told of while nothing could be stored

    def cover(self, told: Told, *, until: datetime) -> None:
        """Keep what people were told of as the alert that it is, over already; whoever missed it is told both later.

        Failures up to `until` belong to it. One alert takes in what several instances have seen at the same time; where the rule's own
        alert is open, it goes on, and only what was told counts as sent.
        """
        over = told.notice
        with writing(self._engine) as connection:
            connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": Lock.COVERING})
            same = (alerts.c.rule == over.rule) & (alerts.c.subject == over.subject)
            meanwhile = alerts.c.value.is_(None) & (alerts.c.resolved_at >= over.opened_at) & (alerts.c.opened_at <= over.resolved_at)
            there = connection.execute(
                select(alerts.c.id, alerts.c.resolved_at).where(same, alerts.c.resolved_at.is_(None) | meanwhile)
                .order_by(alerts.c.resolved_at.desc().nulls_first()).limit(1)
            ).first()
            ongoing = there is not None and there.resolved_at is None
            if there is None:
                alert_id = connection.execute(insert(alerts).values(
                    rule=over.rule, subject=over.subject, severity=over.severity, message=over.message, opened_at=over.opened_at,
                    resolved_at=over.resolved_at, last_seen_at=until,
                ).returning(alerts.c.id)).scalar_one()
            else:
                alert_id = there.id
            if there is not None and not ongoing:
                connection.execute(update(alerts).where(alerts.c.id == alert_id).values(
                    opened_at=func.least(alerts.c.opened_at, over.opened_at), resolved_at=func.greatest(alerts.c.resolved_at, over.resolved_at),
                    last_seen_at=func.greatest(alerts.c.last_seen_at, until),
                ))
            for event in ("opened", "resolved"):
                _tell(connection, alert_id, event, sorted(told.heard), until)
                connection.execute(
                    update(alert_notices).values(sent_at=until, error="").where(
                        alert_notices.c.alert_id == alert_id, alert_notices.c.event == event, alert_notices.c.channel.in_(told.heard),
                        alert_notices.c.sent_at.is_(None),
                    )
                )
                if not ongoing:
                    _tell(connection, alert_id, event, sorted(told.missed), until)

    def covered(self, rule: str, since: datetime) -> list[tuple[datetime, datetime]]:
        """From when to when failures belong to what `cover` has kept about a rule, as far as it reaches beyond `since`."""
        # No other alert is without a value.
        query = select(alerts.c.opened_at, alerts.c.last_seen_at).where(
            alerts.c.rule == rule, alerts.c.value.is_(None), alerts.c.last_seen_at >= since
        )
        with reading(self._engine) as connection:
            return [(row.opened_at, row.last_seen_at) for row in connection.execute(query)]

    # Notices

    def claim(self, now: datetime, *, without: Collection[str] = ()) -> Row | None:
        """The next notice to send, reserved for this caller for a minute; None when there is none. Channels in `without` rest.

        A row of the notice's id, event, channel, attempts, and the alert's columns. Silenced alerts wait.
        """
        with writing(self._engine) as connection:
            return connection.execute(text(f"""
                update alert_notices n set attempts = n.attempts + 1, next_try_at = :lease
                from alerts a
                where a.id = n.alert_id and n.id = (
                    select n.id from alert_notices n join alerts a on a.id = n.alert_id
                    where n.sent_at is null and n.next_try_at <= :now and n.channel <> all(cast(:without as text[]))
                        and (a.resolved_at is null or n.attempts < :most) and not {_SILENCED}
                        and (n.event = 'opened' or not exists (
                            select 1 from alert_notices o where o.alert_id = n.alert_id and o.channel = n.channel and o.event = 'opened'
                                and o.sent_at is null and o.attempts < :most))
                    order by n.next_try_at, n.id limit 1 for update of n skip locked)
                returning n.id as notice_id, n.event, n.channel, n.attempts, a.*
            """), {"now": now, "lease": now + LEASE, "most": MAX_ATTEMPTS, "without": sorted(without)}).first()

    def open_told(self, channel: str, now: datetime) -> Sequence[Row]:
        """The open alerts whose opening this channel has heard of, without the silenced ones."""
        with reading(self._engine) as connection:
            return connection.execute(text(f"""
                select a.* from alerts a where a.resolved_at is null and not {_SILENCED} and exists (
                    select 1 from alert_notices n where n.alert_id = a.id and n.channel = :channel and n.event = 'opened' and n.sent_at is not null)
                order by a.id
            """), {"now": now, "channel": channel}).all()

    def sent(self, notice_id: int, *, now: datetime) -> None:
        """The notice arrived."""
        with writing(self._engine) as connection:
            connection.execute(update(alert_notices).where(alert_notices.c.id == notice_id).values(sent_at=now, error=""))

    def failed(self, notice_id: int, error: str, *, retry_at: datetime) -> None:
        """The notice did not arrive; it is tried again at `retry_at`."""
        with writing(self._engine) as connection:
            connection.execute(
                update(alert_notices).where(alert_notices.c.id == notice_id).values(error=error[:500], next_try_at=retry_at)
            )

    def notices(self, alert_id: int) -> Sequence[Row]:
        """What was told about an alert."""
        with reading(self._engine) as connection:
            return connection.execute(select(alert_notices).where(alert_notices.c.alert_id == alert_id).order_by(alert_notices.c.id)).all()


def _now(connection: Connection) -> datetime:
    return connection.execute(select(func.now())).scalar_one()


def _stored(connection: Connection, change: Change, *, now: datetime, channels: Sequence[str]) -> None:
    here = (alert_pending.c.rule == change.rule.name) & (alert_pending.c.subject == change.subject)
    if change.kind == "pending":
        connection.execute(
            upsert(alert_pending).values(rule=change.rule.name, subject=change.subject, since=change.since)
            .on_conflict_do_nothing(index_elements=["rule", "subject"])
        )
        return
    connection.execute(delete(alert_pending).where(here))
    if change.kind == "opened":
        _open(connection, change, now=now, channels=channels)
    elif change.kind == "seen":
        connection.execute(
            update(alerts).where(alerts.c.id == change.alert_id)
            .values(
                value=change.value, sample=change.sample, message=change.message, last_seen_at=now,
                # A manager may have changed the rule meanwhile.
                severity=change.rule.severity.value, threshold=change.rule.threshold,
            )
        )
    elif change.kind == "resolved":
        _resolve(connection, change.alert_id, now=now)


def _open(connection: Connection, change: Change, *, now: datetime, channels: Sequence[str]) -> None:
    alert_id = connection.execute(
        upsert(alerts).values(
            rule=change.rule.name, subject=change.subject, severity=change.rule.severity.value, message=change.message,
            value=change.value, threshold=change.rule.threshold, sample=change.sample, opened_at=now, last_seen_at=now,
        )
        # Another instance opened it in between: then it is that one's to tell.
        .on_conflict_do_nothing(index_elements=["rule", "subject"], index_where=alerts.c.resolved_at.is_(None))
        .returning(alerts.c.id)
    ).scalar()
    if alert_id is not None:
        _tell(connection, alert_id, "opened", channels, now)


def _resolve(connection: Connection, alert_id: int, *, now: datetime) -> None:
    done = connection.execute(update(alerts).where(alerts.c.id == alert_id, alerts.c.resolved_at.is_(None)).values(resolved_at=now))
    if not done.rowcount:
        return
    opening = (alert_notices.c.alert_id == alert_id) & (alert_notices.c.event == "opened")
    # Where nobody was told that it began, nobody needs to hear that it is over.
    connection.execute(delete(alert_notices).where(opening, alert_notices.c.sent_at.is_(None), alert_notices.c.attempts == 0))
    told = connection.execute(select(alert_notices.c.channel).where(opening)).scalars().all()
    _tell(connection, alert_id, "resolved", told, now)


def _tell(connection: Connection, alert_id: int, event: str, channels: Sequence[str], now: datetime) -> None:
    if channels:
        connection.execute(
            upsert(alert_notices).on_conflict_do_nothing(),
            [{"alert_id": alert_id, "event": event, "channel": channel, "next_try_at": now} for channel in channels],
        )
