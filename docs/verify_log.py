"""Verify a Ringfence log in SQLite with Python alone: python verify_log.py FILE [POSITION:HASH].

It checks the chain of each run, the chain over all of them, each body against its digest, that a body which
is gone was purged, and a head that is known.  It leaves out the list of runs (the table `run`), which stands
in no chain and follows from the events: `ringfence verify` compares it, and reads stores other than SQLite.
"""

import json
import sqlite3
import sys
from contextlib import closing
from hashlib import sha256
from pathlib import Path

EVENTS = """WITH purge AS (SELECT run_id AS of, max(min(json_extract(CAST(body AS TEXT), '$.upto'), seq - 1))
upto FROM event WHERE kind = 'BodiesPurged' AND json_valid(CAST(body AS TEXT)) GROUP BY run_id) SELECT run,
upto, event.* FROM event LEFT JOIN run ON run.id = run_id LEFT JOIN purge ON of = run_id ORDER BY position"""


def verify(file, head=None):
    """Return the log's head, and the first thing that is wrong; None: nothing is."""
    runs, link, noted, seen, fault = {}, bytes(32), "0:", head is None, "not a Ringfence log, or damaged"
    try:
        with closing(sqlite3.connect(Path(file).resolve().as_uri() + "?mode=ro", uri=True)) as db:
            db.row_factory, db.text_factory = sqlite3.Row, lambda raw: raw.decode("utf-8", "surrogateescape")
            for place, event in enumerate(db.execute(EVENTS), start=1):
                fault = f"changed: link {place} of the log, event {event['run']}:{event['seq']}"
                link = sha256(link + event["hash"]).digest()
                linked = (f"{event['position']:d}", event["link"]) == (f"{place}", link)
                if not (linked and sound(event, *runs.get(event["run"], (0, bytes(32))))):
                    return noted, fault
                runs[event["run"]], noted = (event["seq"], event["hash"]), f"{place}:{link.hex()}"
                seen, fault = seen or noted == head, f"changed: the log cannot be read after link {place}"
        return noted, None if seen else "changed: the known head is not there: cut off, or all replaced"
    except (TypeError, ValueError, IndexError, sqlite3.Error) as error:  # no guard has written such a file
        return noted, f"{fault} ({error})"


def sound(event, last, head):
    """Say whether an event follows the run's last one, and its body is what was recorded, or was purged."""
    header = {name: event[name] for name in ("kind", "run", "schema", "seq")}
    header |= {ns: f"{event[ns]:d}" for ns in ("at_ns", "mono_ns")} | {"id": f"{event['run']}:{last + 1}"}
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    salt, body, digest = event["salt"], event["body"], event["digest"]
    whole = body is not None and len(salt) == 16 and sha256(salt + body).digest() == digest
    purged = (body, salt) == (None, b"") and event["kind"] != "BodiesPurged" and last < (event["upto"] or 0)
    follows = (event["seq"], event["prev"]) == (last + 1, head) and (last or event["kind"] == "RunStarted")
    return follows and (whole or purged) and event["hash"] == sha256(head + text + digest).digest()


if __name__ == "__main__":
    head, fault = verify(*sys.argv[1:])
    print(fault or f"intact, head {head}")
    sys.exit(2 if fault else 0)
