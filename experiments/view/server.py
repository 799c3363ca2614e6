"""Serves the page on this machine: no request leaves it, no file is watched, nobody is told of its use."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from peerwatt.errors import Fault, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from peerwatt.experiments.view.session import Session
    from peerwatt.grid.cases import GridCase
    from peerwatt.sim.scenario import Scenario

__all__ = ["LOCAL", "Opening", "opening", "serve"]

LOCAL = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Opening:
    """What every new tab opens with.

    Attributes:
        source: name or path of the scenario.
        scenario: the scenario.
        given: what was changed of it on the command line, by key path.
        case: a grid in place of the scenario's.
        panels: titles and functions of panels besides the page's own.
    """

    source: str
    scenario: Scenario
    given: Mapping[str, Any]
    case: GridCase | None
    panels: tuple[tuple[str, Callable[[Session], Any]], ...] = ()


_opening: list[Opening] = []


def opening() -> Opening:
    """What a new tab opens with: what was served last, the default scenario if nothing was."""
    if _opening:
        return _opening[-1]
    from peerwatt.sim.scenario import Scenario

    return Opening("lv-village", Scenario.load(), {}, None)


def serve(
    scenario: Scenario,
    source: str | None = None,
    *,
    host: str = LOCAL,
    port: int = 8765,
    given: Mapping[str, Any] | None = None,
    case: GridCase | None = None,
    panels: Sequence[tuple[str, Callable[[Session], Any]]] = (),
    on_ready: Callable[[str], None] = print,
) -> None:
    """Serve the page until interrupted.

        serve(Scenario.load("lv-village"), panels=[("Prices", my_panel)])

    Args:
        scenario: what a new tab simulates.
        source: name or path by which the scenario can be loaded again; its name if None.
        host: address to listen on.
        port: port to listen on; 0 for any that is free.
        given: what was changed of the scenario to have it, by key path, for the command line that repeats a run.
        case: a grid in place of the scenario's, e.g. from `peerwatt.grid.cases.case_from_net`.
        panels: titles and functions of further panels. A function takes a `Session` and returns a `Drawing`, a
            `Figure` or an `Html`, or builds Solara components and returns nothing.
        on_ready: called with the address when the page can be opened.

    Raises:
        InputError: the port is taken, or a package of the page is not installed.
    """
    _require()
    listening = _listen(host, port)
    _opening.append(Opening(source or scenario.name, scenario, given or {}, case, tuple(panels)))
    _configure()
    import warnings

    import uvicorn

    warnings.filterwarnings("ignore", "Cookies with samesite=none")  # the page is no frame in another's
    shown = f"[{host}]" if ":" in host else host
    app = _application(lambda: on_ready(f"http://{shown}:{listening.getsockname()[1]}"))
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
    with suppress(KeyboardInterrupt):  # which ends it
        uvicorn.Server(config).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens, so that a taken port is told before anything heavy is loaded."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except (OSError, OverflowError) as error:
        listening.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(Fault(f"{host}:{port}", f"cannot be served: {reason}", "choose another with --port")) from None
    return listening


def _configure() -> None:
    """Settings of Solara; they are read when it is imported."""
    os.environ |= {
        "SOLARA_APP": "peerwatt.experiments.view.page",
        "SOLARA_MODE": "production",
        "SOLARA_TELEMETRY_MIXPANEL_ENABLE": "false",
        "SOLARA_THEME_LOADER": "plain",
        "SOLARA_THEME_TITLE": "peerwatt",
        "SOLARA_ASSETS_FONTAWESOME_ENABLED": "false",
        "SOLARA_ASSETS_CDN": "http://127.0.0.1:9/",  # where nobody listens: what is not here is not fetched
        "SOLARA_KERNEL_CULL_TIMEOUT": "10m",
    }


def _require() -> None:
    """Refuse to start without the packages of the page.

    Raises:
        InputError: one is missing.
    """
    missing = []
    for name in ("plotly", "solara", "solara-assets", "starlette", "uvicorn"):
        try:
            distribution(name)
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        fault = Fault("view", f"needs packages that are not installed: {', '.join(missing)}", "pip install them")
        raise InputError(fault)


class _SameOrigin:
    """Refuses connections that a page of another origin opens: it could steer runs and read results.

    Args:
        app: the application.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass on what comes from the page itself, or from no page at all."""
        headers = {name: value.decode("latin-1") for name, value in scope.get("headers", ())}
        origin = headers.get(b"origin")
        if scope["type"] == "websocket" and origin and urlsplit(origin).netloc != headers.get(b"host"):
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        await self._app(scope, receive, send)


def _application(on_ready: Callable[[], None]) -> Any:
    """Solara's application with plotly's script besides."""
    from collections.abc import AsyncIterator
    from contextlib import asynccontextmanager

    import plotly
    from solara.server.starlette import lifespan, middleware, routes
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.routing import Mount
    from starlette.staticfiles import StaticFiles

    @asynccontextmanager
    async def life(app: Any) -> AsyncIterator[None]:
        async with lifespan(app):
            on_ready()
            yield

    scripts = StaticFiles(directory=Path(plotly.__file__).parent / "package_data")
    guarded = [Middleware(_SameOrigin), *middleware]
    return Starlette(routes=[Mount("/peerwatt", scripts), *routes], lifespan=life, middleware=guarded)
