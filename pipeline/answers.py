"""What Google's services for data refuse, in words."""

import contextlib
from collections.abc import Iterator

from pipeline import RequestError


@contextlib.contextmanager
def answers_told(data: str, what: str = "--data") -> Iterator[None]:
    """Turn what a service refuses, or answers in another way than it should, into words about what was asked for.

    Args:
        data: Its address; nothing is turned for what is on this machine.
        what: What it is, in a word.

    Raises:
        RequestError: in place of the service's.
    """
    service = data.partition(":")[0]
    if service not in _ASK_FOR:
        yield
        return
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
    from requests import RequestException

    refused = (GoogleAPIError, GoogleAuthError, DataCorruption, InvalidResponse, RequestException)
    try:
        yield
    except (*refused, ValueError, LookupError, TypeError, AttributeError) as error:  # the last: of what is no answer
        raise RequestError(f"{what} {data} cannot be read: {_first_line(error)}\n{_ASK_FOR[service]}") from error


_ASK_FOR = {
    "gs": "Check the address and that you may read it: gcloud storage ls gs://BUCKET; log in with: gcloud auth "
    "application-default login",
    "bq": "Check the name and that you may read it: bq show PROJECT:DATASET.TABLE (roles/bigquery.dataViewer); log in "
    "with: gcloud auth application-default login, and then: gcloud auth application-default set-quota-project PROJECT",
}


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
