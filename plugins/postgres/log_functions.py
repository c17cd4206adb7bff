"""What is done to the log in one round trip, as functions of the schema."""

from typing import Final

from ringfence.plugins.postgres.planning import BY_INDEX

LOG_FUNCTIONS: Final = """
-- Append events and set the rows of their runs; false, and nothing changed, if a run's head is not the one
-- that the caller knows (null: the run is new to it).
CREATE FUNCTION {s}.append(
    run_keys bytea[], heads bytea[], runs text[], session_keys bytea[], sessions text[], agents text[],
    users text[], workspaces text[], policies text[], statuses text[], started bigint[], latest bigint[],
    counts bigint[], new_heads bytea[], parents text[],
    of_runs integer[], seqs bigint[], kinds text[], schemas integer[], times bigint[], monos bigint[],
    salts bytea[], bodies bytea[], digests bytea[], prevs bytea[], hashes bytea[]
) RETURNS boolean LANGUAGE plpgsql
BY_INDEX AS $$
DECLARE
    at    bigint;
    last  bytea;
    each  bytea;
    links bytea[] := '{}';
BEGIN
    -- INVARIANT: whoever has this row appends, and nobody else: positions and links have no gap.
    SELECT position, link INTO STRICT at, last FROM {s}.log_head FOR UPDATE;
    IF EXISTS (
        SELECT FROM unnest(run_keys, heads) AS known (run_key, head)
        LEFT JOIN {s}.run ON run.run_key = known.run_key
        WHERE run.head IS DISTINCT FROM known.head
    ) THEN
        RETURN false;
    END IF;
    INSERT INTO {s}.run (run_key, run, session_key, session, agent, "user", workspace, policy, status,
                         started_ns, last_ns, events, head, parent)
        SELECT * FROM unnest(run_keys, runs, session_keys, sessions, agents, users, workspaces, policies,
                             statuses, started, latest, counts, new_heads, parents)
        ON CONFLICT (run_key) DO UPDATE SET
            session_key = EXCLUDED.session_key, session = EXCLUDED.session, agent = EXCLUDED.agent,
            "user" = EXCLUDED."user", workspace = EXCLUDED.workspace, policy = EXCLUDED.policy,
            status = EXCLUDED.status, started_ns = EXCLUDED.started_ns, last_ns = EXCLUDED.last_ns,
            events = EXCLUDED.events, head = EXCLUDED.head, parent = EXCLUDED.parent;
    FOREACH each IN ARRAY hashes LOOP
        last := sha256(last || each);
        links := links || last;
    END LOOP;
    INSERT INTO {s}.event (position, run_id, seq, kind, schema, at_ns, mono_ns, salt, body, digest, prev,
                           hash, link)
        SELECT at + said.number, run.id, said.seq, said.kind, said.schema, said.at_ns, said.mono_ns,
               said.salt, said.body, said.digest, said.prev, said.hash, said.link
        FROM unnest(of_runs, seqs, kinds, schemas, times, monos, salts, bodies, digests, prevs, hashes, links)
             WITH ORDINALITY AS said (of_run, seq, kind, schema, at_ns, mono_ns, salt, body, digest, prev,
                                      hash, link, number)
        JOIN {s}.run ON run.run_key = run_keys[said.of_run];
    UPDATE {s}.log_head SET position = at + cardinality(hashes), link = last;
    RETURN true;
END
$$;
""".replace("BY_INDEX", BY_INDEX)
