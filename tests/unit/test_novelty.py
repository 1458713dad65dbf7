"""Telling tickets of no known department from the known ones."""
from __future__ import annotations

import json
import zlib
from collections.abc import Sequence

import numpy as np
import pytest

from engine import rehearsal, scope
from engine.classifier import Classifier
from engine.kernel import SHARPNESS, nearest, surroundings
from engine.novelty import CAPS, SIGNALS, Assurance, Typical
from engine.scores import Ranking
from engine.selective import auroc

NAMES = [f"department {i}" for i in range(12)]
COMMON = ["please", "help", "my", "the", "today", "hello", "again", "why", "with", "how"]


def embed(texts: Sequence[str]) -> np.ndarray:
    vectors = np.full((len(texts), 48), 1e-3, np.float32)
    for row, text in enumerate(texts):
        for word in text.split():
            vectors[row] += np.random.default_rng(zlib.crc32(word.encode())).normal(size=48)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def tickets(count: int, *, seed: int, names: Sequence[str] = NAMES) -> tuple[list[str], list[str]]:
    """Each department has six words of its own and shares two with the next one."""
    rng = np.random.default_rng(seed)
    labels = [names[i % len(names)] for i in range(count)]
    texts = []
    for label in labels:
        number = NAMES.index(label)
        own = [f"w{number}x{i}" for i in range(6)] + [f"w{(number + 1) % 12}x{i}" for i in range(2)]
        texts.append(" ".join([*rng.choice(own, 3), *rng.choice(COMMON, 4)]))
    return texts, labels


@pytest.fixture(scope="module")
def learned() -> Classifier:
    texts, labels = tickets(480, seed=0, names=NAMES[:8])
    return Classifier.fit(texts, embed(texts), labels)


def test_tickets_of_departments_nobody_has_seen_get_a_low_confidence(learned: Classifier) -> None:
    texts, labels = tickets(360, seed=5)
    known = np.array([label in NAMES[:8] for label in labels])
    found = learned.predict(texts, embed(texts))
    shown = scope.fit_calibrator(learned.out_of_fold).probability(found.features)
    assert found.features.shape == (360, 1)
    assert auroc(shown, known) > 0.9
    assert shown[~known].mean() < shown[known].mean() - 0.3
    without = np.zeros_like(embed(texts))
    words_alone = learned.predict(texts, without).features
    assert auroc(scope.fit_calibrator(learned.lexical_out_of_fold).probability(words_alone), known) > 0.8


def test_assurance_never_falls_when_a_signal_rises(learned: Classifier) -> None:
    for head in (learned.main, learned.lexical):
        assert head.assurance is not None
        assert (head.assurance.slopes >= 0).all() and head.assurance.slopes.any()
        low = np.random.default_rng(0).normal(size=(50, SIGNALS))
        high = low + np.random.default_rng(1).exponential(size=(50, SIGNALS))
        assert (head.assurance.of(high) >= head.assurance.of(low)).all()


@pytest.mark.parametrize(("departments", "rows"), [(rehearsal.FEWEST_DEPARTMENTS - 1, 400), (8, rehearsal.FEWEST_ROWS - 1)])
def test_with_too_few_departments_or_tickets_the_plain_features_are_calibrated(departments: int, rows: int) -> None:
    texts, labels = tickets(rows + 100, seed=2, names=NAMES[:departments])
    distinct = list(dict.fromkeys(zip(texts, labels, strict=True)))[:rows]
    texts, labels = [text for text, _ in distinct], [label for _, label in distinct]
    classifier = Classifier.fit(texts, embed(texts), labels)
    assert classifier.main.assurance is None
    assert classifier.predict(texts[:5], embed(texts[:5])).features.shape == (5, 3)
    assert classifier.out_of_fold.features.shape == (len(texts), 3)


