"""Files of tickets: refused as a whole with the lines named, or stored as a whole; interrupted, they can be run again."""
from __future__ import annotations

from datetime import timedelta

import pytest

from db import decisions
from engine import imports
from engine.domain import Channel, Origin, TicketDraft
from engine.errors import Conflict, ImportRejected, TooManyRequests
from tests.integration.test_accounts import Clock

GOOD = b"ticket_id,body,channel\nA-1,where is my parcel,chat\nA-2,\"i forgot my password, help\",email\nA-3,someone stole my card,phone\n"


@pytest.fixture
def clock() -> Clock:
    return Clock()


def load(console, content: bytes, **more):
    file = imports.read(content, name="tickets.csv", router=console.router, **more)
    return imports.run(file, router=console.router, store=console.decisions)


def test_a_good_file_is_routed_and_stored(console) -> None:
    result = load(console, GOOD)
    assert [d.department for d in result.decisions] == ["Orders and Delivery", "Account Access", "Fraud and Security"]
    ticket = console.decisions.find("A-2")[0]
    assert (ticket.body, ticket.channel, ticket.origin) == ("i forgot my password, help", Channel.EMAIL, Origin.IMPORT)
    load(console, b"body\nwhere is my refund\n", created_by="ann")
    assert len(console.decisions.latest(created_by="ann")) == 1


def test_the_same_file_again_stores_nothing_twice(console) -> None:
    load(console, GOOD)
    again = load(console, GOOD)
    assert (len(again.decisions), again.already_stored) == (0, 3)


def test_an_interrupted_import_goes_on_where_it_stopped(console, monkeypatch) -> None:
    monkeypatch.setattr(imports, "BATCH", 1)
    file = imports.read(GOOD, name="tickets.csv", router=console.router)

    def stop(done: int, _: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        imports.run(file, router=console.router, store=console.decisions, progress=stop)
    again = load(console, GOOD)
    assert (len(again.decisions), again.already_stored) == (1, 2)


def test_tickets_without_ids_are_recognised_by_file_and_line(console) -> None:
    content = b"body\nwhere is my parcel\n\nwhere is my parcel\n"
    # The ids of files that earlier versions have stored: another form, and the same file counted twice.
    assert [d.ticket_id for d in load(console, content).decisions] == ["I-fa431fcbc018-1", "I-fa431fcbc018-2"]
    assert load(console, content).already_stored == 2
    assert len(load(console, content.replace(b"parcel", b"refund")).decisions) == 2, "another file of the same name"


def test_tickets_that_another_run_of_the_file_stores_meanwhile_are_passed_over(console, monkeypatch: pytest.MonkeyPatch) -> None:
    file = imports.read(GOOD, name="tickets.csv", router=console.router)
    route, others, seen = console.router.route_tickets, [file.tickets[:2]], []

    def routed(tickets):  # noqa: ANN001, ANN202
        if others:
            route(others.pop())
        return route(tickets)

    monkeypatch.setattr(console.router, "route_tickets", routed)
    result = imports.run(file, router=console.router, store=console.decisions, progress=lambda *far: seen.append(far))
    assert [d.ticket_id for d in result.decisions] == ["A-3"] and result.already_stored == 2 and seen == [(3, 3)]
    assert len(console.decisions.latest()) == 3


@pytest.mark.parametrize(("before", "done", "taken", "said"), [
    (GOOD[: GOOD.index(b"A-2")], 2, "A-3", "2 tickets of the file are stored"), (b"", 1, "A-2", "1 ticket of the file is stored"),
])
def test_an_id_that_another_ticket_takes_meanwhile_ends_the_import_and_says_how_far_it_came(
    console, monkeypatch: pytest.MonkeyPatch, before: bytes, done: int, taken: str, said: str
) -> None:
    monkeypatch.setattr(imports, "FIRST", 1)
    if before:
        load(console, before)
    file = imports.read(GOOD, name="tickets.csv", router=console.router)

    def meanwhile(far: int, _: int) -> None:
        if far == done:
            console.router.route(TicketDraft(body="a quite different text", ticket_id=taken))

    with pytest.raises(ImportRejected, match=f"{taken} belongs to another ticket .* {said}, the others are not"):
        imports.run(file, router=console.router, store=console.decisions, progress=meanwhile)
    assert len(console.decisions.latest()) == done + 1


def test_a_conflict_that_no_stored_ticket_explains_ends_the_import(console, monkeypatch: pytest.MonkeyPatch) -> None:
    def conflict(_):  # noqa: ANN001, ANN202
        raise Conflict("nobody knows why")

    monkeypatch.setattr(console.router, "route_tickets", conflict)
    with pytest.raises(Conflict, match="nobody knows why"):
        load(console, GOOD)


def test_a_file_of_too_many_bytes_is_refused_before_it_is_read(console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "MAX_BYTES", len(GOOD) - 1)
    with pytest.raises(ImportRejected, match=f"tickets.csv: at most {len(GOOD) - 1} bytes; found {len(GOOD)}. Split the file. Nothing was stored."):
        load(console, GOOD)
    monkeypatch.setattr(imports, "MAX_BYTES", len(GOOD))
    assert len(load(console, GOOD).decisions) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the column body is missing; found an empty file"),
        (b"text\nhello there\n", "the column body is missing; found text"),
        ("body\nmein Päckchen\n".encode("latin-1"), "must be UTF-8; line 2 is not"),
        (b"body\n\x00\x01\n", "binary data"),
        (
            b"ticket_id,body\nA-1,where is it\nA-1,lost it\n",
            "1 of 2 lines cannot be stored, so nothing was: line 3: ticket_id A-1 is also on line 2. Mend this line and import",
        ),
        (b"ticket_id,body\nA-1,where is it\n A-1 ,lost it\n", "line 3: ticket_id A-1 is also on line 2"),
        (
            b"body\nplease cancel my order, and refund me\n",
            "1 of 1 line cannot be stored, so nothing was: line 2: 2 cells, 1 column; put the text in quotes. Mend this line and import",
        ),
        (b"body\nwhere is it\n\nlost, it\nstop, it\n", "2 of 3 lines .*: line 4: 2 cells, 1 column.*; line 5: .* Mend these lines and import"),
        (b"body,\nplease cancel my order, and refund me\n", "line 2: 2 cells, 1 column"),
        (b"body,body\nplease cancel,refund me\n", "the column body is there twice; give each column a name of its own. Nothing was stored"),
        (b"body\nwhere is it\n" + b"x" * 200_000 + b"\n", "line 3: body: at most 20,000 characters; found 200,000 characters"),
        (b"\xff\xfeb\x00o\x00d", "begins as UTF-16, but is not all of it"),
        (b"body\nx\nwhere is my parcel\n", "1 of 2 lines cannot be stored, so nothing was: line 2: body: at least 2 characters"),
        (b"body,channel\nwhere is it,pigeon\n", "channel: must be one of phone"),
        (b'body\n"never closed\n', "not a valid CSV"),
        (b"body\n", "there is no ticket in the file"),
    ],
)
def test_a_bad_file_is_refused_with_its_reason_and_nothing_is_stored(console, content: bytes, message: str) -> None:
    with pytest.raises(ImportRejected, match=message):
        load(console, content)
    assert console.decisions.latest() == []


