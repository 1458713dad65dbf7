"""Exemplar vectors in Pinecone: only calls that `pinecone-client` 5 and its successor `pinecone` 10 both have."""
from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np

from engine.adapters.first_import import ALONE
from engine.domain import Neighbour
from engine.errors import ServiceUnavailable

# The service takes two megabytes in one request: 100 vectors of 768 numbers with their metadata are about one.
BATCH = 100
# Questions of one batch under way together: about as many as the client keeps connections open.
ASKED_AT_ONCE = 8
_NAME = re.compile(r"[^a-z0-9-]+")


class PineconeIndex:
    """One namespace of one index. The index is made when it is missing: cosine, the embedder's dimension.

    `environment` is a region (`us-east-1` on AWS, `gcp/europe-west4` elsewhere) for a serverless index, or a pod environment
    such as `us-west1-gcp`. An index of this name with another dimension is left alone; `NAME-DIMENSION` is used then.
    An index with another metric cannot be used: every call raises ServiceUnavailable that names it, until it is replaced.
    Texts are never sent: metadata holds department, topic and source.
    """

    def __init__(
        self, *, api_key: str, index: str, environment: str | None, dimensions: int, embedder: str,
        host: str | None = None, timeout: float = 2.0, departments: Callable[[], Collection[str]] | None = None,
    ) -> None:
        """`host` is the control plane's address where it is not the public one; `timeout` in seconds for each wait for an
        answer, of the control plane too.

        With `departments` only vectors of those departments are found: exemplars of retired ones take nobody's place.
        """
        self._api_key = api_key
        self._name = _NAME.sub("-", index.lower()).strip("-")[:45]
        self._environment = environment or "us-east-1"
        self._dimensions = dimensions
        self._host = host
        self._timeout = timeout
        self._departments = departments
        self.namespace = _NAME.sub("-", embedder.lower()).strip("-")
        self._used = self._name
        # The open index and the argument that limits the time of its calls, None until the first call that succeeds.
        self._ready: tuple[Any, dict[str, float]] | None = None

    def nearest(self, vectors: np.ndarray, k: int) -> list[list[Neighbour]]:
        """For each row the at most k nearest, nearest first, without texts. Raises ServiceUnavailable.

        The service takes one question at a time: those of a batch are asked side by side, a single one by the caller.
        """
        index, limit = self._opened()
        only = {"filter": {"department": {"$in": sorted(self._departments())}}} if self._departments is not None else {}

        def asked(row: np.ndarray) -> list[Neighbour]:
            answer = index.query(vector=_floats(row), top_k=k, namespace=self.namespace, include_metadata=True, **only, **limit)
            return [_neighbour(match) for match in answer.matches]

        with _translated():
            if len(vectors) <= 1:
                return [asked(row) for row in vectors]
            # The first failure ends the batch: questions that were not asked yet are not asked any more.
            with ThreadPoolExecutor(min(ASKED_AT_ONCE, len(vectors)), thread_name_prefix="index-query") as pool:
                return list(pool.map(asked, vectors))

    def upsert(self, rows: Sequence[tuple[int, np.ndarray, Mapping[str, str]]]) -> None:
        """Add or replace vectors: exemplar id, vector, metadata. Raises ServiceUnavailable."""
        index, limit = self._opened()
        for start in range(0, len(rows), BATCH):
            part = [
                {"id": str(id_), "values": _floats(vector), "metadata": dict(metadata)}
                for id_, vector, metadata in rows[start:start + BATCH]
            ]
            with _translated():
                index.upsert(vectors=part, namespace=self.namespace, **limit)

    def delete(self, ids: Sequence[int]) -> None:
        """Remove vectors; ids that are not there do no harm. Raises ServiceUnavailable."""
        index, limit = self._opened()
        for start in range(0, len(ids), BATCH):
            with _translated():
                try:
                    index.delete(ids=[str(id_) for id_ in ids[start:start + BATCH]], namespace=self.namespace, **limit)
                except Exception as error:
                    # A namespace that nothing was ever written to does not exist: there is nothing to delete.
                    if _status(error) != 404:
                        raise

    def clear(self) -> None:
        """Remove every vector of the namespace. Raises ServiceUnavailable."""
        if self.count():
            index, limit = self._opened()
            with _translated():
                index.delete(delete_all=True, namespace=self.namespace, **limit)

    def count(self) -> int:
        """How many vectors the namespace holds. Raises ServiceUnavailable."""
        index, limit = self._opened()
        with _translated():
            spaces = index.describe_index_stats(**limit).namespaces or {}
            return int(spaces[self.namespace].vector_count) if self.namespace in spaces else 0

    def fetch(self, ids: Sequence[int]) -> dict[int, tuple[np.ndarray, dict[str, str]]]:
        """Vectors and metadata of those of `ids` that are there. Raises ServiceUnavailable."""
        index, limit = self._opened()
        found: dict[int, tuple[np.ndarray, dict[str, str]]] = {}
        for start in range(0, len(ids), BATCH):
            with _translated():
                answer = index.fetch(ids=[str(id_) for id_ in ids[start:start + BATCH]], namespace=self.namespace, **limit)
                for key, vector in answer.vectors.items():
                    found[int(key)] = (np.asarray(vector.values, dtype=np.float32), dict(vector.metadata or {}))
        return found

    def ping(self) -> str:
        """What answers, in a few words. Raises ServiceUnavailable."""
        return f"{self.count():,} vectors in the Pinecone index {self._used}, namespace {self.namespace}"

    def _opened(self) -> tuple[Any, dict[str, float]]:
        # Without a lock: a service that says nothing would keep everybody waiting behind the first. Those who come while
        # it is being opened open it too, which does no harm.
        if self._ready is None:
            with _translated():
                self._ready = self._open()
        return self._ready

    def _open(self) -> tuple[Any, dict[str, float]]:
        client = self._client()
        known = {model.name: model for model in client.list_indexes()}
        name = self._name
        if name in known and known[name].dimension != self._dimensions:
            name = f"{name[:40]}-{self._dimensions}"
        if name not in known:
            self._create(client, name)
            known = {model.name: model for model in client.list_indexes()}
        found = known[name]
        if found.metric != "cosine" or found.dimension != self._dimensions:
            raise ServiceUnavailable(
                "index", f"PINECONE_INDEX: the index {name} has the metric {found.metric} and {found.dimension} dimensions, "
                f"cosine and {self._dimensions} are needed. Name another index",
            )
        host = found.host
        if self._host and self._host.startswith("http://"):
            host = f"http://{host.removeprefix('https://').removeprefix('http://')}"
        index = client.Index(host=host)
        # The two generations of the client name the time limit of a request differently.
        own = "timeout" in inspect.signature(type(index).query).parameters
        self._used = name
        return index, {"timeout" if own else "_request_timeout": self._timeout}

    def _client(self) -> Any:
        Pinecone = _package().Pinecone  # noqa: N806 - the class
        limit = {"timeout": self._timeout} if "timeout" in inspect.signature(Pinecone.__init__).parameters else {}
        client = Pinecone(api_key=self._api_key, **({"host": self._host} if self._host else {}), **limit)
        if not limit:
            # The older client waits for its control plane for ever, unless each request is told not to.
            client.index_api = _Limited(client.index_api, self._timeout)
        return client

    def _create(self, client: Any, name: str) -> None:
        package = _package()
        if re.search(r"-(gcp|aws|azure)$", self._environment):
            spec: Any = package.PodSpec(environment=self._environment, pod_type="p1.x1")
        else:
            cloud, _, region = self._environment.rpartition("/")
            spec = package.ServerlessSpec(cloud=cloud or "aws", region=region)
        # -1: without waiting; until the index is ready its calls fail, and the copy in Postgres answers.
        try:
            client.create_index(name=name, dimension=self._dimensions, metric="cosine", spec=spec, timeout=-1)
        except Exception as error:
            # Another console was quicker.
            if _status(error) != 409:
                raise


class _Limited:
    """The older client's control plane, whose every request ends after `seconds` without an answer."""

    def __init__(self, api: Any, seconds: float) -> None:
        self._api = api
        self._seconds = seconds

    def __getattr__(self, name: str) -> Any:
        return functools.partial(getattr(self._api, name), _request_timeout=self._seconds)


@functools.cache
def _package() -> ModuleType:
    with ALONE:
        import pinecone
        import pinecone.exceptions
    return pinecone


@contextmanager
def _translated() -> Iterator[None]:
    known = _package().exceptions.PineconeException
    try:
        yield
    except ServiceUnavailable:
        raise
    except known as error:
        code = _status(error)
        raise ServiceUnavailable("index", _told(error), retryable=code == 429 or (code or 500) >= 500) from error
    except Exception as error:
        # Either client lets errors of its transport and of unreadable bodies through as they are.
        raise ServiceUnavailable("index", _told(error), retryable=not isinstance(error, (TypeError, AttributeError, KeyError))) from error


def _status(error: Exception) -> int | None:
    """The HTTP status, which the two generations of the client keep under different names."""
    return getattr(error, "status", getattr(error, "status_code", None))


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
