"""What is done to leases and orders, each in one round trip, as functions of the schema."""

from typing import Final

from ringfence.plugins.postgres.planning import BY_INDEX

LEASE_FUNCTIONS: Final = """
-- Say that a holder lives.
CREATE FUNCTION {s}.keep_alive(which bytea, said text, lasts_ns bigint) RETURNS void LANGUAGE sql AS $$
    INSERT INTO {s}.holder AS kept (holder_key, holder, until_ns)
    VALUES (which, said, {s}.now_ns() + lasts_ns)
    ON CONFLICT (holder_key) DO UPDATE SET until_ns = greatest(kept.until_ns, EXCLUDED.until_ns)
$$;

-- Take a session, or return the living holder that has it.
CREATE FUNCTION {s}.take_session(
    which bytea, which_said text, asker bytea, asker_said text, lasts_ns bigint
) RETURNS text LANGUAGE plpgsql
BY_INDEX AS $$
DECLARE
    has    bytea;
    holder record;
BEGIN
    LOOP
        SELECT l.holder_key INTO has FROM {s}.lease AS l WHERE l.session_key = which FOR UPDATE;
        EXIT WHEN has IS NOT NULL;
        INSERT INTO {s}.lease (session_key, session, holder_key) VALUES (which, which_said, asker)
            ON CONFLICT (session_key) DO NOTHING;
    END LOOP;
    IF has <> asker THEN
        -- SECURITY: locked, so that a sign of life that is on its way is waited for.
        SELECT h.holder, h.until_ns INTO holder FROM {s}.holder AS h WHERE h.holder_key = has FOR UPDATE;
        IF holder.until_ns > {s}.now_ns() THEN
            RETURN holder.holder;
        END IF;
        UPDATE {s}.lease AS l SET holder_key = asker WHERE l.session_key = which;
    END IF;
    PERFORM {s}.keep_alive(asker, asker_said, lasts_ns);
    RETURN NULL;
END
$$;

-- Store an order to stop, under the next number.
CREATE FUNCTION {s}.give_order(of_run text, of_agent text, given_by text, given_ns bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    number bigint;
BEGIN
    -- INVARIANT: orders are numbered under this lock, so whoever sees one sees all before it.
    UPDATE {s}.order_head SET id = id + 1 RETURNING id INTO STRICT number;
    INSERT INTO {s}.kill_order (id, run, agent, by, at_ns)
        VALUES (number, of_run, of_agent, given_by, given_ns);
    RETURN number;
END
$$;
""".replace("BY_INDEX", BY_INDEX)
