"""The learned router: what it learns, what it refuses, and what must not change its answers."""
from __future__ import annotations

import io
import json
import zlib
from collections.abc import Sequence

import numpy as np
import pytest

from engine import ridge, scope
from engine.classifier import Classifier
from engine.errors import InputRejected
from engine.kernel import Landmarks, blend

SUBJECTS = {
    "lost card": ["card", "lost", "stolen", "wallet"],
    "new card": ["card", "order", "new", "delivery"],
    "late transfer": ["transfer", "late", "pending", "waiting"],
    "refund": ["refund", "money", "back", "shop"],
}
PARENTS = {"lost card": "Cards", "new card": "Cards", "late transfer": "Payments", "refund": "Payments"}


def embed(texts: Sequence[str]) -> np.ndarray:
    """A bag of words in 32 dimensions: near enough to an embedding for texts of these few words."""
    vectors = np.full((len(texts), 32), 1e-3, np.float32)
    for row, text in enumerate(texts):
        for word in text.lower().split():
            vectors[row] += np.random.default_rng(zlib.crc32(word.encode())).normal(size=32)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def tickets(count: int, *, seed: int = 0) -> tuple[list[str], list[str]]:
    rng = np.random.default_rng(seed)
    labels = [list(SUBJECTS)[i % len(SUBJECTS)] for i in range(count)]
    filler = ["please", "help", "my", "the", "today", "hello", "again", "why"]
    texts = [
        " ".join([*rng.permutation(SUBJECTS[label])[:3], *rng.permutation(filler)[:3], str(i)]) for i, label in enumerate(labels)
    ]
    return texts, labels


@pytest.fixture(scope="module")
def fitted() -> Classifier:
    texts, labels = tickets(120)
    return Classifier.fit(texts, embed(texts), labels, parents=PARENTS)


def said(classifier: Classifier, texts: Sequence[str], **options: object) -> list[str]:
    found = classifier.predict(texts, embed(texts), **options)
    return [found.departments[best] for best in found.best]


def test_new_tickets_reach_their_department_and_topic(fitted: Classifier) -> None:
    texts, labels = tickets(60, seed=9)
    found = fitted.predict(texts, embed(texts))
    assert said(fitted, texts) == [PARENTS[label] for label in labels]
    assert list(found.topics) == labels


def test_scores_are_shares_of_one_and_the_best_has_the_largest(fitted: Classifier) -> None:
    texts, _ = tickets(20, seed=3)
    found = fitted.predict(texts, embed(texts))
    np.testing.assert_allclose(found.scores.sum(axis=1), 1.0, atol=1e-9)
    np.testing.assert_array_equal(found.scores.argmax(axis=1), found.best)
    assert np.isfinite(found.features).all() and found.features.shape == (20, 3)


def test_a_retired_department_is_never_answered(fitted: Classifier) -> None:
    texts, _ = tickets(20, seed=4)
    found = fitted.predict(texts, embed(texts), live={"Payments"})
    assert found.departments == ("Payments",)
    assert (found.best == 0).all() and (found.scores.sum(axis=1) <= 1.0).all()
    with pytest.raises(InputRejected, match="none of the live ones"):
        fitted.predict(texts, embed(texts), live={"Unknown"})


def test_one_ticket_alone_gets_what_it_gets_in_a_batch(fitted: Classifier) -> None:
    texts, _ = tickets(15, seed=5)
    together = fitted.predict(texts, embed(texts))
    for row, text in enumerate(texts):
        alone = fitted.predict([text], embed([text]))
        np.testing.assert_allclose(alone.features[0], together.features[row], atol=1e-3)


def test_permuting_the_names_of_departments_and_topics_changes_nothing(fitted: Classifier) -> None:
    texts, labels = tickets(120)
    renamed = {"lost card": "z", "new card": "a", "late transfer": "m", "refund": "b"}
    parents = {"z": "Payments", "a": "Payments", "m": "Cards", "b": "Cards"}
    other = Classifier.fit(texts, embed(texts), [renamed[label] for label in labels], parents=parents)
    new, _ = tickets(40, seed=6)
    np.testing.assert_array_equal(other.predict(new, embed(new)).features, fitted.predict(new, embed(new)).features)
    assert [renamed[topic] for topic in fitted.predict(new, embed(new)).topics] == list(other.predict(new, embed(new)).topics)


