"""Settings are read once, complete or refused by name, and never show a secret."""
from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from engine.errors import ConfigurationError
from engine.settings import Settings, load


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the developer's environment nor a `.env` reaches these tests; `.env` of the empty folder is read again."""
    for name in list(os.environ):
        if name.lower() in Settings.model_fields:
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(Settings.model_config, "env_file", ".env")


def given(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def test_nothing_given_means_everything_embedded() -> None:
    settings = load()
    assert (settings.postgres_url, settings.redis_address, settings.port) == (None, None, 8501)
    assert settings.data_dir == Path(".data")
    assert settings.pinecone_index == "call-centre-tickets-prod"
    assert (settings.cache_ttl_seconds, settings.ticket_min_characters, settings.ticket_max_characters) == (3600, 2, 20_000)


def test_the_environment_is_read_in_any_case_and_arguments_win_over_it(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, PORT="9000", data_dir="/tmp/elsewhere")
    assert load().port == 9000
    assert load().data_dir == Path("/tmp/elsewhere")
    assert load(port=9001).port == 9001


def test_the_users_folder_may_be_written_as_in_a_shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given(monkeypatch, HOME=str(tmp_path))
    Path(".env").write_text("DATA_DIR=~/data\nROUTING_LOG_PATH=~/x.log\nPROMETHEUS_MULTIPROC_DIR=~/m\n")
    found = load()
    assert (found.data_dir, found.routing_log_path, found.prometheus_multiproc_dir) == (tmp_path / "data", tmp_path / "x.log", tmp_path / "m")


def test_a_dotenv_file_is_read_and_the_environment_wins_over_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=9100\nGEMINI_MODEL=some-model\nGOOGLE_API_KEY=k\nSOMETHING_ELSE=1\n", encoding="utf-8")
    assert (load().port, load().gemini_model) == (9100, "some-model")
    given(monkeypatch, PORT="9200")
    assert load().port == 9200


def test_a_url_without_encryption_beside_the_wish_for_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, REDIS_URL="redis://:hush@h/0", REDIS_TLS="true")
    with pytest.raises(ConfigurationError, match="REDIS_TLS is set, but REDIS_URL does not begin with rediss://") as refused:
        load()
    assert "hush" not in str(refused.value)
    given(monkeypatch, REDIS_URL="rediss://:hush@h/0")
    assert load().redis_address == "rediss://:hush@h/0"


