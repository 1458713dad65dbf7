"""A taxonomy comes into force whole or not at all, whoever interrupts it, and tickets are routed all the while."""
from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import text

from db import trained
from db.catalogue import Catalogue
from db.exemplars import Exemplars
from db.session import reading, writing
from db.taxonomy import Taxonomy
from db.trained import TrainedModels
from engine import taxonomy_csv
from engine.bootstrap import STARTER
from engine.domain import Automation, Department, Exemplar, Method, Policy, TicketDraft
from engine.errors import ServiceUnavailable, StatementRefused, TaxonomyRejected
from engine.outcome import Outcome
from engine.semantic import CACHED_PRIOR
from engine.training import Trainer
from tests.contract.test_index import wait_until

NEW = [Department("Cats", "all about cats"), Department("Dogs", "all about dogs", triage=True)]
PETS = [
    Exemplar(text=f"my {pet} {does} number {n}", department=f"{pet.title()}s", source="imported")
    for n in range(5) for does in ("sleeps", "runs", "eats") for pet in ("cat", "dog")
]


class Closed(BaseException):
    """Somebody closed the tab: no Exception, as in Streamlit."""


def stored(database) -> dict[str, object]:  # noqa: ANN001
    """All that a replacement touches."""
    with reading(database) as connection:
        return {
            name: connection.execute(text(f"select * from {name} order by 1")).all()  # noqa: S608 - names of this test
            for name in ("departments", "topics", "counters", "exemplars")
        } | {
            "vectors": connection.execute(text("select count(*) from exemplar_vectors")).scalar_one(),
            "models": connection.execute(text("select number, live from models order by number")).all(),
            "audit": connection.execute(text("select count(*) from audit_log")).scalar_one(),
        }


def closing(after: int):  # noqa: ANN201
    def progress(done: int, total: int) -> None:
        if done >= after:
            raise Closed

    return progress


def failing(connection: object) -> None:
    raise ServiceUnavailable("database", "went away at the last moment")


@pytest.mark.parametrize(("broken", "error"), [
    ({"progress": closing(1)}, Closed), ({"progress": closing(len(PETS))}, Closed), ({"also": failing}, ServiceUnavailable),
    ({"exemplars": PETS[::2]}, TaxonomyRejected), ({"departments": [*NEW, Department("x" * 200, "")]}, StatementRefused),
])
def test_whatever_ends_a_replacement_early_leaves_everything_as_it_was(
    console, broken: dict[str, object], error: type[BaseException]
) -> None:
    database = console.decisions._engine
    before = stored(database)
    given = {"departments": NEW, "topics": [], "exemplars": PETS} | broken
    with pytest.raises(error):
        console.trainer.replace(**given)
    assert stored(database) == before
    assert not console.state.refresh()
    assert console.router.route(TicketDraft(body="you took the money twice for my october bill")).department == "Billing and Payments"


def test_an_embedder_that_goes_away_leaves_everything_as_it_was(console, monkeypatch) -> None:
    database = console.decisions._engine
    before = stored(database)

    def away(texts: list[str]) -> np.ndarray:
        raise ServiceUnavailable("embedder", "is away")

    monkeypatch.setattr(console.trainer, "_embedder", type("Away", (), {"dimensions": 384, "name": "m", "embed": staticmethod(away)}))
    with pytest.raises(ServiceUnavailable):
        console.trainer.replace(NEW, [], PETS)
    assert stored(database) == before


def test_a_replacement_is_in_force_at_once_with_its_own_model_and_its_row_in_the_audit_log(console) -> None:
    number = console.trainer.replace(
        NEW, [], PETS, also=lambda c: console.audit.record("ann", "taxonomy_replaced", "taxonomy", "all", connection=c)
    )
    console.state.refresh()
    state = console.state.current()
    assert (state.live, state.model.number) == ({"Cats", "Dogs"}, number)
    assert console.router.route(TicketDraft(body="my cat sleeps a lot")).department == "Cats"
    assert [row.action for row in console.audit.find(limit=1)] == ["taxonomy_replaced"]
    assert console.audit.verify().broken_at is None
    with reading(console.decisions._engine) as connection:
        kept = connection.execute(text("select count(*) from exemplars where active")).scalar_one()
    assert kept == len(PETS)


