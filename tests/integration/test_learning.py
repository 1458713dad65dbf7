"""Labels are learned from at once, fitted anew in the background, and shared by every instance."""
from __future__ import annotations

from dataclasses import replace

import pytest

from engine import policy as policies
from engine import refit
from engine.bootstrap import Engine
from engine.domain import Department, Limits, Policy, TicketDraft
from engine.outcome import Outcome
from engine.refit import Refitter

TEXT = "the zorble on my quux needs a new frobnicator"


@pytest.fixture
def console(idle: Engine) -> Engine:
    return idle


def teach(console, count: int, department: str = "Sales") -> None:
    for number in range(count):
        decision = console.router.route(TicketDraft(body=f"{TEXT}, model {'abcdefghijklmnopqrstuvwxyz'[number]}"))
        console.router.review(Outcome(ticket_id=decision.ticket_id, department=department, labelled_by="test"))


def refitter(console) -> Refitter:
    trainer = console.trainer
    return Refitter(
        train=trainer.train, exemplars=console.exemplars, models=trainer._models, policy=console.policies.live,
        embedder=trainer._embedder.name, log=console.log,
    )


def test_a_label_changes_what_every_instance_has_learned_within_one_refresh(build) -> None:
    one, other = build(working=False), build(working=False)
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


def test_a_policy_under_which_neighbours_vote_otherwise_starts_a_fit_under_that_policy(console) -> None:
    """The console's own trainer and refitter: a fit that used anything but the live policy would stay due for ever."""
    worker = refitter(console)
    names = [d.name for d in console.taxonomy.departments()]
    before = console.state.current().model.calibrators["cached"]
    policies.save(replace(Policy(), accuracy=0.75), console.policies, departments=names, author="m", reason="another bar")
    assert not worker.due()
    policies.save(replace(Policy(), neighbours=1, similarity=0.5), console.policies, departments=names, author="m", reason="one is enough")
    assert worker.due()
    assert worker.refit_when_due() is not None
    assert not worker.due()
    console.state.refresh()
    after = console.state.current().model.calibrators["cached"]
    assert after.labels > before.labels, "one neighbour at 0.5 answers more than five at 0.7"
    for limits, due in (({names[0]: Limits(accuracy=0.9, confidence=0.9)}, False), ({names[0]: Limits(similarity=1.0)}, True)):
        policies.save(replace(console.policies.live(), limits=limits), console.policies, departments=names, author="m", reason="for one department")
        assert worker.due() is due
    assert worker.refit_when_due() is not None
    assert not worker.due()
    console.state.refresh()
    assert console.state.current().model.calibrators["cached"].labels < after.labels


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


def test_a_model_that_another_version_put_in_force_is_left_alone_and_everything_else_is_followed(console) -> None:
    """As in a rolling upgrade: the instance that cannot read the new model keeps its own and follows departments and labels."""
    from sqlalchemy import text

    number = console.state.current().model.number
    newer = console.trainer.train()
    with console.decisions._engine.begin() as connection:
        connection.execute(text("update models set manifest = jsonb_set(manifest, '{version}', '99') where number = :number"), {"number": newer})
    console.taxonomy.save([Department("Late", "came later")])
    assert console.state.refresh()
    state = console.state.current()
    assert ("Late" in state.live, state.model.number) == (True, number)
    teach(console, 1)
    assert console.state.refresh()
    assert console.state.current().versions["model"] == f"{number}+1"
    again = console.trainer.train()
    assert console.state.refresh()
    assert console.state.current().model.number == again
