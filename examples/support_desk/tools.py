"""The agent's tools: ordinary LangChain tools that know nothing of Ringfence."""

import smtplib
import sqlite3
from contextlib import closing
from typing import Any
from urllib.request import urlopen

from langchain_core.tools import BaseTool, tool

from examples.support_desk.world import HOST, World, compose


def tools_of(world: World) -> list[BaseTool]:
    """Return the tools that act on `world`; `wipe_customers` is one nobody meant to hand out."""

    @tool
    def query_database(table: str, columns: list[str], limit: int, offset: int = 0) -> list[dict[str, Any]]:
        """Read columns of some rows of a table of the support database, from a row on."""
        with closing(sqlite3.connect(world.database)) as connection:
            connection.row_factory = sqlite3.Row
            what, where = ", ".join(map(_quoted, columns)), _quoted(table)
            query = f"SELECT {what} FROM {where} ORDER BY rowid LIMIT ? OFFSET ?"
            return [dict(row) for row in connection.execute(query, (limit, offset))]

    @tool
    def web_fetch(url: str) -> str:
        """Read a web page."""
        with urlopen(url) as answer:
            return str(answer.read().decode("utf-8"))

    @tool
    def send_email(to: list[str], subject: str, body: str) -> str:
        """Send a mail."""
        with smtplib.SMTP(HOST, world.smtp_port) as server:
            server.send_message(compose(to, subject, body), to_addrs=to)
        return f"sent to {len(to)}"

    @tool
    def write_to_crm(workspace: str, account_id: str, field: str, value: str) -> str:
        """Write one field of a customer's record."""
        if field not in ("status", "note"):
            raise ValueError(f"no such field: {field}")
        with closing(sqlite3.connect(world.database)) as connection, connection:
            done = connection.execute(f"UPDATE crm SET {field} = ? WHERE account = ?", (value, account_id))
            return f"{done.rowcount} record changed"

    @tool
    def wipe_customers() -> str:
        """Delete every customer (a maintenance tool that was left in the list)."""
        with closing(sqlite3.connect(world.database)) as connection, connection:
            return f"{connection.execute('DELETE FROM customers').rowcount} customers deleted"

    return [query_database, web_fetch, send_email, write_to_crm, wipe_customers]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