def test_labels_from_before_a_replacement_do_not_say_how_sure_a_text_is_after_it(console) -> None:
    """Twelve labels of a text name a department that is gone: the next of its tickets cannot go there, so they contradict nothing."""

    def labelled(department: str) -> None:
        decision = console.router.route(TicketDraft(body="my cat sleeps a lot"))
        console.router.review(Outcome(ticket_id=decision.ticket_id, department=department, labelled_by="sue"))

    for _ in range(12):
        labelled("Complaints")
    console.trainer.replace(NEW, [], PETS)
    console.state.refresh()
    labelled("Cats")
    assert console.exemplars.contradicted() == []
    console.trainer.train()
    console.state.refresh()
    assert console.state.current().model.recurring.place == {}
    labelled("Dogs")
    assert [e.department for e in console.exemplars.contradicted()] == ["Cats"], "what was labelled since then is remembered as ever"


def test_a_fit_begun_before_a_replacement_does_not_put_a_model_of_the_old_taxonomy_in_force(console, monkeypatch) -> None:
    """The replacement happens after the fit has read its exemplars; the fit is done again on the new ones."""
    real, replaced = console.exemplars.training_set, []

    def reads() -> tuple[list[Exemplar], np.ndarray]:
        found = real()
        if not replaced:
            replaced.append(console.trainer.replace(NEW, [], PETS))
        return found

    monkeypatch.setattr(console.trainer, "_exemplars", type("Reads", (), {"training_set": staticmethod(reads), "contradicted": staticmethod(list)}))
    number = console.trainer.train()
    console.state.refresh()
    model = console.state.current().model
    assert model.number == number > replaced[0]
    assert set(model.classifier.departments) == {"Cats", "Dogs"}


def test_a_replacement_that_begins_while_a_fit_is_being_stored_comes_after_it(idle, monkeypatch) -> None:
    models, embedder, began = idle.trainer._models, idle.state.current().versions["embedder"], []
    put_live = trained.put_live
    idle.trainer.replace(NEW, [], PETS)
    with reading(idle.decisions._engine) as connection, ThreadPoolExecutor(1) as pool:
        waiting = text("select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'")

        def meanwhile(*given, **more):  # noqa: ANN002, ANN003, ANN202
            began.append(pool.submit(idle.trainer.replace, NEW, [], PETS))
            wait_until(lambda: began[0].done() or connection.execute(waiting).scalar_one())
            return put_live(*given, **more)

        monkeypatch.setattr(trained, "put_live", meanwhile)
        fitted = models.add({}, {}, embedder=embedder, era=models.era())
        replaced = began[0].result(60)
    assert models.live_number(embedder=embedder) == replaced > fitted


def test_a_model_of_another_embedder_is_not_in_force_after_a_replacement(idle) -> None:
    models = idle.trainer._models
    assert models.add({}, {}, embedder="another", era=models.era()) == models.live_number(embedder="another")
    idle.trainer.replace(NEW, [], PETS)
    assert models.live_number(embedder="another") is None


def test_a_model_that_a_newer_version_has_fitted_is_told_once_and_left_while_all_else_is_followed(idle, monkeypatch) -> None:
    models, state, events = idle.trainer._models, idle.state.current(), []
    monkeypatch.setattr(idle.log, "event", lambda name, **_: events.append(name))
    models.add({}, {"version": 99}, embedder=state.versions["embedder"], era=models.era())
    for name in ("Cats", "Dogs"):
        idle.taxonomy.save([Department(name, "")])
        assert idle.state.refresh()
        assert idle.state.current().model.number == state.model.number
        assert name in {department.name for department in idle.state.current().departments}
    assert events.count("model_unreadable") == 1
    number = idle.trainer.train()
    assert idle.state.refresh() and idle.state.current().model.number == number


