"""What the evaluate command computes, and which data it takes or refuses."""
from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Sequence

import numpy as np
import pytest

from engine import evaluation, labelled_csv
from engine.errors import ImportRejected, InputRejected
from engine.labelled_csv import LabelledTickets
from engine.promise import crossed_confidence

WORDS = {"cards": ["card", "lost", "chip"], "transfers": ["transfer", "iban", "late"], "loans": ["loan", "rate", "house"]}


def embed(texts: Sequence[str]) -> np.ndarray:
    vectors = np.full((len(texts), 24), 1e-3, np.float32)
    for row, text in enumerate(texts):
        for word in text.lower().split()[:50]:
            vectors[row] += np.random.default_rng(zlib.crc32(word.encode())).normal(size=24)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def data(count: int, *, seed: int = 0, noise: float = 0.0) -> LabelledTickets:
    rng = np.random.default_rng(seed)
    names = list(WORDS)
    labels = [names[i % 3] for i in range(count)]
    texts = [
        " ".join([*rng.choice(WORDS[label], 2), *rng.choice(["my", "please", "why", "help"], 2), f"n{i}"])
        for i, label in enumerate(labels)
    ]
    shown = [names[int(rng.integers(3))] if rng.random() < noise else label for label in labels]
    return LabelledTickets(tuple(texts), tuple(shown), {})


def run(train: LabelledTickets, test: LabelledTickets, **options: object) -> evaluation.Evaluation:
    return evaluation.evaluate(train, test, embed=embed, **options)


def quality(found: evaluation.Evaluation) -> str:
    values = found.to_json()
    return json.dumps({name: value for name, value in values.items() if "seconds" not in name and "ms_" not in name}, sort_keys=True)


def test_easy_data_is_learned_and_the_json_has_what_readers_expect() -> None:
    found = run(data(300), data(90, seed=1))
    values = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert values["accuracy"] > 0.98
    expected = {"accuracy", "ece", "coverage", "classes", "train_rows", "test_rows", "guarantee", "confusion", "ms_per_ticket", "skipped"}
    assert expected <= set(values)
    assert list(values["coverage"]) == ["0.90", "0.95", "0.97", "0.98", "0.99"]
    assert (values["classes"], values["train_rows"], values["test_rows"]) == (3, 300, 90)


def test_the_same_input_twice_gives_the_same_quality_byte_for_byte() -> None:
    train, test = data(150, noise=0.2), data(60, seed=1, noise=0.2)
    assert quality(run(train, test)) == quality(run(train, test))


def test_confidence_stays_true_when_labels_are_noisy() -> None:
    found = run(data(1200, noise=0.2), data(900, seed=1, noise=0.2))
    assert found.mean_confidence == pytest.approx(found.accuracy, abs=0.04)
    assert found.ece < 0.06


def test_coverage_falls_as_the_target_rises() -> None:
    found = run(data(400, noise=0.1), data(300, seed=1, noise=0.1))
    shares = list(found.coverage.values())
    assert shares == sorted(shares, reverse=True)


def test_a_target_out_of_reach_is_not_promised_and_says_why() -> None:
    found = run(data(60, noise=0.3), data(60, seed=1, noise=0.3), targets=(0.99,))
    promise = found.guarantee[0]
    assert promise.threshold is None and promise.coverage == 0.0 and promise.accuracy is None
    assert "more" in promise.reason


def test_labels_that_have_nothing_to_do_with_the_texts_are_shown_as_chance_and_no_target_asks_for_more_of_them() -> None:
    found = run(data(600, noise=1.0), data(300, seed=1, noise=1.0))
    assert found.mean_confidence == pytest.approx(1 / 3, abs=0.08)
    for promise in found.guarantee:
        assert promise.threshold is None and promise.reason.endswith("on the 600 reviewed tickets; more would not help."), promise.reason


def test_a_kept_promise_reaches_its_target_on_the_test_rows() -> None:
    found = run(data(900), data(300, seed=1), targets=(0.9,))
    promise = found.guarantee[0]
    assert promise.threshold is not None and promise.kept and promise.accuracy is not None and promise.accuracy >= 0.9


