"""Fit learned router and calibrators on the exemplars, and take reviewed tickets in as new exemplars."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine import scope, semantic
from engine.calibration import Calibrator
from engine.classifier import Classifier
from engine.domain import Department, Exemplar, Neighbour, Policy, Topic
from engine.errors import ServiceUnavailable, TaxonomyRejected
from engine.model import RoutingModel
from engine.ports import Embedder, ExemplarStore, ModelStore, Reviewed, TaxonomyStore

# What is believed of a language model's answer before any of its answers was reviewed: enough for the default policy to
# offer it for one click, so that labels can come, and not enough to route it alone.
LANGUAGE_MODEL_PRIOR = 0.86
# A cached answer needs agreeing neighbours; before any evidence it is believed as much as the policy's default asks.
CACHED_PRIOR = 0.85
_CHUNK = 1024


def fit(exemplars: Sequence[Exemplar], vectors: np.ndarray, *, policy: Policy, number: int = 0, seed: int = 0) -> RoutingModel:
    """A model from exemplars and their vectors (float32 [n, d], unit length).

    Calibrators rest on what the classifier and the neighbours say about exemplars that were held out from them.
    Raises TaxonomyRejected with fewer than two departments.
    """
    if len({e.department for e in exemplars}) < 2:
        raise TaxonomyRejected("exemplars: at least two departments need labelled tickets before anything can be learned")
    parents = {e.topic or e.department: e.department for e in exemplars}
    classifier = Classifier.fit(
        [e.text for e in exemplars], vectors, [e.topic or e.department for e in exemplars], parents=parents, seed=seed
    )
    calibrators = {"rag_llm": Calibrator.fit(np.empty((0, 2)), np.empty(0, dtype=bool), prior=LANGUAGE_MODEL_PRIOR)}
    for name, held_out in (("learned", classifier.out_of_fold), ("lexical", classifier.lexical_out_of_fold)):
        shown = [exemplars[row] for row in held_out.rows]
        base = scope.fit_calibrator(held_out, rows=_seeds(shown))
        calibrators[name] = _refreshed(base, held_out.features, held_out.correct, shown)
    features, correct, rows = cached_evidence(exemplars, vectors, policy)
    shown = [exemplars[row] for row in rows]
    base = Calibrator.fit(features[_seeds(shown)], correct[_seeds(shown)], prior=CACHED_PRIOR)
    calibrators["cached"] = _refreshed(base, features, correct, shown)
    return RoutingModel(number=number, classifier=classifier, calibrators=calibrators)


def _seeds(exemplars: Sequence[Exemplar]) -> np.ndarray:
    """Which of them were given as examples; the others are tickets that a supervisor looked at."""
    return np.array([not e.ticket_id for e in exemplars], dtype=bool)


def _refreshed(base: Calibrator, features: np.ndarray, correct: np.ndarray, exemplars: Sequence[Exemplar]) -> Calibrator:
    """Reviewed tickets, weighted to stand for all, on the prior of seeds: the more labels, the less the seeds count.

    Tickets that somebody looked at by choice are no fair sample and weigh nothing.
    """
    weights = np.array([e.weight for e in exemplars])
    reviewed = weights > 0
    return Calibrator.fit(features[reviewed], correct[reviewed], prior=base, weights=weights[reviewed]) if reviewed.any() else base


def cached_evidence(exemplars: Sequence[Exemplar], vectors: np.ndarray, policy: Policy) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Leave-one-out: for every exemplar that the others would have answered, the vote's features and whether it was right.

    Returns float64 [m, 2], bool [m] and the m exemplars' positions; m is the number of would-be hits.
    """
    departments = {e.department for e in exemplars}
    features, correct, rows = [], [], []
    for start in range(0, len(exemplars), _CHUNK):
        similarities = vectors[start:start + _CHUNK] @ vectors.T
        for row in range(len(similarities)):
            similarities[row, start + row] = -np.inf
        k = min(policy.neighbours + 2, len(exemplars) - 1)
        nearest = np.argpartition(-similarities, k - 1, axis=1)[:, :k]
        for row, candidates in enumerate(nearest):
            own = exemplars[start + row]
            order = candidates[np.argsort(-similarities[row, candidates], kind="stable")]
            neighbours = [
                Neighbour(
                    exemplars[i].id, exemplars[i].department, exemplars[i].topic, float(similarities[row, i]), exemplars[i].text,
                    exemplars[i].source,
                )
                for i in order
            ]
            vote = semantic.vote(neighbours, policy.neighbours, departments)
            if vote is not None and semantic.answers(vote, own.text, neighbours, policy):
                features.append(vote.features[0])
                correct.append(vote.department == own.department)
                rows.append(start + row)
    return np.array(features).reshape(-1, 2), np.array(correct, dtype=bool), rows


