"""docs/security.md: its table of scopes is the one that is checked, its settings and claims are read."""

from __future__ import annotations

import inspect
import re

from affix_server.auth import json_web_tokens
from affix_server.auth.permissions import METHOD_SCOPES
from affix_server.auth.principals import SCOPES
from affix_server.auth.tokens import TokenLine
from affix_server.config import Settings
from tests.docs.pages import read, table
from tests.harness.grpc_messages import METHODS

PAGE = "docs/security.md"


def test_methods_that_change_something_need_write() -> None:
    named = {
        method: scope
        for call, scope, _ in table(PAGE, "call", "scope", "and")
        for method in re.findall(r"task\.\w+", call)
    }
    assert named == {method: METHOD_SCOPES[METHODS[method].rpc].word for method in named}
    reading = {name for name, scope in METHOD_SCOPES.items() if scope is SCOPES["read"]}
    assert reading == {
        *("GetAttachment", "ListAttachments", "BatchGetAttachments", "WatchAttachments", "GetTask", "ListTasks")
    }
    assert all(scope is SCOPES["write"] for name, scope in METHOD_SCOPES.items() if name not in reading)


def test_the_settings_that_it_names_are_there() -> None:
    named = set(re.findall(r"\bAFFIX_[A-Z_]+", read(PAGE)))
    assert named <= {f"AFFIX_{name.upper()}" for name in Settings.model_fields}
    assert {f"AFFIX_{name.upper()}" for name in Settings.model_fields if name.startswith("jwt_")} <= named


def test_the_claims_are_those_that_are_read() -> None:
    named = {claim for row in table(PAGE, "claim", "what") for claim in row[0].split(", ")}
    source = inspect.getsource(json_web_tokens)
    assert [claim for claim in named if f'"{claim}"' not in source] == []


def test_a_line_of_the_file_has_the_members_that_it_names() -> None:
    (sentence,) = re.findall(r"holds a JSON object a line: (.*?)\.", read(PAGE), re.DOTALL)
    camel = [re.sub(r"_([a-z])", lambda match: match[1].upper(), name) for name in TokenLine.__struct_fields__]
    assert re.findall(r"`(\w+)`", sentence) == camel
