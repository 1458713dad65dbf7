"""Answers like the Gemini REST API: generateContent, embedContent, batchEmbedContents, and a model's description."""
from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from typing import Any

from tests.servers.faulty import FaultyServer, Seen


def chosen(department: str, *, confidence: object = 0.9, reason: str = "The customer needs this.", second: str = "") -> dict[str, Any]:
    """The JSON that a well-behaved model writes."""
    return {"department": department, "confidence": confidence, "reason": reason, "second_choice": second or department}


class GeminiServer(FaultyServer):
    """`reply` makes the model's text from the request's JSON document; `finish` and `block` change what surrounds it."""

    def __init__(self) -> None:
        super().__init__()
        self.reply: Callable[[dict[str, Any]], Any] = lambda data: chosen(data["departments"][0]["name"])
        self.finish = "STOP"
        self.block = ""
        self.dimensions = 768

    def answer(self, seen: Seen) -> tuple[int, Any]:
        model, _, action = seen.path.partition("?")[0].rpartition(":")
        if action == "generateContent":
            return 200, self._generated(seen.body)
        if action == "embedContent":
            return 200, {"embedding": {"values": self._embedding(seen.body)}}
        if action == "batchEmbedContents":
            return 200, {"embeddings": [{"values": self._embedding(request)} for request in seen.body["requests"]]}
        if seen.method == "GET" and "/models/" in seen.path:
            name = seen.path.partition("?")[0].split("/v1beta/")[1]
            return 200, {"name": name, "version": "001", "displayName": name, "supportedGenerationMethods": ["generateContent"]}
        return super().answer(seen)

    def error_body(self, code: int) -> Any:
        names = {400: "INVALID_ARGUMENT", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE"}
        return {"error": {"code": code, "message": f"made to fail with {code}", "status": names.get(code, "INTERNAL")}}

    def _generated(self, body: dict[str, Any]) -> dict[str, Any]:
        usage = {"promptTokenCount": 400, "candidatesTokenCount": 30, "totalTokenCount": 430}
        if self.block:
            return {"promptFeedback": {"blockReason": self.block}, "usageMetadata": usage}
        data = json.loads("".join(part["text"] for part in body["contents"][0]["parts"]))
        reply = self.reply(data)
        text = reply if isinstance(reply, str) else json.dumps(reply)
        if self.finish == "MAX_TOKENS":
            text = text[: len(text) // 2]
        content = {"parts": [{"text": text}] if text else [], "role": "model"}
        return {"candidates": [{"content": content, "finishReason": self.finish, "index": 0}], "usageMetadata": usage}

    def _embedding(self, request: dict[str, Any]) -> list[float]:
        """A vector of the text's words, so that texts with the same words are near each other."""
        text = "".join(part["text"] for part in request["content"]["parts"]).lower()
        vector = [0.001] * self.dimensions
        for word in text.split():
            place = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=4).digest()) % self.dimensions
            vector[place] += 1.0
        length = math.sqrt(sum(value * value for value in vector))
        return [value / length for value in vector]
