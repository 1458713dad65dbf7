"""Every setting of the product, read once from the environment and `.env`, validated, secrets masked."""
from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote

from dotenv.parser import parse_stream
from pydantic import AfterValidator, AliasChoices, Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from engine import setting_forms, setting_groups
from engine.errors import ConfigurationError

# In seconds.
A_YEAR = 31_536_000
# A shell puts its user's folder in the place of ~; a file `.env` has no shell.
Place = Annotated[Path, AfterValidator(lambda path: Path(os.path.expanduser(path)))]


def _with_driver(url: str) -> str:
    """The URL with the driver that the product brings; one that names a driver itself stays as it is."""
    for scheme in ("postgres://", "postgresql://"):
        if url.startswith(scheme):
            return "postgresql+psycopg2://" + url[len(scheme):]
    return url


class Settings(BaseSettings):
    """Frozen settings. Nothing given means everything embedded under `data_dir`.

    Times are in seconds, sizes in characters unless the name says otherwise.
    """

    model_config = SettingsConfigDict(env_file=".env", env_file_encoding="utf-8", extra="ignore", env_ignore_empty=True, frozen=True)

    data_dir: Place = Path(".data")
    port: int = Field(default=8501, ge=1, le=65535)

    database_url: SecretStr | None = None
    postgres_host: str | None = None
    postgres_port: int = Field(default=5432, ge=1, le=65535)
    postgres_db: str | None = None
    postgres_user: str | None = None
    postgres_password: SecretStr | None = None
    analytics_database_url: SecretStr | None = None
    database_pool_size: int = Field(default=10, ge=1, le=20)
    database_pool_overflow: int = Field(default=10, ge=0, le=20)

    redis_url: SecretStr | None = None
    redis_host: str | None = None
    redis_port: int = Field(default=6379, ge=1, le=65535)
    redis_db: int = Field(default=0, ge=0)
    redis_password: SecretStr | None = None
    redis_tls: bool = False
    redis_cluster: bool = False
    redis_ca_path: Place | None = None
    cache_ttl_seconds: int = Field(default=3600, ge=1, le=A_YEAR)

    pinecone_api_key: SecretStr | None = None
    pinecone_env: str | None = None
    pinecone_index: str = "call-centre-tickets-prod"
    pinecone_host: str | None = None
    pinecone_off: bool = False

    google_api_key: SecretStr | None = None
    gemini_model: str = "gemini-2.0-flash"
    gemini_embedding_model: str | None = None
    google_api_endpoint: str | None = None
    gemini_at_once: int = Field(default=8, ge=1, le=64)
    gemini_input_price: float = Field(default=0.10, ge=0, allow_inf_nan=False)
    gemini_output_price: float = Field(default=0.40, ge=0, allow_inf_nan=False)

    cloudwatch_access_key: SecretStr | None = None
    cloudwatch_secret_key: SecretStr | None = None
    grafana_api_key: SecretStr | None = None

    cloudwatch_region: str = "eu-central-1"
    cloudwatch_endpoint: str | None = None
    otel_endpoint: str | None = None
    prometheus_multiproc_dir: Place | None = None

    alert_webhook_url: SecretStr | None = None
    alertmanager_url: str | None = None
    alert_mail_to: str | None = None
    alert_mail_from: str | None = None
    smtp_host: str | None = None
    smtp_port: int = Field(default=587, ge=1, le=65535)
    smtp_user: str | None = None
    smtp_password: SecretStr | None = None
    smtp_encryption: Literal["starttls", "tls", "none"] = "starttls"

    # Who prepares later answers: the console itself, or `python -m engine worker` beside it.
    background_work: Literal["console", "worker"] = "console"
    routing_log_path: Place | None = None
    embedder_model_path: Place | None = None
    embedder_tokenizer_path: Place | None = None

    host: str = "127.0.0.1"
    trusted_proxies: str = "127.0.0.1"
    cookie_secret: SecretStr | None = Field(default=None, min_length=32)
    session_idle_seconds: int = Field(default=7200, ge=60, le=A_YEAR)
    session_seconds: int = Field(default=43_200, ge=60, le=A_YEAR)
    admin_user: str | None = None
    admin_password: SecretStr | None = None
    password_min_characters: int = Field(default=12, ge=8, le=128)
    # Each sign-in takes so much of the machine; far beyond these nobody could sign in any more.
    password_memory_kib: int = Field(default=65_536, ge=8, le=1_048_576)
    password_time_cost: int = Field(default=3, ge=1, le=100)
    sign_in_free_attempts: int = Field(default=5, ge=1)
    sign_in_free_attempts_per_address: int = Field(default=50, ge=1)
    rate_submit_per_minute: int = Field(default=120, ge=1)
    rate_import_per_hour: int = Field(default=100_000, ge=1)
    rate_api_per_minute: int = Field(default=600, ge=1)
    command_role: str = Field(default="admin", pattern="^(agent|supervisor|manager|admin)$")

    # CONSOLE_URL is the name that notices once used for it.
    public_url: str | None = Field(default=None, validation_alias=AliasChoices("public_url", "console_url"))
    oidc_issuer: str | None = None
    oidc_client_id: str | None = None
    oidc_client_secret: SecretStr | None = None
    oidc_name_claim: str = "preferred_username"
    oidc_role_claim: str = "roles"
    oidc_roles: str = Field(
        default="admin=admin,manager=manager,supervisor=supervisor,agent=agent",
        pattern=r"^[^=,]+=(agent|supervisor|manager|admin)(,[^=,]+=(agent|supervisor|manager|admin))*$",
    )

    ticket_min_characters: int = Field(default=2, ge=1)
    ticket_max_characters: int = Field(default=20_000, ge=100)

    @field_validator(*setting_forms.CHECKS)
    @classmethod
    def _of_a_usable_form(cls, value: Any, given: ValidationInfo) -> Any:
        # A value that nobody looks at before the first ticket or alert would be found wrong when it is needed most.
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if text is not None and given.field_name is not None:
            setting_forms.CHECKS[given.field_name](str(text))
        return value

    @model_validator(mode="after")
    def _whole_groups(self) -> Self:
        setting_groups.check(self)
        return self

    @property
    def spool_folder(self) -> Path:
        """Where accepted tickets wait for the database."""
        return self.data_dir.resolve() / "spool"

    @property
    def own_url(self) -> str:
        """The console's own address for links in notices, without a slash at the end."""
        return (self.public_url or f"http://localhost:{self.port}").rstrip("/")

    @property
    def postgres_url(self) -> str | None:
        """The given database's SQLAlchemy URL (with its password), or None for the embedded one."""
        if self.database_url is not None:
            return _with_driver(self.database_url.get_secret_value())
        if self.postgres_host is None:
            return None
        password = f":{quote(self.postgres_password.get_secret_value(), safe='')}" if self.postgres_password else ""
        user = quote(self.postgres_user or "", safe="")
        return f"postgresql+psycopg2://{user}{password}@{self.postgres_host}:{self.postgres_port}/{self.postgres_db}"

    @property
    def analytics_url(self) -> str | None:
        """The read replica's SQLAlchemy URL (with its password), or None where charts are read from the primary."""
        return _with_driver(self.analytics_database_url.get_secret_value()) if self.analytics_database_url is not None else None

    @property
    def redis_address(self) -> str | None:
        """The given Redis URL (with its password), or None for the embedded Valkey."""
        if self.redis_url is not None:
            return self.redis_url.get_secret_value()
        if self.redis_host is None:
            return None
        password = f":{quote(self.redis_password.get_secret_value(), safe='')}@" if self.redis_password else ""
        scheme = "rediss" if self.redis_tls else "redis"
        return f"{scheme}://{password}{self.redis_host}:{self.redis_port}/{self.redis_db}"


