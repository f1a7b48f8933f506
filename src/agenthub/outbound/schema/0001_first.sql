-- The hub's own tables. Migrations go forward only: a later change is a later file.

CREATE TABLE endpoint (
    name TEXT PRIMARY KEY,
    data BLOB NOT NULL            -- JSON of domain.endpoint.Endpoint; ${NAME} is kept unfilled
) STRICT;

CREATE TABLE client_key (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    digest     BLOB NOT NULL,     -- HMAC of the secret, never the secret
    scopes     TEXT NOT NULL,     -- JSON list
    endpoints  TEXT,              -- JSON list; NULL: all
    created_at INTEGER NOT NULL,  -- seconds since 1970
    expires_at INTEGER,
    revoked    INTEGER NOT NULL
) STRICT;

CREATE TABLE breaker (
    key  TEXT PRIMARY KEY,        -- server, or server/tool
    data BLOB NOT NULL
) STRICT;

CREATE TABLE transition (
    id       INTEGER PRIMARY KEY,
    token    BLOB NOT NULL UNIQUE, -- so that a repeated write is one row
    endpoint TEXT NOT NULL,
    data     BLOB NOT NULL
) STRICT;
CREATE INDEX transition_of_endpoint ON transition (endpoint, id);

CREATE TABLE listing (
    endpoint TEXT PRIMARY KEY,
    data     BLOB NOT NULL
) STRICT;

CREATE TABLE pin (
    endpoint TEXT NOT NULL,
    tool     TEXT NOT NULL,
    digest   BLOB NOT NULL,       -- SHA-256 of the definition
    PRIMARY KEY (endpoint, tool)
) STRICT, WITHOUT ROWID;

CREATE TABLE secret (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT;

-- No index: a row costs one append. Pages are read by number, in windows.
CREATE TABLE call (
    id          INTEGER PRIMARY KEY,
    at_us       INTEGER NOT NULL,
    call_id     TEXT NOT NULL,
    caller      TEXT NOT NULL,
    door        TEXT NOT NULL,
    endpoint    TEXT NOT NULL,
    served_by   TEXT NOT NULL,
    method      TEXT NOT NULL,
    name        TEXT NOT NULL,
    outcome     TEXT NOT NULL,
    code        INTEGER NOT NULL,
    attempts    INTEGER NOT NULL,
    duration_us INTEGER NOT NULL,
    bytes_in    INTEGER NOT NULL,
    bytes_out   INTEGER NOT NULL
) STRICT;