def test_what_spreadsheets_save_is_read_separators_at_the_end_and_utf_16_with_tabs_too(console) -> None:
    semicolons = "ticket_id;body;;\r\nA-1;the kettle leaks, and the lid too;;\r\n".encode("utf-8-sig")
    unicode_text = "ticket_id\tbody\r\nA-2\tmein Päckchen, wo ist es\r\n".encode("utf-16")
    load(console, semicolons)
    load(console, unicode_text)
    assert console.decisions.find("A-1")[0].body == "the kettle leaks, and the lid too"
    assert console.decisions.find("A-2")[0].body == "mein Päckchen, wo ist es"


def test_capital_letters_and_blanks_around_the_names_of_columns_do_not_matter(console) -> None:
    load(console, b'Ticket_ID, BODY ,"Subject "\nA-1,where is my parcel,Parcel\n')
    ticket = console.decisions.find("A-1")[0]
    assert (ticket.body, ticket.subject) == ("where is my parcel", "Parcel")
    assert len(load(console, b"MESSAGE\nwhere is my invoice\n", text_column="Message").decisions) == 1


def test_each_cell_is_stored_as_what_its_column_says_and_an_empty_one_as_nothing_said(console) -> None:
    load(console, b"ticket_id,subject,body,channel,customer_ref,priority\n A-1 ,Parcel,where is my parcel,chat,C-7,high\nA-2,,where is my bill,,,\n")
    full, bare = (console.decisions.find(id_)[0] for id_ in ("A-1", "A-2"))
    assert (full.subject, full.body, full.channel, full.customer_ref, full.priority) == ("Parcel", "where is my parcel", "chat", "C-7", "high")
    assert (bare.subject, bare.body, bare.channel, bare.customer_ref, bare.priority) == ("", "where is my bill", "other", "", "normal")


def test_an_id_of_another_stored_ticket_is_refused(console) -> None:
    load(console, GOOD)
    with pytest.raises(ImportRejected, match="A-1 belongs to another ticket"):
        load(console, b"ticket_id,body\nA-1,a quite different text\nA-9,where is my parcel\n")
    assert console.decisions.stored(["A-9"]) == {}
    for row in (b"A-1,where is my parcel,Stolen card,", b"A-1,where is my parcel,,C-9"):
        with pytest.raises(ImportRejected, match="A-1 belongs to another ticket"):
            load(console, b"ticket_id,body,subject,customer_ref\n" + row + b"\n")
    assert load(console, b"ticket_id,body,priority\nA-1,where is my parcel,high\n").already_stored == 1, "the same of the same customer"