def _look_at(file: object) -> None:
    """Raise ConfigurationError for a file of settings of which a part would not count: the console would start on its own databases."""
    if not isinstance(file, str) or not os.path.exists(file):
        return
    try:
        with open(file, encoding="utf-8") as lines:
            bad = [one.original for one in parse_stream(lines) if one.error or (one.key is not None and one.value is None)]
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{file} is not text in UTF-8; save it in that encoding") from error
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read ({error.strerror})") from error
    if bad:
        # What the parser calls a statement begins with the empty lines before it.
        empty = len(bad[0].string) - len(bad[0].string.lstrip())
        line = bad[0].line + bad[0].string[:empty].count("\n")
        raise ConfigurationError(f"{file} line {line}: is not NAME=value, or a quote is not closed")


def load(**overrides: Any) -> Settings:
    """Read the settings; keyword arguments win over the environment. Raises ConfigurationError naming the setting, or the file."""
    _look_at(Settings.model_config.get("env_file"))
    try:
        return Settings(**overrides)
    except ValidationError as error:
        parts = []
        for item in error.errors(include_input=False, include_url=False):
            name = ".".join(str(part).upper() for part in item["loc"])
            text = item["msg"].removeprefix("Value error, ")
            parts.append(f"{name}: {text}" if name else text)
        raise ConfigurationError("; ".join(parts)) from error


def without_serve() -> tuple[str, ...]:
    """What is given for `python -m engine serve` and is not in force here, because this process is not what it started."""
    if "FORWARDED_ALLOW_IPS" in os.environ:
        return ()
    return tuple(name.upper() for name in ("port", "host", "trusted_proxies") if name in load().model_fields_set)


def child_environment(**more: str) -> dict[str, str]:
    """The environment for a process that this one starts, with more variables."""
    return {**os.environ, **more}


def bare_environment() -> dict[str, str]:
    """The environment for Postgres, its programs and Valkey, without the product's settings and without what others call a secret (an AWS
    key, say): Postgres may run as another user, who reads all of it. What libpq reads stays.
    """
    own = {name.upper() for name in Settings.model_fields}
    return {
        name: value for name, value in os.environ.items()
        if name.startswith("PG") or not (name.upper() in own or name.startswith("STREAMLIT_") or setting_forms.SECRET.search(name))
    }


def announce(**variables: str) -> None:
    """Put variables into this process' environment, for libraries that read nothing else."""
    os.environ.update(variables)
