"""Certificates for tests of TLS."""

from __future__ import annotations

import hashlib
import ssl
import subprocess
from pathlib import Path


def certify(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate for the loopback that is its own authority, and its key."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-days", "1", "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


def shown(address: str) -> str:
    """The digest of the certificate that a new connection to `host:port` is shown."""
    host, port = address.split(":")
    return hashlib.sha256(
        ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((host, int(port))))
    ).hexdigest()


def digest(certificate: Path) -> str:
    """The digest of a certificate in a file."""
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.read_text())).hexdigest()
