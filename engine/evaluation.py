"""How good would the local router be on this labelled data? The whole of the evaluate command, without any database."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from engine import scope
from engine.calibration import Calibrator
from engine.classifier import Classifier
from engine.errors import InputRejected
from engine.labelled_csv import LabelledTickets
from engine.promise import DELTA, Promise, left_out, promises
from engine.recurring import Recurring
from engine.reliability import expected_calibration_error
from engine.selective import coverage_at

TARGETS = (0.90, 0.95, 0.97, 0.98, 0.99)
FEWEST_ROWS = 5
MOST_ROWS = 100_000
MOST_CLASSES = 500
_PAIRS = 20
_TIMED = 100
_BATCH = 512
Embed = Callable[[Sequence[str]], np.ndarray]
Flags = npt.NDArray[np.bool_]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Quality is the same byte for byte on the same input; `ms_per_ticket` and `fit_seconds` are measured times.

    coverage   per target the share of test tickets that one threshold chosen in hindsight answers at that accuracy
    confusion  most frequent mistakes: (right, answered, count)
    skipped    rows left out, by file and reason
    contradicting   training rows whose text has another label in another row
    lone       training rows that are the only one of their department; left out, none of them can be right
    unseen_labels   test rows by label, of labels that the training rows do not have
    unanswerable    how many of them count as wrong whatever is answered: their department is not in the training rows either
    confidence, correct   per test row, in their order
    """

    accuracy: float
    ece: float
    coverage: dict[str, float]
    guarantee: tuple[Promise, ...]
    confusion: tuple[tuple[str, str, int], ...]
    classes: int
    departments: int
    train_rows: int
    test_rows: int
    duplicates: int
    contradicting: int
    lone: int
    repeated: int
    unseen_labels: dict[str, int]
    unanswerable: int
    skipped: dict[str, dict[str, int]]
    held_out_accuracy: float
    mean_confidence: float
    fit_seconds: float
    ms_per_ticket: float
    ms_per_ticket_after_embedding: float
    confidence: Doubles
    correct: Flags

    def to_json(self) -> dict[str, Any]:
        """JSON values; everything but the per-row arrays."""
        return {
            "accuracy": self.accuracy,
            "ece": self.ece,
            "coverage": self.coverage,
            "classes": self.classes,
            "departments": self.departments,
            "train_rows": self.train_rows,
            "test_rows": self.test_rows,
            "held_out_accuracy": self.held_out_accuracy,
            "mean_confidence": self.mean_confidence,
            "guarantee": [
                {
                    "target": p.target, "delta": DELTA, "threshold": p.threshold, "reason": p.reason,
                    "coverage": p.coverage, "accuracy": p.accuracy, "kept": p.kept,
                }
                for p in self.guarantee
            ],
            "confusion": [{"right": right, "answered": said, "count": count} for right, said, count in self.confusion],
            "duplicate_training_rows": self.duplicates,
            "contradicting_training_rows": self.contradicting,
            "lone_training_rows": self.lone,
            "test_rows_seen_in_training": self.repeated,
            "unseen_labels": self.unseen_labels,
            "unanswerable_test_rows": self.unanswerable,
            "skipped": self.skipped,
            "fit_seconds": self.fit_seconds,
            "ms_per_ticket": self.ms_per_ticket,
            "ms_per_ticket_after_embedding": self.ms_per_ticket_after_embedding,
        }


