"""The address of a database, read as the driver will read it: what no server could make good is found here, before anybody is asked."""
from __future__ import annotations

import os
import re
from typing import Any

import psycopg2
from psycopg2.extensions import make_dsn
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from engine.errors import ConfigurationError

_REFUSED_VALUE = re.compile(
    r'invalid integer value ".*" for connection option "(\w+)"|invalid "?(\w+)"? value|(?:definition of |syntax error in )?(service) (?:file )?"'
)


def address_of(url: str, setting: str) -> URL:
    """The address behind `url`. Raises ConfigurationError that names `setting` where no connection can ever come of it."""
    try:
        address = make_url(url)
        usable = address.drivername in ("postgresql", "postgresql+psycopg2") and 1 <= (address.port or 5432) <= 65535
        # The driver looks at the options behind the ? when it first connects.
        named = address.get_dialect()().create_connect_args(address)[1]
        make_dsn(**named)
        unknown = _not_a_value(named)
    except (ArgumentError, ValueError, psycopg2.ProgrammingError):
        # The error's text repeats what stood there, and it may be the rest of a password that was not quoted.
        usable = False
    if not usable:
        raise ConfigurationError(
            f"{setting}: is not a database URL like postgresql://user:password@host:5432/name, with options behind a ? that Postgres' client knows"
        )
    if unknown:
        place = "behind the ?" if unknown in named else f"in the environment (PG{unknown.replace('_', '').upper()})"
        raise ConfigurationError(f"{setting}: Postgres' client does not know the value of {unknown}, which stands {place}")
    missing = _missing_authority(named)
    if missing:
        raise ConfigurationError(f"{setting}: there is no file {missing}, which sslrootcert behind the ? names")
    return address


def _not_a_value(named: dict[str, Any]) -> str | None:
    """The option whose value the driver refuses. It looks at some when it connects, before it asks anybody; on this port nobody answers."""
    try:
        psycopg2.connect(**{"connect_timeout": 2, **named, "host": "localhost", "hostaddr": "127.0.0.1", "port": "1"}).close()
    except psycopg2.OperationalError as error:
        refused = _REFUSED_VALUE.search(str(error))
        return refused[refused.lastindex or 0] if refused else None
    return None


def _missing_authority(named: dict[str, Any]) -> str | None:
    """The file of an authority that is not there. The driver misses it only once a server has answered, and a socket's certificate is not checked."""
    file = str(named.get("sslrootcert", "system"))
    checked = str(named.get("sslmode")).startswith("verify-") and not str(named.get("host", "/")).startswith("/")
    return file if checked and file != "system" and not os.path.isfile(file) else None
