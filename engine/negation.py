"""Does one text deny what the other says? A cached answer must not be given across a "not" or an opposite."""
from __future__ import annotations

import re

_WORD = re.compile(r"[a-z]+(?:['’][a-z]+)?")
_NEGATIONS = frozenset(
    "not no never none nothing cannot cant wont dont doesnt didnt isnt arent wasnt werent havent hasnt hadnt wouldnt "
    "couldnt shouldnt without unable neither nor nobody nowhere".split()
)
_OPPOSITES = tuple(
    (frozenset(left.split()), frozenset(right.split()))
    for left, right in (
        ("activate activated activating activation enable enabled", "deactivate deactivated deactivating disable disabled"),
        ("open opened opening", "close closed closing"),
        ("increase increased raise raised upgrade upgraded", "decrease decreased lower lowered reduce downgrade downgraded"),
        ("lock locked block blocked freeze frozen", "unlock unlocked unblock unblocked unfreeze"),
        ("send sent sending", "receive received receiving"),
        ("accept accepted approved", "decline declined reject rejected refused"),
        ("add added adding", "remove removed removing delete deleted"),
        ("start started subscribe subscribed", "stop stopped unsubscribe unsubscribed cancel cancelled canceled"),
        ("before", "after"),
        ("buy bought purchase", "sell sold"),
        ("deposit deposited", "withdraw withdrew withdrawn"),
    )
)


def words(text: str) -> frozenset[str]:
    """The text's lower-case words without apostrophes."""
    return frozenset(word.replace("'", "").replace("’", "") for word in _WORD.findall(text.lower()))


def denies(text: str) -> bool:
    """True when the text holds a negation."""
    return bool(words(text) & _NEGATIONS)


def conflict(text: str, other: str) -> bool:
    """True when exactly one of the texts holds a negation, or they hold opposite words and not both of a pair."""
    mine, theirs = words(text), words(other)
    if bool(mine & _NEGATIONS) != bool(theirs & _NEGATIONS):
        return True
    return any(
        (mine & left and not mine & right and theirs & right and not theirs & left)
        or (mine & right and not mine & left and theirs & left and not theirs & right)
        for left, right in _OPPOSITES
    )
