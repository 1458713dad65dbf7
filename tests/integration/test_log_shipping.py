"""The files for Filebeat and Logstash agree with each other, with the log's schema and with how the file is turned over."""
from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
LOGSTASH = (ROOT / "deploy" / "logstash.conf").read_text()
ACTIVE = "\n".join(line for line in LOGSTASH.splitlines() if not line.lstrip().startswith("#"))
COMMENTED = "\n".join(line.lstrip().removeprefix("#") for line in LOGSTASH.splitlines() if line.lstrip().startswith("#"))
SCHEMA = json.loads((ROOT / "docs" / "decision-log.schema.json").read_text())
FIELDS = SCHEMA["properties"] | SCHEMA["then"]["properties"]


def filebeat() -> dict[str, object]:
    return yaml.safe_load((ROOT / "deploy" / "filebeat.yml").read_text())


def section(name: str) -> str:
    """What stands between the braces of a top-level section."""
    start = ACTIVE.index(f"{name} {{") + len(name) + 2
    depth, end = 1, start
    while depth:
        depth += {"{": 1, "}": -1}.get(ACTIVE[end], 0)
        end += 1
    return ACTIVE[start:end - 1]


def test_every_section_is_closed() -> None:
    bare = re.sub(r'"[^"]*"', "", ACTIVE)
    assert bare.count("{") == bare.count("}")
    assert re.findall(r"^(\w+) \{", ACTIVE, re.M) == ["input", "filter", "output"]


def test_one_input_is_active_so_that_no_line_is_stored_twice() -> None:
    assert re.findall(r"^\s*(\w+) \{", section("input"), re.M) == ["beats"]
    other = COMMENTED[COMMENTED.index("file {"):]
    assert "codec => json" in other, "the other choice reads the same lines"


def test_both_read_the_same_file_and_filebeat_sends_where_logstash_listens() -> None:
    (log,) = filebeat()["filebeat.inputs"]
    assert re.search(r'path => "([^"]+)"', COMMENTED)[1] in log["paths"]
    (host,) = filebeat()["output.logstash"]["hosts"]
    assert host.endswith(":" + re.search(r"beats \{ port => (\d+)", section("input"))[1])


def test_filebeat_puts_the_lines_fields_at_the_top_and_keeps_their_names() -> None:
    """A line turned over to `routing.log.1` has been read already: a file is known by its inode, not its name."""
    (log,) = filebeat()["filebeat.inputs"]
    assert log["type"] == "filestream" and log["id"]
    ((parser, how),) = ((name, how) for one in log["parsers"] for name, how in one.items())
    assert parser == "ndjson" and how["target"] == "" and how["overwrite_keys"] is True
    assert not any("*" in path for path in log["paths"])


def test_every_field_that_logstash_looks_at_is_in_the_schema_with_that_type() -> None:
    asked = set(re.findall(r"\[([@\w.]+)\]", section("filter"))) | set(re.findall(r'match => \["([@\w.]+)"', section("filter")))
    assert asked == {"event_type", "@timestamp"}
    assert asked <= set(FIELDS)
    converted = dict(re.findall(r'"(\w+)" => "(\w+)"', section("filter")))
    assert converted and all(FIELDS[name]["type"] == "number" and kind == "float" for name, kind in converted.items())
    (event,) = re.findall(r'\[event_type\] == "(\w+)"', section("filter"))
    assert event == SCHEMA["if"]["properties"]["event_type"]["const"]
    assert re.search(FIELDS["@timestamp"]["pattern"], "2026-03-17T14:37:25.123Z"), "ISO 8601, as the date filter expects it"
