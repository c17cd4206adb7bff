"""Ringfence's own plugins, as far as what they need is installed.

Apart from what puts a guard together: commands that read a log ask for plugins, and make no guard.
"""

from importlib.util import find_spec


def builtins() -> dict[str, object]:
    """Return Ringfence's own plugins; they use the same door as everybody's."""
    from ringfence.plugins import approvals_terminal, memory, redact_pii, sqlite

    found: dict[str, object] = {
        "memory": memory,
        "sqlite": sqlite,
        "terminal": approvals_terminal,
        "redact_pii": redact_pii,
    }
    if find_spec("fcntl") is not None:  # not on Windows, where no file can be locked so
        from ringfence.plugins import export_jsonl

        found["export_jsonl"] = export_jsonl
    if find_spec("sqlglot") is not None:  # the extra `sql`
        from ringfence.plugins import sql_functions

        found["sql_functions"] = sql_functions
    if find_spec("redis") is not None:  # the extra `redis`
        from ringfence.plugins import redis

        found["redis"] = redis
    if find_spec("asyncpg") is not None:  # the extra `postgres`
        from ringfence.plugins import postgres

        found["postgres"] = postgres
    if find_spec("aiohttp") is not None:  # the extra `webhook`
        from ringfence.plugins import approvals_webhook

        found["webhook"] = approvals_webhook
    if find_spec("cryptography") is not None:  # the extra `sign`
        from ringfence.plugins import witness

        found["witness"] = witness
    if find_spec("opentelemetry") is not None:  # the extra `otel`, perhaps without its exporter
        from ringfence.plugins import export_otel
        from ringfence.plugins.export_otel.otlp import is_installed

        if is_installed():
            found["export_otel"] = export_otel
    if find_spec("py_mini_racer") is not None:  # the extra `isolate`, or the old package, which it refuses
        from ringfence.plugins import isolate

        found["isolate"] = isolate
    return found
