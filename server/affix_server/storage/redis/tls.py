"""TLS to Redis, as `rediss://` and its parameters ask for it, in redis-py's words."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass

from affix_server.errors import StartError

# So that nothing asks for one at the terminal.
_UNASKED = ""
_PARAMETERS = {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"}


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files: the CAs to trust (the system's if None), and our certificate and key for a Redis that asks for them.

    The certificate of Redis and its host name are always verified.
    """

    ca: str | None
    certificate: str | None
    key: str | None

    def context(self) -> ssl.SSLContext:
        """Read the files and make a context. Raises OSError, of which ssl.SSLError is one."""
        context = ssl.create_default_context(cafile=self.ca)
        if self.certificate is not None:
            context.load_cert_chain(self.certificate, self.key, password=_UNASKED)
        return context


def tls_of(scheme: str, query: Mapping[str, str]) -> Tls | None:
    """Take the parameters of a Redis URL; None is no TLS.

    Raises StartError for what is not known, since it may have been meant to protect, and for files that cannot be used.
    """
    given = {name for name in query if name.startswith("ssl")}
    if scheme != "rediss":
        if given:
            raise StartError(f"AFFIX_REDIS_URL: {min(given)} is for rediss://")
        return None
    if given - _PARAMETERS:
        known = ", ".join(sorted(_PARAMETERS))
        raise StartError(
            f"AFFIX_REDIS_URL: {min(given - _PARAMETERS)} is not known; {known} are, and Redis is verified"
        )
    if "ssl_keyfile" in query and "ssl_certfile" not in query:
        raise StartError("AFFIX_REDIS_URL: ssl_keyfile needs ssl_certfile")
    tls = Tls(query.get("ssl_ca_certs"), query.get("ssl_certfile"), query.get("ssl_keyfile"))
    try:
        tls.context()
    except ssl.SSLError:
        raise StartError(
            "AFFIX_REDIS_URL: its certificate, key or CA is not usable: PEM files, without passphrase"
        ) from None
    except OSError as error:
        raise StartError(f"AFFIX_REDIS_URL: cannot read its certificate, key or CA: {error.strerror}") from None
    return tls
