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

# before scikit-learn is imported: threads that wait by spinning take the cores from the others
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

HEALTH, PREDICT, PORT = "/health", "/predict", 8080
SECONDS_TO_END = 8  # for the requests that are being answered; Cloud Run gives ten


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        OSError: the port is taken, or this user may not have it.
    """
    made = socket.create_server((host, port), backlog=2048)
    made.set_inheritable(False)
    return made


def serve(
    folder: str,
    sha256: str,
    sockets: list[socket.socket],
    health: str = HEALTH,
    predict: str = PREDICT,
    ready: Callable[[dict], None] = lambda facts: None,
) -> None:
    """Serve a model until a signal ends it.

    Args:
        folder: Its folder.
        sha256: SHA-256 of its file; "" for that which the folder has recorded.
        sockets: Where it listens.
        health: Path that says whether it is ready.
        predict: Path that takes instances.
        ready: Called with the facts of the folder when the model is loaded.

    Raises:
        ValueError: the folder is none of a model, or its file is not the one that was recorded.
    """
    import uvicorn

    from steps.model_folder import load_model, read_facts
    from steps.serving.app import application
    from steps.serving.predictor import Predictor

    facts = read_facts(folder)
    predictor = Predictor(load_model(folder, sha256), facts)
    app = application(predictor, facts | ({"sha256": sha256} if sha256 else {}), health, predict)
    config = uvicorn.Config(
        app,
        http="h11",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=SECONDS_TO_END,
    )
    ready(facts)
    asyncio.run(uvicorn.Server(config).serve(sockets))


def main() -> None:
    """Serve what the environment names, in a container."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # which uvicorn raises again once it has ended
    asked, port = os.environ, int(os.environ.get("AIP_HTTP_PORT") or PORT)
    folder = asked.get("AIP_STORAGE_URI", "")
    if not folder:
        sys.exit("AIP_STORAGE_URI is not set: expected the folder of a model.")

    def ready(facts: dict) -> None:
        print(f"Serving {facts['sha256'][:12]} of {folder} on port {port}", file=sys.stderr, flush=True)

    try:
        serve(
            folder,
            asked.get("MODEL_SHA256", ""),
            [listening("0.0.0.0", port)],
            asked.get("AIP_HEALTH_ROUTE") or HEALTH,
            asked.get("AIP_PREDICT_ROUTE") or PREDICT,
            ready,
        )
    except (OSError, ValueError) as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
