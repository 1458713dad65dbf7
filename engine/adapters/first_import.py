"""The vendors' packages are imported late and by several threads; what they share must not be imported by two of them at once."""
from __future__ import annotations

import threading

# Python breaks a deadlock of two imports by handing one of them a module that is half made: "cannot import name ... from
# partially initialized module urllib3". One thread at a time imports, the others wait for it.
ALONE = threading.RLock()
