"""The web application: the routes of Vertex AI's contract, their documentation, and what Prometheus reads."""

import asyncio
import time
import traceback
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, Info, ProcessCollector
from prometheus_client import generate_latest as rendered
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from steps.serving.documentation import described, operation, request_body
from steps.serving.predictor import Predictor
from steps.serving.rows import BadRequest

MOST_BYTES = 50_000_000  # of a request
MOST_DISCARDED = 4 * MOST_BYTES  # of one that is too large, so that its client comes to read the answer
HUNG_UP = 499
STATUSES = {
    400: "INVALID_ARGUMENT",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    413: "INVALID_ARGUMENT",
    500: "INTERNAL",
}
SECONDS = (0.005, 0.01, 0.015, 0.025, 0.04, 0.075, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


def application(predictor: Predictor, facts: dict[str, Any], health: str, predict: str) -> FastAPI:
    """Return the application that serves a model.

    Args:
        predictor: The model.
        facts: The facts of its folder.
        health: Path that says whether it is ready.
        predict: Path that takes instances.
    """
    # the page's own scripts, since a container may reach nobody
    app = FastAPIOffline(**described(facts, health, predict), redoc_url=None, redirect_slashes=False)
    metrics = Metrics(facts)
    worker = ThreadPoolExecutor(1, "predictor")  # its work is Python's, of which one thread runs at a time, or OpenMP's

    async def predicted(request: Request) -> Response:
        loop = asyncio.get_running_loop()
        try:
            working = predictor.answer(await _body(request))
            while (answer := await loop.run_in_executor(worker, next, working)) is None:
                if await request.is_disconnected():
                    return Response(status_code=HUNG_UP)
        except ClientDisconnect:
            return Response(status_code=HUNG_UP)
        except BadRequest as error:
            return _error(error.code, str(error))
        except Exception as error:
            traceback.print_exception(error)
            return _error(500, "The model could not predict these rows; the server's log says why.")
        content, by_class = answer
        metrics.count(facts["classes"], by_class)
        return Response(content, media_type="application/json")

    async def healthy() -> dict[str, str]:
        return {"status": "ready", "sha256": facts["sha256"]}

    async def measured() -> Response:
        return Response(rendered(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        told = {
            404: f"There is no {request.url.path[:200]}. Send instances by POST to {predict}; /docs tells more.",
            405: f"{request.url.path[:200]} takes no {request.method[:20]}. Send instances by POST to {predict}.",
        }
        return _error(error.status_code, told.get(error.status_code, str(error.detail)), error.headers)

    app.add_api_route(predict, predicted, methods=["POST"], **operation(facts))
    app.add_api_route(health, healthy, methods=["GET"], summary="Tell whether the model can be used")
    app.add_api_route("/metrics", measured, methods=["GET"], summary="Measurements for Prometheus")
    # FastAPI would leave the nulls of the example row out
    app.openapi()["paths"][predict]["post"]["requestBody"] = request_body(facts)
    app.add_middleware(Measuring, metrics=metrics, routes={predict: "predict", health: "health"})
    return app


async def _body(request: Request) -> bytes:
    """Return the body of a request; of one that is too large nothing is kept.

    Raises:
        BadRequest: it is too large.
        ClientDisconnect: the client has hung up.
    """
    declared = request.headers.get("content-length", "")
    size = int(declared) if declared.isdecimal() else 0
    too_large = BadRequest(f"The request is larger than {MOST_BYTES:,} bytes. Send fewer rows at once.", 413)
    if size > MOST_DISCARDED or (size > MOST_BYTES and "expect" in request.headers):
        raise too_large
    is_kept, parts, came = size <= MOST_BYTES, [], 0
    async for part in request.stream():
        came += len(part)
        is_kept = is_kept and came <= MOST_BYTES
        if is_kept:
            parts.append(part)
        else:
            parts.clear()
            if came > MOST_DISCARDED:
                break
    if not is_kept:
        raise too_large
    return b"".join(parts)


def _error(code: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return an error in the shape of Google's services."""
    status = STATUSES.get(code, "UNKNOWN")
    return JSONResponse({"error": {"code": code, "message": message, "status": status}}, code, headers)


class Metrics:
    """What is counted and timed."""

    def __init__(self, facts: dict[str, Any]):
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter("serving_requests", "Requests.", ["route", "status"], registry=registry)
        self.seconds = Histogram(
            "serving_request_seconds", "Seconds from request to answer.", ["route"], buckets=SECONDS, registry=registry
        )
        self.rows = Counter("serving_rows", "Rows that were predicted.", registry=registry)
        self.predictions = Counter("serving_predictions", "Predictions of each class.", ["class"], registry=registry)
        Info("serving_model", "The model.", registry=registry).info(
            {name: str(facts.get(name, "")) for name in ("sha256", "identifier", "run", "label")}
        )

    def count(self, classes: list[str], by_class: list[int]) -> None:
        """Count the predictions of an answer; without classes, its rows."""
        self.rows.inc(sum(by_class))
        for name, number in zip(classes, by_class, strict=False):
            self.predictions.labels(name).inc(number)


class Measuring:
    """Counts and times the requests."""

    def __init__(self, app: ASGIApp, metrics: Metrics, routes: dict[str, str]):
        self.app, self.metrics, self.routes = app, metrics, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        since, status = time.perf_counter(), HUNG_UP

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, sending)
        finally:
            route = self.routes.get(scope["path"], "other")
            self.metrics.requests.labels(route, status).inc()
            self.metrics.seconds.labels(route).observe(time.perf_counter() - since)
