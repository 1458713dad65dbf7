"""A customer's own departments, topics and exemplars load whole or not at all, and the refusal says where to look."""
from __future__ import annotations

import pytest

from engine.domain import Department, Exemplar, Topic
from engine.errors import TaxonomyRejected
from engine.taxonomy_csv import departments, exemplars, from_exemplars, read_rows, topics

KNOWN = [Department("Billing", "Bills."), Department("Sales", "Offers.", triage=True)]
TOPICS = [Topic("charged_twice", "Billing", "Twice."), Topic("quote", "Sales")]


def test_departments_are_read_with_their_purpose_and_triage() -> None:
    content = 'department,purpose,triage\nBilling,"Bills, fees",false\n"Sales & more",Offers < 5,TRUE\n'.encode()
    assert departments(content) == [
        Department("Billing", "Bills, fees"), Department("Sales & more", "Offers < 5", triage=True)
    ]


def test_columns_are_found_with_capital_letters_as_well() -> None:
    assert departments(b"Department;Purpose;Triage\nSales;Offers.;yes\n") == [Department("Sales", "Offers.", triage=True)]
    assert topics(b"Department,Topic,Purpose\nBilling,fee,Fees.\n", KNOWN) == [Topic("fee", "Billing", "Fees.")]
    assert exemplars(b"TEXT,Department,Topic\nmy bill,Billing,charged_twice\n", KNOWN, TOPICS)[0].topic == "charged_twice"
    made = from_exemplars(b"Message,LABEL\nmy bill,Bills\n", text_column=" message", label_column="Label", parents={}, name="labels.csv")
    assert made[0] == [Department("Bills", "Tickets about Bills.")] and made[2][0].text == "my bill"


def test_a_byte_order_mark_quoted_newlines_and_extra_columns_are_no_problem() -> None:
    content = b'\xef\xbb\xbftext,department,note\r\n"line one\r\nline two",Billing,seen\r\n'
    assert exemplars(content, KNOWN, TOPICS) == [Exemplar(text="line one\nline two", department="Billing")]


def test_topics_belong_to_a_known_department() -> None:
    assert topics(b"department,topic,purpose\nBilling,fee,Fees.\n", KNOWN) == [Topic("fee", "Billing", "Fees.")]
    with pytest.raises(TaxonomyRejected, match="topics.csv line 3: the department 'Nowhere' is not known"):
        topics(b"department,topic,purpose\nBilling,fee,Fees.\nNowhere,x,y\n", KNOWN)


def test_exemplars_carry_topic_and_source() -> None:
    found = exemplars(b"text,department,topic\nmy bill,Billing,charged_twice\n", KNOWN, TOPICS, source="imported")
    assert found == [Exemplar(text="my bill", department="Billing", topic="charged_twice", source="imported")]


@pytest.mark.parametrize("name", ["Caf\u00e9 Support", "Cafe\u0301 Support", "Caf\u00e9  Support", " Caf\u00e9\u00a0Support "])
@pytest.mark.parametrize("given", ["Caf\u00e9 Support", "Cafe\u0301 Support"])
def test_a_name_is_found_however_it_is_written_in_the_other_files(name: str, given: str) -> None:
    known = departments(f"department,purpose\n{given},Coffee.\n".encode())
    some = topics(f"department,topic,purpose\n{name},{name},Caf\u00e9s.\n".encode(), known)
    found = exemplars(f"text,department,topic\nmy coffee,{name},{name}\nmy tea,{name},\n".encode(), known, some)
    assert [(e.department, e.topic) for e in found] == [("Caf\u00e9 Support", "Caf\u00e9 Support"), ("Caf\u00e9 Support", "")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the columns text, department are missing; found an empty file"),
        (b"text\nmy bill\n", "the column department is missing; found text"),
        (b"Words,Group\nmy bill,Billing\n", "the columns text, department are missing; found words, group"),
        ("text,department\nfür,Billing\n".encode("latin-1"), "must be UTF-8; line 2 is not"),
        (b"text,department\nmy bill,Elsewhere\n", "line 2: the department 'Elsewhere' is not known"),
        (b"text,department\nmy bill\n", "line 2: the department '' is not known"),
        (b"text,department,topic\nmy bill,Billing,quote\n", "line 2: the topic 'quote' does not belong to 'Billing'"),
        (b"text,department\nmy bill,Billing\n,Billing\n", "line 3: text: at least 2 characters"),
        (b"text,department\n<p></p>,Billing\n", "line 2: text: must hold text beside markup"),
        (b"text,department\n" + b"x" * 20_001 + b",Billing\n", "line 2: text: at most 20,000 characters"),
        (b"text,department\n" + b"x" * 200_000 + b",Billing\n", "line 2"),
        (b'text,department\n"my bill,Billing\n', "line 2"),
        (b"text,department\nmy\x00bill,Billing\n", "binary"),
        (b"text,department\nmy bill, please,Billing\n", "line 2: 3 cells, 2 columns; put the text in quotes"),
        (b"text,department,text\nmy bill,Billing,other\n", "the column text is there twice"),
    ],
)
def test_an_unusable_file_is_refused_with_the_place_and_the_reason(content: bytes, message: str) -> None:
    with pytest.raises(TaxonomyRejected) as refused:
        exemplars(content, KNOWN, TOPICS, name="mine.csv")
    assert str(refused.value).startswith("mine.csv")
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("Billing,a,maybe\n", "line 2: triage is yes or no; found 'maybe'. Nothing was loaded."),
        ("Billing,a,true\nSales,b,true\n", "only one department can be the triage department"),
        ("Billing,a,\nBilling,b,\n", "Billing is named twice"),
        (",a,\n", "a name of 1 to 120 characters is needed"),
        (f"{'x' * 121},a,\n", "a name of 1 to 120 characters is needed"),
        ("<b></b>,a,\n", "a name of 1 to 120 characters is needed"),
    ],
)
def test_departments_that_contradict_each_other_are_refused(rows: str, message: str) -> None:
    with pytest.raises(TaxonomyRejected, match=message):
        departments(f"department,purpose,triage\n{rows}".encode())


