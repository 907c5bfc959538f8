"""`affix token`, and a file of tokens that changes while the service runs."""

from __future__ import annotations

import hashlib
import json
import re
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from affix_server.auth import files
from affix_server.auth.principals import Principal, Scope
from affix_server.auth.tokens import Tokens
from affix_server.errors import StartError, UnauthenticatedError
from tests.auth.site import affix_token, new_token
from tests.cli.commands import NOBODY, affix, plain_failure

SETTING = "AFFIX_TOKEN_FILE"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tokens"


@pytest.fixture
def pass_a_second(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Make the next use of a file look whether it has changed."""
    real, passed = time.monotonic, [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: real() + passed[0])

    def pass_() -> None:
        passed[0] += files.LOOK_EVERY_SECONDS

    return pass_


def refused(tokens: Tokens, token: str) -> bool:
    try:
        tokens.principal(token)
    except UnauthenticatedError:
        return True
    return False


def test_a_token_is_printed_once_and_only_its_hash_is_kept(file: Path) -> None:
    token = affix_token("new", "--instance", "instance-1", "--scope", "write", "--task-prefix", "a.", file=file)
    found = re.fullmatch(r"affix_([0-9a-f]{12})_([A-Za-z0-9_-]{43})", token)
    assert found
    assert found[2] not in file.read_text()
    (line,) = map(json.loads, file.read_text().splitlines())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z", line.pop("createdAt"))
    assert line == {
        "id": found[1],
        "sha256": hashlib.sha256(token.encode()).hexdigest(),
        "instance": "instance-1",
        "scope": "write",
        "taskPrefix": "a.",
    }
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert Tokens(file, SETTING).principal(token) == Principal("instance-1", Scope.WRITE, "a.")


def test_tokens_are_listed_and_revoked_by_their_ids(file: Path) -> None:
    first, second = new_token(file, "instance-1", "read"), new_token(file, "instance-2", "admin", "b-")
    ids = [token.split("_")[1] for token in (first, second)]
    rows = [re.split(r" {2,}", line)[:4] for line in affix_token("list", file=file).splitlines()]
    assert rows == [
        ["id", "instance", "scope", "task prefix"],
        [ids[0], "instance-1", "read", "-"],
        [ids[1], "instance-2", "admin", "b-"],
    ]
    file.chmod(0o640)
    assert affix_token("revoke", ids[0], file=file) == ""
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    tokens = Tokens(file, SETTING)
    assert refused(tokens, first)
    assert tokens.principal(second).scope is Scope.ADMIN
    assert plain_failure(affix("token", "revoke", ids[0], "--file", str(file))) == (
        f"no token of {file} has the id {ids[0]}"
    )


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--instance", "i", "--scope", "all"), "--scope must be one of read, write, admin"),
        (("--instance", "", "--scope", "read"), "--instance must be 1 to 128 characters, not 0"),
        (
            ("--instance", "i", "--scope", "read", "--task-prefix", ""),
            "--task-prefix must not be empty: leave it out for all tasks",
        ),
        (
            ("--instance", "i", "--scope", "read", "--task-prefix", "a:"),
            "--task-prefix must consist of A-Z a-z 0-9 . _ - only",
        ),
        (
            ("--instance", "i", "--scope", "read", "--task-prefix", "a" * 101),
            "--task-prefix must be at most 100 characters, not 101",
        ),
    ],
)
def test_what_is_no_token_is_a_line(file: Path, arguments: tuple[str, ...], why: str) -> None:
    assert plain_failure(affix("token", "new", *arguments, "--file", str(file))) == why
    assert not file.exists()


def test_a_folder_that_is_not_there_is_a_line(tmp_path: Path) -> None:
    file = tmp_path / "none" / "tokens"
    done = affix("token", "new", "--instance", "i", "--scope", "read", AFFIX_TOKEN_FILE=str(file))
    assert plain_failure(done) == f"cannot use {file}: no such file or directory"


def test_what_has_changed_is_in_use_within_a_second(file: Path, pass_a_second: Callable[[], None]) -> None:
    first = new_token(file, "instance-1", "read")
    tokens = Tokens(file, SETTING)
    second = new_token(file, "instance-2", "write")
    affix_token("revoke", first.split("_")[1], file=file)
    pass_a_second()
    assert tokens.principal(second).name == "instance-2"
    assert refused(tokens, first)


@pytest.mark.parametrize("bad", [b"not json\n", b'{"id": "a"}\n', b'{"id": "\xff"}', b"[" * 100_000, None])
def test_a_file_gone_bad_changes_nothing_and_is_said_once(
    file: Path, pass_a_second: Callable[[], None], bad: bytes | None
) -> None:
    token = new_token(file, "instance-1", "read")
    tokens, good = Tokens(file, SETTING), file.read_text()
    if bad is None:
        file.unlink()
    else:
        file.write_bytes(good.encode() + bad)
    with capture_logs() as logged:
        for _ in range(3):
            pass_a_second()
            assert tokens.principal(token).name == "instance-1"
        file.write_text(good.replace("read", "write"))
        pass_a_second()
        assert tokens.principal(token).scope is Scope.WRITE
    assert [line["event"] for line in logged] == ["credentials_not_reloaded", "credentials_reloaded"]
    assert logged[0]["file"] == str(file)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (('"scope":"read"', '"scope":"all"'), "scope must be one of read, write, admin"),
        (('"sha256":"', '"sha256":"x'), "sha256 must be 64 of 0-9 a-f"),
        (('"instance":"instance-1",', ""), "Object missing required field `instance`"),
        (('"scope"', '"taskprefix":"a","scope"'), "Object contains unknown field `taskprefix`"),
        (('"taskPrefix":""', '"taskPrefix":"a b"'), "task_prefix must consist of A-Z a-z 0-9 . _ - only"),
    ],
)
def test_a_line_that_is_wrong_keeps_the_service_from_starting(file: Path, change: tuple[str, str], why: str) -> None:
    new_token(file, "instance-0", "read")
    new_token(file, "instance-1", "read")
    first, second = file.read_text().splitlines()
    assert change[0] in second
    file.write_text(f"{first}\n\n{second.replace(*change)}\n")
    with pytest.raises(StartError) as caught:
        Tokens(file, SETTING)
    assert str(caught.value) == f"{file} (AFFIX_TOKEN_FILE) is no file of tokens: line 3: {why}"


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"AFFIX_AUTH": "token"}, "AFFIX_AUTH=token needs AFFIX_TOKEN_FILE"),
        (
            {"AFFIX_AUTH": "token", "AFFIX_TOKEN_FILE": "/none/tokens"},
            "cannot read /none/tokens (AFFIX_TOKEN_FILE): no such file or directory",
        ),
        ({"AFFIX_AUTH": "jwt"}, "AFFIX_AUTH=jwt needs AFFIX_JWT_ISSUER and AFFIX_JWT_AUDIENCE"),
        (
            {"AFFIX_AUTH": "jwt", "AFFIX_JWT_ISSUER": "i", "AFFIX_JWT_AUDIENCE": "a"},
            "AFFIX_AUTH=jwt needs AFFIX_JWT_KEY_FILE or AFFIX_JWT_JWKS_FILE, one of them",
        ),
        (
            {
                "AFFIX_AUTH": "jwt",
                "AFFIX_JWT_ISSUER": "i",
                "AFFIX_JWT_AUDIENCE": "a",
                "AFFIX_JWT_KEY_FILE": "/dev/null",
            },
            "/dev/null (AFFIX_JWT_KEY_FILE) is no PEM file with a public key, which RS256 needs",
        ),
        ({"AFFIX_METRICS_ACCESS": "authenticated"}, "AFFIX_METRICS_ACCESS=authenticated needs AFFIX_AUTH=token or jwt"),
        (
            {"AFFIX_DISCOVER_ACCESS": "authenticated"},
            "AFFIX_DISCOVER_ACCESS=authenticated needs AFFIX_AUTH=token or jwt",
        ),
        ({"AFFIX_AUTH": "basic"}, "AFFIX_AUTH must be 'none', 'token' or 'jwt', not 'basic'"),
    ],
)
def test_a_service_that_cannot_know_anybody_does_not_start(settings: dict[str, str], why: str) -> None:
    stores = {"AFFIX_POSTGRES_DSN": f"postgresql://{NOBODY}/x", "AFFIX_REDIS_URL": f"redis://{NOBODY}"}
    assert plain_failure(affix("serve", **stores, **settings)) == why