def test_permuting_the_rows_leaves_the_answers(fitted: Classifier) -> None:
    texts, labels = tickets(120)
    order = np.random.default_rng(1).permutation(120)
    mixed = [texts[i] for i in order]
    other = Classifier.fit(mixed, embed(mixed), [labels[i] for i in order], parents=PARENTS)
    new, _ = tickets(40, seed=6)
    assert said(other, new) == said(fitted, new)


def test_without_a_vector_the_words_alone_answer(fitted: Classifier) -> None:
    texts, labels = tickets(40, seed=7)
    found = fitted.predict(texts, np.zeros((40, 32), np.float32))
    right = [found.departments[best] == PARENTS[label] for best, label in zip(found.best, labels, strict=True)]
    assert np.mean(right) > 0.9
    assert len(fitted.lexical_out_of_fold.correct) == 120


def test_held_out_predictions_are_those_of_a_fit_without_the_row() -> None:
    texts, labels = tickets(24)
    # One frequency table for both fits: the n-gram weights are part of the input here, not of what is left out.
    whole = Classifier.fit(texts, embed(texts), labels)
    rows = whole.landmarks.rows
    numbers = np.array([list(SUBJECTS).index(label) for label in labels])
    parents = np.arange(4)
    for gone in (0, 7, 23):
        kept = np.delete(np.arange(24), gone)
        landmarks = Landmarks.of(rows[kept])
        fit = ridge.fit_exact(
            blend(*landmarks.similarities(rows[kept])), ridge.targets(numbers[kept], parents), np.ones(23, np.float32), texts=kept, groups=numbers[kept]
        )
        expected = blend(*landmarks.similarities(rows[[gone]])) @ fit.coefficients
        everything = Landmarks.of(rows)
        full = ridge.fit_exact(
            blend(*everything.similarities(rows)), ridge.targets(numbers, parents), np.ones(24, np.float32), texts=np.arange(24), groups=numbers
        )
        np.testing.assert_allclose(full.left_out[gone], expected[0], atol=2e-3)


@pytest.mark.parametrize("sampled", [False, True])
def test_a_text_is_left_out_whole_whatever_labels_it_has(sampled: bool) -> None:
    """Three rows are one text with three labels: each is held out as in a fit without any of them."""
    texts, labels = tickets(40)
    rows = Classifier.fit(texts, embed(texts), labels).landmarks.rows
    alike = np.arange(40)
    alike[[9, 22]] = 5
    rows = rows[alike]
    numbers = np.array([list(SUBJECTS).index(label) for label in labels])
    wanted, weights = ridge.targets(numbers, np.arange(4)), np.linspace(0.3, 3.0, 40, dtype=np.float32)
    kept, gone = np.flatnonzero(alike != 5), np.flatnonzero(alike == 5)
    landmarks = Landmarks.of(rows[np.arange(0, 40, 3)] if sampled else rows)

    def fit(part: np.ndarray) -> ridge.RidgeFit:
        own, numbered = landmarks if sampled else Landmarks.of(rows[part]), {"texts": alike[part], "groups": numbers[part]}
        if sampled:
            return ridge.fit_sampled(rows[part], own, wanted[part], weights[part], dense_share=0.8, **numbered)
        return ridge.fit_exact(blend(*own.similarities(rows[part])), wanted[part], weights[part], **numbered)

    known = landmarks if sampled else Landmarks.of(rows[kept])
    expected = blend(*known.similarities(rows[gone])) @ fit(kept).coefficients
    np.testing.assert_allclose(fit(np.arange(40)).left_out[gone], expected, atol=8e-2 if sampled else 2e-3)
    classifier = Classifier.fit([*texts, *["card please"] * 4], embed([*texts, *["card please"] * 4]), [*labels, *SUBJECTS])
    held_out = classifier.out_of_fold
    assert held_out.share[-4:].tolist() == [0.25] * 4
    np.testing.assert_allclose(held_out.odds[-4:], held_out.odds[-1], atol=1e-3)


def test_a_text_with_two_labels_is_answered_with_the_commoner_whatever_their_classes() -> None:
    texts, labels = tickets(60)
    # The label that the text rarely has is of a class that is rare elsewhere too, which makes each row of it count more.
    keep = [row for row, label in enumerate(labels) if label != "lost card" or row < 24]
    texts, labels = [texts[row] for row in keep], [labels[row] for row in keep]
    for common, rare in ((4, 1), (9, 4), (36, 4), (90, 10), (190, 10), (6, 4)):
        said = texts + ["status please"] * (common + rare)
        meant = labels + ["refund"] * common + ["lost card"] * rare
        found = Classifier.fit(said, embed(said), meant)
        answer = found.predict(["status please"], embed(["status please"]))
        assert answer.departments[answer.best[0]] == "refund", (common, rare)


