"""The Pinecone adapter makes only calls that the client's renamed successor has too: the same steps with either, in its own environment."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STEPS = """
import json, warnings
warnings.simplefilter("ignore")
import numpy as np
import pinecone
from engine.adapters.pinecone_index import PineconeIndex
from engine.errors import ServiceUnavailable
from tests.servers.faulty import BlackHole, Fault
from tests.servers.pinecone import PineconeServer

hole = BlackHole()

def refilled(index, vectors):
    index.upsert([(n + 1, vectors[n], {"department": "Billing"}) for n in range(20)])
    return index

with PineconeServer() as server:
    def opened(environment="us-east-1", embedder="first/1"):
        return PineconeIndex(
            api_key="key", index="tickets", environment=environment, dimensions=8, embedder=embedder, host=server.url, timeout=30.0
        )
    index = opened()
    vectors = np.random.default_rng(0).normal(size=(130, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index.delete([1])
    index.upsert([(n + 1, vectors[n], {"department": "Billing", "topic": "", "source": "seed"}) for n in range(130)])
    found = {"version": pinecone.__version__, "count": index.count(), "other": opened(embedder="second/1").count()}
    found["nearest"] = [n.exemplar_id for n in index.nearest(vectors[:1], 3)[0]]
    found["labels"] = index.nearest(vectors[:1], 1)[0][0].department
    found["fetched"] = len(index.fetch(range(1, 140)))
    index.delete([1, 2])
    found["after"] = index.count()
    found["errors"] = []
    for fault in [Fault("status", code) for code in (400, 403, 404, 409)] + [Fault("garbage")]:
        server.fault = fault
        try:
            index.nearest(vectors[:1], 1)
        except ServiceUnavailable as error:
            found["errors"].append(error.service)
    server.fault = Fault()
    index.clear()
    found["cleared"] = index.count()
    found["dimension"] = server.indexes["tickets"]["dimension"]
    found["many"] = [row[0].exemplar_id for row in refilled(index, vectors).nearest(vectors[:20], 1)] == list(range(1, 21))
    server.indexes["tickets"]["metric"] = "euclidean"
    found["unusable"] = []
    for other in (opened(), PineconeIndex(
        api_key="key", index="tickets", environment=None, dimensions=8, embedder="first/1", host=hole.url, timeout=0.2,
    )):
        try:
            other.count()
        except ServiceUnavailable as error:
            found["unusable"].append("metric euclidean" in str(error))
    print(json.dumps(found))
"""


@pytest.mark.parametrize(
    ("python", "major"), [(sys.executable, "5."), (str(ROOT / ".venv" / "pinecone-successor" / "bin" / "python"), "10.")],
)
def test_every_step_works_with_both_generations_of_the_client(python: str, major: str) -> None:
    assert Path(python).exists(), "./.ci/services makes the second environment"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run([python, "-c", STEPS], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found.pop("version").startswith(major)
    order = found.pop("nearest")
    assert order[0] == 1
    assert len(set(order)) == 3
    assert found == {
        "count": 130, "other": 0, "labels": "Billing", "fetched": 130, "after": 128, "errors": ["index"] * 5, "cleared": 0, "dimension": 8,
        "many": True, "unusable": [True, False],
    }
