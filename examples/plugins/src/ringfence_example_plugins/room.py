"""A small chat server, so that the example is real: JSON lines over TCP, members known by their tokens.

Who wrote a message is what the room says, never what the message says.  For one machine: it binds to
loopback and does not encrypt.

    python -m ringfence_example_plugins.room members.json      # {"dana": "her token", "ringfence": "..."}
"""

import asyncio
import hmac
import json
import sys
from collections.abc import Mapping
from typing import Any


class Room:
    """One room.

    Members send `{"say": TEXT, "ref": R}`, `{"edit": ID, "text": TEXT, "ref": R}` or `{"ref": R}`.
    Everyone is sent `{"id": ID, "from": NAME, "text": TEXT}` for what is said or edited; then the sender
    `{"ref": R, "id": ID}`.  Only its author may edit a message.
    """

    def __init__(self, members: Mapping[str, str]) -> None:
        self._members = dict(members)
        self._present: set[asyncio.StreamWriter] = set()
        self._authors: list[str] = []
        self._server: asyncio.Server | None = None
        self._visits: set[asyncio.Task[None]] = set()

    async def start(self, port: int = 0) -> int:
        """Listen on loopback; return the port."""
        self._server = await asyncio.start_server(self._visit, "127.0.0.1", port)
        address: tuple[str, int] = self._server.sockets[0].getsockname()
        return address[1]

    async def stop(self) -> None:
        """Close the door and show everybody out."""
        if self._server is not None:
            self._server.close()
            for writer in list(self._present):
                writer.close()
            if self._visits:
                await asyncio.wait(self._visits)
            await self._server.wait_closed()
            self._server = None

    async def serve(self) -> None:
        """Stay open."""
        assert self._server is not None
        await self._server.serve_forever()

    async def _visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._visits.add(task)
        try:
            name = self._known(json.loads(await reader.readline() or b"{}"))
            _send(writer, {"welcome": name} if name else {"error": "unknown token"})
            if name:
                self._present.add(writer)
                while line := await reader.readline():
                    self._hear(name, json.loads(line), writer)
        except (ConnectionError, ValueError, KeyError, TypeError):
            pass  # a member who breaks the line or its form is shown out
        finally:
            self._present.discard(writer)
            self._visits.discard(task)
            writer.close()

    def _known(self, said: Any) -> str | None:
        token = said.get("token") if isinstance(said, dict) else None
        if not isinstance(token, str):
            return None
        given = token.encode()
        known = [name for name, own in self._members.items() if hmac.compare_digest(own.encode(), given)]
        return known[0] if known else None

    def _hear(self, name: str, said: Mapping[str, Any], writer: asyncio.StreamWriter) -> None:
        number = None
        if "say" in said:
            self._authors.append(name)
            number = len(self._authors) - 1
            self._tell({"id": number, "from": name, "text": str(said["say"])})
        elif "edit" in said and self._authors[said["edit"]] == name:
            number = said["edit"]
            self._tell({"id": number, "from": name, "text": str(said["text"])})
        _send(writer, {"ref": said.get("ref"), "id": number})

    def _tell(self, message: Mapping[str, Any]) -> None:
        for writer in self._present:
            _send(writer, message)


class Member:
    """One member's connection to a room."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str) -> None:
        self.name = name
        """The name under which the room knows this member."""
        self.gone = False
        self.messages: asyncio.Queue[Mapping[str, Any] | None] = asyncio.Queue()
        """What was said or edited, in order; None: the connection has ended."""
        self._reader, self._writer = reader, writer
        self._waiting: dict[int, asyncio.Future[int | None]] = {}
        self._refs = 0
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def enter(cls, host: str, port: int, token: str) -> "Member":
        """Connect; raise ConnectionError if nobody is there or the token is not known."""
        reader, writer = await asyncio.open_connection(host, port)
        _send(writer, {"token": token})
        answer = json.loads(await reader.readline() or b"{}")
        if "welcome" not in answer:
            writer.close()
            raise ConnectionRefusedError("the chat room does not know the token")
        return cls(reader, writer, answer["welcome"])

    async def say(self, text: str) -> int:
        """Post a message; return its id when everybody has been sent it."""
        number = await self._request({"say": text})
        assert number is not None
        return number

    async def edit(self, message: int, text: str) -> None:
        """Replace a message of one's own."""
        await self._request({"edit": message, "text": text})

    async def settle(self) -> None:
        """Return when everything that was said so far stands in `messages`."""
        await self._request({})

    async def leave(self) -> None:
        """Disconnect; safe to call twice."""
        self._listening.cancel()
        await asyncio.wait({self._listening})
        self._end()
        self._writer.close()

    async def _request(self, request: Mapping[str, Any]) -> int | None:
        if self.gone:
            raise ConnectionResetError("the chat room has gone")
        self._refs += 1
        answer: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._waiting[self._refs] = answer
        _send(self._writer, {**request, "ref": self._refs})
        return await answer

    async def _listen(self) -> None:
        try:
            while line := await self._reader.readline():
                heard = json.loads(line)
                if "ref" in heard:
                    waiting = self._waiting.pop(heard["ref"], None)
                    if waiting is not None and not waiting.done():
                        waiting.set_result(heard["id"])
                else:
                    self.messages.put_nowait(heard)
        except (ConnectionError, ValueError):
            pass  # told to everybody who waits, below
        finally:
            self._end()

    def _end(self) -> None:
        if not self.gone:
            self.gone = True
            self.messages.put_nowait(None)
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(ConnectionResetError("the chat room has gone"))


def _send(writer: asyncio.StreamWriter, message: Mapping[str, Any]) -> None:
    writer.write(json.dumps(message).encode("ascii") + b"\n")


async def _main(path: str) -> None:
    with open(path, encoding="utf-8") as file:  # noqa: ASYNC230 - before anything else runs
        room = Room(json.load(file))
    print(f"listening on 127.0.0.1:{await room.start()}", flush=True)
    await room.serve()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