def test_a_file_of_more_tickets_than_are_allowed_is_refused_before_it_is_read_to_its_end(console) -> None:
    with pytest.raises(ImportRejected, match="tickets.csv: at most 2 tickets; found more. Split the file. Nothing was stored."):
        load(console, GOOD + b"\xc3\xa9\n" * 10, most=2)
    assert console.decisions.stored(["A-1"]) == {}
    assert len(load(console, GOOD, most=3).decisions) == 3


def test_a_large_file_is_looked_up_in_parts(console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decisions, "_PART", 2)
    load(console, GOOD)
    more = GOOD + b"A-4,where is my card,chat\nA-5,where is my bill,chat\n"
    assert load(console, more).already_stored == 3
    ids = [f"A-{number}" for number in range(7)]
    assert set(console.decisions.stored(ids)) == set(console.decisions.several(ids)) == {f"A-{number}" for number in range(1, 6)}


def test_another_column_can_hold_the_text(console) -> None:
    assert len(load(console, b"message,category\nwhere is my parcel,x\n", text_column="message").decisions) == 1


def test_a_subject_that_is_the_text_is_not_the_subject_as_well(console) -> None:
    load(console, b"ticket_id,subject\nA-1,where is my parcel\n", text_column="Subject")
    ticket = console.decisions.find("A-1")[0]
    assert (ticket.subject, ticket.body) == ("", "where is my parcel")


def test_the_tickets_of_files_are_limited_by_the_hour_and_a_file_that_is_too_much_stores_nothing(build, clock) -> None:
    console = build(clock=clock, settings={"rate_import_per_hour": 5})

    def load_as(name: str, content: bytes):
        file = imports.read(content, name="tickets.csv", router=console.router, created_by=name)
        return imports.run(file, router=console.router, store=console.decisions, take=lambda n: console.limits.take("import", name, amount=n))

    assert len(load_as("ann", GOOD).decisions) == 3
    other = GOOD.replace(b"A-", b"B-")
    with pytest.raises(TooManyRequests, match="no more than 5 in an hour; 3 were asked for and 2 are left. Nothing was stored. Wait .* minutes"):
        load_as("ann", other)
    assert console.decisions.stored(["B-1", "B-2", "B-3"]) == {}
    assert len(load_as("bob", other).decisions) == 3, "others have their own"
    two = GOOD.replace(b"A-", b"C-").rsplit(b"C-3", 1)[0]
    assert len(load_as("ann", two).decisions) == 2, "what was refused has used up nothing"
    assert load_as("ann", GOOD).already_stored == 3, "tickets that are stored already count for nothing"
    with pytest.raises(TooManyRequests, match="Split it"):
        load_as("eve", GOOD.replace(b"A-", b"E-") + b"E-4,where is my card\nE-5,where is my bill\nE-6,where is my refund\n")
    with pytest.raises(TooManyRequests):
        load_as("ann", GOOD.replace(b"A-", b"D-"))
    clock.now += timedelta(hours=1)
    assert len(load_as("ann", GOOD.replace(b"A-", b"D-")).decisions) == 3


def test_a_batch_is_as_large_as_fits_into_two_seconds_so_that_progress_is_seen(console, monkeypatch: pytest.MonkeyPatch) -> None:
    now, slow, sizes = [0.0], [False], []
    route = console.router.route_tickets

    def routed(tickets):  # noqa: ANN001, ANN202
        sizes.append(len(tickets))
        now[0] += len(tickets) * (0.5 if slow[0] else 0.001)
        slow[0] = sum(sizes) >= 8 + 16 + 32
        return route(tickets)

    monkeypatch.setattr(console.router, "route_tickets", routed)
    content = "body\n" + "".join(f"where is my parcel number {number}\n" for number in range(140))
    file = imports.read(content.encode(), name="t.csv", router=console.router)
    done = imports.run(file, router=console.router, store=console.decisions, stopwatch=lambda: now[0])
    assert sizes == [8, 16, 32, 64, 8, 8, 4] and len(done.decisions) == 140


def test_columns_that_nobody_reads_are_named_before_anything_is_stored(console) -> None:
    content = b"Ticket_ID, Custmer_Ref ,body,<b>Note</b>,\nA-1,C-7,where is my parcel,x,\n"
    assert imports.unread(content) == ("custmer_ref", "note")
    assert imports.unread(content, text_column=" NOTE ") == (), "no such column: nothing is read"
    assert imports.unread(content, text_column="<b>Note</b>") == ("custmer_ref", "body")
    for nothing in (b"", b"body\n", b"text\nx\n", b"body\n\xff\n", GOOD):
        assert imports.unread(nothing) == ()
    assert load(console, content).decisions[0].ticket_id == "A-1"