def test_leaving_a_department_out_gives_what_a_fit_without_it_says() -> None:
    texts, labels = tickets(24)
    rows = Classifier.fit(texts, embed(texts), labels).landmarks.rows
    numbers = np.array([list(SUBJECTS).index(label) for label in labels])
    kept, gone = np.flatnonzero(numbers != 2), np.flatnonzero(numbers == 2)
    everything, some = Landmarks.of(rows), Landmarks.of(rows[kept])
    wanted = ridge.targets(numbers, np.arange(4))
    full = ridge.fit_exact(blend(*everything.similarities(rows)), wanted, np.ones(24, np.float32), texts=np.arange(24), groups=numbers)
    part = ridge.fit_exact(blend(*some.similarities(rows[kept])), wanted[kept], np.ones(len(kept), np.float32), texts=kept, groups=numbers[kept])
    expected = blend(*some.similarities(rows[gone])) @ part.coefficients
    np.testing.assert_allclose(full.alien[gone], expected, atol=2e-3)


def test_a_sample_of_landmarks_that_is_everything_gives_the_exact_fit() -> None:
    texts, labels = tickets(40)
    rows = Classifier.fit(texts, embed(texts), labels).landmarks.rows
    landmarks, ones = Landmarks.of(rows), np.ones(40, np.float32)
    numbers = np.array([list(SUBJECTS).index(label) for label in labels])
    wanted = ridge.targets(numbers, np.arange(4))
    exact = ridge.fit_exact(blend(*landmarks.similarities(rows)), wanted, ones, texts=np.arange(40), groups=numbers)
    sampled = ridge.fit_sampled(rows, landmarks, wanted, ones, texts=np.arange(40), groups=numbers, dense_share=0.8)
    np.testing.assert_allclose(sampled.left_out, exact.left_out, atol=1e-2)
    np.testing.assert_allclose(sampled.alien, exact.alien, atol=5e-2)


def test_leaving_a_group_out_of_a_sampled_fit_gives_what_a_fit_without_it_says() -> None:
    texts, labels = tickets(40)
    rows = Classifier.fit(texts, embed(texts), labels).landmarks.rows
    landmarks = Landmarks.of(rows[np.arange(0, 40, 3)])
    numbers = np.array([list(SUBJECTS).index(label) for label in labels])
    # Rows of one group that count differently: it must be their residuals that are weighed, not what they are told.
    groups, weights = numbers // 2, np.linspace(0.3, 3.0, 40, dtype=np.float32)
    wanted = ridge.targets(numbers, np.arange(4))
    full = ridge.fit_sampled(rows, landmarks, wanted, weights, texts=np.arange(40), groups=groups, dense_share=0.8)
    kept, gone = np.flatnonzero(groups == 0), np.flatnonzero(groups == 1)
    part = ridge.fit_sampled(rows[kept], landmarks, wanted[kept], weights[kept], texts=kept, groups=groups[kept], dense_share=0.8)
    expected = blend(*landmarks.similarities(rows[gone])) @ part.coefficients
    np.testing.assert_allclose(full.alien[gone], expected, atol=8e-2)


def test_more_rows_than_can_be_solved_exactly_are_learned_through_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ridge, "EXACT_ROWS", 100)
    monkeypatch.setattr(ridge, "MOST_LANDMARKS", 40)
    texts, labels = tickets(300)
    classifier = Classifier.fit(texts, embed(texts), labels, parents=PARENTS)
    new, wanted = tickets(60, seed=9)
    assert len(classifier.landmarks) == 40
    assert np.mean([a == PARENTS[b] for a, b in zip(said(classifier, new), wanted, strict=True)]) > 0.95


def test_duplicates_are_one_row_with_more_weight_and_never_see_their_own_answer() -> None:
    texts, labels = tickets(40)
    classifier = Classifier.fit(texts * 3, embed(texts * 3), labels * 3)
    assert len(classifier.out_of_fold.correct) == 40
    assert classifier.rows == 120


def test_a_class_with_one_example_and_the_smallest_data_are_learned() -> None:
    texts = ["card lost", "card stolen", "card gone", "card missing", "refund please"]
    classifier = Classifier.fit(texts, embed(texts), ["Cards"] * 4 + ["Refunds"])
    assert said(classifier, ["refund please", "card lost"]) == ["Refunds", "Cards"]
    # Its only example cannot be known when it is left out.
    assert not classifier.out_of_fold.correct[4]


