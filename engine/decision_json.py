"""A decision as JSON, for the command line and the API."""
from __future__ import annotations

from typing import Any

from engine.domain import Decision, Spooled


def as_dict(decision: Decision | Spooled) -> dict[str, Any]:
    """JSON-ready fields of a decision; evidence with texts where they are known.

    A ticket that waits in the spool has `status` "spooled" and no department yet.
    """
    if isinstance(decision, Spooled):
        return {
            "ticket_id": decision.ticket_id, "status": "spooled", "message": "stored, will be routed",
            "kept_at": decision.kept_at.isoformat(), "reason": decision.reason,
        }
    return {
        "ticket_id": decision.ticket_id,
        "department": decision.department,
        "topic": decision.topic,
        "confidence": round(decision.confidence, 4),
        "raw_score": round(decision.raw_score, 6),
        "method": decision.method.value,
        "automation": decision.automation.value,
        "source": decision.source,
        "reason": decision.reason,
        "alternatives": [{"department": c.department, "confidence": round(c.confidence, 4)} for c in decision.alternatives],
        "evidence": [
            {"exemplar": n.exemplar_id, "department": n.department, "topic": n.topic, "similarity": round(n.similarity, 4), "text": n.text}
            for n in decision.evidence
        ],
        "timings_ms": {stage: round(value, 3) for stage, value in decision.timings.items()},
        "versions": decision.versions,
        "degraded_by": list(decision.degraded_by),
        "gated_by": decision.gated_by,
        "created_at": decision.created_at.isoformat(),
    }