@pytest.mark.parametrize(
    ("values", "missing"),
    [
        ({"POSTGRES_HOST": "db"}, ["POSTGRES_DB", "POSTGRES_USER"]),
        ({"POSTGRES_HOST": "db", "POSTGRES_DB": "console"}, ["POSTGRES_USER"]),
        ({"POSTGRES_USER": "console", "POSTGRES_DB": "console"}, ["POSTGRES_HOST"]),
        ({"POSTGRES_PASSWORD": "hush"}, ["POSTGRES_HOST", "POSTGRES_DB", "POSTGRES_USER"]),
        ({"REDIS_PASSWORD": "hush"}, ["REDIS_HOST"]),
        ({"REDIS_PORT": "6380"}, ["REDIS_HOST"]),
        ({"PINECONE_INDEX": "tickets"}, ["PINECONE_API_KEY"]),
        ({"PINECONE_ENV": "eu"}, ["PINECONE_API_KEY"]),
        ({"GEMINI_MODEL": "some-model"}, ["GOOGLE_API_KEY"]),
        ({"GEMINI_EMBEDDING_MODEL": "some-model"}, ["GOOGLE_API_KEY"]),
        ({"CLOUDWATCH_ACCESS_KEY": "id"}, ["CLOUDWATCH_SECRET_KEY"]),
        ({"CLOUDWATCH_SECRET_KEY": "hush"}, ["CLOUDWATCH_ACCESS_KEY"]),
        ({"CLOUDWATCH_REGION": "us-east-1"}, ["CLOUDWATCH_ACCESS_KEY", "CLOUDWATCH_SECRET_KEY"]),
        ({"CLOUDWATCH_ENDPOINT": "https://c.example"}, ["CLOUDWATCH_ACCESS_KEY", "CLOUDWATCH_SECRET_KEY"]),
        ({"OIDC_CLIENT_ID": "console"}, ["OIDC_ISSUER", "OIDC_CLIENT_SECRET", "PUBLIC_URL"]),
        ({"OIDC_CLIENT_ID": "console", "OIDC_CLIENT_SECRET": "hush"}, ["OIDC_ISSUER", "PUBLIC_URL"]),
        ({"EMBEDDER_MODEL_PATH": "/models/m.onnx"}, ["EMBEDDER_TOKENIZER_PATH"]),
        ({"SMTP_HOST": "mail.example"}, ["ALERT_MAIL_TO"]),
        ({"ALERT_MAIL_TO": "boss@example.com"}, ["SMTP_HOST"]),
        ({"SMTP_PASSWORD": "hush"}, ["SMTP_HOST", "ALERT_MAIL_TO"]),
        ({"SMTP_PORT": "25"}, ["SMTP_HOST", "ALERT_MAIL_TO"]),
        ({"ALERT_MAIL_FROM": "console@example.com", "SMTP_HOST": "mail.example"}, ["ALERT_MAIL_TO"]),
    ],
)
def test_a_half_given_group_is_refused_and_names_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, str], missing: list[str]
) -> None:
    given(monkeypatch, **values)
    with pytest.raises(ConfigurationError) as refused:
        load()
    given_part, missing_part = str(refused.value).split(" is set, so ")
    for name in missing:
        assert name in missing_part
    for name in values:
        assert name in given_part
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize(
    ("given_one", "missing"), [({"SMTP_USER": "console"}, "SMTP_PASSWORD"), ({"SMTP_PASSWORD": "hush"}, "SMTP_USER")]
)
def test_a_mail_servers_user_and_password_belong_together(
    monkeypatch: pytest.MonkeyPatch, given_one: dict[str, str], missing: str
) -> None:
    given(monkeypatch, SMTP_HOST="mail.example", ALERT_MAIL_TO="boss@example.com")
    assert load().smtp_host == "mail.example"
    given(monkeypatch, **given_one)
    with pytest.raises(ConfigurationError, match=f"{next(iter(given_one))} is set, so {missing} must be set too"):
        load()


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"PORT": "70000"}, "PORT"),
        ({"PORT": "eighty"}, "PORT"),
        ({"CACHE_TTL_SECONDS": "0"}, "CACHE_TTL_SECONDS"),
        ({"DATABASE_POOL_SIZE": "21"}, "DATABASE_POOL_SIZE"),
        ({"TICKET_MAX_CHARACTERS": "5"}, "TICKET_MAX_CHARACTERS"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, values: dict[str, str], name: str) -> None:
    given(monkeypatch, **values)
    with pytest.raises(ConfigurationError, match=f"^{name}: "):
        load()


def test_two_wrong_values_are_both_named(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, PORT="0", CACHE_TTL_SECONDS="-1")
    with pytest.raises(ConfigurationError, match="PORT: .*; CACHE_TTL_SECONDS: "):
        load()


def test_a_minimum_above_the_maximum_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, TICKET_MIN_CHARACTERS="500", TICKET_MAX_CHARACTERS="200")
    with pytest.raises(ConfigurationError, match="TICKET_MIN_CHARACTERS"):
        load()


