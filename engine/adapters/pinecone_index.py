"""Exemplar vectors in Pinecone: only calls that `pinecone-client` 5 and its successor `pinecone` 10 both have."""
from __future__ import annotations

import inspect
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from engine.domain import Neighbour
from engine.errors import ConfigurationError, ServiceUnavailable

# The service takes two megabytes in one request: 100 vectors of 768 numbers with their metadata are about one.
BATCH = 100
_NAME = re.compile(r"[^a-z0-9-]+")


class PineconeIndex:
    """One namespace of one index. The index is made when it is missing: cosine, the embedder's dimension.

    `environment` is a region (`us-east-1` on AWS, `gcp/europe-west4` elsewhere) for a serverless index, or a pod environment
    such as `us-west1-gcp`. An index of this name with another dimension is left alone; `NAME-DIMENSION` is used then.
    Texts are never sent: metadata holds department, topic and source.
    """

    def __init__(
        self, *, api_key: str, index: str, environment: str | None, dimensions: int, embedder: str,
        host: str | None = None, timeout: float = 2.0,
    ) -> None:
        """`host` is the control plane's address where it is not the public one; `timeout` in seconds for each request."""
        self._api_key = api_key
        self._name = _NAME.sub("-", index.lower()).strip("-")[:45]
        self._environment = environment or "us-east-1"
        self._dimensions = dimensions
        self._host = host
        self._timeout = timeout
        self.namespace = _NAME.sub("-", embedder.lower()).strip("-")
        self._lock = threading.Lock()
        self._index: Any = None
        self._limit: dict[str, float] = {}

    def nearest(self, vectors: np.ndarray, k: int) -> list[list[Neighbour]]:
        """For each row the at most k nearest, nearest first, without texts. Raises ServiceUnavailable."""
        index = self._opened()
        found = []
        with _translated():
            for row in vectors:
                answer = index.query(
                    vector=_floats(row), top_k=k, namespace=self.namespace, include_metadata=True, **self._limit
                )
                found.append([_neighbour(match) for match in answer.matches])
        return found

    def upsert(self, rows: Sequence[tuple[int, np.ndarray, Mapping[str, str]]]) -> None:
        """Add or replace vectors: exemplar id, vector, metadata. Raises ServiceUnavailable."""
        index = self._opened()
        for start in range(0, len(rows), BATCH):
            part = [
                {"id": str(id_), "values": _floats(vector), "metadata": dict(metadata)}
                for id_, vector, metadata in rows[start:start + BATCH]
            ]
            with _translated():
                index.upsert(vectors=part, namespace=self.namespace, **self._limit)

    def delete(self, ids: Sequence[int]) -> None:
        """Remove vectors; ids that are not there do no harm. Raises ServiceUnavailable."""
        index = self._opened()
        for start in range(0, len(ids), BATCH):
            with _translated():
                try:
                    index.delete(ids=[str(id_) for id_ in ids[start:start + BATCH]], namespace=self.namespace, **self._limit)
                except Exception as error:
                    # A namespace that nothing was ever written to does not exist: there is nothing to delete.
                    if getattr(error, "status", getattr(error, "status_code", None)) != 404:
                        raise

    def clear(self) -> None:
        """Remove every vector of the namespace. Raises ServiceUnavailable."""
        if self.count():
            index = self._opened()
            with _translated():
                index.delete(delete_all=True, namespace=self.namespace, **self._limit)

    def count(self) -> int:
        """How many vectors the namespace holds. Raises ServiceUnavailable."""
        index = self._opened()
        with _translated():
            spaces = index.describe_index_stats(**self._limit).namespaces or {}
            return int(spaces[self.namespace].vector_count) if self.namespace in spaces else 0

    def fetch(self, ids: Sequence[int]) -> dict[int, tuple[np.ndarray, dict[str, str]]]:
        """Vectors and metadata of those of `ids` that are there. Raises ServiceUnavailable."""
        index = self._opened()
        found: dict[int, tuple[np.ndarray, dict[str, str]]] = {}
        for start in range(0, len(ids), BATCH):
            with _translated():
                answer = index.fetch(ids=[str(id_) for id_ in ids[start:start + BATCH]], namespace=self.namespace, **self._limit)
                for key, vector in answer.vectors.items():
                    found[int(key)] = (np.asarray(vector.values, dtype=np.float32), dict(vector.metadata or {}))
        return found

    def ping(self) -> str:
        """What answers, in a few words. Raises ServiceUnavailable."""
        return f"Pinecone index {self._name}, namespace {self.namespace}, {self.count():,} vectors"

    def _opened(self) -> Any:
        with self._lock:
            if self._index is None:
                with _translated():
                    self._index = self._open()
            return self._index

    def _open(self) -> Any:
        from pinecone import Pinecone

        client = Pinecone(api_key=self._api_key, **({"host": self._host} if self._host else {}))
        known = {model.name: model for model in client.list_indexes()}
        if self._name in known and known[self._name].dimension != self._dimensions:
            self._name = f"{self._name[:40]}-{self._dimensions}"
        if self._name not in known:
            self._create(client)
            known = {model.name: model for model in client.list_indexes()}
        elif known[self._name].metric != "cosine":
            raise ConfigurationError(f"PINECONE_INDEX: {self._name} exists with the metric {known[self._name].metric}, not cosine")
        host = known[self._name].host
        if self._host and self._host.startswith("http://"):
            host = f"http://{host.removeprefix('https://').removeprefix('http://')}"
        index = client.Index(host=host)
        # The two generations of the client name the time limit of a request differently.
        own = "timeout" in inspect.signature(type(index).query).parameters
        self._limit = {"timeout" if own else "_request_timeout": self._timeout}
        return index

    def _create(self, client: Any) -> None:
        from pinecone import PodSpec, ServerlessSpec

        if re.search(r"-(gcp|aws|azure)$", self._environment):
            spec: Any = PodSpec(environment=self._environment, pod_type="p1.x1")
        else:
            cloud, _, region = self._environment.rpartition("/")
            spec = ServerlessSpec(cloud=cloud or "aws", region=region)
        # -1: without waiting; until the index is ready its calls fail, and the copy in Postgres answers.
        client.create_index(name=self._name, dimension=self._dimensions, metric="cosine", spec=spec, timeout=-1)


@contextmanager
def _translated() -> Iterator[None]:
    from pinecone.exceptions import PineconeException

    try:
        yield
    except (ServiceUnavailable, ConfigurationError):
        raise
    except PineconeException as error:
        code = getattr(error, "status", getattr(error, "status_code", None))
        raise ServiceUnavailable("index", _told(error), retryable=code == 429 or (code or 500) >= 500) from error
    except Exception as error:
        # Either client lets errors of its transport and of unreadable bodies through as they are.
        raise ServiceUnavailable("index", _told(error), retryable=not isinstance(error, (TypeError, AttributeError, KeyError))) from error


def _told(error: Exception) -> str:
    # The older client appends the response's headers, which tell an operator nothing.
    text = " ".join(str(error).partition("HTTP response headers")[0].split())
    return f"{type(error).__name__}: {text[:160]}"


def _floats(row: np.ndarray) -> list[float]:
    return [float(value) for value in row]


def _neighbour(match: Any) -> Neighbour:
    metadata = match.metadata or {}
    return Neighbour(
        int(match.id), str(metadata.get("department", "")), str(metadata.get("topic", "")), round(float(match.score), 6),
        source=str(metadata.get("source", "seed")),
    )
