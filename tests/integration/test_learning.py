"""Labels are learned from at once, fitted anew in the background, and shared by every instance."""
from __future__ import annotations

from engine import refit
from engine.domain import Outcome, TicketDraft
from engine.refit import Refitter

TEXT = "the zorble on my quux needs a new frobnicator"


def teach(console, count: int, department: str = "Sales") -> None:
    for number in range(count):
        decision = console.router.route(TicketDraft(body=f"{TEXT}, model {'abcdefghijklmnopqrstuvwxyz'[number]}"))
        console.router.review(Outcome(ticket_id=decision.ticket_id, department=department, labelled_by="test"))


def refitter(console) -> Refitter:
    trainer = console.trainer
    return Refitter(
        train=trainer.train, exemplars=console.exemplars, models=trainer._models, embedder=trainer._embedder.name, log=console.log
    )


def test_a_label_changes_what_every_instance_has_learned_within_one_refresh(build) -> None:
    one, other = build(), build()
    before = other.state.current()
    teach(one, 3)
    assert other.state.refresh()
    after = other.state.current()
    assert after.versions["model"] == f"{before.model.number}+3"
    assert after.epoch == before.epoch
    texts, vectors = [TEXT], list(other.trainer._embedder.embed([TEXT]))
    was, now = (state.model.predict(texts, vectors, live=state.live)[0] for state in (before, after))
    assert now.scores["Sales"] > was.scores["Sales"]


def test_enough_labels_make_a_new_model_in_the_background_and_the_next_ones_start_from_it(console, monkeypatch) -> None:
    monkeypatch.setattr(refit, "FEWEST_NEW", 3)
    monkeypatch.setattr(refit, "NEW_SHARE", 0.0)
    worker = refitter(console)
    assert not worker.due()
    teach(console, 3)
    number = worker.refit_when_due()
    assert number is not None
    assert not worker.due()
    console.state.refresh()
    assert console.state.current().versions["model"] == str(number)
    assert console.router.route(TicketDraft(body=TEXT)).department == "Sales"


def test_only_one_instance_fits_at_a_time(console, monkeypatch) -> None:
    monkeypatch.setattr(refit, "FEWEST_NEW", 1)
    monkeypatch.setattr(refit, "NEW_SHARE", 0.0)
    teach(console, 1)
    with console.trainer._models.alone() as mine:
        assert mine
        assert refitter(console).refit_when_due() is None


def test_calibration_counts_reviewed_tickets_that_chance_chose(console) -> None:
    teach(console, 4)
    console.trainer.train()
    console.state.refresh()
    assert console.state.current().model.calibrators["learned"].labels == 4


def test_a_stored_model_that_this_version_cannot_read_is_fitted_anew_at_the_start(build) -> None:
    from sqlalchemy import text

    first = build()
    number = first.state.current().model.number
    with first.decisions._engine.begin() as connection:
        connection.execute(text("update models set manifest = jsonb_set(manifest, '{classifier,version}', '0')"))
    assert build().state.current().model.number > number
