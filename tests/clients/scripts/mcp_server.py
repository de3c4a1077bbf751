"""The MCP Python SDK's server with one slow tool: [store], for one that keeps events.

Each line of its input is `step`, by which the tool goes one step further, or
`calls`, which asks how often it was called.
"""

import asyncio
import socket
import sys
import threading

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.streamable_http import EventMessage, EventStore

from report import report

server = MCPServer("counter")
steps_allowed = asyncio.Semaphore(0)
calls = 0


@server.tool()
async def count(steps: int, context: Context) -> str:
    global calls
    calls += 1
    report("call")
    try:
        for n in range(1, steps + 1):
            await steps_allowed.acquire()
            await context.report_progress(n, steps)
        await steps_allowed.acquire()
    except asyncio.CancelledError:
        report("cancelled")
        raise
    return f"counted to {steps}"


class Memory(EventStore):
    def __init__(self):
        self.events = []

    async def store_event(self, stream_id, message):
        self.events.append((stream_id, message))
        return f"up-{len(self.events)}"

    async def replay_events_after(self, last_event_id, send_callback):
        report("replay", after=last_event_id)
        seen = int(last_event_id.removeprefix("up-"))
        stream = self.events[seen - 1][0]
        for n, (stream_id, message) in enumerate(self.events[seen:], seen + 1):
            if stream_id == stream and message is not None:
                await send_callback(EventMessage(message, f"up-{n}"))
        return stream


async def main():
    loop = asyncio.get_running_loop()

    def read():
        for line in sys.stdin:
            if line.strip() == "calls":
                report("calls", count=calls)
            else:
                loop.call_soon_threadsafe(steps_allowed.release)

    threading.Thread(target=read, daemon=True).start()
    store = Memory() if "store" in sys.argv else None
    app = server.streamable_http_app(event_store=store, retry_interval=20 if store else None)
    listener = socket.create_server(("127.0.0.1", 0))
    report("listening", port=listener.getsockname()[1])
    await uvicorn.Server(uvicorn.Config(app, log_level="warning")).serve(sockets=[listener])


asyncio.run(main())
