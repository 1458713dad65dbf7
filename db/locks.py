"""The numbers of Postgres' advisory locks, all in one place: two purposes with one number would wait for each other."""
from __future__ import annotations

from enum import IntEnum, unique


@unique
class Lock(IntEnum):
    """What only one transaction at a time may do, in all processes together. Any numbers will do as long as they differ."""

    MIGRATING = 7_203_811
    # Whoever counts the admins and then changes one.
    ADMINS = 7_203_814
    ROLLING = 7_203_812
    FITTING = 7_203_815
    # Whoever loads the starter taxonomy into an empty database.
    BEGINNING = 7_203_816
    EVALUATING = 7_203_813
    # Whoever takes the live policy out of force and puts another one in.
    POLICIES = 7_203_818
    # Whoever stores an outage that other instances may have seen as well.
    COVERING = 7_203_817
    # Whoever changes an alert rule.
    ALERT_RULES = 7_203_819