class Trainer:
    """Keeps exemplars and model in step with what supervisors say."""

    def __init__(self, *, embedder: Embedder, exemplars: ExemplarStore, models: ModelStore, policy: Policy | None = None) -> None:
        self._embedder = embedder
        self._exemplars = exemplars
        self._models = models
        self._policy = policy or Policy()

    def load(self, new: Sequence[Exemplar], *, progress=None) -> int:  # noqa: ANN001
        """Embed and store exemplars; their number. `progress(done, total)` is called as they are embedded."""
        vectors = np.empty((len(new), self._embedder.dimensions), dtype=np.float32)
        for start in range(0, len(new), _CHUNK // 4):
            part = slice(start, start + _CHUNK // 4)
            vectors[part] = self._embedder.embed([e.text for e in new[part]])
            if progress is not None:
                progress(min(start + _CHUNK // 4, len(new)), len(new))
        self._exemplars.add(new, vectors)
        return len(new)

    def train(self) -> int:
        """Fit on all active exemplars, store the model as the live one, and return its number."""
        exemplars, vectors = self._exemplars.training_set()
        model = fit(exemplars, vectors, policy=self._policy)
        arrays, manifest = model.to_arrays()
        newest = max(exemplar.id for exemplar in exemplars)
        return self._models.add(arrays, manifest | {"exemplars": len(exemplars), "newest_exemplar": newest}, embedder=self._embedder.name)

    def ensure(self) -> None:
        """Fit when there are exemplars and no live model that this version of the product can read."""
        number = self._models.live_number(embedder=self._embedder.name)
        if number is not None:
            try:
                RoutingModel.from_arrays(number, *self._models.load(number))
            except (KeyError, ValueError):
                number = None
        if number is None and self._exemplars.count_since(0):
            self.train()

    def learn(self, reviewed: Reviewed) -> None:
        """A reviewed ticket becomes an exemplar of the department that was right, in place of any it was before."""
        self._exemplars.remove_ticket(reviewed.ticket.id)
        exemplar = Exemplar(
            text=reviewed.ticket.text,
            department=reviewed.actual,
            topic=reviewed.topic if reviewed.correct else "",
            source="confirmed" if reviewed.correct else "corrected",
            ticket_id=reviewed.ticket.id,
        )
        try:
            vectors = self._embedder.embed([exemplar.text])
        except ServiceUnavailable:
            # The label is worth keeping; its vector is made in the background when the embedder is back.
            vectors = None
        self._exemplars.add([exemplar], vectors)

    def replace(
        self, taxonomy: TaxonomyStore, departments: Sequence[Department], topics: Sequence[Topic], exemplars: Sequence[Exemplar], *,
        progress=None,  # noqa: ANN001
    ) -> int:
        """Make this the taxonomy, learn from these exemplars alone, and return the new model's number.

        Departments that are no longer named are retired; their history stays.
        """
        if len({e.department for e in exemplars}) < 2:
            raise TaxonomyRejected("exemplars: at least two departments need labelled tickets. Nothing was loaded.")
        self._exemplars.clear()
        taxonomy.replace(departments, topics)
        self.load(exemplars, progress=progress)
        return self.train()
