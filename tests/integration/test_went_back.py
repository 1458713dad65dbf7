"""A standby that lacked the last moments takes the primary's place: what was lost counts nowhere, and what comes then counts everywhere."""
from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import text

from engine.bootstrap import Engine
from engine.domain import TicketDraft
from engine.outcome import Outcome
from engine.settings import Settings
from tests.integration.test_late_commits import counted


def labelled(console: Engine, *bodies: str) -> set[str]:
    """The tickets with these texts, labelled and in the state that routes the next ones."""
    ids = [console.router.route(TicketDraft(body=body)).ticket_id for body in bodies]
    with console.decisions._engine.begin() as connection:
        connection.execute(text("update routing_history set review_wanted = true, review_probability = 1"))
    for id_ in ids:
        console.router.review(Outcome(ticket_id=id_, department="Sales", labelled_by="lea"))
    console.state.refresh()
    return set(ids)


def test_labels_that_a_failover_lost_are_forgotten_and_their_numbers_count_again(
    build: Callable[..., Engine], console_settings: Settings, databases  # noqa: ANN001
) -> None:
    """The first labels after it get the numbers of the lost ones, which this console has taken in."""
    place = console_settings.postgres_url
    console = build(working=False)
    model = console.state.current().model.number
    before = labelled(console, "a yellow question", "a blue question")
    console.decisions._engine.dispose()
    standby = databases.make(databases.name(place))
    lost = labelled(console, "a lost question", "a forlorn question")
    assert counted(console) == before | lost
    assert console.state.current().versions["model"] == f"{model}+4"

    console.decisions._engine.dispose()
    databases.promote(standby, place=place)
    assert console.state.refresh()
    assert counted(console) == before
    assert console.state.current().versions["model"] == f"{model}+2"
    after = labelled(console, "a green question", "a grey question")
    fresh = build(working=False)
    assert counted(console) == counted(fresh) == before | after
    assert console.state.current().versions["model"] == fresh.state.current().versions["model"] == f"{model}+4"


def test_a_console_that_looks_when_others_have_stored_as_much_again_forgets_at_the_next_change(
    build: Callable[..., Engine], console_settings: Settings, databases  # noqa: ANN001
) -> None:
    """The counters are by then as high as they were."""
    place = console_settings.postgres_url
    console = build(working=False)
    before = labelled(console, "a yellow question")
    console.decisions._engine.dispose()
    standby = databases.make(databases.name(place))
    labelled(console, "a lost question", "a forlorn question")
    console.decisions._engine.dispose()
    databases.promote(standby, place=place)
    other = build(working=False)
    after = labelled(other, "a green question", "a grey question")
    console.state.refresh()
    after |= labelled(other, "a red question")
    # As a page does that is opened now.
    console.tracking.snapshot()
    assert console.state.refresh()
    assert counted(console) == counted(other) == before | after
    assert console.state.current().versions["model"] == other.state.current().versions["model"]


def test_a_model_that_could_not_be_read_and_was_lost_leaves_its_number_to_one_that_can(
    build: Callable[..., Engine], console_settings: Settings, databases  # noqa: ANN001
) -> None:
    """A newer version of the product fitted it just before the failover; this one has noted its number as one not to ask for again."""
    place = console_settings.postgres_url
    console = build(working=False)
    before, models = console.state.current(), console.trainer._models
    console.decisions._engine.dispose()
    standby = databases.make(databases.name(place))
    lost = models.add({}, {"version": 99}, embedder=before.versions["embedder"], era=models.era())
    assert console.state.refresh() and console.state.current().model.number == before.model.number

    console.decisions._engine.dispose()
    databases.promote(standby, place=place)
    assert console.state.refresh()
    assert console.trainer.train() == lost
    assert console.state.refresh() and console.state.current().model.number == lost
