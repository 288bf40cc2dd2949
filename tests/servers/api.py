"""The HTTP API of a server, as the tests themselves use it.

The product's own clients are what is tested, so the tests look at servers without them.
"""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class ApiError(OSError):
    """A server answered with an error; an OSError, as one that does not answer is."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status


@dataclass(frozen=True)
class Api:
    """Where a server answers and what it wants to hear with each request."""

    address: str
    headers: Mapping[str, str] = field(default_factory=dict)
    ca_file: Path | None = None

    def get(self, path: str) -> Any:
        """The answer to GET, decoded where it is JSON."""
        return self.call("GET", path)

    def put(self, path: str, body: object = None) -> Any:
        """The answer to PUT; `body` is text as it is, bytes as they are, or anything as JSON."""
        return self.call("PUT", path, body)

    def post(self, path: str, body: object = None) -> Any:
        """The answer to POST; see `put`."""
        return self.call("POST", path, body)

    def delete(self, path: str) -> Any:
        """The answer to DELETE."""
        return self.call("DELETE", path)

    def call(self, method: str, path: str, body: object = None, timeout: float = 30) -> Any:
        """The answer to one request; `path` starts with a slash and is quoted already.

        Raises:
            ApiError: a status of 400 or above.
            OSError: no answer.
        """
        request = urllib.request.Request(
            self.address + path, data=_encoded(body), headers=dict(self.headers), method=method
        )
        try:
            with self._opener().open(request, timeout=timeout) as reply:
                return _decoded(reply.read(), reply.headers.get_content_type())
        except urllib.error.HTTPError as error:
            with error:
                raise ApiError(error.code, error.read().decode(errors="replace")) from None

    def _opener(self) -> urllib.request.OpenerDirector:
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if self.ca_file:
            context = ssl.create_default_context(cafile=str(self.ca_file))
            handlers.append(urllib.request.HTTPSHandler(context=context))
        return urllib.request.build_opener(*handlers)


def _encoded(body: object) -> bytes | None:
    if body is None or isinstance(body, bytes):
        return body
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()


def _decoded(content: bytes, kind: str) -> Any:
    return json.loads(content) if kind == "application/json" and content else content.decode()
