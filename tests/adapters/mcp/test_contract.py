"""The gateway under the contract of all adapters, in both eras of the protocol, in memory and over HTTP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mcp import Client

from ringfence.adapters.mcp import Gateway
from tests.adapters.mcp.stage import GatewayStage, over_http


class TestClientOf2025(GatewayStage):
    era = "legacy"


class TestClientOf2026(GatewayStage):
    era = "auto"


class TestClientOf2025OverHttp(GatewayStage):
    era = "legacy"

    @asynccontextmanager
    async def client(self, gateway: Gateway) -> AsyncIterator[Client]:
        async with over_http(gateway, self.era) as client:
            yield client


class TestClientOf2026OverHttp(GatewayStage):
    era = "auto"

    @asynccontextmanager
    async def client(self, gateway: Gateway) -> AsyncIterator[Client]:
        async with over_http(gateway, self.era) as client:
            yield client