def test_database_urls_are_made_from_parts_with_everything_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, POSTGRES_HOST="db.internal", POSTGRES_DB="console", POSTGRES_USER="us er", POSTGRES_PASSWORD="p@ss/w:rd")
    assert load().postgres_url == "postgresql+psycopg2://us%20er:p%40ss%2Fw%3Ard@db.internal:5432/console"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_any_usual_scheme_of_a_database_url_is_understood(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    given(monkeypatch, DATABASE_URL=f"{scheme}://u:p@h/d")
    assert load().postgres_url == "postgresql+psycopg2://u:p@h/d"


def test_a_redis_address_comes_from_the_url_or_from_host_and_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, REDIS_HOST="cache", REDIS_DB="2", REDIS_PASSWORD="a/b")
    assert load().redis_address == "redis://:a%2Fb@cache:6379/2"
    given(monkeypatch, REDIS_URL="rediss://elsewhere/0")
    assert load().redis_address == "rediss://elsewhere/0"


def test_no_secret_shows_in_what_is_printed_or_dumped(monkeypatch: pytest.MonkeyPatch) -> None:
    given(
        monkeypatch, DATABASE_URL="postgresql://u:hush-1@h/d", POSTGRES_PASSWORD="hush-2", REDIS_URL="redis://:hush-3@h", REDIS_PASSWORD="hush-4",
        PINECONE_API_KEY="hush-5", GOOGLE_API_KEY="hush-6", CLOUDWATCH_ACCESS_KEY="hush-7", CLOUDWATCH_SECRET_KEY="hush-8",
        GRAFANA_API_KEY="hush-9", ANALYTICS_DATABASE_URL="postgresql://u:hush-10@h/d",
    )
    settings = load()
    for shown in (repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json()):
        assert "hush" not in shown
    assert settings.google_api_key is not None and settings.google_api_key.get_secret_value() == "hush-6"


@pytest.mark.parametrize("name", ["PUBLIC_URL", "CONSOLE_URL"])
def test_the_consoles_own_address_has_one_setting_and_an_old_name_for_it(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    given(monkeypatch, **{name: "https://console.example/"})
    assert (load().public_url, load().own_url) == ("https://console.example/", "https://console.example")
    assert load(public_url="https://other.example").own_url == "https://other.example"


def test_without_an_own_address_links_go_to_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, PORT="9000")
    assert load().own_url == "http://localhost:9000"


