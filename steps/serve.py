"""Serve a model's folder over HTTP, by the contract of Vertex AI's custom containers.

The environment says what and where: AIP_STORAGE_URI (the folder), MODEL_SHA256 (of its file, if not the one that the
folder itself has recorded), AIP_HTTP_PORT, AIP_HEALTH_ROUTE and AIP_PREDICT_ROUTE.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

# before scikit-learn is imported: threads that wait by spinning take the cores from the others
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

HEALTH, PREDICT, PORT = "/health", "/predict", 8080
# that a connection is kept for: longer than Google's load balancers do, or a request may meet its end
SECONDS_IDLE = 620
SECONDS_TO_END = 8  # for the requests that are being answered; Cloud Run gives ten


def bound(host: str, port: int) -> socket.socket:
    """Return a socket that has a port, and listens once the model is loaded: whoever can connect is answered.

    Raises:
        OSError: the port is taken, or this user may not have it.
    """
    # TCP is named, or asyncio leaves its sockets to wait for more to send: 40 ms, at each answer
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # elsewhere it lets two listen on one port
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
    except OSError:
        made.close()
        raise
    return made


def serve(
    folder: str,
    sha256: str,
    sockets: list[socket.socket],
    health: str = HEALTH,
    predict: str = PREDICT,
    ready: Callable[[dict[str, Any]], None] = lambda facts: None,
) -> None:
    """Serve a model until a signal ends it.

    Args:
        folder: Its folder.
        sha256: SHA-256 of its file; "" for that which the folder has recorded.
        sockets: Where it is to listen.
        health: Path that says whether it is ready.
        predict: Path that takes instances.
        ready: Called with the facts of the folder once it listens.

    Raises:
        ValueError: the folder is none of a model, or its file is not the one that was recorded.
    """
    from steps.model_folder import load_model, read_facts

    facts = read_facts(folder)
    facts["sha256"] = sha256 or facts["sha256"]
    model = load_model(folder, facts["sha256"])

    import uvicorn  # what takes its time comes when there is something to serve

    from steps.serving.app import application
    from steps.serving.predictor import Predictor

    app = application(Predictor(model, facts), facts, health, predict)
    config = uvicorn.Config(
        app,
        http="h11",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=SECONDS_IDLE,
        timeout_graceful_shutdown=SECONDS_TO_END,
    )

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            ready(facts)

    asyncio.run(Server(config).serve(sockets))


def main() -> None:
    """Serve what the environment names, in a container."""
    for number in (signal.SIGINT, signal.SIGTERM):  # which uvicorn raises again once it has ended
        signal.signal(number, lambda *_: sys.exit(0))
    asked = os.environ
    folder, port = asked.get("AIP_STORAGE_URI", ""), asked.get("AIP_HTTP_PORT") or str(PORT)
    if not folder:
        sys.exit("Error: AIP_STORAGE_URI is not set: expected the folder of a model.")
    if not (port.isdecimal() and int(port) < 65_536):
        sys.exit(f"Error: AIP_HTTP_PORT is {port!r}: expected the number of a port.")

    try:
        place = bound("0.0.0.0", int(port))

        def ready(facts: dict[str, Any]) -> None:
            told = f"Serving {facts['sha256'][:12]} of {folder} on port {place.getsockname()[1]}"
            print(told, file=sys.stderr, flush=True)

        routes = asked.get("AIP_HEALTH_ROUTE") or HEALTH, asked.get("AIP_PREDICT_ROUTE") or PREDICT
        serve(folder, asked.get("MODEL_SHA256", ""), [place], *routes, ready)
    except (OSError, ValueError) as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
