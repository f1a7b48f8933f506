-- Idempotency keys in use (R33). Numbers grow with time, so that the oldest claims come first.

CREATE TABLE claim (
    id      INTEGER PRIMARY KEY,
    scope   BLOB NOT NULL UNIQUE, -- SHA-256 of caller, server, target and key
    caller  TEXT NOT NULL,
    digest  BLOB NOT NULL,        -- SHA-256 of the request
    call_id TEXT NOT NULL,        -- of the call that may run
    at_s    INTEGER NOT NULL,     -- seconds since 1970
    answer  BLOB                  -- NULL: under way, or unknown; empty: it ran, answer not kept
) STRICT;

-- What each caller has in `claim`, and all of them together (caller ''); kept right by triggers.
CREATE TABLE claim_use (
    caller TEXT PRIMARY KEY,
    claims INTEGER NOT NULL,
    bytes  INTEGER NOT NULL       -- of the answers
) STRICT, WITHOUT ROWID;

CREATE TRIGGER claim_put AFTER INSERT ON claim BEGIN
    INSERT INTO claim_use VALUES (new.caller, 1, 0), ('', 1, 0)
        ON CONFLICT (caller) DO UPDATE SET claims = claims + 1;
END;

CREATE TRIGGER claim_finished AFTER UPDATE OF answer ON claim BEGIN
    UPDATE claim_use SET bytes = bytes + ifnull(length(new.answer), 0) - ifnull(length(old.answer), 0)
        WHERE caller IN (new.caller, '');
END;

CREATE TRIGGER claim_deleted AFTER DELETE ON claim BEGIN
    UPDATE claim_use SET claims = claims - 1, bytes = bytes - ifnull(length(old.answer), 0)
        WHERE caller IN (old.caller, '');
    DELETE FROM claim_use WHERE caller = old.caller AND claims = 0;
END;
