"""A model from labelled tickets: what its parts rest on, and what is kept apart."""
from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from engine.calibration import Calibrator
from engine.domain import Candidate, Exemplar, Policy, Stage
from engine.model import Prediction, RoutingModel
from engine.ports import LanguageModelAnswer
from engine.training import LANGUAGE_MODEL_PRIOR, cached_evidence, fit

WORDS = {
    ("Cards", "fee"): ["card", "yearly", "price"],
    ("Cards", "lost"): ["card", "stolen", "gone"],
    ("Transfers", "fee"): ["transfer", "abroad", "cost"],
    ("Transfers", "late"): ["transfer", "pending", "days"],
}


def embed(texts: Sequence[str]) -> np.ndarray:
    vectors = np.full((len(texts), 32), 1e-3, np.float32)
    for row, text in enumerate(texts):
        for word in text.split():
            vectors[row] += np.random.default_rng(zlib.crc32(word.encode())).normal(size=32)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def exemplars(count: int = 160, *, seed: int = 0) -> list[Exemplar]:
    rng = np.random.default_rng(seed)
    names = list(WORDS)
    return [
        Exemplar(
            id=i + 1, text=" ".join([*rng.permutation(WORDS[names[i % 4]]), str(rng.choice(["please", "help", "my", "why"])), f"n{i}"]),
            department=names[i % 4][0], topic=names[i % 4][1], source="seed",
        )
        for i in range(count)
    ]


@pytest.fixture(scope="module")
def model() -> RoutingModel:
    known = exemplars()
    return fit(known, embed([e.text for e in known]), policy=Policy())


def test_two_departments_may_use_the_same_word_for_a_topic(model: RoutingModel) -> None:
    new = exemplars(40, seed=7)
    found = model.predict([e.text for e in new], list(embed([e.text for e in new])), live={"Cards", "Transfers"})
    assert [p.best.department for p in found] == [e.department for e in new]
    assert [p.topic for p in found] == [e.topic for e in new]


def test_a_topic_of_another_departments_name_stays_apart_when_it_is_taken_in_later(model: RoutingModel) -> None:
    late = [Exemplar(text=f"branch opening hours saturday n{i}", department="Branches", topic="Cards", source="seed") for i in range(4)]
    after = model.refreshed(late, embed([e.text for e in late]))
    found = after.predict(["branch opening hours"], list(embed(["branch opening hours"])), live={"Cards", "Transfers", "Branches"})
    assert (found[0].best.department, found[0].topic) == ("Branches", "Cards")


def test_a_stored_model_answers_the_same_and_one_of_an_older_format_is_refused(model: RoutingModel) -> None:
    arrays, manifest = model.to_arrays()
    again = RoutingModel.from_arrays(3, arrays, json.loads(json.dumps(manifest)))
    texts = [e.text for e in exemplars(12, seed=3)]
    live = {"Cards", "Transfers"}
    assert again.predict(texts, list(embed(texts)), live=live) == model.predict(texts, list(embed(texts)), live=live)
    with pytest.raises(ValueError, match="fit it again"):
        RoutingModel.from_arrays(3, arrays, {name: value for name, value in manifest.items() if name != "version"})


def test_cached_answers_are_judged_by_what_the_router_says_of_unseen_tickets(model: RoutingModel) -> None:
    known = exemplars()
    vectors = embed([e.text for e in known])
    held_out = model.classifier.out_of_fold
    features, correct, rows = cached_evidence(known, vectors, Policy(similarity=0.5), held_out=held_out)
    assert features.shape == (len(rows), 3) and len(rows) > 20 and correct.all()
    assert set(rows) <= set(range(len(known)))
    assert (features[:, 2] >= np.log(0.95 / 0.05) - 1e-9).all()
    stricter = cached_evidence(known, vectors, Policy(similarity=0.9), held_out=held_out)[2]
    assert set(stricter) < set(rows)


def test_a_cached_answers_confidence_never_falls_when_the_router_is_surer(model: RoutingModel) -> None:
    shown = [model.cached_confidence(np.array([[0.9, 1.0, odds]]), department="Cards") for odds in np.linspace(3, 12, 20)]
    assert shown == sorted(shown)


def asked(count: int, *, agree: float, right: float, seed: int = 0) -> list[Exemplar]:
    """Reviewed tickets that the language model had answered: sure and right with this share, unsure and wrong otherwise."""
    rng = np.random.default_rng(seed)
    made = []
    for e in exemplars(count, seed=seed + 50):
        correct = bool(rng.random() < right)
        other = "Cards" if e.department == "Transfers" else "Transfers"
        made.append(replace(
            e, id=e.id + 1000, text=f"{e.text} again", ticket_id=f"t{e.id}", source="confirmed" if correct else "corrected", weight=1.0,
            method="rag_llm", answered=e.department if correct else other, raw_score=agree if correct else 0.4,
        ))
    return made


def answer(department: str, confidence: float) -> LanguageModelAnswer:
    return LanguageModelAnswer(department=department, raw_confidence=confidence, reason="", second_choice="", prompt_version="1")


def test_without_reviewed_answers_a_language_model_is_believed_as_far_as_the_prior(model: RoutingModel) -> None:
    assert model.language_model_confidence(answer("Cards", 1.0), None) == pytest.approx(LANGUAGE_MODEL_PRIOR, abs=0.01)
    assert model.calibrators["rag_llm"].labels == 0


def test_reviewed_answers_move_what_a_language_model_is_believed_and_the_more_the_further() -> None:
    shown = []
    for count in (0, 12, 120):
        known = exemplars() + asked(count, agree=0.9, right=0.5)
        fitted = fit(known, embed([e.text for e in known]), policy=Policy())
        assert fitted.calibrators["rag_llm"].labels == count
        shown.append(fitted.language_model_confidence(answer("Cards", 0.4), None))
    assert shown[0] > shown[1] > shown[2]
    assert shown[2] < 0.5


