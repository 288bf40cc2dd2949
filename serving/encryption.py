"""TLS for the endpoint: a certificate and its key in two files, followed as they are renewed."""

from __future__ import annotations

import ssl
from pathlib import Path

from registry.errors import ConfigError
from registry.logs import get_logger

log = get_logger(__name__)
Stamp = tuple[tuple[int, int, int], ...]


class Encryption:
    """What a listener shows. `look` takes over what was renewed: the next handshake uses it.

    `context` is for those who speak TLS through `ssl`; `pair`, the PEM text of the certificate chain
    and of the key, for those who bring a library of their own. Both are of the same files.
    """

    def __init__(self, certificate: str, key: str) -> None:
        """Read both files.

        Raises:
            ConfigError: one is not there, or they do not belong together.
        """
        self._files = (certificate, key)
        self._seen: Stamp = ()
        self._seen = self._stamp()
        self.context = _context(*self._files)
        self.pair = self._read()

    def look(self) -> None:
        """Read the files again if they have changed; what cannot be used changes nothing."""
        stamp = self._stamp()
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            # Tried first: a pair that is being written may not fit together yet.
            _context(*self._files)
            pair = self._read()
            if self._stamp() != stamp:
                self._seen = ()  # replaced while they were read: the next look sees both
                return
            self.context.load_cert_chain(*self._files)
        except (ConfigError, OSError) as error:
            log.warning("certificate not renewed", reason=str(error))
        else:
            self.pair = pair
            log.info("certificate renewed")

    def _read(self) -> tuple[bytes, bytes]:
        certificate, key = (Path(name).read_bytes() for name in self._files)
        return certificate, key

    def _stamp(self) -> Stamp:
        try:
            found = [Path(name).stat() for name in self._files]
        except OSError:
            return self._seen
        return tuple((s.st_ino, s.st_mtime_ns, s.st_size) for s in found)


def _context(certificate: str, key: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Renegotiation lets a client spend the server's processor at will.
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    try:
        # A key with a passphrase would be asked for at the terminal.
        context.load_cert_chain(certificate, key, password=lambda: b"")
    except OSError as error:  # SSLError is one
        raise ConfigError(
            f"the certificate {certificate} and the key {key} cannot be used",
            error.strerror or str(error) or "the key may have a passphrase",
            "PENSTOCK_SERVING_TLS_CERTIFICATE and PENSTOCK_SERVING_TLS_KEY name PEM files "
            "(docs/how-to/secrets.md).",
        ) from None
    return context


def open_encryption(certificate: str | None, key: str | None) -> Encryption | None:
    """What the two settings ask for; None where they ask for nothing.

    Raises:
        ConfigError: only one is set, or the files cannot be used.
    """
    if not certificate and not key:
        return None
    if not certificate or not key:
        raise ConfigError(
            "a certificate and its key belong together",
            "only one of PENSTOCK_SERVING_TLS_CERTIFICATE and PENSTOCK_SERVING_TLS_KEY is set",
            "Set both, or none.",
        )
    return Encryption(certificate, key)
