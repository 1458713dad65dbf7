"""Fit learned router and calibrators on the exemplars, and take reviewed tickets in as new exemplars."""
from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from scipy.special import expit

from engine import scope, semantic
from engine.calibration import Calibrator
from engine.classifier import Classifier
from engine.domain import Department, Exemplar, Method, Neighbour, Policy, Stage, Topic
from engine.errors import TaxonomyRejected
from engine.fingerprint import fingerprint
from engine.held_out import HeldOut
from engine.model import RoutingModel, backing, class_name, fair
from engine.outcome import Reviewed
from engine.ports import Embedder, ExemplarStore, ModelStore
from engine.recurring import Recurring
from engine.refit import voting
from engine.taken import Taken

# What is believed of a language model's answer before any of its answers was reviewed: enough for the default policy to
# offer it for one click, so that labels can come, and not enough to route it alone.
LANGUAGE_MODEL_PRIOR = 0.86
_CHUNK = 1024


def fit(
    exemplars: Sequence[Exemplar], vectors: np.ndarray, *, policy: Policy, contradicted: Sequence[Exemplar] = (), number: int = 0, seed: int = 0
) -> RoutingModel:
    """A model from exemplars and their vectors (float32 [n, d], unit length).

    `contradicted` are labels in place of which there is a newer one of the same text: nothing is learned from them but how often
    the label of a text holds for the next ticket with it.
    Calibrators rest on what the classifier and the neighbours say about exemplars that were held out from them.
    Raises TaxonomyRejected with fewer than two departments.
    """
    if len({e.department for e in exemplars}) < 2:
        raise TaxonomyRejected("exemplars: at least two departments need labelled tickets before anything can be learned")
    parents = {class_name(e): e.department for e in exemplars}
    classifier = Classifier.fit([e.text for e in exemplars], vectors, [class_name(e) for e in exemplars], parents=parents, seed=seed)
    calibrators = {"rag_llm": _language_model(exemplars, classifier.out_of_fold)}
    features, correct, rows = cached_evidence(exemplars, vectors, policy, held_out=classifier.out_of_fold)
    calibrators["cached"] = _cached(features, correct, [exemplars[row] for row in rows])
    # A text without a vector has no neighbours, so of it the router is asked whatever they would say.
    seeds = {row for row in rows if not exemplars[row].ticket_id} if Stage.SEMANTIC in policy.stages else set()
    answered = seeds | {row for row, e in enumerate(exemplars) if e.ticket_id and e.method == Method.CACHED}
    calibrators["learned"] = _learned(exemplars, classifier.out_of_fold, without=answered)
    calibrators["lexical"] = _learned(exemplars, classifier.lexical_out_of_fold, without=set())
    return RoutingModel(
        number=number, classifier=classifier, calibrators=calibrators,
        recurring=_recurring(exemplars, contradicted, classifier.out_of_fold, calibrators["learned"]),
    )


def _recurring(
    exemplars: Sequence[Exemplar], contradicted: Sequence[Exemplar], held_out: HeldOut, calibrator: Calibrator
) -> Recurring:
    """How far labels of texts that ask the same agree. Those that somebody gave by choice do not count."""
    shown = calibrator.probability(held_out.features)
    marks = {e.text: fingerprint(e.text) for e in (*exemplars, *contradicted)}
    unseen = {marks[exemplars[row].text]: word for row, *word in zip(held_out.rows, held_out.departments, shown, strict=True)}
    given = [e for e in (*exemplars, *contradicted) if fair(e) and marks[e.text] in unseen]
    return Recurring.of([marks[e.text] for e in given], [e.department for e in given], unseen=unseen)


def _cached(features: np.ndarray, correct: np.ndarray, exemplars: Sequence[Exemplar]) -> Calibrator:
    """Of answers by agreeing neighbours: on the seeds, refreshed with reviewed tickets."""
    seeds = np.array([not e.ticket_id for e in exemplars], dtype=bool)
    base = Calibrator.fit(features[seeds], correct[seeds], prior=semantic.CACHED_PRIOR)
    return _refreshed(base, features, correct, np.array([e.weight for e in exemplars]))


def _learned(exemplars: Sequence[Exemplar], held_out: HeldOut, *, without: Collection[int]) -> Calibrator:
    """Of the learned router's answers to the tickets that neighbours leave to it.

    `without` are the positions of those that they answer: of seeds as they would, of reviewed tickets as they did. What such
    seeds look like is only the prior: they are the easy ones, and a confidence that is true on average over both is too high for
    the others just where they would be routed alone.
    """
    # Equal tickets with the same label are one held-out row, but each of them was given or reviewed.
    row_of = {(exemplars[row].text, class_name(exemplars[row])): place for place, row in enumerate(held_out.rows)}
    weights, easy, asked = np.zeros(len(row_of)), np.zeros(len(row_of), dtype=bool), np.zeros(len(row_of), dtype=bool)
    for position, exemplar in enumerate(exemplars):
        row = row_of[exemplar.text, class_name(exemplar)]
        if position not in without:
            weights[row] += exemplar.weight
        if not exemplar.ticket_id:
            (easy if position in without else asked)[row] = True
    easy &= ~asked
    prior = Calibrator.fit(held_out.features[easy], held_out.correct[easy], weights=held_out.share[easy]) if easy.any() else None
    base = scope.fit_calibrator(held_out, rows=asked, known=asked | easy, prior=prior)
    return _refreshed(base, held_out.features, held_out.correct, weights)


