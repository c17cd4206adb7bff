"""What servers tell by themselves: that lists or resources changed, and what they log.

Handed on only where the policy has the thing that changed.  Nothing is believed of it: whatever is called
next is looked up anew.
"""

import contextlib
from typing import Any, Final, get_args

import mcp_types as types
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
    ToolsListChanged,
)

from ringfence.adapters.mcp import uris
from ringfence.adapters.mcp.back import LISTS_S, Back
from ringfence.adapters.mcp.connections import Connection, Connections, Context
from ringfence.adapters.mcp.flights import Flight
from ringfence.adapters.mcp.link import ServerAwayError
from ringfence.adapters.mcp.uris import AmbiguousUriError, normal
from ringfence.dsl.plan import Plan
from ringfence.engine.seams.escape import escaped, escaped_json

LEVEL: Final = "logging/setLevel"
CHANGES_AT_MOST: Final = 500
"""That clients are told of at once; more are dropped: hints and no more."""
_LOGGED_AT_MOST: Final = 2_000
_LEVELS: Final = get_args(types.LoggingLevel)
"""From the least to the most severe."""


class News:
    """Tells clients."""

    def __init__(self, connections: Connections, plan: Plan) -> None:
        self._connections = connections
        self._plan = plan
        self._bus = InMemorySubscriptionBus()
        self.listen = ListenHandler(self._bus)
        self._telling: dict[tuple[type[Any], str], bool] = {}
        """Changes that clients are being told of: whether there was another one since."""

    async def heard(self, back: Back, message: types.ServerNotification) -> None:
        """Hand on what a server says of itself.

        SECURITY: of a change that clients are still being told of, only that there was another one is kept: a
        server that tells it without end would fill the memory with what slow clients have not read.
        """
        if isinstance(message, types.LoggingMessageNotification):
            await self._logged(back, message.params)
            return
        about = getattr(message.params, "uri", "")[: uris.LONGEST]
        change = type(message), about
        if change in self._telling:
            self._telling[change] = True
            return
        if len(self._telling) >= CHANGES_AT_MOST:
            return
        self._telling[change] = True
        try:
            while self._telling[change]:
                self._telling[change] = False
                await self._tell_all(message)
        finally:
            del self._telling[change]

    async def _tell_all(self, message: types.ServerNotification) -> None:
        match message:
            case types.ToolListChangedNotification():
                await self._bus.publish(ToolsListChanged())
                await self._all("send_tool_list_changed")
            case types.PromptListChangedNotification() if self._has("prompts/"):
                await self._bus.publish(PromptsListChanged())
                await self._all("send_prompt_list_changed")
            case types.ResourceListChangedNotification() if self._has("resources/"):
                await self._bus.publish(ResourcesListChanged())
                await self._all("send_resource_list_changed")
            case types.ResourceUpdatedNotification():
                await self._updated(message.params.uri)
            case _:  # nothing that a client may hear
                pass

    async def set_level(self, context: Context, level: types.LoggingLevel, backs: tuple[Back, ...]) -> None:
        """Tell servers from which level on to log, and remember it for this client.

        One of 2026 is told with each call.
        """
        request = types.SetLevelRequest(params=types.SetLevelRequestParams(level=level))
        for back in backs:
            if (await back.is_told_once()) and (await back.capabilities()).logging is not None:
                with contextlib.suppress(ServerAwayError):  # it logs nothing then
                    await back.ask(
                        lambda client: client.session.send_request(request, types.EmptyResult),
                        within_s=LISTS_S,
                    )
        self._connections.of(context).log_level = level

    def _has(self, prefix: str) -> bool:
        return any(name.startswith(f"mcp/{prefix}") for name in self._plan.by_bound_name)

    async def _all(self, how: str) -> None:
        for connection in self._connections.all:
            await _tell(connection, how)

    async def _updated(self, uri: str) -> None:
        try:
            found = normal(uri)
        except AmbiguousUriError:  # nobody watches such a one
            return
        watching = [one for one in self._connections.all if found in one.watches]
        if watching:
            await self._bus.publish(ResourceUpdated(uri=found))
        for connection in watching:
            await _tell(connection, "send_resource_updated", connection.watches[found])

    async def _logged(self, back: Back, said: types.LoggingMessageNotificationParams) -> None:
        """Hand on a line of a log, cut, to the client for which the server works: nobody else's."""
        flight = back.flight()
        if not isinstance(flight, Flight) or flight.logs_left <= 0:
            return
        level = flight.connection.log_level
        if level is None or _LEVELS.index(said.level) < _LEVELS.index(level):
            return
        flight.logs_left -= 1
        data = said.data if isinstance(said.data, str) else escaped_json(said.data, limit=_LOGGED_AT_MOST)
        params = types.LoggingMessageNotificationParams(
            level=said.level, data=escaped(data[:_LOGGED_AT_MOST]), logger=back.spec.argument
        )
        with contextlib.suppress(Exception):  # a client that has gone hears nothing
            await flight.context.session.send_notification(
                types.LoggingMessageNotification(params=params), flight.context.request_id
            )


async def _tell(connection: Connection, how: str, *said: Any) -> None:
    if connection.session is not None:
        with contextlib.suppress(Exception):  # a client that has gone hears nothing
            await getattr(connection.session, how)(*said)