@pytest.mark.parametrize(("train", "test"), [(40, 300), (150, 20), (150, 61), (400, 45)])
def test_what_a_stricter_target_needs_is_enough_for_a_looser_one(train: int, test: int) -> None:
    found = run(data(train, noise=0.04), data(test, seed=1, noise=0.04), targets=tuple(np.linspace(0.8, 0.99, 20)))
    looser: evaluation.Promise | None = None
    for promise in found.guarantee:
        if looser is not None and promise.threshold is not None:
            assert looser.threshold is not None and looser.threshold <= promise.threshold
        if looser is not None and looser.threshold is None and "more" in promise.reason and promise.threshold is None:
            assert needed(looser.reason) <= needed(promise.reason)
        looser = promise


def needed(reason: str) -> float:
    """How many more labels a sentence asks for."""
    number = re.search(r"([\d,]+) more", reason)
    return float(number[1].replace(",", "")) if number else math.inf


def test_labels_that_training_lacks_count_as_wrong_and_are_named() -> None:
    test = data(30, seed=1)
    changed = LabelledTickets(test.texts, ("weather",) * 10 + test.labels[10:], {})
    found = run(data(300), changed)
    assert found.unseen_labels == {"weather": 10}
    assert found.accuracy == pytest.approx(20 / 30, abs=0.05)
    assert not found.correct[:10].any()


def test_departments_are_judged_where_parents_are_given() -> None:
    parents = {"cards": "Bank", "transfers": "Bank", "loans": "Credit"}
    found = run(data(120), data(60, seed=1), parents=parents)
    assert found.departments == 2 and found.classes == 3
    assert {right for right, _, _ in found.confusion} <= {"Bank", "Credit"}
    with pytest.raises(InputRejected, match="'transfers'"):
        run(data(120), data(60, seed=1), parents={"cards": "Bank", "loans": "Credit"})


def test_a_new_label_of_a_known_department_can_be_answered_and_only_others_are_said_to_count_as_wrong() -> None:
    parents = {"cards": "Bank", "transfers": "Bank", "loans": "Credit", "chips": "Bank", "weather": "Elsewhere"}
    test = data(30, seed=1)
    found = run(data(300), LabelledTickets(test.texts, ("chips", *test.labels[1:29], "weather"), {}), parents=parents)
    assert found.unseen_labels == {"chips": 1, "weather": 1}
    assert (found.unanswerable, found.to_json()["unanswerable_test_rows"]) == (1, 1)
    assert found.correct[0] and not found.correct[29]


def test_confusion_counts_the_mistakes() -> None:
    found = run(data(300, noise=0.3), data(300, seed=1, noise=0.3))
    assert sum(count for _, _, count in found.confusion) == int((~found.correct).sum())
    assert all(right != answered for right, answered, _ in found.confusion)


def test_the_fewest_rows_one_example_classes_duplicates_and_long_texts_are_taken() -> None:
    texts = ("card lost", "card lost", "loan " * 20_000, "银行卡丢了", "transfer late")
    train = LabelledTickets(texts, ("cards", "cards", "loans", "cards", "transfers"), {"no text": 2})
    found = run(train, LabelledTickets(("card lost",), ("cards",), {}))
    assert (found.train_rows, found.duplicates, found.repeated) == (5, 1, 1)
    assert found.skipped["train"] == {"no text": 2}
    assert 0.0 <= found.confidence[0] <= 1.0