def test_tickets_are_routed_while_no_live_department_has_been_learned(console) -> None:
    """By triage or by neighbours, with no model: a model that knows none of the departments is not asked."""
    console.taxonomy.replace(NEW, [])
    console.state.refresh()
    assert console.state.current().model is None
    decision = console.router.route(TicketDraft(body="you took the money twice for my october bill"))
    assert (decision.department, decision.method.value, decision.versions["model"]) == ("Dogs", "fallback", "0")
    console.trainer.replace(NEW, [], PETS)
    console.state.refresh()
    assert console.router.route(TicketDraft(body="my dog eats a lot")).department == "Dogs"


def test_without_a_model_agreeing_neighbours_are_offered_and_never_go_alone(console) -> None:
    """Nothing says how often they are right; a similarity of nearly 1 is no confidence of nearly 1."""
    with writing(console.decisions._engine) as connection:
        connection.execute(text("delete from models"))
    console.taxonomy.replace(NEW, [])
    texts = [f"my {breed} is a dog that barks at night" for breed in ("poodle", "terrier", "beagle", "collie", "pug")]
    console.exemplars.add([Exemplar(text=t, department="Dogs", source="imported") for t in texts], console.trainer._embedder.embed(texts))
    console.state.refresh()
    assert console.state.current().model is None
    decision = console.router.route(TicketDraft(body="my beagle is a dog that barks at nights"))
    assert (decision.department, decision.method, decision.automation) == ("Dogs", Method.CACHED, Automation.PRESELECT)
    assert decision.raw_score > 0.95
    assert decision.confidence == CACHED_PRIOR


def beginner(database, embedder) -> Trainer:  # noqa: ANN001
    return Trainer(
        embedder=embedder, exemplars=Exemplars(database, embedder=embedder.name, dimensions=embedder.dimensions),
        models=TrainedModels(database), catalogue=Catalogue(database, embedder=embedder.name), policy=Policy,
    )


def test_a_first_start_killed_after_its_departments_by_an_earlier_version_is_made_whole(database, embedder) -> None:
    some, topics, seeds = taxonomy_csv.starter(STARTER)
    Taxonomy(database).save(some, topics)
    trainer = beginner(database, embedder)
    assert trainer.begin(some, topics, seeds) is not None
    assert trainer.begin(some, topics, seeds) is None
    with reading(database) as connection:
        assert connection.execute(text("select count(*) from exemplar_vectors")).scalar_one() == len(seeds)


def test_a_first_start_killed_while_it_embeds_leaves_nothing_and_the_next_one_begins_anew(database, embedder) -> None:
    some, topics, seeds = taxonomy_csv.starter(STARTER)

    class Killed:
        name, dimensions, calls = embedder.name, embedder.dimensions, 0

        def embed(self, texts: list[str]) -> np.ndarray:
            self.calls += 1
            if self.calls > 1:
                raise Closed
            return embedder.embed(texts)

    empty = stored(database)
    with pytest.raises(Closed):
        beginner(database, Killed()).begin(some, topics, seeds)
    assert stored(database) == empty
    assert beginner(database, embedder).begin(some, topics, seeds) is not None


def test_of_two_processes_that_start_on_an_empty_database_one_loads_the_starter_taxonomy(database, embedder) -> None:
    some, topics, _ = taxonomy_csv.starter(STARTER)
    seeds = [replace(e, department=d.name, topic="") for d in some[:2] for e in PETS[:6]]
    both = threading.Barrier(2)

    class Together:
        """Both have seen an empty database before either of them stores anything."""

        name, dimensions = embedder.name, embedder.dimensions

        def embed(self, texts: list[str]) -> np.ndarray:
            found = embedder.embed(texts)
            both.wait(60)
            return found

    with ThreadPoolExecutor(2) as pool:
        numbers = list(pool.map(lambda _: beginner(database, Together()).begin(some, topics, seeds), range(2)))
    assert sorted(number is None for number in numbers) == [False, True]
    with reading(database) as connection:
        assert connection.execute(text("select count(*) from exemplars")).scalar_one() == len(seeds)


def test_somebody_elses_departments_are_never_taken_for_a_broken_first_start(database, embedder) -> None:
    Taxonomy(database).save(NEW)
    assert beginner(database, embedder).begin(*taxonomy_csv.starter(STARTER)) is None
