"""Calls a slow tool with the MCP Python SDK, then ends its session: URL MODE CALLS STEPS TIMEOUT."""

import asyncio
import sys

from mcp.client.client import Client
from mcp_types import CallToolRequest, CallToolRequestParams, CallToolResult
from mcp.shared.message import ClientMessageMetadata

from report import report

url, mode = sys.argv[1:3]
calls, steps = map(int, sys.argv[3:5])
timeout = float(sys.argv[5])


async def call(client, number):
    async def progress(progress, _total, _message):
        report("progress", call=number, progress=progress)

    async def token(id):
        report("token", call=number, id=id)

    # What `client.call_tool` sends; that does not tell of ids.
    result = await client.session.send_request(
        CallToolRequest(params=CallToolRequestParams(name="count", arguments={"steps": steps})),
        CallToolResult,
        timeout,
        ClientMessageMetadata(on_resumption_token_update=token),
        progress,
    )
    return result.content[0].text


async def main():
    async with Client(url, mode=mode) as client:
        report("connected", version=client.protocol_version)
        for number in range(1, calls + 1):
            try:
                text = await call(client, number)
            except Exception as error:  # Whatever is raised is the result.
                report("error", call=number, type=type(error).__name__, message=str(error))
            else:
                report("result", call=number, text=text)
    report("closed")


asyncio.run(main())