@pytest.mark.parametrize("share", [0.6, 0.9])
def test_repeated_texts_with_contradicting_labels_are_answered_with_the_commoner_and_shown_as_sure_as_that_is(share: float) -> None:
    """Half of all tickets are ten texts, each given two labels."""
    rng = np.random.default_rng(5)
    names, often = list(WORDS), [f"{word} status" for word in ("card", "chip", "transfer", "iban", "loan", "rate", "house", "late", "lost", "my")]

    def drawn(count: int, seed: int) -> LabelledTickets:
        single = data(count, seed=seed)
        place = rng.integers(len(often), size=count)
        labels = [names[(i + (rng.random() > share)) % 3] for i in place]
        order = rng.permutation(2 * count)
        texts, given = (*single.texts, *(often[i] for i in place)), (*single.labels, *labels)
        return LabelledTickets(tuple(texts[i] for i in order), tuple(given[i] for i in order), {})

    test = drawn(300, 2)
    found = run(drawn(400, 1), test)
    assert found.accuracy > (1 + share) / 2 - 0.05, "the commoner label is the best that can be said"
    again = np.array([text in often for text in test.texts])
    assert found.confidence[again].mean() == pytest.approx(share, abs=0.06)
    assert found.confidence[~again].mean() == pytest.approx(found.correct[~again].mean(), abs=0.06)
    given = [promise for promise in found.guarantee if promise.threshold is not None]
    assert given and all(promise.kept for promise in given)
    assert found.contradicting == 400 and found.to_json()["contradicting_training_rows"] == 400


@pytest.mark.parametrize("times", [2, 5])
def test_a_file_that_holds_each_ticket_several_times_promises_no_more(times: int) -> None:
    train, test = data(300, noise=0.1), data(300, seed=1, noise=0.1)
    once, often = run(train, test), run(LabelledTickets(train.texts * times, train.labels * times, {}), test)
    assert often.duplicates == 300 * (times - 1)
    assert often.held_out_accuracy == pytest.approx(once.held_out_accuracy, abs=0.01)
    assert often.mean_confidence == pytest.approx(once.mean_confidence, abs=0.01)
    assert [promise.threshold is None for promise in often.guarantee] == [promise.threshold is None for promise in once.guarantee]


def test_a_text_that_stands_in_the_training_is_shown_as_sure_as_its_copies_agree() -> None:
    """100 texts, three copies each that always agree, with labels that have nothing to do with the words."""
    rng = np.random.default_rng(3)
    single, canned = data(300), [f"request {i} form" for i in range(100)]
    meant = [list(WORDS)[i] for i in rng.integers(3, size=100)]
    train = LabelledTickets((*single.texts, *canned * 3), (*single.labels, *meant * 3), {})
    found = run(train, LabelledTickets(tuple(canned), tuple(meant), {}))
    assert (found.accuracy, found.repeated) == (1.0, 100)
    assert found.mean_confidence > 0.97
    fresh = run(train, LabelledTickets(tuple(f"request {i} form" for i in range(100, 200)), tuple(list(WORDS)[i % 3] for i in range(100)), {}))
    assert fresh.mean_confidence < 0.6, "of such texts that are new nothing is known"


def test_departments_with_one_example_each_do_not_make_the_confidence_nothing() -> None:
    some = data(300, seed=3)
    one_each = LabelledTickets(*(tuple(values[:3]) for values in (some.texts, some.labels)), {})
    more = tuple(f"subject{i} matter{i}" for i in range(20))
    train = LabelledTickets((*one_each.texts, *more), (*one_each.labels, *(f"class {i}" for i in range(20))), {})
    found = run(train, data(60, seed=1))
    assert found.lone == 23 and found.held_out_accuracy == 0.0
    assert 0.3 < found.mean_confidence < 0.7, "nothing is known, which is neither right nor wrong"
    assert all(promise.threshold is None for promise in found.guarantee)

    few = LabelledTickets((*some.texts, *more[:10]), (*some.labels, *(f"class {i}" for i in range(10))), {})
    assert run(few, data(60, seed=1)).lone == 10


def test_five_hundred_classes_are_taken() -> None:
    texts = tuple(f"subject{i} matter{i} {word}" for i in range(500) for word in ("one", "two"))
    labels = tuple(f"class {i}" for i in range(500) for _ in range(2))
    found = run(LabelledTickets(texts, labels, {}), LabelledTickets(("subject7 matter7 please",), ("class 7",), {}))
    assert found.classes == 500 and found.accuracy == 1.0


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (("a", "b", "a", "b"), "5 to 100,000"),
        (("a",) * 6, "found 1"),
        (tuple(f"c{i}" for i in range(501)), "found 501"),
    ],
)
def test_data_that_cannot_be_learned_is_refused_with_the_number_found(labels: tuple[str, ...], message: str) -> None:
    train = LabelledTickets(tuple(f"text {i}" for i in range(len(labels))), labels, {})
    with pytest.raises(InputRejected, match=message):
        run(train, data(3))