def _refreshed(base: Calibrator, features: np.ndarray, correct: np.ndarray, weights: np.ndarray) -> Calibrator:
    """Reviewed tickets, weighted to stand for all, on the prior of seeds: the more labels, the less the seeds count.

    Tickets that somebody looked at by choice are no fair sample and weigh nothing.
    """
    reviewed = weights > 0
    return Calibrator.fit(features[reviewed], correct[reviewed], prior=base, weights=weights[reviewed]) if reviewed.any() else base


def _unseen(exemplars: Sequence[Exemplar], held_out: HeldOut) -> dict[tuple[str, str], tuple[str, float]]:
    """By text and class what the learned router says of each exemplar when that is held out: department and log-odds."""
    return {
        (exemplars[row].text, class_name(exemplars[row])): (department, float(odds))
        for row, department, odds in zip(held_out.rows, held_out.departments, held_out.odds, strict=True)
    }


def _language_model(exemplars: Sequence[Exemplar], held_out: HeldOut) -> Calibrator:
    """Of the language model's answers that chance put up for review; the fewer there are, the nearer to the prior."""
    answers = [e for e in exemplars if e.method == Method.RAG_LLM and e.weight > 0]
    said = _unseen(exemplars, held_out) if answers else {}
    features = np.empty((len(answers), 2))
    for row, e in enumerate(answers):
        best, odds = said[e.text, class_name(e)]
        features[row] = e.raw_score, backing(e.answered, best=best, odds=odds)
    correct = np.array([e.answered == e.department for e in answers], dtype=bool)
    return Calibrator.fit(features, correct, prior=LANGUAGE_MODEL_PRIOR, weights=[e.weight for e in answers] or None)


