"""The model in force: learned router, one calibrator per method and the texts that recur, as one immutable value with a number."""
from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from engine.calibration import Calibrator
from engine.classifier import Classifier
from engine.domain import Candidate, Exemplar
from engine.fingerprint import fingerprint
from engine.held_out import in_department
from engine.ports import LanguageModelAnswer
from engine.recurring import Recurring
from engine.scores import MOST_ODDS, log_odds


FORMAT_VERSION = 3


def class_name(exemplar: Exemplar) -> str:
    """What the learned router calls the exemplar's class: its topic within its department, or the department alone.

    A topic that has moved to another department stays a class of its own for what was labelled before.
    """
    return in_department(exemplar.topic, exemplar.department)


def fair(exemplar: Exemplar) -> bool:
    """Whether its label is one that any ticket with its text might have got: not one that somebody gave by choice."""
    return not exemplar.ticket_id or exemplar.weight > 0.0


def backing(department: str, *, best: str, odds: float) -> float:
    """How much the learned router, which says `best` with these log-odds, speaks for the department: the odds, or against it."""
    bounded = min(MOST_ODDS, max(-MOST_ODDS, odds))
    return bounded if department == best else min(-bounded, 0.0) if best else 0.0


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
    recurring: Recurring = field(default_factory=Recurring.empty)
    taken_in: int = 0

    @property
    def version(self) -> str:
        """The fit's number, with the number of exemplars taken in since."""
        return f"{self.number}+{self.taken_in}" if self.taken_in else str(self.number)

    def knows(self, departments: Iterable[str]) -> bool:
        """True when it has learned at least one of these; else there is nothing that it could answer."""
        return not set(self.classifier.departments).isdisjoint(departments)

    def refreshed(self, exemplars: Sequence[Exemplar], vectors: np.ndarray) -> RoutingModel:
        """This model with more exemplars (vectors float32 [n, d]) taken in at once; calibration stays that of the fit."""
        if not exemplars:
            return self
        labels = [class_name(e) for e in exemplars]
        parents = {label: e.department for label, e in zip(labels, exemplars, strict=True)}
        classifier = self.classifier.refreshed([e.text for e in exemplars], vectors, labels, parents=parents)
        counted = [e for e in exemplars if fair(e)]
        recurring = self.recurring.plus([fingerprint(e.text) for e in counted], [e.department for e in counted])
        return replace(self, classifier=classifier, recurring=recurring, taken_in=self.taken_in + len(exemplars))

    def read(self, texts: Sequence[str]) -> np.ndarray:
        """What can be said before the vectors are there: float32 [n, landmarks] for `predict`."""
        return self.classifier.read(texts)

    def predict(
        self, texts: Sequence[str], vectors: Sequence[np.ndarray | None], *, live: Collection[str], words: np.ndarray | None = None
    ) -> list[Prediction]:
        """One prediction per text. A missing vector (the embedder is away) leaves the lexical half to answer.

        `words` is what `read` said of these texts, where somebody has asked already.
        """
        dimensions = self.classifier.dimensions
        stacked = np.stack([np.zeros(dimensions, dtype=np.float32) if v is None else v for v in vectors])
        found = self.classifier.predict(texts, stacked, live=live, words=words)
        if not found.lexical.any():
            confidences = self.calibrators["learned"].probability(found.features)
        else:
            confidences = np.empty(len(texts))
            for calibrator, rows in (("learned", ~found.lexical), ("lexical", found.lexical)):
                if rows.any():
                    confidences[rows] = self.calibrators[calibrator].probability(found.features[rows])
        predictions = []
        for row, (text, best) in enumerate(zip(texts, found.best, strict=True)):
            department = found.departments[best]
            scores = dict(zip(found.departments, found.scores[row].tolist(), strict=True))
            known = self._agreement(text, department)
            candidate = Candidate(department, float(confidences[row]) if known is None else known)
            predictions.append(Prediction(candidate, scores[department], found.topics[row], scores))
        return predictions

    def cached_confidence(self, features: np.ndarray, *, department: str, labelled: str = "") -> float:
        """The probability that agreeing neighbours are right; `features` as `semantic.Vote.features`.

        `labelled` is the text that supervisors have labelled, where they answer with its newest label: how often labels of that
        text have agreed is what counts, where it is known.
        """
        known = self._agreement(labelled, department) if labelled else None
        if known is not None:
            return known
        return float(self.calibrators["cached"].probability(features)[0])

    def _agreement(self, text: str, department: str) -> float | None:
        """How likely labels of texts that ask the same make this department; None where too little is known of them."""
        return self.recurring.confidence(fingerprint(text), department) if self.recurring.place else None

    def language_model_confidence(self, answer: LanguageModelAnswer, prediction: Prediction | None) -> float:
        """The probability that the language model is right, from its own word and what the learned router thinks of it."""
        best = prediction.best.department if prediction else ""
        odds = log_odds(prediction.raw_score) if prediction else 0.0
        features = np.array([[answer.raw_confidence, backing(answer.department, best=best, odds=odds)]])
        return float(self.calibrators["rag_llm"].probability(features)[0])

    def to_arrays(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Arrays and JSON manifest; `from_arrays` makes the same model again."""
        arrays, manifest = self.classifier.to_arrays()
        texts, recurring = self.recurring.to_arrays()
        calibrators = {method: calibrator.to_dict() for method, calibrator in self.calibrators.items()}
        return arrays | texts, {"version": FORMAT_VERSION, "classifier": manifest, "calibrators": calibrators, "recurring": recurring}

    @classmethod
    def from_arrays(cls, number: int, arrays: dict[str, np.ndarray], manifest: dict[str, Any]) -> RoutingModel:
        """Raises ValueError for another version, or when arrays and manifest do not belong together."""
        if manifest.get("version") != FORMAT_VERSION:
            raise ValueError(f"model format {manifest.get('version')} is not {FORMAT_VERSION}: fit it again")
        return cls(
            number=number,
            classifier=Classifier.from_arrays(arrays, manifest["classifier"]),
            calibrators={method: Calibrator.from_dict(data) for method, data in manifest["calibrators"].items()},
            recurring=Recurring.from_arrays(arrays, manifest["recurring"]),
        )
