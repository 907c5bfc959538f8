"""The service over JSON-RPC, by plain HTTP."""

from __future__ import annotations

import io
import itertools
import json

import aiohttp

from tests.harness.json_text import dump, members, read_result
from tests.harness.secrecy import judge_error, keep
from tests.harness.wire import CallError, Params, Result


class JsonRpcWire:
    """Calls `POST {url}/rpc`; `url` is in process or a shim of its own."""

    def __init__(self, name: str, url: str, session: aiohttp.ClientSession, *, token: str | None = None) -> None:
        self.name = name
        self.url = url
        self._session = session
        self._token = token
        self._credentials = {"authorization": f"Bearer {token}"} if token is not None else {}
        self._ids = itertools.count(1)

    async def call(self, method: str, params: Params, *, instance: str | None = None) -> Result:
        number, secrets = next(self._ids), keep(params, self._token)
        body = dump({"jsonrpc": "2.0", "method": method, "params": dict(params), "id": number})
        answer = members(await self.post(body, instance=instance))
        assert json.loads(answer.pop("jsonrpc")) == "2.0"
        assert json.loads(answer.pop("id")) == number
        assert len(answer) == 1, f"neither result nor error alone: {answer}"
        if "result" in answer:
            return read_result(answer["result"])
        error = json.loads(answer["error"])
        assert error.keys() <= {"code", "message", "data"}
        refused = CallError(error["code"], error["message"], error.get("data", {}))
        judge_error(secrets, refused)
        raise refused

    async def post(self, body: str, *, instance: str | None = None) -> str:
        """Send a body as it is and return the text of the answer, which must be HTTP 200 and JSON."""
        headers = {"content-type": "application/json", **self._credentials}
        if instance is not None:
            headers["x-instance-id"] = instance
        async with self._session.post(f"{self.url}/rpc", data=io.BytesIO(body.encode()), headers=headers) as response:
            text = await response.text(encoding="utf-8")
            assert (response.status, response.content_type) == (200, "application/json"), text
            return text