def cached_evidence(
    exemplars: Sequence[Exemplar], vectors: np.ndarray, policy: Policy, *, held_out: HeldOut
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Leave-one-out: for every exemplar that the others would have answered, the vote's features and whether it was right.

    `held_out` is what the learned router says of the same exemplars unseen. Returns float64 [m, 3], bool [m] and the m
    exemplars' positions; m is the number of would-be hits.
    """
    departments = {e.department for e in exemplars}
    said = _unseen(exemplars, held_out)
    found: list[tuple[semantic.Vote, bool, int]] = []
    k = min(policy.neighbours + 2, len(exemplars) - 1)
    for start in range(0, len(exemplars), _CHUNK):
        similarities = vectors[start:start + _CHUNK] @ vectors.T
        similarities[np.arange(len(similarities)), start + np.arange(len(similarities))] = -np.inf
        nearest = np.argpartition(-similarities, k - 1, axis=1)[:, :k]
        for row, candidates in enumerate(nearest):
            own = exemplars[start + row]
            order = candidates[np.argsort(-similarities[row, candidates], kind="stable")]
            neighbours = [_neighbour(exemplars[i], float(similarities[row, i])) for i in order]
            department, odds = said[own.text, class_name(own)]
            # Of what the router did not choose it is enough to know that it did not.
            scores = dict.fromkeys(departments, 0.0) | {department: float(expit(odds))}
            vote = semantic.vote(neighbours, policy.neighbours, departments, scores=scores)
            if vote is not None and semantic.answers(vote, own.text, neighbours, policy):
                found.append((vote, vote.department == own.department, start + row))
    features = np.concatenate([np.empty((0, 3)), *(vote.features for vote, _, _ in found)])
    return features, np.array([right for _, right, _ in found], dtype=bool), [row for _, _, row in found]


def _neighbour(exemplar: Exemplar, similarity: float) -> Neighbour:
    return Neighbour(exemplar.id, exemplar.department, exemplar.topic, similarity, exemplar.text, exemplar.source)


class Catalogue(Protocol):
    """Puts departments, topics, exemplars with their vectors, and the model fitted on them in force, all in one transaction."""

    def replace(
        self, new_departments: Sequence[Department], topics: Sequence[Topic], new: Sequence[Exemplar], vectors: np.ndarray, *,
        arrays: dict[str, np.ndarray], manifest: Callable[[Sequence[int]], dict[str, Any]],
        also: Callable[[Any], None] | None = None,
    ) -> int:
        """In place of all that is there; the model's number. `also` runs in the transaction. Raises ServiceUnavailable."""
        ...

    def begin(
        self, new_departments: Sequence[Department], topics: Sequence[Topic], new: Sequence[Exemplar], vectors: np.ndarray, *,
        arrays: dict[str, np.ndarray], manifest: Callable[[Sequence[int]], dict[str, Any]],
    ) -> int | None:
        """Only where `is_new`, else None."""
        ...

    def is_new(self, names: Collection[str]) -> bool:
        """True when there is no exemplar and no department but these yet."""
        ...


class Trainer:
    """Keeps exemplars and model in step with what supervisors say."""

    def __init__(
        self, *, embedder: Embedder, exemplars: ExemplarStore, models: ModelStore, catalogue: Catalogue,
        policy: Callable[[], Policy] = Policy,
    ) -> None:
        self._embedder = embedder
        self._exemplars = exemplars
        self._models = models
        self._catalogue = catalogue
        self._policy = policy

    def train(self) -> int:
        """Fit on all active exemplars under the policy in force, store the model as the live one, and return its number.

        Where the taxonomy is replaced meanwhile, what was fitted is thrown away and the new exemplars are fitted.
        """
        while True:
            era, policy = self._models.era(), self._policy()
            exemplars, vectors = self._exemplars.training_set()
            arrays, manifest = fit(exemplars, vectors, policy=policy, contradicted=self._exemplars.contradicted()).to_arrays()
            described = manifest | _rests_on([exemplar.id for exemplar in exemplars], policy)
            number = self._models.add(arrays, described, embedder=self._embedder.name, era=era)
            if number is not None:
                return number

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
        """Give the exemplar that a reviewed ticket has become its vector. Raises ServiceUnavailable: then the vector is made
        in the background, like that of every exemplar without one.
        """
        if reviewed.exemplar_id is not None:
            self._exemplars.add_vectors([reviewed.exemplar_id], self._embedder.embed([reviewed.ticket.text]))

    def replace(
        self, departments: Sequence[Department], topics: Sequence[Topic], exemplars: Sequence[Exemplar], *,
        progress: Callable[[int, int], object] | None = None, also: Callable[[Any], None] | None = None,
    ) -> int:
        """Make this the taxonomy with a model that learned from these exemplars alone, and return the model's number.

        All of it comes into force in one transaction at the end, `also` (called with its connection) included: whatever is
        raised before, by `progress(done, total)` too, leaves everything as it was. Departments that are no longer named are
        retired; their history stays. Raises TaxonomyRejected and ServiceUnavailable.
        """
        if len({e.department for e in exemplars}) < 2:
            raise TaxonomyRejected("exemplars: at least two departments need labelled tickets. Nothing was loaded.")
        vectors, arrays, manifest = self._learned(exemplars, progress)
        return self._catalogue.replace(departments, topics, exemplars, vectors, arrays=arrays, manifest=manifest, also=also)

    def begin(self, departments: Sequence[Department], topics: Sequence[Topic], exemplars: Sequence[Exemplar]) -> int | None:
        """Begin with this taxonomy where there is none yet, all in one transaction; the model's number, None where there is one."""
        if not self._catalogue.is_new({department.name for department in departments}):
            return None
        vectors, arrays, manifest = self._learned(exemplars, None)
        return self._catalogue.begin(departments, topics, exemplars, vectors, arrays=arrays, manifest=manifest)

    def _learned(
        self, exemplars: Sequence[Exemplar], progress: Callable[[int, int], object] | None
    ) -> tuple[np.ndarray, dict[str, np.ndarray], Callable[[Sequence[int]], dict[str, Any]]]:
        """Vectors (float32 [n, d]), the arrays of a model fitted on them, and what makes its manifest from the stored ids."""
        vectors = np.empty((len(exemplars), self._embedder.dimensions), dtype=np.float32)
        for start in range(0, len(exemplars), _CHUNK // 4):
            part = slice(start, start + _CHUNK // 4)
            vectors[part] = self._embedder.embed([e.text for e in exemplars[part]])
            if progress is not None:
                progress(min(start + _CHUNK // 4, len(exemplars)), len(exemplars))
        numbered = [replace(e, id=number) for number, e in enumerate(exemplars, start=1)]
        policy = self._policy()
        arrays, manifest = fit(numbered, vectors, policy=policy).to_arrays()
        return vectors, arrays, lambda ids: manifest | _rests_on(ids, policy)


def _rests_on(ids: Sequence[int], policy: Policy) -> dict[str, Any]:
    """What a model's manifest says of the exemplars and the policy that it was fitted on."""
    recent = Taken(ids).without
    return {"exemplars": len(ids), "newest_exemplar": max(ids), "recent_exemplars": recent, "voting": voting(policy)}
