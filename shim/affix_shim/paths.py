"""Protobuf field paths to the names of the JSON parameters."""

from __future__ import annotations

import re
from typing import Final

# Contents are messages of their own in protobuf and plain parameters in JSON.
_CONTENT: Final = {
    "json.value": "value",
    "markdown.content": "content",
    "text.content": "content",
    "url.url": "url",
    "binary.mime_type": "mimeType",
    "binary.size": "size",
    "result.value": "result",
}
# A list that can be absent is a message of its own in protobuf.
_LIST: Final = ".instance_ids"
# The place in a batch, if it is one.
_PLACE: Final = re.compile(r"^requests\[\d+\]\.")
_SNAKE: Final = re.compile(r"_([a-z])")


def json_path(field: str) -> str:
    """Translate `requests[3].task_id` to `requests[3].taskId`, `binary.mime_type` to `mimeType`."""
    inner = _PLACE.sub("", field)
    place = field.removesuffix(inner)
    return place + (_CONTENT.get(inner) or _SNAKE.sub(lambda match: match[1].upper(), inner.replace(_LIST, "")))
