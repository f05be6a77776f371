"""The answers of the server: predictions, its model, the page, its metrics."""

import asyncio
import base64
import io
import math
import os
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from convline.data import fitting, pictures
from convline.exported import Bytes
from convline.serving import inference_protocol as protocol
from convline.serving import log, openapi
from convline.serving.current import ARTIFACT, Current, Served
from convline.serving.description import Described
from convline.serving.inference_protocol import dumped
from convline.serving.limits import Bodies, Limits, Refused, encoded, linger
from convline.serving.metrics import CONTENT_TYPE, Metrics
from convline.serving.uploads import Upload, uploads

PAGE = Path(__file__).with_name("page")
# Of every page, for browsers: nothing from elsewhere, and nobody may frame it
SECURITY = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data: blob:; connect-src 'self'; media-src 'self' blob:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
}
NO_SNIFF = (b"x-content-type-options", b"nosniff")  # of every answer
POLL = 2.0  # seconds between two looks at where the model comes from
FEW = 1 << 16  # bytes, and pixels, that are decoded at once
GONE = 499  # in log and metrics: the client hung up before it had an answer
METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
T = TypeVar("T")


class Json(Response):
    """An answer in JSON."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        """Its bytes."""
        return dumped(content)


class Refusal(Json):
    """An answer that refuses a request, and lets the client finish its sending."""

    def __init__(self, refused: Refused, limits: Limits) -> None:
        headers = refused.headers | ({"connection": "close"} if refused.unread else {})
        super().__init__({"error": str(refused)}, refused.status, headers)
        self.linger_seconds = limits.linger_seconds if refused.unread else 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, drop what still comes, close."""

        async def lingering(message: Message) -> None:
            if self.linger_seconds and message["type"] == "http.response.body":
                await send({**message, "more_body": True})
                await linger(receive, self.linger_seconds)
                message = {"type": "http.response.body"}
            await send(message)

        await super().__call__(scope, receive, lingering)


