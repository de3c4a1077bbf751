"""Every shape of event with sse-starlette; see VARIED in ../backends.rs."""

import asyncio
import socket

import uvicorn
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.routing import Route

from report import report


async def varied():
    yield ServerSentEvent("plain")
    yield ServerSentEvent("two\nlines")
    yield ServerSentEvent("grüße 🚀", event="named")
    yield ServerSentEvent(comment="only a comment")
    yield ServerSentEvent("with id", id="a-1", retry=200)
    yield ServerSentEvent("  indented")
    yield ServerSentEvent("")
    yield ServerSentEvent("bye", event="end")
    # Open until the client leaves, as a live stream is.
    await asyncio.Event().wait()


async def events(_request):
    return EventSourceResponse(varied())


listener = socket.create_server(("127.0.0.1", 0))
report("listening", port=listener.getsockname()[1])
app = Starlette(routes=[Route("/events", events)])
uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])
