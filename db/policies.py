"""Policies: numbered, never changed, exactly one live."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Engine, Row, insert, select, text, update

from db.locks import Lock
from db.models import policies
from db.session import reading, writing
from db.taxonomy import raise_counter
from engine import policy_words
from engine.domain import Limits, Policy, Stage, Thresholds
from engine.errors import Conflict, NotFound

POLICY_VERSION = "policy"
_LIVE = select(policies).where(policies.c.live)


class Policies:
    """Reads and writes policies."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def live(self) -> Policy:
        """The policy in force; the built-in defaults as number 0 while none was ever saved."""
        with reading(self._engine) as connection:
            return _policy(connection.execute(_LIVE).first())

    def all(self) -> list[Row]:
        """Every policy, newest first."""
        with reading(self._engine) as connection:
            return list(connection.execute(select(policies).order_by(policies.c.number.desc())).all())

    def find(self, number: int) -> Policy:
        """The policy of this number, the built-in defaults for 0. Raises NotFound."""
        if number == 0:
            return _policy(None)
        with reading(self._engine) as connection:
            row = connection.execute(select(policies).where(policies.c.number == number)).first()
        if row is None:
            raise NotFound(f"policy {number} does not exist. The live policy was not changed.")
        return policy_from(row)

    def add(
        self, policy: Policy, *, author: str, reason: str, based_on: int | None = None,
        also: Callable[[Connection, Policy, Policy], None] | None = None,
    ) -> Policy:
        """Store a checked policy under the next number and make it the live one.

        `based_on` is the number of the policy that was changed (0 for the built-in defaults): raises Conflict when another
        one is in force by now, and changes nothing. Without it the policy replaces whichever is in force.
        `also` runs at the end of the transaction, with its connection, the policy that was in force, and the new one.
        """
        with writing(self._engine) as connection:
            # Two at once are stored one after the other: the later one is in force, or is told what it was about to undo.
            connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": Lock.POLICIES})
            row = connection.execute(_LIVE).first()
            before = _policy(row)
            if based_on is not None and before.number != based_on:
                raise Conflict(_meanwhile(row, based_on))
            connection.execute(update(policies).where(policies.c.live).values(live=False))
            row = connection.execute(
                insert(policies).values(config=config_of(policy), author=author, reason=reason, live=True).returning(policies)
            ).one()
            raise_counter(connection, POLICY_VERSION)
            saved = policy_from(row)
            if also is not None:
                also(connection, before, saved)
        return saved


def _policy(row: Row | None) -> Policy:
    return policy_from(row) if row else Policy(number=0)


def _meanwhile(row: Row | None, based_on: int) -> str:
    now = policy_words.in_force(row.number, (row.created_at, row.author, row.reason)) if row else policy_words.in_force(0, None)
    return f"{now}. This change was made to {policy_words.name(based_on)}. Nothing was changed. Look at what is in force, then make the change again."


def config_of(policy: Policy) -> dict[str, Any]:
    """The policy without its number, JSON-ready; `policy_from` reads it back."""
    return {
        "confidence": policy.confidence, "accuracy": policy.accuracy, "similarity": policy.similarity,
        "neighbours": policy.neighbours, "auto": policy.thresholds.auto, "preselect": policy.thresholds.preselect,
        "departments": {name: [t.auto, t.preselect] for name, t in sorted(policy.departments.items())},
        "limits": {name: [own.confidence, own.accuracy, own.similarity] for name, own in sorted(policy.limits.items())},
        "stages": sorted(stage.value for stage in policy.stages), "audit_rate": policy.audit_rate,
        "review_rate": policy.review_rate, "deadline": policy.deadline, "target_accuracy": policy.target_accuracy,
        "delta": policy.delta,
    }


def policy_from(row: Row) -> Policy:
    """The Policy of a row of `policies`."""
    config = row.config
    return Policy(
        number=row.number, confidence=config["confidence"], accuracy=config["accuracy"], similarity=config["similarity"],
        neighbours=config["neighbours"], thresholds=Thresholds(config["auto"], config["preselect"]),
        departments={name: Thresholds(*pair) for name, pair in config["departments"].items()},
        # Policies of earlier versions have none.
        limits={
            name: Limits(confidence=confidence, accuracy=accuracy, similarity=similarity)
            for name, (confidence, accuracy, similarity) in config.get("limits", {}).items()
        },
        stages=frozenset(map(Stage, config["stages"])), audit_rate=config["audit_rate"], review_rate=config["review_rate"],
        deadline=config["deadline"], target_accuracy=config["target_accuracy"], delta=config["delta"],
    )