class Observed:
    """The middleware around all answers: it counts them and writes the access log."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the app answer, and note how it did."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begin, status = time.perf_counter(), 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], NO_SNIFF]
            await send(message)

        try:
            await self.app(scope, receive, noted)
        except ClientDisconnect:
            status = GONE
        finally:
            seconds = time.perf_counter() - begin
            route = scope["route"].path if "route" in scope else "none"
            method = scope["method"] if scope["method"] in METHODS else "other"
            self.metrics.requests.labels(method, route, status).inc()
            self.metrics.seconds.labels(route).observe(seconds)
            log.event(
                "info",
                "request",
                client=scope["client"][0] if scope["client"] else None,
                method=scope["method"][:20],
                path=scope["path"][:200],
                status=status,
                milliseconds=round(1000 * seconds, 2),
            )


class Service:
    """The endpoints, around the model in use."""

    def __init__(
        self,
        current: Current,
        metrics: Metrics,
        limits: Limits,
        describe: Callable[[Served], Described],
    ) -> None:
        self.current = current
        self.metrics = metrics
        self.limits = limits
        self.describe = describe
        self.bodies = Bodies(limits)
        self.workers = ThreadPoolExecutor(os.cpu_count() or 1)
        self.interface = openapi.description(limits)

    async def work(self, quick: bool, function: Callable[..., T], *arguments: Any) -> T:
        """What `function` returns, computed in a thread unless it is quick."""
        if quick:
            return function(*arguments)
        return await asyncio.get_running_loop().run_in_executor(self.workers, function, *arguments)

    async def predict(self, request: Request) -> Response:
        """Answer about pictures."""
        fitted = request.query_params.get("fitted") == "1"
        async with self.bodies.received(request) as body:
            files = uploads(body, request.headers.get("content-type", ""), self.limits)
            model = self.current.model
            quick = not fitted and self.quick(model, files)
            predictions = await self.work(quick, self.predictions, model, files, fitted)
        return Json({"model": model.named, "predictions": predictions})

    def quick(self, model: Served, files: list[Upload]) -> bool:
        """Whether an answer about `files` takes no longer than the change to a thread is worth."""
        about = model.classifier.about
        if len(files) > model.quick or sum(len(file.content) for file in files) > FEW:
            return False
        # Pictures of ink that do not look like those of the dataset take longer
        most = len(files) * math.prod(about.shape[:2]) if about.ink else FEW
        with suppress(pictures.Unreadable):
            return sum(file.pixels for file in files) <= most
        return True

    def predictions(
        self, model: Served, files: list[Upload], fitted: bool
    ) -> list[dict[str, object]]:
        """An entry for each file. Raises `Refused` where the only one is not a picture."""
        classes = model.classifier.about.classes
        entries: list[dict[str, object]] = [{"file_name": file.name} for file in files]
        images, good = [], []
        for file, entry in zip(files, entries):
            try:
                images.append(self.fit(file, model))
                good.append(entry)
            except pictures.Unreadable as error:
                if len(files) == 1:
                    status = 415 if isinstance(error, pictures.NoPicture) else 422
                    raise Refused(status, f"{file.name or 'the picture'} {error}") from error
                entry["error"] = str(error)
        if not images:
            return entries
        for image, entry, probabilities in zip(images, good, model(np.stack(images))):
            best = int(probabilities.argmax())
            entry["class"] = classes[best]
            entry["probability"] = probabilities[best]
            entry["probabilities"] = dict(zip(classes, probabilities))
            if fitted:
                entry["fitted"] = data_url(image)
            self.metrics.predictions.labels(classes[best]).inc()
        return entries

    def fit(self, file: Upload, model: Served) -> Bytes:
        """A picture as the model sees it. Raises `Unreadable`."""
        if file.pixels > self.limits.pixels:
            raise pictures.Unreadable(
                f"has {file.pixels:,} pixels; the server's limit is {self.limits.pixels:,}"
            )
        return fitting.fit(file.content, model.classifier.about)

    async def model(self, request: Request) -> Response:
        """Describe the model in use: its card, or its facts where JSON is wanted."""
        model = self.current.model
        described = await self.work(False, self.describe, model)
        if "application/json" in request.headers.get("accept", ""):
            return Json(described.facts)
        return Response(described.card, headers={"content-type": "text/markdown; charset=utf-8"})

    async def ready(self, request: Request) -> Response:
        """Say that the server is there."""
        return Json({request.url.path.rpartition("/")[2]: True})

    async def server(self, request: Request) -> Response:
        """Say what the server is."""
        return Json(protocol.server())

    def named(self, request: Request) -> Served:
        """The model that the path names. Raises `Refused` where it is another."""
        model = self.current.model
        name, version = request.path_params["name"], request.path_params.get("version")
        if name != ARTIFACT:
            raise Refused(404, f"there is no model {name!r}, only {ARTIFACT}")
        if version not in (None, model.version):
            raise Refused(404, f"version {version!r} is not served; {model.version} is")
        return model

    async def model_ready(self, request: Request) -> Response:
        """Say that a model is there."""
        self.named(request)
        return Json({"name": ARTIFACT, "ready": True})

    async def metadata(self, request: Request) -> Response:
        """Describe a model."""
        return Json(protocol.metadata(self.named(request)))

    async def infer(self, request: Request) -> Response:
        """Answer an inference request."""
        async with self.bodies.received(request) as body:
            model = self.named(request)
            length = request.headers.get(protocol.HEADER_LENGTH)
            accepted = request.headers.get("accept-encoding", "")
            quick = len(body) <= model.quick_bytes
            content, headers = await self.work(quick, self.inferred, body, length, accepted, model)
        return Response(content, headers=headers)

    def inferred(
        self, body: bytes, header_length: str | None, accepted: str, model: Served
    ) -> tuple[bytes, dict[str, str]]:
        """The response to an inference request, and its headers. Raises `Refused`."""
        question = protocol.question(body, header_length, model, self.limits)
        content, headers = protocol.answer(question, model(question.images), model)
        content, encoding = encoded(content, accepted)
        return content, headers | encoding

    async def openapi(self, request: Request) -> Response:
        """Describe the interface to programs."""
        return Json(self.interface)

    async def docs(self, request: Request) -> Response:
        """Describe the interface to people."""
        return HTMLResponse(openapi.page(self.interface), headers=SECURITY)

    async def measured(self, request: Request) -> Response:
        """Give Prometheus its metrics."""
        return Response(self.metrics.text(), headers={"content-type": CONTENT_TYPE})

    async def refuse(self, request: Request, refused: Exception) -> Response:
        """Answer a refused request."""
        assert isinstance(refused, Refused)  # noqa: S101
        return Refusal(refused, self.limits)

    async def unknown(self, request: Request, error: Exception) -> Response:
        """Answer a path or method that is none."""
        assert isinstance(error, HTTPException)  # noqa: S101
        reasons = {404: f"there is nothing at {request.url.path}; /docs lists what there is"}
        reason = reasons.get(error.status_code, error.detail)
        return Json({"error": reason}, error.status_code, error.headers)


def data_url(image: Bytes) -> str:
    """An image (height, width, channels) as a data URL of a PNG."""
    file = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def static(file: Path) -> Route:
    """The route of a file of the page."""

    async def answer(request: Request) -> Response:
        return FileResponse(file, headers=SECURITY | {"cache-control": "no-cache"})

    return Route("/" if file.name == "index.html" else f"/{file.name}", answer)


def application(
    current: Current, metrics: Metrics, limits: Limits, describe: Callable[[Served], Described]
) -> Starlette:
    """The server's application."""
    service = Service(current, metrics, limits, describe)

    async def follow() -> None:
        described: Served | None = None
        while True:
            try:
                if current.model is not described:  # ahead of the first who asks: it takes seconds
                    described = current.model
                    await asyncio.to_thread(describe, described)
                await asyncio.sleep(POLL)
                await asyncio.to_thread(current.refresh)
            except Exception:  # whatever it is, the next look may succeed
                log.LOGGER.exception("following the model failed")
                await asyncio.sleep(POLL)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        following = asyncio.create_task(follow())
        yield
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following

    models = "/v2/models/{name}"
    version = models + "/versions/{version}"
    return Starlette(
        routes=[
            Route("/predict", service.predict, methods=["POST"]),
            Route("/model", service.model),
            Route("/metrics", service.measured),
            Route("/openapi.json", service.openapi),
            Route("/docs", service.docs),
            Route("/v2", service.server),
            Route("/v2/", service.server),
            Route("/v2/health/live", service.ready),
            Route("/v2/health/ready", service.ready),
            *(
                route
                for path in (models, version)
                for route in (
                    Route(path, service.metadata),
                    Route(f"{path}/ready", service.model_ready),
                    Route(f"{path}/infer", service.infer, methods=["POST"]),
                )
            ),
            *(static(file) for file in sorted(PAGE.iterdir())),
        ],
        exception_handlers={Refused: service.refuse, HTTPException: service.unknown},
        middleware=[Middleware(Observed, metrics)],
        lifespan=lifespan,
    )