def test_no_test_rows_are_refused() -> None:
    with pytest.raises(InputRejected, match="test rows"):
        run(data(30), LabelledTickets((), (), {}))


def test_crossed_confidence_gives_every_row_a_probability() -> None:
    from engine.classifier import Classifier

    train = data(100, noise=0.1)
    held_out = Classifier.fit(train.texts, embed(train.texts), train.labels).out_of_fold
    shown = crossed_confidence(held_out)
    assert shown.shape == held_out.correct.shape and ((shown > 0) & (shown < 1)).all()
    np.testing.assert_array_equal(shown, crossed_confidence(held_out))


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_labelled_csv_is_read_with_its_usual_separators(separator: str) -> None:
    content = f'\ufefftext{separator}category\r\n"lost, my card"{separator}cards\r\n<b>rate</b>{separator}loans\r\n'.encode()
    found = labelled_csv.read(content, name="a.csv")
    assert found.texts == ("lost, my card", "rate") and found.labels == ("cards", "loans")


@pytest.mark.parametrize("label", ["Caf\u00e9 loans", "Cafe\u0301 loans", "Caf\u00e9  loans", " Caf\u00e9\u00a0loans "])
def test_a_label_is_the_same_however_it_is_written(label: str) -> None:
    assert labelled_csv.read(f"text,category\nmy rate,{label}\n".encode(), name="a.csv").labels == ("Caf\u00e9 loans",)
    found = labelled_csv.parents(json.dumps({label: label}).encode(), name="p.json")
    assert found == {"Caf\u00e9 loans": "Caf\u00e9 loans"}


def test_columns_of_a_labelled_csv_are_found_with_capital_letters_as_well() -> None:
    found = labelled_csv.read(b"Text,Category\nmy bill,Bills\n", name="a.csv")
    assert (found.texts, found.labels) == (("my bill",), ("Bills",))
    assert labelled_csv.read(b"WORDS,Right\nmy bill,Bills\n", name="a.csv", text_column="Words", label_column="right ").labels == ("Bills",)


def test_rows_without_text_or_label_are_left_out_and_counted() -> None:
    found = labelled_csv.read(b"id,text,category\n1,,cards\n2,hello,\n3, ,\n4,hello,cards\n5,short\n6,longer, \n", name="a.csv")
    assert found.texts == ("hello",)
    assert found.skipped == {"no label": 3, "no text": 2}


def test_other_column_names_are_taken_and_a_missing_one_is_named_with_those_found() -> None:
    assert labelled_csv.read(b"body,dept\nhi,a\n", name="a.csv", text_column="body", label_column="dept").labels == ("a",)
    with pytest.raises(ImportRejected, match="the columns text, category are missing; found body, dept"):
        labelled_csv.read(b"body,dept\nhi,a\n", name="a.csv")


def test_a_text_of_a_megabyte_is_read() -> None:
    assert len(labelled_csv.read(b"text,category\n" + b"word " * 200_000 + b",cards\n", name="a.csv").texts[0]) > 900_000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"text,category\nhi\x00,a\n", "binary"),
        (b"text,category\nhi,a\n\xff\xfe,b\n", "line 3"),
        (b'text,category\n"hi,a\n', "not a valid CSV"),
        (b"", "an empty file"),
        (b"text,category\nhi,a\nlost, my card,b\n", "line 3: 3 cells, 2 columns; put the text in quotes"),
        (b"text,category,category\nhi,a,b\n", "the column category is there twice"),
        (b"text,category\n,\n", "no row"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(content: bytes, message: str) -> None:
    with pytest.raises(ImportRejected, match=message):
        labelled_csv.read(content, name="a.csv")
