"""The page as an MCP server: what docs/hosting.md says of it; only where the extra [mcp] is installed."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest

import demo
from demo.desk import EngineDesk
from tests.fakes import FakeEngine

mcp = pytest.importorskip("mcp")


async def call(address: str, image: str) -> tuple[list[Any], Any]:
    """Return the server's tools, and what `segment` answers."""
    from mcp.client.streamable_http import streamable_http_client

    async with streamable_http_client(address) as (read, write, *_), mcp.ClientSession(read, write) as session:
        await session.initialize()
        tools = (await session.list_tools()).tools
        return tools, await session.call_tool("segment", {"image": image})


def test_the_tool_is_listed_and_takes_a_photo_as_a_data_url(monkeypatch, photo, tmp_path):
    """The schema once asked for an object with a server's path, which no MCP client can give."""
    monkeypatch.setenv("GRADIO_MCP_SERVER", "True")
    desk = EngineDesk(["fake"], lambda _: FakeEngine(pause_s=0.0))
    url = demo.launch(desk, host="127.0.0.1", quiet=True, block=False, examples_folder=tmp_path)
    address = f"{url}gradio_api/mcp/"
    data = base64.b64encode(Path(photo).read_bytes()).decode()
    (tool,), answer = asyncio.run(call(address, f"data:image/png;base64,{data}"))
    assert tool.name == "segment" and tool.inputSchema["required"] == ["image"]
    assert tool.inputSchema["properties"]["image"]["type"] == "string"
    assert "0 to 1" in tool.inputSchema["properties"]["threshold"]["description"]
    assert not answer.isError and "'verdict': 'anomaly'" in answer.content[0].text and "mask" in answer.content[0].text
    _, refused = asyncio.run(call(address, "/etc/hostname"))
    assert refused.isError