def test_a_topic_named_under_two_departments_is_refused() -> None:
    with pytest.raises(TaxonomyRejected, match="fee is named twice"):
        topics(b"department,topic,purpose\nBilling,fee,a\nSales,fee,b\n", KNOWN)


def test_a_labelled_file_alone_makes_a_whole_taxonomy() -> None:
    made, finer, found = from_exemplars(
        b"query,intent\nmoney taken twice,charged_twice\nwhat does it cost,prices\nmy fee,fee\n",
        text_column="query", label_column="intent", parents={"charged_twice": "Billing", "fee": "Billing"}, name="labels.csv",
    )
    assert [department.name for department in made] == ["Billing", "prices"]
    assert finer == [Topic("charged_twice", "Billing"), Topic("fee", "Billing")]
    assert [(e.text, e.department, e.topic, e.source) for e in found] == [
        ("money taken twice", "Billing", "charged_twice", "imported"),
        ("what does it cost", "prices", "", "imported"),
        ("my fee", "Billing", "fee", "imported"),
    ]


def test_a_name_may_have_120_characters_and_a_purpose_is_plain_text() -> None:
    [found] = departments(f"department,purpose\n{'x' * 120},<b>Bills</b> & fees < 5\n".encode())
    assert (found.name, found.purpose) == ("x" * 120, "Bills & fees < 5")


@pytest.mark.parametrize(("content", "said"), [("x", "at least 2 characters"), ("x" * 20_001, "at most 20,000 characters"), ("", "at least 2")])
def test_a_labelled_file_with_a_text_that_is_no_tickets_is_refused(content: str, said: str) -> None:
    with pytest.raises(TaxonomyRejected, match=f"labels.csv line 2: text: {said}"):
        from_exemplars(f"text,category\n{content},b\n".encode(), text_column="text", label_column="category", parents={}, name="labels.csv")


def test_a_labelled_file_without_a_label_on_a_line_is_refused() -> None:
    with pytest.raises(TaxonomyRejected, match="labels.csv line 3"):
        from_exemplars(b"text,category\na bill,b\nno label,\n", text_column="text", label_column="category", parents={}, name="labels.csv")


def test_rows_come_with_the_line_they_begin_on() -> None:
    rows = read_rows(b'a,b\n"1\n2",x\n3,y\n', name="n.csv", columns=("a",))
    assert rows == [(2, {"a": "1\n2", "b": "x"}), (4, {"a": "3", "b": "y"})]


@pytest.mark.parametrize(
    ("value", "meant"), [("true", True), ("Yes", True), ("1", True), (" yes ", True), ("FALSE", False), ("no", False), ("0", False), ("", False)]
)
def test_the_mark_for_triage_is_yes_or_no_in_the_words_that_tables_use(value: str, meant: bool) -> None:
    [found] = departments(f"department,purpose,triage\nSales,Offers.,{value}\n".encode())
    assert found.triage is meant
