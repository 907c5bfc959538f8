"""What cannot be used is said in one plain line, before anything is served."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.processes import Command
from tests.tls.authority import Authority, Pair

CERTIFICATE, KEY, CLIENT_CA = "AFFIX_TLS_CERTIFICATE", "AFFIX_TLS_KEY", "AFFIX_TLS_CLIENT_CA"


async def line(folder: Path, settings: dict[str, str], *arguments: str) -> str:
    """The one line that a command ends with."""
    listen = {"AFFIX_GRPC_LISTEN": "127.0.0.1:0", "AFFIX_HTTP_LISTEN": "127.0.0.1:0"}
    command = await Command.start(*(arguments or ("serve",)), settings=listen | settings, log=folder / "failed.log")
    assert await command.wait() == 2, command.output
    (only,) = command.output.splitlines()
    return only


@pytest.fixture
def files(folder: Path, pair: Pair, authority: Authority) -> dict[str, str]:
    (folder / "text.pem").write_text("no certificate\n")
    return {
        "cert": str(pair.certificate),
        "key": str(pair.key),
        "other key": str(authority.issue().key),
        "none": str(folder / "none.pem"),
        "text": str(folder / "text.pem"),
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({CERTIFICATE: "cert"}, "AFFIX_TLS_CERTIFICATE and AFFIX_TLS_KEY need each other: the certificate and its key"),
        ({KEY: "key"}, "AFFIX_TLS_CERTIFICATE and AFFIX_TLS_KEY need each other: the certificate and its key"),
        ({CLIENT_CA: "cert"}, "AFFIX_TLS_CLIENT_CA needs AFFIX_TLS_CERTIFICATE and AFFIX_TLS_KEY"),
        ({CERTIFICATE: "none", KEY: "key"}, "cannot read {none} (AFFIX_TLS_CERTIFICATE): no such file or directory"),
        ({CERTIFICATE: "cert", KEY: "text"}, "{text} (AFFIX_TLS_KEY) is not a PEM file"),
        (
            {CERTIFICATE: "cert", KEY: "other key"},
            "{other key} (AFFIX_TLS_KEY) is not the key of {cert} (AFFIX_TLS_CERTIFICATE)",
        ),
        ({CERTIFICATE: "cert", KEY: "key", CLIENT_CA: "text"}, "{text} (AFFIX_TLS_CLIENT_CA) is not a PEM file"),
    ],
)
async def test_the_wires(
    folder: Path, stores: dict[str, str], files: dict[str, str], given: dict[str, str], said: str
) -> None:
    settings = {name: files[file] for name, file in given.items()}
    assert await line(folder, stores | settings) == f"affix: {said.format_map(files)}"
    assert await line(folder, settings, "shim", "--target", "127.0.0.1:1") == f"affix: {said.format_map(files)}"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"CERTIFICATE": "cert", "KEY": "key"},
            "a certificate for the target needs --target-ca: a PEM file, or system",
        ),
        ({"CA": "cert", "KEY": "key"}, "--target-certificate and --target-key need each other"),
        ({"CA": "none"}, "cannot read {none} (--target-ca): no such file or directory"),
        ({"CA": "text"}, "{text} (--target-ca) is not a PEM file"),
    ],
)
async def test_the_target_of_a_shim(folder: Path, files: dict[str, str], given: dict[str, str], said: str) -> None:
    settings = {f"AFFIX_TARGET_{name}": files[file] for name, file in given.items()}
    assert await line(folder, settings, "shim", "--target", "127.0.0.1:1") == f"affix: {said.format_map(files)}"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://r/0?ssl_ca_certs={cert}", "ssl_ca_certs is for rediss://"),
        (
            "rediss://r/0?ssl_cert_reqs=none",
            "ssl_cert_reqs is not known; ssl_ca_certs, ssl_certfile, ssl_keyfile are, and Redis is verified",
        ),
        ("rediss://r/0?ssl_keyfile={key}", "ssl_keyfile needs ssl_certfile"),
        ("rediss://r/0?ssl_ca_certs={none}", "cannot read its certificate, key or CA: No such file or directory"),
        ("rediss://r/0?ssl_ca_certs={text}", "its certificate, key or CA is not usable: PEM files, without passphrase"),
    ],
)
async def test_redis(folder: Path, stores: dict[str, str], files: dict[str, str], url: str, said: str) -> None:
    settings = stores | {"AFFIX_REDIS_URL": url.format_map(files)}
    assert await line(folder, settings) == f"affix: AFFIX_REDIS_URL: {said}"
