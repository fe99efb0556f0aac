"""Vertex AI over REST, for steps: what is there under an identifier, and operations followed to their end."""

import time
from typing import Any
from urllib.parse import urlsplit

import requests

PASSING = (408, 429, 500, 502, 503, 504)  # statuses that may pass by themselves
TRIES = 6
TIME_LIMIT = 60  # seconds of one call
LONGEST_PAUSE = 20.0  # seconds between two looks at an operation


class VertexApi:
    """Vertex AI of one region."""

    def __init__(self, address: str, pause: float = 1.0):
        """Make the connection.

        Args:
            address: The service's, such as https://europe-west4-aiplatform.googleapis.com. One of this machine, by
                http://, is asked without credentials.
            pause: Seconds before the second try.
        """
        self._address, self._pause = address.rstrip("/"), pause
        self._session = requests.Session() if urlsplit(address).scheme == "http" else _authorized()

    def url(self, name: str) -> str:
        """Return the address of what has a name, such as projects/P/locations/L/models/M."""
        return f"{self._address}/v1/{name}"

    def call(self, method: str, name: str, **options: Any) -> dict[str, Any]:
        """Make a call, again with growing pauses while what hinders it may pass, and return the answer.

        Raises:
            RuntimeError: it was refused, or not answered; the message has what the service said.
        """
        for left in reversed(range(TRIES)):
            try:
                reply = self._session.request(method, self.url(name), timeout=TIME_LIMIT, **options)
                told = f"{reply.status_code} {reply.text[:500]}"
                if reply.ok:
                    answer: dict[str, Any] = reply.json()
                    return answer
                if reply.status_code not in PASSING:
                    break
            except (requests.RequestException, ValueError) as error:  # not reached, or no JSON
                told = str(error)
            if left:
                time.sleep(self._pause * 2 ** (TRIES - 1 - left))
        raise RuntimeError(f"{method} {name}: {told}")

    def listed(self, parent: str, kind: str, labels: dict[str, str]) -> list[dict[str, Any]]:
        """Return the models or endpoints that have all of these labels, the oldest first."""
        query = {"filter": " AND ".join(f'labels.{key}="{value}"' for key, value in labels.items()), "pageSize": "100"}
        found: list[dict[str, Any]] = []
        while True:
            page = self.call("GET", f"{parent}/{kind}", params=query)
            found += page.get(kind, [])
            if not page.get("nextPageToken"):
                return sorted(found, key=lambda each: (each.get("createTime", ""), each["name"]))
            query["pageToken"] = page["nextPageToken"]

    def end_of(self, operation: dict[str, Any]) -> dict[str, Any]:
        """Follow a long-running operation to its end and return its response.

        Raises:
            RuntimeError: it ended with an error.
        """
        pause = 0.2
        while not operation.get("done"):
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            operation = self.call("GET", operation["name"])
        if "error" in operation:
            raise RuntimeError(f"{operation['name']}: {operation['error'].get('message', operation['error'])}")
        response: dict[str, Any] = operation.get("response", {})
        return response


def _authorized() -> requests.Session:
    import google.auth
    from google.auth.transport.requests import AuthorizedSession

    return AuthorizedSession(google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])[0])
