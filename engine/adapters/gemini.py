"""Gemini decides with retrieved exemplars: one REST call, JSON by schema, closed set of departments."""
from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Sequence

from engine.adapters.google_client import client, translated
from engine.domain import Department, Neighbour, Ticket
from engine.ports import LanguageModelAnswer, Prompt
from engine.usage import Usage

MAX_OUTPUT_TOKENS = 256
_FINISHED, _TRUNCATED = 1, 2


class Gemini:
    """Implements LanguageModel. `prompt` makes the prompt of a ticket, with personal data taken out; `reason` cleans the
    model's sentence. Prices are US dollars per million tokens.

    An unusable answer is counted under outside_set, invalid_json, blocked, truncated or empty, and is None. Calls are
    made once: whoever calls decides about retries. Safe to use from several threads.
    """

    def __init__(
        self, *, api_key: str, model: str, prompt: Callable[[Ticket, Sequence[Department], Sequence[Neighbour]], Prompt],
        reason: Callable[[object], str], endpoint: str | None = None, input_price: float = 0.10, output_price: float = 0.40,
    ) -> None:
        self.name = model
        self._api_key = api_key
        self._endpoint = endpoint
        self._prompt = prompt
        self._reason = reason
        self._prices = (input_price, output_price)
        self._lock = threading.Lock()
        self._usage = Usage()

    def decide(
        self, ticket: Ticket, *, departments: Sequence[Department], neighbours: Sequence[Neighbour], timeout: float
    ) -> LanguageModelAnswer | None:
        """The model's choice, None when it is unusable. `timeout` in seconds. Raises ServiceUnavailable."""
        prompt = self._prompt(ticket, departments, neighbours)
        with translated("language_model"):
            genai = client(self._api_key, self._endpoint)
            model = genai.GenerativeModel(self.name, system_instruction=prompt.instructions)
            response = model.generate_content(
                prompt.data,
                generation_config={
                    "response_mime_type": "application/json", "response_schema": prompt.schema, "temperature": 0.0,
                    "max_output_tokens": MAX_OUTPUT_TOKENS,
                },
                # Without `retry` the client repeats a 503 for up to ten minutes, whatever the timeout says.
                request_options={"timeout": timeout, "retry": None},
            )
            tokens = response.usage_metadata
            self._count(tokens.prompt_token_count, tokens.candidates_token_count)
            blocked = bool(response.prompt_feedback.block_reason)
            candidate = response.candidates[0] if response.candidates else None
            finish = int(candidate.finish_reason) if candidate else 0
            text = "".join(part.text for part in candidate.content.parts) if candidate else ""
        if blocked or (candidate and finish not in (0, _FINISHED, _TRUNCATED)):
            return self._unusable("blocked")
        if finish == _TRUNCATED:
            return self._unusable("truncated")
        if not text.strip():
            return self._unusable("empty")
        return self._read(text, {d.name for d in departments}, prompt.version)

    def usage(self) -> Usage:
        """A snapshot of the counters."""
        with self._lock:
            return self._usage

    def ping(self) -> str:
        """The model's full name as the service knows it. Raises ServiceUnavailable."""
        with translated("language_model"):
            genai = client(self._api_key, self._endpoint)
            found = genai.get_model(f"models/{self.name}", request_options={"timeout": 3.0, "retry": None})
            return f"{found.name} {found.version}".strip()

    def _read(self, text: str, names: set[str], version: str) -> LanguageModelAnswer | None:
        try:
            answer = json.loads(text)
            department, confidence = answer["department"], answer["confidence"]
            second, told = answer.get("second_choice"), answer.get("reason")
            usable = isinstance(department, str) and isinstance(second, (str, type(None)))
            usable = usable and isinstance(confidence, (int, float)) and not isinstance(confidence, bool)
            # JSON has whole numbers of any length, which no float can hold.
            stated = float(confidence) if usable else math.nan
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return self._unusable("invalid_json")
        if not math.isfinite(stated):
            return self._unusable("invalid_json")
        if department not in names:
            return self._unusable("outside_set")
        return LanguageModelAnswer(
            department=department,
            raw_confidence=min(1.0, max(0.0, stated)),
            reason=self._reason(told),
            second_choice=second if second in names else "",
            prompt_version=version,
        )

    def _count(self, input_tokens: int, output_tokens: int) -> None:
        cost = (input_tokens * self._prices[0] + output_tokens * self._prices[1]) / 1e6
        with self._lock:
            seen = self._usage
            self._usage = Usage(
                seen.calls + 1, seen.input_tokens + input_tokens, seen.output_tokens + output_tokens, seen.cost + cost,
                seen.unusable,
            )

    def _unusable(self, reason: str) -> None:
        with self._lock:
            seen = self._usage
            unusable = seen.unusable | {reason: seen.unusable.get(reason, 0) + 1}
            self._usage = Usage(seen.calls, seen.input_tokens, seen.output_tokens, seen.cost, unusable)