def test_settings_cannot_be_changed_after_they_were_read() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load().port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"REDIS_URL": "foo://:hush@x"}, "REDIS_URL"),
        ({"REDIS_URL": "redis://:hush@x:99999/0"}, "REDIS_URL"),
        ({"REDIS_URL": "redis://:hu/hush@x/0"}, "REDIS_URL"),
        ({"REDIS_URL": "unix://"}, "REDIS_URL"),
        ({"REDIS_HOST": "cache", "REDIS_PORT": "99999"}, "REDIS_PORT"),
        ({"REDIS_HOST": "cache", "REDIS_DB": "-1"}, "REDIS_DB"),
        ({"REDIS_HOST": "cache:6379/hush"}, "REDIS_HOST"),
        ({"POSTGRES_HOST": "db", "POSTGRES_DB": "d", "POSTGRES_USER": "u", "POSTGRES_PORT": "0"}, "POSTGRES_PORT"),
        ({"DATABASE_URL": "mysql://u:hush@h/d"}, "DATABASE_URL"),
        ({"ANALYTICS_DATABASE_URL": "hush"}, "ANALYTICS_DATABASE_URL"),
        ({"ALERTMANAGER_URL": "xx"}, "ALERTMANAGER_URL"),
        ({"ALERTMANAGER_URL": "alerts.example:9093"}, "ALERTMANAGER_URL"),
        ({"ALERT_WEBHOOK_URL": "foo://hush"}, "ALERT_WEBHOOK_URL"),
        ({"OTEL_ENDPOINT": "nonsense"}, "OTEL_ENDPOINT"),
        ({"PUBLIC_URL": "https:///path"}, "PUBLIC_URL"),
        ({"CONSOLE_URL": "zz"}, "PUBLIC_URL"),
        ({"TRUSTED_PROXIES": "abc"}, "TRUSTED_PROXIES"),
        ({"TRUSTED_PROXIES": "10.0.0.1/8"}, "TRUSTED_PROXIES"),
        *(({name: url}, name) for name in ("DATABASE_URL", "ANALYTICS_DATABASE_URL") for url in (
            "postgresql://u:hush@h:abc/d", "postgresql://u:hush@h:0/d", "postgresql://u:hush@h:65536/d", "postgresql://u:hush@h:/d",
            "postgresql://u:hu/sh?@h:-5/d", "postgresql://u:hush@h:9:9/d", "postgresql://u:hush@[::1]:x/d", "postgres://h:x/d",
            "postgresql://u:hush@/d?host=one,two&port=5432,abc", "postgresql://u:hush@h:\u0665/d", "postgresql://u:hush@h:" + "9" * 5000 + "/d",
        )),
        ({"POSTGRES_HOST": "/run/postgresql", "POSTGRES_DB": "d", "POSTGRES_USER": "u"}, "POSTGRES_HOST"),
        ({"POSTGRES_HOST": "::1", "POSTGRES_DB": "d", "POSTGRES_USER": "u"}, "POSTGRES_HOST"),
        ({"POSTGRES_HOST": "db", "POSTGRES_DB": "d?host=hush", "POSTGRES_USER": "u"}, "POSTGRES_DB"),
        ({"POSTGRES_HOST": "db", "POSTGRES_DB": "d", "POSTGRES_USER": " "}, "POSTGRES_USER"),
        ({"REDIS_HOST": "no blanks"}, "REDIS_HOST"),
        ({"PINECONE_API_KEY": "hush\n"}, "PINECONE_API_KEY"),
        ({"PINECONE_API_KEY": "k", "PINECONE_HOST": "no blanks"}, "PINECONE_HOST"),
        ({"PINECONE_API_KEY": "k", "PINECONE_INDEX": "\u0436"}, "PINECONE_INDEX"),
        ({"PINECONE_API_KEY": "k", "PINECONE_INDEX": "x" * 46}, "PINECONE_INDEX"),
        ({"GOOGLE_API_KEY": "hu sh"}, "GOOGLE_API_KEY"),
        ({"GOOGLE_API_KEY": "k", "GOOGLE_API_ENDPOINT": "gemini.example"}, "GOOGLE_API_ENDPOINT"),
        ({"GOOGLE_API_KEY": "k", "GEMINI_MODEL": " "}, "GEMINI_MODEL"),
        ({"GEMINI_INPUT_PRICE": "inf"}, "GEMINI_INPUT_PRICE"),
        ({"CLOUDWATCH_ACCESS_KEY": "a", "CLOUDWATCH_SECRET_KEY": "b", "CLOUDWATCH_REGION": "no blanks"}, "CLOUDWATCH_REGION"),
        ({"CLOUDWATCH_ACCESS_KEY": "a", "CLOUDWATCH_SECRET_KEY": "b", "CLOUDWATCH_ENDPOINT": "x"}, "CLOUDWATCH_ENDPOINT"),
        ({"OIDC_ISSUER": "identity.example"}, "OIDC_ISSUER"),
        ({"SMTP_HOST": "mail.example", "ALERT_MAIL_TO": "nobody"}, "ALERT_MAIL_TO"),
        ({"SMTP_HOST": "mail.example", "ALERT_MAIL_TO": ","}, "ALERT_MAIL_TO"),
        ({"SMTP_HOST": "mail.example", "ALERT_MAIL_TO": "a@b.example", "ALERT_MAIL_FROM": "Console <a@b.example>"}, "ALERT_MAIL_FROM"),
        ({"SMTP_HOST": "mail.example:25", "ALERT_MAIL_TO": "a@b.example"}, "SMTP_HOST"),
        ({"SMTP_HOST": "mail.example", "ALERT_MAIL_TO": "a@b.example", "SMTP_USER": "console", "SMTP_PASSWORD": "hush\u00e4"}, "SMTP_PASSWORD"),
        ({"SMTP_HOST": "mail.example", "ALERT_MAIL_TO": "a@b.example", "SMTP_USER": "hush\u00e4", "SMTP_PASSWORD": "x"}, "SMTP_USER"),
        ({"DATA_DIR": " "}, "DATA_DIR"), ({"HOST": " "}, "HOST"), ({"ROUTING_LOG_PATH": " "}, "ROUTING_LOG_PATH"),
        ({"PROMETHEUS_MULTIPROC_DIR": " "}, "PROMETHEUS_MULTIPROC_DIR"),
        *(({name: "9" * 40}, name) for name in (
            "SESSION_SECONDS", "SESSION_IDLE_SECONDS", "PASSWORD_MEMORY_KIB", "PASSWORD_TIME_COST", "PASSWORD_MIN_CHARACTERS", "CACHE_TTL_SECONDS",
        )),
        ({"EMBEDDER_MODEL_PATH": "/no/such/model.onnx", "EMBEDDER_TOKENIZER_PATH": "/no/such/tokenizer.json"}, "EMBEDDER_MODEL_PATH"),
    ],
)
def test_a_value_of_no_usable_form_is_refused_by_name_and_never_repeated(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, str], name: str
) -> None:
    given(monkeypatch, **values)
    with pytest.raises(ConfigurationError, match=f"^{name}: ") as refused:
        load()
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize(
    "values",
    [
        {"REDIS_URL": "rediss://user:p%2Fw@cache.example:6380/2?ssl_cert_reqs=none"}, {"REDIS_URL": "unix:///run/redis.sock?db=3"},
        {"REDIS_URL": "redis://:a b@h"}, {"REDIS_HOST": "[::1]"}, {"REDIS_HOST": "10.0.0.5", "REDIS_PASSWORD": "a/b@c:d"},
        {"DATABASE_URL": "postgresql://u:p/w@/db?host=one,two&target_session_attrs=read-write"}, {"DATABASE_URL": "postgresql:///d"},
        {"ALERTMANAGER_URL": "http://alerts:9093/"}, {"ALERT_WEBHOOK_URL": "https://chat.example/hooks/abc?x=y"},
        {"OTEL_ENDPOINT": "http://[::1]:4318"}, {"PUBLIC_URL": "https://Console.example/under/"}, {"ALERTMANAGER_URL": ""},
        {"DATABASE_URL": "postgresql://u:p/w:1@[::1]:5432/d?sslmode=require"}, {"ANALYTICS_DATABASE_URL": "postgresql://h"},
        {"DATABASE_URL": "postgresql://u:p@/d?host=one,two&port=5432,5433"}, {"PINECONE_API_KEY": "k", "PINECONE_HOST": "pinecone.example"},
        {"SMTP_HOST": "10.0.0.5", "ALERT_MAIL_TO": "a.b+c@d.example, ops@localhost", "ALERT_MAIL_FROM": "o'neill@x-y.example"},
        {"SMTP_HOST": "mail.example", "ALERT_MAIL_TO": "a@b.example", "SMTP_USER": "Console, the 1st", "SMTP_PASSWORD": "a b/c@d:e\"f"},
        {"CLOUDWATCH_ACCESS_KEY": "a/b+c=", "CLOUDWATCH_SECRET_KEY": "b", "CLOUDWATCH_REGION": "us-gov-west-1"}, {"HOST": "0.0.0.0"},
        {"TRUSTED_PROXIES": "*"}, {"TRUSTED_PROXIES": "127.0.0.1, 10.0.0.0/8,::1,"}, {"TRUSTED_PROXIES": ""},
    ],
)
def test_whatever_a_library_takes_is_not_refused(monkeypatch: pytest.MonkeyPatch, values: dict[str, str]) -> None:
    given(monkeypatch, **values)
    load()