def evaluate(
    train: LabelledTickets,
    test: LabelledTickets,
    *,
    embed: Embed,
    parents: Mapping[str, str] | None = None,
    targets: Sequence[float] = TARGETS,
    seed: int = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> Evaluation:
    """Fit and calibrate on `train` alone, then answer `test`.

    `embed` gives float32 [n, d] unit vectors. `parents` maps labels to departments; then departments are judged.
    Raises InputRejected for fewer than FEWEST_ROWS training rows, more than MOST_ROWS, fewer than two or more than
    MOST_CLASSES labels, no test row, or a label that `parents` lacks.
    """
    above = _checked(train, test, parents)
    vectors = _embedded(embed, train.texts)
    started = clock()
    classifier = Classifier.fit(train.texts, vectors, train.labels, parents=above, seed=seed)
    held_out = classifier.out_of_fold
    calibrator = scope.fit_calibrator(held_out)
    left_out_alone = zip(held_out.rows, held_out.departments, calibrator.probability(held_out.features), strict=True)
    recurring = Recurring.of(
        train.texts, [above.get(label, label) for label in train.labels],
        unseen={train.texts[row]: (name, shown) for row, name, shown in left_out_alone},
    )
    fit_seconds = clock() - started
    answers = classifier.predict(test.texts, _embedded(embed, test.texts))
    said = [answers.departments[best] for best in answers.best]
    again = [recurring.confidence(text, name) for text, name in zip(test.texts, said, strict=True)]
    met = np.array([shown is not None for shown in again])
    confidence = np.where(met, np.array(again, np.float64), calibrator.probability(answers.features))
    right = [above.get(label, label) for label in test.labels]
    correct = np.array([a == b for a, b in zip(said, right, strict=True)], np.bool_)
    sample = left_out(held_out, recurring, again=float(met.mean()), seed=seed)
    known, labels = set(train.texts), set(train.labels)
    given = Counter(text for text, _ in set(zip(train.texts, train.labels, strict=True)))
    unseen = Counter(label for label in test.labels if label not in labels)
    wrong = Counter((b, a) for a, b in zip(said, right, strict=True) if a != b)
    total, after = _milliseconds(classifier, calibrator, embed, test.texts, clock)
    return Evaluation(
        accuracy=float(correct.mean()),
        ece=float(expected_calibration_error(confidence, correct)),
        coverage={f"{target:.2f}": float(coverage_at(confidence, correct, target)) for target in targets},
        guarantee=promises(sample, confidence, correct, targets),
        confusion=tuple((b, a, n) for (b, a), n in sorted(wrong.items(), key=lambda item: (-item[1], item[0]))[:_PAIRS]),
        classes=len(labels),
        departments=len(classifier.departments),
        train_rows=len(train.texts),
        test_rows=len(test.texts),
        duplicates=len(train.texts) - len(set(zip(train.texts, train.labels, strict=True))),
        contradicting=sum(given[text] > 1 for text in train.texts),
        lone=int(held_out.lone.sum()),
        repeated=sum(text in known for text in test.texts),
        unseen_labels=dict(sorted(unseen.items())),
        unanswerable=sum(count for label, count in unseen.items() if above.get(label, label) not in classifier.departments),
        skipped={"train": train.skipped, "test": test.skipped},
        held_out_accuracy=float(np.average(held_out.correct, weights=held_out.share)),
        mean_confidence=float(confidence.mean()),
        fit_seconds=fit_seconds,
        ms_per_ticket=total,
        ms_per_ticket_after_embedding=after,
        confidence=confidence,
        correct=correct,
    )


def _checked(train: LabelledTickets, test: LabelledTickets, parents: Mapping[str, str] | None) -> dict[str, str]:
    rows = len(train.texts)
    if not FEWEST_ROWS <= rows <= MOST_ROWS:
        raise InputRejected(f"training rows: {FEWEST_ROWS} to {MOST_ROWS:,} with text and label; found {rows:,}")
    if not test.texts:
        raise InputRejected("test rows: none has both a text and a label")
    if len(test.texts) > MOST_ROWS:
        raise InputRejected(f"test rows: at most {MOST_ROWS:,}; found {len(test.texts):,}")
    labels = sorted(set(train.labels))
    if not 2 <= len(labels) <= MOST_CLASSES:
        raise InputRejected(f"labels: 2 to {MOST_CLASSES} different ones in the training rows; found {len(labels)}")
    if parents is None:
        return {}
    lacking = [label for label in labels if label not in parents]
    if lacking:
        raise InputRejected(f"departments: no department is given for {len(lacking)} labels, first {lacking[0]!r}")
    if len({parents[label] for label in labels}) < 2:
        raise InputRejected(f"departments: all {len(labels)} labels of the training rows belong to {parents[labels[0]]!r}; two departments are needed")
    return dict(parents)


def _embedded(embed: Embed, texts: Sequence[str]) -> np.ndarray:
    parts = [embed(texts[start : start + _BATCH]) for start in range(0, len(texts), _BATCH)]
    return np.concatenate(parts).astype(np.float32, copy=False)


def _milliseconds(
    classifier: Classifier, calibrator: Calibrator, embed: Embed, texts: Sequence[str], clock: Callable[[], float]
) -> tuple[float, float]:
    """Median time of one ticket in ms: all of it, and what follows the embedding. The first tickets warm up."""
    whole, after = [], []
    for text in texts[:_TIMED]:
        started = clock()
        vector = embed([text])
        embedded = clock()
        calibrator.probability(classifier.predict([text], vector).features)
        ended = clock()
        whole.append(ended - started)
        after.append(ended - embedded)
    settled = min(10, len(whole) - 1)
    return float(np.median(whole[settled:]) * 1000.0), float(np.median(after[settled:]) * 1000.0)
