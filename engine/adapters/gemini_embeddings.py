"""Gemini embeddings: 768 dimensions, over REST, in batches."""
from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from engine.adapters.google_client import client, translated
from engine.errors import ServiceUnavailable

_BATCH = 100


class GeminiEmbeddings:
    """Implements Embedder. `mask` takes personal data out of every text before it leaves the machine."""

    dimensions = 768

    def __init__(
        self, *, api_key: str, model: str, mask: Callable[[str], str], endpoint: str | None = None, timeout: float = 5.0
    ) -> None:
        """`timeout` in seconds for each request."""
        self.name = f"gemini/{model}/{self.dimensions}"
        self._model = model if model.startswith("models/") else f"models/{model}"
        self._api_key = api_key
        self._endpoint = endpoint
        self._mask = mask
        self._timeout = timeout

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [len(texts), 768], every row of length 1. Raises ServiceUnavailable, also for another dimension."""
        vectors = np.empty((len(texts), self.dimensions), dtype=np.float32)
        for start in range(0, len(texts), _BATCH):
            part = [self._mask(text) for text in texts[start:start + _BATCH]]
            with translated("embedder"):
                found = client(self._api_key, self._endpoint).embed_content(
                    self._model, part, task_type="semantic_similarity", output_dimensionality=self.dimensions,
                    request_options={"timeout": self._timeout, "retry": None},
                )["embedding"]
            vectors[start:start + len(part)] = self._checked(found, len(part))
        return vectors

    def ping(self) -> str:
        """Name and dimensions. Raises ServiceUnavailable."""
        return f"{self.name}, {self.embed(['ping']).shape[1]} dimensions"

    def _checked(self, found: object, wanted: int) -> np.ndarray:
        try:
            rows = np.asarray(found, dtype=np.float32)
        except (ValueError, TypeError) as error:
            raise ServiceUnavailable("embedder", "vectors of unequal length") from error
        if rows.shape != (wanted, self.dimensions):
            raise ServiceUnavailable("embedder", f"vectors of shape {rows.shape}, expected {(wanted, self.dimensions)}")
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        if not np.isfinite(lengths).all() or (lengths == 0).any():
            raise ServiceUnavailable("embedder", "a vector without a direction")
        # Shortened vectors do not come with unit length.
        return rows / lengths
