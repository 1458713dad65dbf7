"""What stands in a database's address and can never be right is a wrong setting, and no database that is away."""
from __future__ import annotations

from pathlib import Path

import pytest

from db.address import address_of
from engine.errors import ConfigurationError

URL = "postgresql+psycopg2://nobody:secret@one/none"


@pytest.mark.parametrize("option", [
    "keepalives=x", "keepalives_idle=5s", "keepalives_count=1.5", "tcp_user_timeout=soon", "connect_timeout=2&connect_timeout=3",
])
def test_a_number_that_is_none_is_refused_with_its_option(option: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        address_of(f"{URL}?{option}", "DATABASE_URL")
    assert f"DATABASE_URL: Postgres' client does not know the value of {option.split('=')[0]}, which stands behind the ?" in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("setting", ["service", "PGSERVICE"])
def test_a_service_that_is_defined_nowhere_is_refused_and_one_that_is_defined_is_not(
    setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "services"
    file.write_text("[here]\nhost=one\n")
    monkeypatch.setenv("PGSERVICEFILE", str(file))
    for name, known in (("here", True), ("nowhere", False)):
        if setting == "PGSERVICE":
            monkeypatch.setenv(setting, name)
        url = URL if setting == "PGSERVICE" else f"{URL}?service={name}"
        if known:
            assert address_of(url, "DATABASE_URL").host == "one"
            continue
        place = r"in the environment \(PGSERVICE\)" if setting == "PGSERVICE" else r"behind the \?"
        with pytest.raises(ConfigurationError, match=f"does not know the value of service, which stands {place}"):
            address_of(url, "DATABASE_URL")


@pytest.mark.parametrize("written", [None, "not a section\n", "[here]\nno value\n"])
def test_a_file_of_services_that_is_missing_or_torn_is_refused(written: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "services"
    if written is not None:
        file.write_text(written)
    monkeypatch.setenv("PGSERVICEFILE", str(file))
    with pytest.raises(ConfigurationError, match="value of service, "):
        address_of(f"{URL}?service=here", "DATABASE_URL")


def test_an_authority_s_file_has_to_be_there_where_the_certificate_is_checked(tmp_path: Path) -> None:
    there, missing = tmp_path / "ca.pem", tmp_path / "none.pem"
    there.touch()
    for mode in ("verify-ca", "verify-full"):
        with pytest.raises(ConfigurationError, match=f"DATABASE_URL: there is no file {missing}, which sslrootcert"):
            address_of(f"{URL}?sslmode={mode}&sslrootcert={missing}", "DATABASE_URL")
        address_of(f"{URL}?sslmode={mode}&sslrootcert={there}", "DATABASE_URL")
    address_of(f"{URL}?sslmode=verify-full&sslrootcert=system", "DATABASE_URL")
    for looked_at_by_nobody in (f"{URL}?sslmode=require&sslrootcert={missing}", f"postgresql:///none?host=/run&sslmode=verify-full&sslrootcert={missing}"):
        address_of(looked_at_by_nobody, "DATABASE_URL")


def test_numbers_as_the_client_reads_them_are_taken() -> None:
    address_of(f"{URL}?keepalives=1&keepalives_idle=%2030&tcp_user_timeout=5000&connect_timeout=-1", "DATABASE_URL")
