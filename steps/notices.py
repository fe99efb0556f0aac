"""A message of how a run has ended: its text, and its way to Slack, Teams or any other webhook."""

import base64
import os
import time
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

import requests

PASSING = (408, 425, 429, 500, 502, 503, 504)  # statuses that may pass by themselves
TRIES = 5
TIME_LIMIT = 10.0  # seconds of one call
SECRETS = "https://secretmanager.googleapis.com"
MOST_ERROR = 1_500  # characters
SLACK = ("hooks.slack.com", "hooks.slack-gov.com")
TEAMS = (".webhook.office.com", ".logic.azure.com", ".powerplatform.com")


FIGURES = {"accuracy": "accuracy", "macro_f1": "macro-F1", "r2": "R²", "mean_absolute_error": "MAE"}


@dataclass
class Ending:
    """How a run has ended."""

    pipeline: str
    identifier: str
    run: str  # its id, on a service that of its job
    state: str  # succeeded, failed or cancelled
    error: str = ""  # the digest of its failure
    seconds: float | None = None
    figures: dict[str, Any] = field(default_factory=dict)
    url: str = ""  # of the job's page


class Undelivered(Exception):
    """A message could not be delivered; the text says why, and nothing of the address beyond its host."""


def text_of(ending: Ending) -> str:
    """Return the message of some lines."""
    took = "" if ending.seconds is None else f" after {_duration(ending.seconds)}"
    lines = [f"{ending.pipeline} of {ending.identifier} has {_told(ending.state)}{took}: {ending.run}"]
    if ending.error:
        lines.append(ending.error if len(ending.error) <= MOST_ERROR else f"{ending.error[: MOST_ERROR - 1]}…")
    if ending.figures:
        lines.append("   ".join(f"{name} {_figure(value)}" for name, value in ending.figures.items()))
    return "\n".join([*lines, ending.url] if ending.url else lines)


def figures_of(metrics: dict[str, Any]) -> dict[str, Any]:
    """Return the main figures of a model, by what they are shown as."""
    return {FIGURES[name]: metrics[name] for name in FIGURES if name in metrics}


def _figure(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _told(state: str) -> str:
    return "been cancelled" if state == "cancelled" else state


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def body_of(url: str, ending: Ending) -> dict[str, Any]:
    """Return what is sent to an address: in the form of Slack or Teams by its host, else the text and its parts.

    Of the text nothing is read as markup: a failure may quote anybody's words.
    """
    host, text = urlsplit(url).hostname or "", text_of(ending)
    if host in SLACK:
        return {"text": text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")}
    if host.endswith(TEAMS):
        lines = [{"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": line}]} for line in text.split("\n")]
        card = {"type": "AdaptiveCard", "version": "1.4", "body": lines}
        card["$schema"] = "http://adaptivecards.io/schemas/adaptive-card.json"
        return {
            "type": "message",
            "attachments": [{"contentType": "application/vnd.microsoft.card.adaptive", "content": card}],
        }
    return {"text": text, **asdict(ending)}


def send(address: str, ending: Ending, tries: int = TRIES, time_limit: float = TIME_LIMIT, pause: float = 1.0) -> None:
    """Deliver a message, again with growing pauses while what hinders it may pass.

    Args:
        address: https://…, env:NAME of the variable that has it, or secret:projects/P/secrets/S that holds it.
        ending: What to tell.
        tries: How often at most.
        time_limit: Seconds of one try.
        pause: Seconds before the second try.

    Raises:
        Undelivered: it was refused, not answered, or the address is not known.
    """
    url = resolved(address, time_limit)
    if not is_webhook(url):
        raise Undelivered(f"{shown(address)} holds no https:// address")
    body = body_of(url, ending)
    for left in reversed(range(tries)):
        try:
            reply = requests.post(url, json=body, timeout=time_limit, allow_redirects=False)
            if reply.status_code < 300:
                return
            told = f"answered {reply.status_code}"
            if reply.status_code not in PASSING:
                break
        except requests.Timeout:
            told = f"did not answer in {time_limit:g} s"
        except requests.RequestException as error:  # whose own words have the whole address
            told = f"was not reached: {type(error).__name__}"
        if left:
            time.sleep(pause * 2 ** (tries - 1 - left))
    raise Undelivered(f"{shown(url)} {told}")


def is_webhook(url: str) -> bool:
    """Return whether messages may be sent to an address: http:// is for this machine only."""
    try:
        parts = urlsplit(url)
        is_here = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1")
        return bool(parts.hostname and (parts.scheme == "https" or is_here)) and url.isprintable() and " " not in url
    except ValueError:
        return False


def shown(address: str) -> str:
    """Return an address as it may be seen: of a webhook the host only, since whoever knows the rest may post there."""
    if address.startswith(("env:", "secret:")) or "://" not in address:
        return address
    return f"{address.partition('://')[0]}://{urlsplit(address).hostname}/…"


def resolved(address: str, time_limit: float = TIME_LIMIT) -> str:
    """Return the webhook that an address stands for.

    Raises:
        Undelivered: the variable is not set, or the secret cannot be read.
    """
    kind, _, name = address.partition(":")
    if kind == "env":
        if not os.environ.get(name):
            raise Undelivered(f"the variable {name} is not set")
        return os.environ[name].strip()
    return _secret(name, time_limit) if kind == "secret" else address


def _secret(name: str, time_limit: float) -> str:
    version = name if "/versions/" in name else f"{name}/versions/latest"
    service = os.environ.get("SECRET_MANAGER_EMULATOR", SECRETS)  # one of this machine is asked without credentials
    try:
        session = _authorized() if service == SECRETS else requests.Session()
        reply = session.get(f"{service}/v1/{version}:access", timeout=time_limit)
    except Exception as error:
        raise Undelivered(f"the secret {name} cannot be read: {type(error).__name__}") from None
    if not reply.ok:
        hint = "; the account needs roles/secretmanager.secretAccessor" if reply.status_code == 403 else ""
        raise Undelivered(f"the secret {name} cannot be read: the service answered {reply.status_code}{hint}")
    return base64.b64decode(reply.json()["payload"]["data"]).decode().strip()


def _authorized() -> requests.Session:
    import google.auth
    from google.auth.transport.requests import AuthorizedSession

    return AuthorizedSession(google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])[0])