def test_a_known_ticket_is_compared_with_the_others_of_its_class() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(30) % 3
    scores = rng.normal(size=(30, 3)).astype(np.float32) + 3.0 * np.eye(3, dtype=np.float32)[labels]
    around = rng.normal(size=(30, 3))
    others = np.arange(30) != 4
    whole, without = Typical.of(scores, labels), Typical.of(scores[others], labels[others])
    ranking = Ranking.of(scores, np.arange(3), sharpness=1.0)
    assert ranking.topic[4] == labels[4]
    taken_out = whole.signals(scores, ranking, around, labels=labels)[4, 6]
    truth = without.signals(scores, ranking, around)[4, 6]
    assert taken_out == pytest.approx(truth, abs=0.05)
    assert taken_out != pytest.approx(whole.signals(scores, ranking, around)[4, 6], abs=1e-4)


def test_a_topic_that_is_left_out_says_nothing() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 4
    scores = rng.normal(size=(40, 4)).astype(np.float32) + 3.0 * np.eye(4, dtype=np.float32)[labels]
    typical = Typical.of(scores, labels)
    left_out = scores.copy()
    left_out[:, 3] = -np.inf
    found = typical.signals(left_out, Ranking.of(left_out, np.arange(4), sharpness=1.0), np.zeros((40, 3)))
    assert np.isfinite(found).all()


def test_the_lead_over_the_surroundings_is_what_it_says() -> None:
    similarities = np.array([[0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0, -0.1]])
    kernel = np.exp(SHARPNESS * (similarities - 1.0)).astype(np.float32)
    found, near = nearest(kernel)
    np.testing.assert_array_equal(found, [np.arange(10)])
    np.testing.assert_allclose(near, similarities[:, :10], atol=1e-6)
    crowding = np.linspace(0.9, 0.4, 11).astype(np.float32)
    around = surroundings(found, near, crowding)
    np.testing.assert_allclose(around, [[0.8, 0.7 - crowding[:5].mean(), 0.45 - crowding[:10].mean()]], atol=1e-6)
    few = surroundings(*nearest(kernel[:, :2]), crowding)
    np.testing.assert_allclose(few, [[0.85, 0.85 - crowding[:2].mean(), 0.85 - crowding[:2].mean()]], atol=1e-6)


def test_what_is_stored_comes_back_and_an_older_kind_is_refused() -> None:
    rng = np.random.default_rng(0)
    made = Assurance(rng.random((1 + len(CAPS), SIGNALS)), rng.normal(size=(len(CAPS), SIGNALS)), -0.5)
    again = Assurance.from_json(json.loads(json.dumps(made.to_json())))
    assert again is not None and again.offset == made.offset
    some = rng.normal(size=(5, SIGNALS))
    np.testing.assert_array_equal(again.of(some), made.of(some))
    assert Assurance.from_json(None) is None
    with pytest.raises(ValueError, match="fit it again"):
        Assurance.from_json({"slopes": [[1.0]], "caps": [], "offset": 0.0})


def test_new_departments_taken_in_later_leave_every_array_in_step(learned: Classifier) -> None:
    texts, labels = tickets(24, seed=9, names=NAMES[10:])
    after = learned.refreshed(texts, embed(texts), labels)
    for head in (after.main, after.lexical):
        assert head.crowding.shape == (len(after.landmarks),) and np.isfinite(head.crowding).all()
        assert head.typical.means.shape == (10, 10) and head.typical.spread.shape == head.typical.counts.shape == (10,)
    back = Classifier.from_arrays(*after.to_arrays())
    new, _ = tickets(10, seed=11)
    np.testing.assert_array_equal(back.predict(new, embed(new)).features, after.predict(new, embed(new)).features)


def test_with_one_ticket_a_department_nothing_can_be_left_out_and_the_router_learns_all_the_same() -> None:
    """300 departments of one ticket each: what is not learned is unknown, so there is nobody to tell strangers from."""
    vectors = np.random.default_rng(3).normal(size=(300, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    texts = [f"ticket {number} about thing {7 * number}" for number in range(300)]
    classifier = Classifier.fit(texts, vectors, [f"department {number}" for number in range(300)])
    assert classifier.main.assurance is None
    found = classifier.predict(texts[:5], vectors[:5])
    assert [found.departments[best] for best in found.best] == [f"department {number}" for number in range(5)]
