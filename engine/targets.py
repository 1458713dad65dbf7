"""What the figures on the dashboard are held against. Shares lie in [0, 1], times are milliseconds."""
from __future__ import annotations

HIT_RATE = 0.25
FALSE_HIT_RATE = 0.01
ACCURACY_GOAL = 0.90
ACCURACY_WARNING = 0.85
WAITING = 100
# What a ticket may take at the 95th percentile: the mean over all methods must stay under 5 s.
P95_MS = {"cached": 100.0, "learned": 250.0, "rag_llm": 5_000.0, "fallback": 250.0}
P50_MS, P95_ALL_MS, P99_MS = 100.0, 1_000.0, 5_000.0
