"""The tables of `ringfence.db`, their version, and the steps that lead an older file there.

One row per run, so the long name of a run stands once; events by rising position, which is also the
place in the log's chain, with a unique index on (run, seq); bodies may be purged, nothing else.
"""

from typing import Final

VERSION: Final = 4

_FIRST: Final = """
CREATE TABLE ringfence_schema (version INTEGER NOT NULL);
INSERT INTO ringfence_schema VALUES (1);

CREATE TABLE run (
    id         INTEGER PRIMARY KEY,
    run        TEXT NOT NULL UNIQUE,
    session    TEXT NOT NULL,
    agent      TEXT NOT NULL,
    user       TEXT,
    workspace  TEXT,
    policy     TEXT NOT NULL,
    status     TEXT NOT NULL,
    started_ns INTEGER NOT NULL,
    last_ns    INTEGER NOT NULL,
    events     INTEGER NOT NULL,
    head       BLOB NOT NULL,
    parent     TEXT
);
CREATE INDEX run_by_start ON run (started_ns);
CREATE INDEX run_by_session ON run (session, started_ns);
CREATE INDEX run_by_status ON run (status, started_ns);

CREATE TABLE event (
    position INTEGER PRIMARY KEY,
    run_id   INTEGER NOT NULL REFERENCES run (id),
    seq      INTEGER NOT NULL,
    kind     TEXT NOT NULL,
    schema   INTEGER NOT NULL,
    at_ns    INTEGER NOT NULL,
    mono_ns  INTEGER NOT NULL,
    salt     BLOB NOT NULL,
    body     BLOB,
    digest   BLOB NOT NULL,
    prev     BLOB NOT NULL,
    hash     BLOB NOT NULL,
    link     BLOB NOT NULL
);
CREATE UNIQUE INDEX event_by_run ON event (run_id, seq);

CREATE TABLE clock (latest_ns INTEGER NOT NULL);
INSERT INTO clock VALUES (0);

CREATE TABLE budget_window (
    id        INTEGER PRIMARY KEY,
    budget    TEXT NOT NULL,
    key       TEXT NOT NULL,
    period_ns INTEGER NOT NULL,
    taken     INTEGER NOT NULL DEFAULT 0,
    UNIQUE (budget, key, period_ns)
);
CREATE INDEX window_empty ON budget_window (id) WHERE taken = 0;
CREATE TABLE unit (
    id          INTEGER PRIMARY KEY,
    window_id   INTEGER NOT NULL REFERENCES budget_window (id),
    reservation TEXT NOT NULL,
    amount      INTEGER NOT NULL,
    leaves_ns   INTEGER
);
CREATE INDEX unit_by_window ON unit (window_id, leaves_ns);
CREATE INDEX unit_by_reservation ON unit (reservation);
CREATE INDEX unit_by_leave ON unit (leaves_ns) WHERE leaves_ns IS NOT NULL;

CREATE TRIGGER unit_taken AFTER INSERT ON unit BEGIN
    UPDATE budget_window SET taken = taken + NEW.amount WHERE id = NEW.window_id;
END;
CREATE TRIGGER unit_given_back AFTER DELETE ON unit BEGIN
    UPDATE budget_window SET taken = taken - OLD.amount WHERE id = OLD.window_id;
END;

CREATE TABLE ticket (
    position INTEGER PRIMARY KEY,
    id       TEXT NOT NULL UNIQUE,
    run      TEXT NOT NULL,
    call     TEXT NOT NULL,
    status   TEXT NOT NULL,
    asked_ns INTEGER NOT NULL,
    said     TEXT NOT NULL
);
CREATE INDEX ticket_by_call ON ticket (run, call);
CREATE INDEX ticket_open ON ticket (asked_ns) WHERE status = 'open';

CREATE TABLE lease (session TEXT PRIMARY KEY, holder TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE kill (
    id    INTEGER PRIMARY KEY AUTOINCREMENT,
    run   TEXT,
    agent TEXT,
    by    TEXT,
    at_ns INTEGER NOT NULL
);
"""

_MEMBERS: Final = """
INSERT INTO ringfence_schema VALUES (2);

CREATE TABLE touch (
    unit_id   INTEGER NOT NULL REFERENCES unit (id),
    member    TEXT NOT NULL,
    window_id INTEGER NOT NULL,
    leaves_ns INTEGER NOT NULL DEFAULT 9223372036854775807,
    PRIMARY KEY (unit_id, member)
) WITHOUT ROWID;
CREATE INDEX touch_by_member ON touch (window_id, member, leaves_ns);

CREATE TABLE member (
    window_id INTEGER NOT NULL,
    member    TEXT NOT NULL,
    touches   INTEGER NOT NULL,
    PRIMARY KEY (window_id, member)
) WITHOUT ROWID;

CREATE TRIGGER unit_touches_no_more AFTER DELETE ON unit BEGIN
    DELETE FROM touch WHERE unit_id = OLD.id;
END;
CREATE TRIGGER unit_stamped AFTER UPDATE OF leaves_ns ON unit BEGIN
    UPDATE touch SET leaves_ns = NEW.leaves_ns WHERE unit_id = NEW.id;
END;
CREATE TRIGGER touch_made AFTER INSERT ON touch BEGIN
    INSERT INTO member VALUES (NEW.window_id, NEW.member, 1)
        ON CONFLICT (window_id, member) DO UPDATE SET touches = touches + 1;
END;
CREATE TRIGGER member_made AFTER INSERT ON member BEGIN
    UPDATE budget_window SET taken = taken + 1 WHERE id = NEW.window_id;
END;
CREATE TRIGGER touch_gone AFTER DELETE ON touch BEGIN
    UPDATE member SET touches = touches - 1 WHERE window_id = OLD.window_id AND member = OLD.member;
    DELETE FROM member WHERE window_id = OLD.window_id AND member = OLD.member AND touches = 0;
END;
CREATE TRIGGER member_gone AFTER DELETE ON member BEGIN
    UPDATE budget_window SET taken = taken - 1 WHERE id = OLD.window_id;
END;
"""
"""Blast radius: a unit with members has the amount 0, and each different member takes one of its window."""

_ATTENDANTS: Final = """
INSERT INTO ringfence_schema VALUES (3);

CREATE TABLE attendant (
    holder    TEXT PRIMARY KEY,
    obeyed    INTEGER NOT NULL,
    in_flight INTEGER NOT NULL,
    said_ns   INTEGER NOT NULL
) WITHOUT ROWID;
"""
"""Which guards have obeyed which orders to stop; `said_ns` is on the host's clock since it was started."""

_LEASES: Final = """
INSERT INTO ringfence_schema VALUES (4);

ALTER TABLE unit ADD COLUMN stands_until_ns INTEGER;
"""
"""A unit that is held under a lease has the moment in `leaves_ns` at which it leaves if nobody stamps it, and
here the first such moment of its whole reservation: until then it may be dispatched.  Empty once stamped."""

STEPS: Final = (_FIRST, _MEMBERS, _ATTENDANTS, _LEASES)
"""The script that leads to each version from the one before; all of them in order make a new file."""