def test_a_language_models_confidence_rises_with_its_own_word_and_with_the_learned_routers() -> None:
    known = exemplars() + asked(120, agree=0.9, right=0.6)
    fitted = fit(known, embed([e.text for e in known]), policy=Policy())
    own = [fitted.language_model_confidence(answer("Cards", word), None) for word in np.linspace(0, 1, 21)]
    assert own == sorted(own) and own[-1] > own[0]

    def backed(share: float, best: str) -> float:
        prediction = Prediction(Candidate(best, 0.9), share, "", {best: share})
        return fitted.language_model_confidence(answer("Cards", 0.6), prediction)

    agreeing = [backed(share, "Cards") for share in (0.5, 0.7, 0.9, 0.99, 1.0)]
    denying = [backed(share, "Transfers") for share in (1.0, 0.99, 0.9, 0.7, 0.5)]
    assert denying + agreeing == sorted(denying + agreeing)
    assert agreeing[-1] > denying[0]


def test_answers_that_somebody_looked_at_by_choice_do_not_count() -> None:
    chosen = [replace(e, weight=0.0) for e in asked(40, agree=0.9, right=0.2)]
    known = exemplars() + chosen
    assert fit(known, embed([e.text for e in known]), policy=Policy()).calibrators["rag_llm"].labels == 0


def calibrated_on(known: list[Exemplar], policy: Policy | None = None) -> RoutingModel:
    return fit(known, embed([e.text for e in known]), policy=policy or Policy())


def test_the_learned_router_is_calibrated_on_the_tickets_that_neighbours_leave_to_it() -> None:
    known, open_to_all = exemplars(), Policy(similarity=0.5)
    vectors = embed([e.text for e in known])
    asked_of_all = calibrated_on(known, replace(open_to_all, stages=frozenset(Stage) - {Stage.SEMANTIC}))
    answered = cached_evidence(known, vectors, open_to_all, held_out=asked_of_all.classifier.out_of_fold)[2]
    asked = calibrated_on(known, open_to_all).calibrators["learned"]
    assert isinstance(asked.prior, Calibrator) and asked.prior.labels == len(answered) > 20
    assert asked.labels < asked_of_all.calibrators["learned"].labels
    assert asked_of_all.calibrators["learned"].prior == 0.5


def test_reviewed_repeats_of_a_known_text_count_each_whether_confirmed_or_corrected() -> None:
    known = exemplars()
    repeats = [
        replace(
            e, id=e.id + 1000, ticket_id=f"t{e.id}", weight=1.0, method="learned", answered=e.department,
            **({"source": "confirmed"} if number % 10 else {"source": "corrected", "department": "Branches", "topic": ""}),
        )
        for number, e in enumerate(known[:100])
    ]
    learned = calibrated_on(known + repeats).calibrators["learned"]
    assert learned.labels == 100
    # What neighbours had answered says nothing about the learned router: no layer of reviewed tickets lies on the seeds.
    cached = calibrated_on(known + [replace(e, method="cached") for e in repeats]).calibrators["learned"]
    assert layers(cached) == layers(learned)[1:]


def layers(calibrator: Calibrator) -> list[int]:
    """Labels of the map and of each of its priors."""
    return [calibrator.labels, *(layers(calibrator.prior) if isinstance(calibrator.prior, Calibrator) else [])]


@pytest.mark.parametrize("same", [True, False], ids=["word for word", "identifiers aside"])
def test_a_text_with_two_labels_is_shown_as_sure_as_they_agree_and_labels_given_by_choice_do_not_count(same: bool) -> None:
    """36 of 60 reviewed copies went to Cards, whose label is the newest; 40 more, which somebody overruled by choice, to Transfers."""
    text, live = "please see the form" if same else "please see the form 987654", {"Cards", "Transfers"}

    def copies(count: int, department: str, *, first: int, weight: float = 1.0) -> list[Exemplar]:
        return [
            Exemplar(
                id=first + i, text=text if same else text.replace("987654", str(reference)), department=department, source="confirmed",
                ticket_id=f"T{first + i}", weight=weight, method="fallback", answered="Cards", raw_score=0.5,
            )
            for i, reference in enumerate(range(700_000 + first, 700_000 + first + count))
        ]

    known = exemplars() + copies(36, "Cards", first=1000)
    gone = copies(24, "Transfers", first=2000) + copies(40, "Transfers", first=3000, weight=0.0)
    model = fit(known, embed([e.text for e in known]), policy=Policy(), contradicted=gone)
    arrays, manifest = model.to_arrays()
    for one in (model, RoutingModel.from_arrays(1, arrays, json.loads(json.dumps(manifest)))):
        best = one.predict([text], list(embed([text])), live=live)[0].best
        assert (best.department, best.confidence) == ("Cards", pytest.approx(0.6, abs=0.05))
        sure = np.array([[1.0, 1.0, 20.0]])
        assert one.cached_confidence(sure, department="Cards", labelled=text) == best.confidence
        assert one.cached_confidence(sure, department="Cards") > 0.8
    after = model.refreshed(copies(60, "Transfers", first=4000), embed([text] * 60))
    assert after.cached_confidence(sure, department="Cards", labelled=text) == pytest.approx(36 / 120, abs=0.05)
    by_choice = model.refreshed(copies(60, "Transfers", first=5000, weight=0.0), embed([text] * 60))
    assert by_choice.cached_confidence(sure, department="Cards", labelled=text) == best.confidence
    unaware = fit(known, embed([e.text for e in known]), policy=Policy())
    assert unaware.cached_confidence(sure, department="Cards", labelled=text) > 0.9, "without the labels that are gone"
