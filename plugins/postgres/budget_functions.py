"""What is done to budgets, each in one round trip and one transaction, as functions of the schema.

The sum of a window (of a blast radius: how many different members are in it) stands in its row, so a
reservation looks at sums, never at units.  A unit knows from its reservation on when it leaves; 2^63 - 1 is
never.  INVARIANT: sums change only under the lock of the window's row, and windows are locked in the order of
their names.  A function that stamps locks units alone, so it waits for no reservation.
"""

from typing import Final

from ringfence.plugins.postgres.planning import BY_INDEX, NEVER

BUDGET_FUNCTIONS: Final = """
-- Reserve all charges, or none and return those that had no room, by their number.
-- Windows come in the order of their names; a charge names its window, a member its charge.  An amount below
-- zero never fits.
CREATE FUNCTION {s}.reserve(
    asked bytea, asked_said text, lease_ns bigint, caller_ns bigint,
    names bytea[], budgets text[], keys text[], periods bigint[], counted boolean[],
    of_windows integer[], amounts bigint[], limits bigint[], touched bytea[], of_charges integer[]
) RETURNS TABLE (charge integer, free_ns bigint) LANGUAGE plpgsql
BY_INDEX AS $$
#variable_conflict use_variable
DECLARE
    at_ns   bigint;
    found   bigint;
    seen_ns bigint;
    ids     bigint[] := '{}';
    times   bigint[] := '{}';
    made    bigint[] := '{}';
    wanted  numeric[] := array_fill(0::numeric, ARRAY[greatest(cardinality(names), 1)]);
    members bytea[];
    fresh   bigint;
    surplus numeric;
    leaves  bigint;
    refused boolean := false;
    w       integer;
BEGIN
    FOR w IN 1 .. cardinality(names) LOOP
        LOOP
            SELECT b.id, b.latest_ns INTO found, seen_ns
                FROM {s}.budget_window AS b WHERE b.name = names[w] FOR UPDATE;
            EXIT WHEN found IS NOT NULL;
            INSERT INTO {s}.budget_window AS b (name, budget, key, period_ns, members)
                VALUES (names[w], budgets[w], keys[w], periods[w], counted[w])
                ON CONFLICT (name) DO NOTHING RETURNING b.id INTO found;
            made := made || found;
        END LOOP;
        ids := ids || found;
        times := times || seen_ns;
    END LOOP;
    at_ns := coalesce(caller_ns, {s}.now_ns());
    CASE (SELECT s.stands FROM {s}.stands(asked, at_ns) AS s)
        WHEN true THEN
            RETURN;
        WHEN false THEN
            PERFORM {s}.refund(asked);
        ELSE
            NULL;
    END CASE;
    FOR w IN 1 .. cardinality(ids) LOOP
        times[w] := greatest(times[w], at_ns);
        PERFORM {s}.slide(ids[w], times[w]);
    END LOOP;

    FOR c IN 1 .. cardinality(amounts) LOOP
        w := of_windows[c];
        charge := c;
        free_ns := NULL;
        IF amounts[c] < 0 THEN
            refused := true;
            RETURN NEXT;
            CONTINUE;
        END IF;
        IF counted[w] THEN
            members := ARRAY(
                SELECT DISTINCT t.member FROM unnest(touched, of_charges) AS t (member, of_charge)
                WHERE t.of_charge <= c AND of_windows[t.of_charge] = w
            );
            fresh := (
                SELECT count(*) FROM unnest(members) AS m (member) WHERE NOT EXISTS (
                    SELECT FROM {s}.member AS kept WHERE kept.member = m.member
                )
            );
            surplus := (SELECT b.taken FROM {s}.budget_window AS b WHERE b.id = ids[w])
                       + fresh - limits[c];
            IF surplus > 0 THEN
                free_ns := {s}.members_free_in(ids[w], members, limits[c], times[w]);
            END IF;
        ELSE
            wanted[w] := wanted[w] + amounts[c];
            surplus := (SELECT b.taken FROM {s}.budget_window AS b WHERE b.id = ids[w])
                       + wanted[w] - limits[c];
            IF surplus > 0 AND wanted[w] <= limits[c] THEN
                free_ns := {s}.units_free_in(ids[w], surplus, times[w]);
            END IF;
        END IF;
        IF surplus > 0 THEN
            refused := true;
            RETURN NEXT;
        END IF;
    END LOOP;
    IF refused THEN
        DELETE FROM {s}.budget_window AS b WHERE b.id = ANY (made);
        RETURN;
    END IF;

    FOR c IN 1 .. cardinality(amounts) LOOP
        w := of_windows[c];
        leaves := coalesce(times[w] + lease_ns + periods[w], NEVER);
        INSERT INTO {s}.unit AS u (window_id, reservation, said, of_units, amount, leaves_ns)
            VALUES (ids[w], asked, asked_said, cardinality(amounts),
                    CASE WHEN counted[w] THEN 0 ELSE amounts[c] END, leaves)
            RETURNING u.id INTO found;
        fresh := 0;
        IF counted[w] THEN
            members := ARRAY(
                SELECT DISTINCT t.member FROM unnest(touched, of_charges) AS t (member, of_charge)
                WHERE t.of_charge = c
            );
            INSERT INTO {s}.touch (unit_id, member, leaves_ns)
                SELECT found, m.member, leaves FROM unnest(members) AS m (member);
            UPDATE {s}.member AS kept SET touches = kept.touches + 1
                WHERE kept.member = ANY (members);
            INSERT INTO {s}.member (member, window_id, touches)
                SELECT m.member, ids[w], 1 FROM unnest(members) AS m (member)
                ON CONFLICT DO NOTHING;
            GET DIAGNOSTICS fresh = ROW_COUNT;
        END IF;
        UPDATE {s}.budget_window AS b SET latest_ns = greatest(b.latest_ns, times[w]),
            taken = b.taken + CASE WHEN counted[w] THEN fresh ELSE amounts[c] END
            WHERE b.id = ids[w];
    END LOOP;
END
$$;

-- Let what a reservation has in its windows leave one period after this moment.
CREATE FUNCTION {s}.stamp(asked bytea, at_ns bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    WITH stamped AS (
        UPDATE {s}.unit AS u SET stamped = true,
            leaves_ns = coalesce(greatest(at_ns, w.latest_ns) + w.period_ns, NEVER)
        FROM {s}.budget_window AS w WHERE w.id = u.window_id AND u.reservation = asked
        RETURNING u.id, u.leaves_ns
    )
    UPDATE {s}.touch AS t SET leaves_ns = stamped.leaves_ns FROM stamped WHERE t.unit_id = stamped.id;
END
$$;

-- Stamp a held reservation with the moment of its dispatch; false if it stands no more.
CREATE FUNCTION {s}.dispatched(asked bytea, caller_ns bigint) RETURNS boolean LANGUAGE plpgsql
BY_INDEX AS $$
DECLARE
    at_ns bigint;
    it    record;
BEGIN
    -- SECURITY: locked before they are looked at, or a unit could leave between the look and the stamp.
    PERFORM FROM {s}.unit WHERE reservation = asked ORDER BY id FOR UPDATE;
    at_ns := coalesce(caller_ns, {s}.now_ns());
    SELECT * INTO it FROM {s}.stands(asked, at_ns);
    IF it.stands AND NOT it.stamped THEN
        PERFORM {s}.stamp(asked, at_ns);
    END IF;
    RETURN coalesce(it.stands, false);
END
$$;

-- Stamp what the reservations that begin so still hold; what a lease has ended already leaves as it did.
CREATE FUNCTION {s}.settle(beginning text, caller_ns bigint) RETURNS void LANGUAGE plpgsql
BY_INDEX AS $$
DECLARE
    at_ns bigint;
    asked bytea;
BEGIN
    PERFORM FROM {s}.unit WHERE NOT stamped AND starts_with(said, beginning) ORDER BY id FOR UPDATE;
    at_ns := coalesce(caller_ns, {s}.now_ns());
    FOR asked IN
        SELECT unit.reservation FROM {s}.unit JOIN {s}.budget_window AS w ON w.id = unit.window_id
        WHERE NOT unit.stamped AND starts_with(unit.said, beginning) GROUP BY unit.reservation
        HAVING bool_and(unit.leaves_ns = NEVER
                        OR unit.leaves_ns > greatest(at_ns, w.latest_ns) + w.period_ns)
    LOOP
        PERFORM {s}.stamp(asked, at_ns);
    END LOOP;
END
$$;

-- Look at the next windows after `beyond`: forget what left them, and those that nothing is in.  Return the
-- last one that was looked at, 0 if there is none after it.  What others work on is left to them.
CREATE FUNCTION {s}.sweep(beyond bigint, at_most integer, caller_ns bigint) RETURNS bigint
LANGUAGE plpgsql
BY_INDEX AS $$
DECLARE
    at_ns bigint := coalesce(caller_ns, {s}.now_ns());
    which bigint;
    final bigint;
    looked_at bigint;
BEGIN
    SELECT max(next.id), count(*) INTO final, looked_at FROM (
        SELECT id FROM {s}.budget_window WHERE id > beyond ORDER BY id LIMIT at_most
    ) AS next;
    FOR which IN
        SELECT w.id FROM {s}.budget_window AS w WHERE w.id > beyond AND w.id <= final
        AND EXISTS (SELECT FROM {s}.unit WHERE window_id = w.id AND leaves_ns <= at_ns)
        FOR UPDATE SKIP LOCKED
    LOOP
        PERFORM {s}.slide(which, at_ns);
    END LOOP;
    DELETE FROM {s}.budget_window WHERE id IN (
        SELECT w.id FROM {s}.budget_window AS w
        WHERE w.id > beyond AND w.id <= final AND w.taken = 0 AND w.latest_ns <= at_ns
        AND NOT EXISTS (SELECT FROM {s}.unit WHERE window_id = w.id)
        FOR UPDATE SKIP LOCKED
    );
    RETURN CASE WHEN looked_at < at_most THEN 0 ELSE final END;
END
$$;
""".replace("NEVER", NEVER).replace("BY_INDEX", BY_INDEX)
