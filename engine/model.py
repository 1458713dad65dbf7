"""The model in force: learned router and one calibrator per method, as one immutable value with a number."""
from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from engine.calibration import Calibrator
from engine.classifier import Classifier
from engine.domain import Candidate, Exemplar
from engine.ports import LanguageModelAnswer


@dataclass(frozen=True, slots=True)
class Prediction:
    """The learned router's view of one ticket.

    best        department and calibrated confidence in [0, 1]
    raw_score   the classifier's score of that department, in [0, 1]
    topic       the best topic under it, empty without topics
    scores      every live department's raw score; they add up to at most 1
    """

    best: Candidate
    raw_score: float
    topic: str
    scores: dict[str, float]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class RoutingModel:
    """Immutable: a new model is a new object that is swapped in between two tickets."""

    number: int
    classifier: Classifier
    calibrators: dict[str, Calibrator]
    taken_in: int = 0

    @property
    def version(self) -> str:
        """The fit's number, with the number of exemplars taken in since."""
        return f"{self.number}+{self.taken_in}" if self.taken_in else str(self.number)

    def refreshed(self, exemplars: Sequence[Exemplar], vectors: np.ndarray) -> RoutingModel:
        """This model with more exemplars (vectors float32 [n, d]) taken in at once; calibration stays that of the fit."""
        if not exemplars:
            return self
        labels = [e.topic or e.department for e in exemplars]
        parents = {label: e.department for label, e in zip(labels, exemplars, strict=True)}
        classifier = self.classifier.refreshed([e.text for e in exemplars], vectors, labels, parents=parents)
        return replace(self, classifier=classifier, taken_in=self.taken_in + len(exemplars))

    def predict(
        self, texts: Sequence[str], vectors: Sequence[np.ndarray | None], *, live: Collection[str]
    ) -> list[Prediction]:
        """One prediction per text. A missing vector (the embedder is away) leaves the lexical half to answer."""
        dimensions = self.classifier.dimensions
        stacked = np.stack([np.zeros(dimensions, dtype=np.float32) if v is None else v for v in vectors])
        found = self.classifier.predict(texts, stacked, live=live)
        lexical = ~stacked.any(axis=1)
        confidences = np.empty(len(texts))
        for calibrator, rows in (("learned", ~lexical), ("lexical", lexical)):
            if rows.any():
                confidences[rows] = self.calibrators[calibrator].probability(found.features[rows])
        predictions = []
        for row, best in enumerate(found.best):
            department = found.departments[best]
            scores = dict(zip(found.departments, found.scores[row].tolist(), strict=True))
            candidate = Candidate(department, float(confidences[row]))
            predictions.append(Prediction(candidate, scores[department], found.topics[row], scores))
        return predictions

    def cached_confidence(self, features: np.ndarray) -> float:
        """The probability that agreeing neighbours are right; `features` as `semantic.Vote.features`."""
        return float(self.calibrators["cached"].probability(features)[0])

    def language_model_confidence(self, answer: LanguageModelAnswer, prediction: Prediction | None) -> float:
        """The probability that the language model is right, from its own word and the learned router's score for it."""
        support = prediction.scores.get(answer.department, 0.0) if prediction else 0.0
        return float(self.calibrators["rag_llm"].probability(np.array([[answer.raw_confidence, support]]))[0])

    def to_arrays(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Arrays and JSON manifest; `from_arrays` makes the same model again."""
        arrays, manifest = self.classifier.to_arrays()
        calibrators = {method: calibrator.to_dict() for method, calibrator in self.calibrators.items()}
        return arrays, {"classifier": manifest, "calibrators": calibrators}

    @classmethod
    def from_arrays(cls, number: int, arrays: dict[str, np.ndarray], manifest: dict[str, Any]) -> RoutingModel:
        """Raises ValueError when arrays and manifest do not belong together."""
        return cls(
            number=number,
            classifier=Classifier.from_arrays(arrays, manifest["classifier"]),
            calibrators={method: Calibrator.from_dict(data) for method, data in manifest["calibrators"].items()},
        )
