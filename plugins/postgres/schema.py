"""The tables of one schema, their version, and the steps that lead an older schema there.

Names stand in the form of `names.kept`, beside the key that they are found by.  Times are nanoseconds since
the Unix epoch.  The functions that change more than one row stand in files of their own.
"""

from typing import Final

from ringfence.plugins.postgres.budget_functions import BUDGET_FUNCTIONS
from ringfence.plugins.postgres.lease_functions import LEASE_FUNCTIONS
from ringfence.plugins.postgres.log_functions import LOG_FUNCTIONS
from ringfence.plugins.postgres.window_functions import WINDOW_FUNCTIONS

_TABLES: Final = """
CREATE TABLE {s}.ringfence_schema (version integer PRIMARY KEY, since timestamptz NOT NULL DEFAULT now());

CREATE FUNCTION {s}.now_ns() RETURNS bigint LANGUAGE sql VOLATILE AS
$$ SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint * 1000 $$;

CREATE TABLE {s}.run (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_key     bytea NOT NULL UNIQUE,
    run         text NOT NULL,
    session_key bytea NOT NULL,
    session     text NOT NULL,
    agent       text NOT NULL,
    "user"      text,
    workspace   text,
    policy      text NOT NULL,
    status      text NOT NULL,
    started_ns  bigint NOT NULL,
    last_ns     bigint NOT NULL,
    events      bigint NOT NULL,
    head        bytea NOT NULL,
    parent      text
);
CREATE INDEX run_by_start ON {s}.run (started_ns, id);
CREATE INDEX run_by_session ON {s}.run (session_key, started_ns, id);
CREATE INDEX run_by_status ON {s}.run (status, started_ns, id);

CREATE TABLE {s}.event (
    position bigint PRIMARY KEY,
    run_id   bigint NOT NULL,
    seq      bigint NOT NULL,
    kind     text NOT NULL,
    schema   integer NOT NULL,
    at_ns    bigint NOT NULL,
    mono_ns  bigint NOT NULL,
    salt     bytea NOT NULL,
    body     bytea,
    digest   bytea NOT NULL,
    prev     bytea NOT NULL,
    hash     bytea NOT NULL,
    link     bytea NOT NULL
);
CREATE UNIQUE INDEX event_by_run ON {s}.event (run_id, seq);
CREATE TABLE {s}.log_head (position bigint NOT NULL, link bytea NOT NULL);
INSERT INTO {s}.log_head VALUES (0, decode(repeat('00', 32), 'hex'));

CREATE TABLE {s}.ticket (
    position   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ticket_key bytea NOT NULL UNIQUE,
    call_key   bytea NOT NULL,
    status     text NOT NULL,
    asked_ns   bigint NOT NULL,
    said       text NOT NULL
);
CREATE INDEX ticket_by_call ON {s}.ticket (call_key);
CREATE INDEX ticket_open ON {s}.ticket (asked_ns, position) WHERE status = 'open';

CREATE TABLE {s}.budget_window (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name      bytea NOT NULL UNIQUE,
    budget    text NOT NULL,
    key       text NOT NULL,
    period_ns bigint,
    members   boolean NOT NULL,
    taken     bigint NOT NULL DEFAULT 0,
    latest_ns bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
CREATE TABLE {s}.unit (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    window_id   bigint NOT NULL,
    reservation bytea NOT NULL,
    said        text NOT NULL,
    of_units    integer NOT NULL,
    amount      bigint NOT NULL,
    leaves_ns   bigint NOT NULL,
    stamped     boolean NOT NULL DEFAULT false
);
CREATE INDEX unit_by_window ON {s}.unit (window_id, leaves_ns);
CREATE INDEX unit_by_reservation ON {s}.unit (reservation);
CREATE INDEX unit_held ON {s}.unit (id) WHERE NOT stamped;
CREATE TABLE {s}.touch (
    unit_id   bigint NOT NULL,
    member    bytea NOT NULL,
    leaves_ns bigint NOT NULL,
    PRIMARY KEY (unit_id, member)
);
CREATE INDEX touch_by_member ON {s}.touch (member, leaves_ns);
CREATE TABLE {s}.member (
    member    bytea PRIMARY KEY,
    window_id bigint NOT NULL,
    touches   bigint NOT NULL
);
CREATE INDEX member_by_window ON {s}.member (window_id);

CREATE TABLE {s}.holder (holder_key bytea PRIMARY KEY, holder text NOT NULL, until_ns bigint NOT NULL);
CREATE TABLE {s}.lease (session_key bytea PRIMARY KEY, session text NOT NULL, holder_key bytea NOT NULL);
CREATE INDEX lease_by_holder ON {s}.lease (holder_key);

CREATE TABLE {s}.kill_order (
    id    bigint PRIMARY KEY,
    run   text,
    agent text,
    by    text,
    at_ns bigint NOT NULL
);
CREATE TABLE {s}.order_head (id bigint NOT NULL);
INSERT INTO {s}.order_head VALUES (0);
CREATE TABLE {s}.attendant (
    holder_key bytea PRIMARY KEY,
    holder     text NOT NULL,
    obeyed     bigint NOT NULL,
    in_flight  bigint NOT NULL,
    seen_ns    bigint NOT NULL
);
INSERT INTO {s}.ringfence_schema (version) VALUES (1);
"""

STEPS: Final = (_TABLES + LOG_FUNCTIONS + WINDOW_FUNCTIONS + BUDGET_FUNCTIONS + LEASE_FUNCTIONS,)
"""The script that leads to each version from the one before; all of them in order make a new schema."""

VERSION: Final = len(STEPS)
