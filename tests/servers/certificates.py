"""Certificates for servers on loopback, made anew for each run."""
from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM files of a server's certificate with its key, and of the authority that signed it."""

    authority: Path
    certificate: Path
    key: Path


def made(folder: Path, *, address: str = "127.0.0.1") -> Certificate:
    """A new authority and a certificate of it for this IP address."""
    now = datetime.now(UTC)
    authority_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"authority of {folder.name}")])

    def builder(name: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder().subject_name(name).issuer_name(authority).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1))
        )

    root = builder(authority, authority_key).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    server = builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")]), server_key).add_extension(
        x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False
    )
    paths = Certificate(folder / "authority.pem", folder / "server.pem", folder / "server.key")
    for path, made_ in ((paths.authority, root), (paths.certificate, server)):
        path.write_bytes(made_.sign(authority_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    paths.key.write_bytes(server_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ))
    return paths
