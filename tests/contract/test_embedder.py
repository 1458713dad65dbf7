"""One battery for the embedder: the local model, and Gemini embeddings over real HTTP."""
from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engine.adapters.gemini_embeddings import GeminiEmbeddings
from engine.adapters.minilm import MiniLM
from engine.errors import ServiceUnavailable
from engine.ports import Embedder
from engine.privacy import masked
from tests.servers.faulty import Fault
from tests.servers.gemini import GeminiServer

ROOT = Path(__file__).resolve().parents[2]
TEXTS = ["you took the money twice", "where is my parcel", "you took my money twice", "ünïcödé \U0001f600", "a", "word " * 3000]


@pytest.fixture
def server() -> Iterator[GeminiServer]:
    with GeminiServer() as started:
        yield started


@pytest.fixture
def remote(server: GeminiServer) -> GeminiEmbeddings:
    return embeddings(server, timeout=30.0)


def embeddings(server: GeminiServer, *, timeout: float) -> GeminiEmbeddings:
    return GeminiEmbeddings(api_key="k", model="text-embedding-004", mask=masked, endpoint=server.url, timeout=timeout)


@pytest.fixture(params=["minilm", "gemini"])
def either(request: pytest.FixtureRequest, embedder: MiniLM) -> Embedder:
    return embedder if request.param == "minilm" else request.getfixturevalue("remote")


def test_every_text_gets_one_unit_vector_of_the_named_dimension(either: Embedder) -> None:
    vectors = either.embed(TEXTS)
    assert vectors.shape == (len(TEXTS), either.dimensions)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-4)


def test_like_texts_are_nearer_than_unlike_ones(either: Embedder) -> None:
    vectors = either.embed(TEXTS[:3])
    assert vectors[0] @ vectors[2] > vectors[0] @ vectors[1]


def test_order_and_company_change_no_vector(either: Embedder) -> None:
    together, alone = either.embed(TEXTS[:3]), [either.embed([one])[0] for one in TEXTS[:3]]
    assert np.allclose(together, alone, atol=1e-3)


class OutOfMemory:
    """A session of the runtime that fails as the runtime does."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def run(self, *_: object) -> None:
        raise self._error


def out_of_memory() -> list[Exception]:
    from onnxruntime.capi import onnxruntime_pybind11_state as native

    return [native.RuntimeException("bad allocation"), native.Fail("no workspace"), RuntimeError("bad allocation"), MemoryError()]


@pytest.mark.parametrize("error", out_of_memory(), ids=lambda error: type(error).__name__)
def test_a_local_model_that_cannot_be_run_is_a_service_that_is_away(
    embedder: MiniLM, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(embedder, "_session", OutOfMemory(error))
    with pytest.raises(ServiceUnavailable, match=f"embedder.*{type(error).__name__}"):
        embedder.embed(TEXTS[:1])


def test_a_machine_without_memory_for_the_local_model_is_told_in_one_line_and_not_by_a_traceback() -> None:
    script = """
import resource, sys
import onnxruntime, tokenizers
from onnxruntime.capi import onnxruntime_pybind11_state
from engine.adapters.minilm import MiniLM
from engine.errors import ServiceUnavailable

used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[1]), resource.RLIM_INFINITY))
try:
    MiniLM()
except ServiceUnavailable as error:
    print(error)
"""
    # Not enough for the model's file, and not enough for what the runtime makes of it.
    for room in (1 << 20, 40 << 20):
        done = subprocess.run([sys.executable, "-c", script, str(room)], cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("embedder is not available: the model could not be loaded (")


def test_no_text_gives_no_vector(either: Embedder) -> None:
    assert either.embed([]).shape == (0, either.dimensions)


def test_the_name_says_model_and_version(either: Embedder) -> None:
    assert "/" in either.name


def test_many_texts_go_out_in_batches_and_masked(remote: GeminiEmbeddings, server: GeminiServer) -> None:
    assert remote.embed([f"mail bob{number}@example.com" for number in range(250)]).shape == (250, 768)
    assert [len(seen.body["requests"]) for seen in server.seen] == [100, 100, 50]
    assert "example.com" not in repr([seen.body for seen in server.seen])


@pytest.mark.parametrize(
    "fault", [*(Fault("status", code) for code in (400, 403, 404, 429, 500, 503)), Fault("garbage"), Fault("half"), Fault("cut"), Fault("hang")],
)
def test_every_failure_is_an_unavailable_embedder(server: GeminiServer, fault: Fault) -> None:
    server.fault = fault
    with pytest.raises(ServiceUnavailable) as caught:
        embeddings(server, timeout=1.0 if fault.kind == "hang" else 30.0).embed(["text"])
    assert caught.value.service == "embedder"
    assert len(server.seen) == 1


@pytest.mark.parametrize("dimensions", [0, 384, 769])
def test_vectors_of_another_dimension_are_refused(remote: GeminiEmbeddings, server: GeminiServer, dimensions: int) -> None:
    server._embedding = lambda _: [0.1] * dimensions
    with pytest.raises(ServiceUnavailable, match="shape"):
        remote.embed(["text"])


def test_the_local_model_leaves_no_identifier_and_no_reports_for_its_runtimes_maker(tmp_path: Path) -> None:
    """The runtime keeps both in the user's cache before it sends them; in a test run of the maker's or a CI it never does."""
    clean = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "OMP_NUM_THREADS")}
    code = "from engine.adapters.minilm import MiniLM; print(len(MiniLM().embed(['where is my parcel'])))"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**clean, "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}, cwd=ROOT, capture_output=True, text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "1"), done.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
