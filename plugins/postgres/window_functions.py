"""What is done to one window, or to a reservation in all of its windows: the steps of `budget_functions`."""

from typing import Final

from ringfence.plugins.postgres.planning import BY_INDEX, NEVER

WINDOW_FUNCTIONS: Final = """
-- Stop counting units that are deleted already: their amounts, and the members that nothing else touches.
CREATE FUNCTION {s}.let_go(which bigint, ids bigint[], amounts numeric) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    untouched bytea[];
    places    bigint := 0;
BEGIN
    IF (SELECT members FROM {s}.budget_window WHERE id = which) THEN
        WITH gone AS (DELETE FROM {s}.touch WHERE unit_id = ANY (ids) RETURNING touch.member),
             counted AS (SELECT gone.member, count(*) AS touches FROM gone GROUP BY gone.member),
             fewer AS (
                 UPDATE {s}.member AS kept SET touches = kept.touches - counted.touches FROM counted
                 WHERE kept.member = counted.member
                 RETURNING kept.member, kept.touches
             )
        SELECT array_agg(fewer.member) INTO untouched FROM fewer WHERE fewer.touches <= 0;
        DELETE FROM {s}.member WHERE member = ANY (untouched);
        GET DIAGNOSTICS places = ROW_COUNT;
    END IF;
    UPDATE {s}.budget_window SET taken = taken - amounts - places WHERE id = which;
END
$$;

-- Let go of what left the window: a charge at time t leaves at t + period.
CREATE FUNCTION {s}.slide(which bigint, at_ns bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    ids     bigint[];
    amounts numeric;
BEGIN
    WITH gone AS (
        DELETE FROM {s}.unit WHERE window_id = which AND leaves_ns <= at_ns RETURNING unit.id, unit.amount
    )
    SELECT array_agg(gone.id), sum(gone.amount) INTO ids, amounts FROM gone;
    IF ids IS NOT NULL THEN
        PERFORM {s}.let_go(which, ids, amounts);
        UPDATE {s}.budget_window SET latest_ns = greatest(latest_ns, at_ns) WHERE id = which;
    END IF;
END
$$;

-- Give a reservation back, whatever is left of it.
CREATE FUNCTION {s}.refund(asked bytea) RETURNS void LANGUAGE plpgsql
BY_INDEX AS $$
DECLARE
    which   bigint;
    ids     bigint[];
    amounts numeric;
BEGIN
    FOR which IN
        SELECT id FROM {s}.budget_window
        WHERE id IN (SELECT window_id FROM {s}.unit WHERE reservation = asked)
        ORDER BY name FOR UPDATE
    LOOP
        WITH gone AS (
            DELETE FROM {s}.unit WHERE reservation = asked AND window_id = which
            RETURNING unit.id, unit.amount
        )
        SELECT array_agg(gone.id), sum(gone.amount) INTO ids, amounts FROM gone;
        IF ids IS NOT NULL THEN
            PERFORM {s}.let_go(which, ids, amounts);
        END IF;
    END LOOP;
END
$$;

-- Say whether a reservation stands: dispatched, it counts in a window; held, it has left none.
-- Null: it is unknown.
CREATE FUNCTION {s}.stands(asked bytea, at_ns bigint, OUT stands boolean, OUT stamped boolean)
LANGUAGE plpgsql AS $$
BEGIN
    SELECT CASE WHEN bool_or(u.stamped) THEN bool_or(u.leaves_ns > greatest(at_ns, w.latest_ns))
           ELSE count(*) = max(u.of_units) AND bool_and(u.leaves_ns > greatest(at_ns, w.latest_ns)) END,
           bool_or(u.stamped)
    INTO stands, stamped
    FROM {s}.unit AS u JOIN {s}.budget_window AS w ON w.id = u.window_id WHERE u.reservation = asked;
END
$$;

-- In how many nanoseconds `surplus` units will have left; null if that cannot be told.
CREATE FUNCTION {s}.units_free_in(which bigint, surplus numeric, at_ns bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    each record;
BEGIN
    FOR each IN
        SELECT amount, leaves_ns FROM {s}.unit WHERE window_id = which AND leaves_ns < NEVER
        ORDER BY leaves_ns
    LOOP
        surplus := surplus - each.amount;
        IF surplus <= 0 THEN
            RETURN each.leaves_ns - at_ns;
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;

-- In how many nanoseconds enough other members than the wanted will have left; null if that cannot be told.
CREATE FUNCTION {s}.members_free_in(which bigint, wanted bytea[], most bigint, at_ns bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    leaving bigint[];
    surplus bigint;
BEGIN
    leaving := ARRAY(
        SELECT (SELECT max(leaves_ns) FROM {s}.touch WHERE touch.member = kept.member)
        FROM {s}.member AS kept WHERE window_id = which AND NOT kept.member = ANY (wanted) ORDER BY 1
    );
    surplus := cardinality(leaving) + cardinality(wanted) - most;
    IF surplus <= 0 OR surplus > cardinality(leaving) OR leaving[surplus] = NEVER THEN
        RETURN NULL;
    END IF;
    RETURN leaving[surplus] - at_ns;
END
$$;
""".replace("NEVER", NEVER).replace("BY_INDEX", BY_INDEX)