def test_a_rare_department_is_not_drowned_by_a_large_one() -> None:
    texts, labels = tickets(400)
    kept = [i for i, label in enumerate(labels) if label != "refund" or i < 20]
    chosen = [texts[i] for i in kept]
    classifier = Classifier.fit(chosen, embed(chosen), [labels[i] for i in kept])
    new, wanted = tickets(80, seed=2)
    rare = [text for text, label in zip(new, wanted, strict=True) if label == "refund"]
    assert np.mean([name == "refund" for name in said(classifier, rare)]) > 0.9


def test_a_ticket_unlike_anything_known_gets_a_lower_confidence() -> None:
    texts, labels = tickets(200)
    classifier = Classifier.fit(texts, embed(texts), labels)
    calibrator = scope.fit_calibrator(classifier.out_of_fold)
    strange = ["quantum giraffe opera", "volcano recipe saxophone", "ancient pottery glaze"]
    known, _ = tickets(20, seed=8)
    low = calibrator.probability(classifier.predict(strange, embed(strange)).features)
    high = calibrator.probability(classifier.predict(known, embed(known)).features)
    assert low.max() < 0.7 and high.min() > low.max()


def test_the_calibrator_of_some_rows_does_not_look_at_the_others() -> None:
    texts, labels = tickets(200)
    held_out = Classifier.fit(texts, embed(texts), labels).out_of_fold
    half = np.arange(200) < 100
    assert scope.fit_calibrator(held_out, rows=half).labels < scope.fit_calibrator(held_out).labels


def test_new_tickets_are_taken_in_at_once_also_of_a_new_department(fitted: Classifier) -> None:
    new = ["mortgage house loan rate", "loan for a house", "mortgage rate question"]
    grown = fitted.refreshed(new, embed(new), ["mortgage"] * 3, parents={"mortgage": "Loans"})
    assert said(grown, ["what is the mortgage rate for a house"]) == ["Loans"]
    old, labels = tickets(40, seed=9)
    assert said(grown, old) == [PARENTS[label] for label in labels]
    assert grown.rows == fitted.rows + 3
    assert "Loans" not in fitted.departments


def test_taking_in_nothing_changes_nothing(fitted: Classifier) -> None:
    assert fitted.refreshed([], np.zeros((0, 32), np.float32), []) is fitted


def test_arrays_without_pickle_bring_the_same_classifier_back(fitted: Classifier) -> None:
    arrays, manifest = fitted.to_arrays()
    stored = io.BytesIO()
    np.savez(stored, allow_pickle=False, **arrays)
    stored.seek(0)
    with np.load(stored, allow_pickle=False) as loaded:
        again = Classifier.from_arrays(dict(loaded), json.loads(json.dumps(manifest)))
    new, _ = tickets(30, seed=6)
    np.testing.assert_array_equal(again.predict(new, embed(new)).features, fitted.predict(new, embed(new)).features)
    assert len(again.out_of_fold.correct) == 0


def test_damaged_or_foreign_arrays_are_refused(fitted: Classifier) -> None:
    arrays, manifest = fitted.to_arrays()
    with pytest.raises(ValueError, match="damaged"):
        Classifier.from_arrays(arrays | {"main": arrays["main"] + 1}, manifest)
    with pytest.raises(ValueError, match="fit it again"):
        Classifier.from_arrays(arrays, manifest | {"version": 99})


def test_the_same_rows_give_the_same_arrays() -> None:
    texts, labels = tickets(60)
    first, second = (Classifier.fit(texts, embed(texts), labels).to_arrays()[1]["sha256"] for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("labels", "vectors", "message"),
    [
        (["a", "a", "a"], np.ones((3, 4), np.float32), "at least two departments"),
        (["a", "b"], np.ones((3, 4), np.float32), "one for each"),
        (["a", "b", "c"], np.ones((2, 4), np.float32), "one for each"),
        (["a", "b", "c"], np.full((3, 4), np.nan, np.float32), "NaN"),
    ],
)
def test_input_that_cannot_be_learned_is_refused(labels: list[str], vectors: np.ndarray, message: str) -> None:
    with pytest.raises(InputRejected, match=message):
        Classifier.fit(["one", "two", "three"], vectors, labels)


def test_vectors_of_another_length_are_neither_answered_nor_taken_in(fitted: Classifier) -> None:
    texts, labels = tickets(3)
    for use in (lambda v: fitted.predict(texts, v), lambda v: fitted.refreshed(texts, v, labels)):
        with pytest.raises(InputRejected, match="have length 16, the classifier takes 32"):
            use(np.ones((3, 16), np.float32))
