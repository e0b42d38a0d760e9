"""The HTTP API as a back end calls it."""

from typing import Any, Protocol

from aiohttp import ClientResponse

from tests.support.embedded import Message


class Requests(Protocol):
    """What makes requests: a session, or a test's client."""

    async def request(self, method: str, url: str, **kwargs: Any) -> ClientResponse:
        """Make a request."""


class BackEnd:
    """Somebody who calls the API with one credential."""

    def __init__(self, http: Requests, credential: str) -> None:
        self._http = http
        self._credential = credential

    async def call(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> ClientResponse:
        """Make a request and return the response, read to its end."""
        sent = {"Authorization": f"Bearer {self._credential}", **headers}
        response = await self._http.request(method, f"/api/v1{path}", json=body, headers=sent)
        await response.read()
        return response

    async def post(self, path: str, body: Any = None, key: str = "") -> Message:
        """Post something that succeeds; return the answer."""
        headers = {"Idempotency-Key": key} if key else {}
        return await _succeeded(await self.call("POST", path, body or {}, **headers))

    async def get(self, path: str) -> Message:
        """Get something that is there."""
        return await _succeeded(await self.call("GET", path))

    async def delete(self, path: str) -> Message:
        """Delete something that is there."""
        return await _succeeded(await self.call("DELETE", path))

    async def refused(self, method: str, path: str, body: Any = None) -> Message:
        """Make a request that fails; return the data of the Error."""
        response = await self.call(method, path, body)
        error: Message = await response.json()
        assert (error["type"], error["data"]["code"]) == ("Error", response.status), error
        data: Message = error["data"]
        return data


async def _succeeded(response: ClientResponse) -> Message:
    found: Message = await response.json()
    assert response.status == 200, found
    return found
