"""When asking for the same again is a second click and not a second wish."""
from __future__ import annotations

import time

# Seconds.
AGAIN = 2.0


def near(ended: float) -> bool:
    """True as long as a second click on what ended then may still be on its way; `ended` in seconds of the monotonic clock."""
    return time.monotonic() - ended < AGAIN
