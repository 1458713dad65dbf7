"""What the language model was used for."""
from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Usage:
    """Since the start: answered calls, tokens, cost in US dollars, and unusable answers by reason."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    unusable: dict[str, int] = field(default_factory=dict)
