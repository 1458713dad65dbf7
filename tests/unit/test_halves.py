"""`make test` runs the tests in halves; together they are all there is, and none runs twice."""
from __future__ import annotations

import re
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py"))


def of_half(given: str) -> list[str]:
    """The test files that pytest finds by these arguments."""
    words = given.split()
    without = [word.partition("=")[2] for word in words if word.startswith("--ignore-glob=")]
    places = [word for word in words if not word.startswith("-")]
    assert len(without) + len(places) == len(words)
    assert all((ROOT / place).exists() for place in places), places
    return [
        file for file in FILES if any(file == place or file.startswith(f"{place}/") for place in places)
        and not any(fnmatch(file, pattern) for pattern in without)
    ]


def test_every_test_is_in_one_half_and_the_search_through_the_logs_ends_each() -> None:
    rules = (ROOT / "Makefile").read_text(encoding="utf-8")
    halves = dict(re.findall(r"^([\w-]+): HALF := (.+)$", rules, re.M))
    (search,) = re.findall(r"^SEARCH := (.+)$", rules, re.M)
    started = " ".join(re.findall(r"^(?:QUICK|BROWSER) := (.+)$", rules, re.M)).split()
    assert sorted(started) == sorted(halves) and "$(QUICK) $(BROWSER):" in rules and "$(HALF) $(SEARCH)" in rules
    counted = Counter(file for given in halves.values() for file in of_half(given))
    assert counted == Counter(file for file in FILES if file != search)
