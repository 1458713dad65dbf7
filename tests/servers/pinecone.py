"""Answers like Pinecone's control and data plane, both on one address, with exact cosine search."""
from __future__ import annotations

import threading
from typing import Any
from urllib.parse import parse_qs, urlparse

import numpy as np

from tests.servers.faulty import FaultyServer, Seen


class PineconeServer(FaultyServer):
    """`namespaces` holds id -> (values as an array, metadata); `indexes` the descriptions by name.

    `metric` is that of indexes made from now on, `pause` the seconds that every answer of the data plane takes.
    An index named in `made_meanwhile` is made by somebody else just before the first request that would make it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.indexes: dict[str, dict[str, Any]] = {}
        self.namespaces: dict[str, dict[str, tuple[np.ndarray, dict[str, Any]]]] = {}
        self.made_meanwhile = ""
        self.metric = "cosine"
        self.pause = 0.0
        self._lock = threading.Lock()

    def answer(self, seen: Seen) -> tuple[int, Any]:
        url = urlparse(seen.path)
        if self.pause and not url.path.startswith("/indexes"):
            self._released.wait(self.pause)
        with self._lock:
            if url.path.startswith("/indexes"):
                return self._control(seen, url.path.removeprefix("/indexes").strip("/"))
            if url.path == "/vectors/fetch":
                query = parse_qs(url.query)
                return 200, self._fetched(query.get("ids", []), query.get("namespace", [""])[0])
            return self._data(url.path, seen.body or {})

    def error_body(self, code: int) -> Any:
        return {"error": {"code": "MADE", "message": f"made to fail with {code}"}, "status": code, "code": 13, "message": f"made {code}"}

    def _control(self, seen: Seen, name: str) -> tuple[int, Any]:
        if seen.method == "POST":
            made = seen.body
            if made["name"] == self.made_meanwhile:
                self.indexes[made["name"]] = self._described(made["name"], made["dimension"])
            if made["name"] in self.indexes:
                return 409, self.error_body(409)
            dimension = made.get("dimension") or next(
                field["dimension"] for field in made.get("schema", {}).get("fields", {}).values() if "dimension" in field
            )
            created = made["name"]
            self.indexes[created] = self._described(created, dimension)
        newer = seen.headers.get("X-Pinecone-Api-Version", seen.headers.get("X-Pinecone-API-Version", "")) >= "2026"
        shown = {key: _newer(value) if newer else value for key, value in self.indexes.items()}
        if seen.method == "POST":
            return 201, shown[created]
        if name:
            return (200, shown[name]) if name in shown else (404, self.error_body(404))
        return 200, {"indexes": list(shown.values())}

    def _described(self, name: str, dimension: int) -> dict[str, Any]:
        return {
            "name": name, "dimension": dimension, "metric": self.metric, "host": self.url.removeprefix("http://"),
            "spec": {"serverless": {"cloud": "aws", "region": "us-east-1"}}, "status": {"ready": True, "state": "Ready"},
            "deletion_protection": "disabled", "vector_type": "dense",
        }

    def _data(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        name = body.get("namespace") or ""
        space = self.namespaces.get(name, {})
        dimension = next(iter(self.indexes.values()))["dimension"]
        if path == "/vectors/upsert":
            if any(len(vector["values"]) != dimension for vector in body["vectors"]):
                return 400, {"code": 3, "message": "Vector dimension does not match the dimension of the index", "details": []}
            space = self.namespaces.setdefault(name, {})
            space.update({v["id"]: (np.array(v["values"], dtype=np.float64), v.get("metadata", {})) for v in body["vectors"]})
            return 200, {"upsertedCount": len(body["vectors"])}
        if path == "/vectors/delete":
            if name not in self.namespaces:
                return 404, {"code": 5, "message": "Namespace not found", "details": []}
            for id_ in list(space) if body.get("deleteAll") else body.get("ids", []):
                space.pop(id_, None)
            return 200, {}
        if path == "/query":
            return 200, {"matches": _nearest(space, body), "namespace": name, "usage": {"readUnits": 1}}
        if path == "/describe_index_stats":
            counts = {key: {"vectorCount": len(value)} for key, value in self.namespaces.items() if value}
            return 200, {
                "namespaces": counts, "dimension": dimension, "indexFullness": 0.0,
                "totalVectorCount": sum(count["vectorCount"] for count in counts.values()),
            }
        return 404, self.error_body(404)

    def _fetched(self, ids: list[str], name: str) -> dict[str, Any]:
        space = self.namespaces.get(name, {})
        found = {id_: {"id": id_, "values": space[id_][0].tolist(), "metadata": space[id_][1]} for id_ in ids if id_ in space}
        return {"vectors": found, "namespace": name, "usage": {"readUnits": 1}}


def _newer(index: dict[str, Any]) -> dict[str, Any]:
    """The same description as the API of 2026-07 gives it: dimension and metric in a schema, the region in a deployment."""
    kept = {key: index[key] for key in ("name", "host", "status", "deletion_protection")}
    return kept | {
        "schema": {"fields": {"_values": {"type": "dense_vector", "dimension": index["dimension"], "metric": index["metric"]}}},
        "deployment": {"deployment_type": "managed", "cloud": "aws", "region": "us-east-1"},
    }


def _holds(rule: dict[str, Any], value: Any) -> bool:
    """One field's rule of a metadata filter; an operator that the service does not know is an error there too."""
    known = {"$eq": lambda wanted: value == wanted, "$in": lambda wanted: value in wanted, "$nin": lambda wanted: value not in wanted}
    return all(known[operator](wanted) for operator, wanted in rule.items())


def _nearest(space: dict[str, tuple[np.ndarray, dict[str, Any]]], body: dict[str, Any]) -> list[dict[str, Any]]:
    rules = body.get("filter") or {}
    ids = [id_ for id_, (_, metadata) in space.items() if all(_holds(rule, metadata.get(key)) for key, rule in rules.items())]
    if not ids:
        return []
    stored = np.stack([space[id_][0] for id_ in ids])
    asked = np.array(body["vector"], dtype=np.float64)
    scores = stored @ asked / (np.linalg.norm(stored, axis=1) * np.linalg.norm(asked))
    order = np.argsort(-scores, kind="stable")[: body["topK"]]
    return [{"id": ids[i], "score": float(scores[i]), "metadata": space[ids[i]][1]} for i in order]
