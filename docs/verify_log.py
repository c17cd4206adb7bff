"""Verify a Ringfence log in SQLite with Python alone: python verify_log.py FILE [POSITION:HASH]."""

import json
import sqlite3
import sys
from contextlib import closing
from hashlib import sha256
from pathlib import Path

ZERO = bytes(32)
EVENTS = "SELECT run.id AS of, run.run, event.* FROM event LEFT JOIN run ON run.id = run_id ORDER BY position"
STATUS = dict(RunSuspended="suspended", RunStarted="running", RunResumed="running", RunHalted="halted")


def verify(file, head=None):
    """Return the log's head, and the first thing that is wrong; None: nothing is."""
    runs, link, noted = {}, ZERO, "0:"
    with closing(sqlite3.connect(Path(file).resolve().as_uri() + "?mode=ro", uri=True)) as db:
        db.row_factory, db.text_factory = sqlite3.Row, lambda raw: raw.decode("utf-8", "surrogateescape")
        for place, event in enumerate(db.execute(EVENTS), start=1):
            run = runs.get(event["of"], {"events": 0, "head": ZERO, "last_ns": 0, "status": ""})
            wrong = f"link {place} of the log, event {event['run']}:{event['seq']}"
            try:
                link = sha256(link + event["hash"]).digest()
                if f"{event['position']:d}" != f"{place}" or event["link"] != link or not sound(event, run):
                    return noted, wrong
                runs[event["of"]] = after(run, event)
            except (AttributeError, KeyError, TypeError, ValueError):  # no guard has written such a value
                return noted, wrong
            noted = f"{place}:{link.hex()}"
            if head and head.startswith(f"{place}:") and head != noted:
                return noted, f"{wrong}, is not the head that is known"
        for row in db.execute("SELECT * FROM run"):  # in no chain: each row must follow from its events
            for name, value in runs.get(row["id"], {"run": ...}).items():
                if (type(row[name]), row[name]) != (type(value), value):
                    return noted, f"the list of runs says another {name} of {row['run']} than its events"
    cut = head and int(head.partition(":")[0]) > int(noted.partition(":")[0])
    return noted, "the end was cut off" if cut else None


def sound(event, run):
    """Say whether the event is the run's next, and what was recorded; a body may have been purged."""
    salt, body, prev, digest = (event[name] for name in ("salt", "body", "prev", "digest"))
    header = {name: event[name] for name in ("kind", "run", "schema", "seq")}
    header |= {ns: f"{event[ns]:d}" for ns in ("at_ns", "mono_ns")}
    header["id"] = f"{event['run']}:{event['seq']:d}"
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    own = sha256(salt + (b"" if body is None else body)).digest()
    return (
        (event["seq"], prev) == (run["events"] + 1, run["head"])
        and (event["kind"] == "RunStarted" or run["events"] > 0)
        and (body is None or (len(salt) == 16 and own == digest))
        and event["hash"] == sha256(prev + text + digest).digest()
    )


def after(run, event):
    """Return what the list of runs says once the event is there; what was purged with a body is left out."""
    kind, purged = event["kind"], event["body"] is None
    said = json.loads(event["body"]) if kind in ("RunStarted", "RunEnded") and not purged else {}
    last_ns = max(run["last_ns"], event["at_ns"])
    run = {**run, "run": event["run"], "events": event["seq"], "head": event["hash"], "last_ns": last_ns}
    if event["seq"] == 1:
        run["started_ns"] = event["at_ns"]
    if kind == "RunStarted" and not purged:
        run |= {name: said[name] for name in ("session", "agent", "policy", "parent")}
        run |= {name: said["principal"].get(name) for name in ("user", "workspace")}
    if kind == "RunEnded" and purged:
        run.pop("status", None)
    elif run.get("status") in ("running", "suspended", ""):
        run["status"] = said["status"] if kind == "RunEnded" else STATUS.get(kind, run["status"])
    return run


if __name__ == "__main__":
    head, fault = verify(*sys.argv[1:])
    print(f"changed: {fault}" if fault else f"intact, head {head}")
    sys.exit(2 if fault else 0)
