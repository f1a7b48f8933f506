-- Money, in nano-dollars. Sums follow the rows by triggers, in the same transaction: no code can
-- write a charge and forget a counter.

CREATE TABLE budget (
    id              TEXT PRIMARY KEY,
    wall            INTEGER NOT NULL,  -- up to here calls get in
    suspended_until INTEGER NOT NULL,  -- seconds since 1970
    data            BLOB NOT NULL      -- JSON of domain.budget.Budget
) STRICT, WITHOUT ROWID;
INSERT INTO budget VALUES ('default', 110000000000, 0,
    CAST('{"id":"default","limit":100000000000,"name":"Everything"}' AS BLOB));

-- A budget's counter in one window. It outlives its budget, should that come back.
CREATE TABLE budget_window (
    id        INTEGER PRIMARY KEY,
    budget    TEXT NOT NULL,
    win       TEXT NOT NULL,           -- key of domain.period.Window
    starts_at INTEGER NOT NULL,
    ends_at   INTEGER NOT NULL,
    reserved  INTEGER NOT NULL DEFAULT 0 CHECK (reserved >= 0),
    settled   INTEGER NOT NULL DEFAULT 0 CHECK (settled >= 0),
    credit    INTEGER NOT NULL DEFAULT 0,
    UNIQUE (budget, win)
) STRICT;

-- The money of one call (domain.account.Charge), and what it is booked under.
CREATE TABLE charge (
    id          INTEGER PRIMARY KEY,
    call        TEXT NOT NULL UNIQUE,
    boot        TEXT NOT NULL,
    at_us       INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('reserved', 'settled', 'released', 'unknown')),
    hold        INTEGER NOT NULL CHECK (hold >= 0),
    cost        INTEGER NOT NULL DEFAULT 0 CHECK (cost >= 0),
    basis       TEXT NOT NULL DEFAULT '',
    key         TEXT NOT NULL,
    team        TEXT NOT NULL,
    session     TEXT NOT NULL,
    provider    TEXT NOT NULL,
    endpoint    TEXT NOT NULL,
    model       TEXT NOT NULL,         -- as it was asked for
    tool        TEXT NOT NULL,
    door        TEXT NOT NULL,
    source      TEXT NOT NULL,
    served      TEXT NOT NULL DEFAULT '',  -- the model that answered, if it is known
    input_tokens          INTEGER NOT NULL DEFAULT 0,
    cache_read_tokens     INTEGER NOT NULL DEFAULT 0,
    cache_write_tokens    INTEGER NOT NULL DEFAULT 0,
    cache_write_1h_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens         INTEGER NOT NULL DEFAULT 0,
    reasoning_tokens      INTEGER NOT NULL DEFAULT 0,
    input_audio_tokens    INTEGER NOT NULL DEFAULT 0,
    output_audio_tokens   INTEGER NOT NULL DEFAULT 0,
    price_ref   TEXT NOT NULL DEFAULT '',
    rates       BLOB NOT NULL DEFAULT x'',
    ended_us    INTEGER NOT NULL DEFAULT 0,
    duration_us INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX charge_under_way ON charge (expires_at) WHERE state = 'reserved';
CREATE INDEX charge_doubtful ON charge (id)
    WHERE basis IN ('partial', 'estimated', 'expired', 'unpriced');

-- The counters that a charge goes to.
CREATE TABLE charge_hold (
    charge INTEGER NOT NULL,
    win    INTEGER NOT NULL,           -- id of budget_window
    first  TEXT NOT NULL,              -- the oldest that counts with it
    PRIMARY KEY (charge, win)
) STRICT, WITHOUT ROWID;

CREATE TABLE charge_attempt (
    charge   INTEGER NOT NULL,
    no       INTEGER NOT NULL,
    endpoint TEXT NOT NULL,
    model    TEXT NOT NULL,
    status   INTEGER NOT NULL,
    outcome  TEXT NOT NULL,
    cost     INTEGER,
    usage    BLOB,                     -- JSON of domain.usage.Usage
    PRIMARY KEY (charge, no)
) STRICT, WITHOUT ROWID;

-- What was changed after the fact; never updated, never deleted.
CREATE TABLE entry (
    id     INTEGER PRIMARY KEY,
    token  TEXT NOT NULL UNIQUE,       -- so that a repeated write is one row
    kind   TEXT NOT NULL,
    call   TEXT NOT NULL,
    budget TEXT NOT NULL,
    delta  INTEGER NOT NULL,
    reason TEXT NOT NULL,
    at     INTEGER NOT NULL
) STRICT;

-- Sums of charges that are over, by quarters of an hour, on which the days of all zones begin.
CREATE TABLE usage_slot (
    slot     INTEGER NOT NULL,         -- quarters of an hour since 1970
    key      TEXT NOT NULL,
    team     TEXT NOT NULL,
    provider TEXT NOT NULL,
    model    TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    tool     TEXT NOT NULL,
    source   TEXT NOT NULL,
    calls              INTEGER NOT NULL,
    errors             INTEGER NOT NULL,
    unpriced           INTEGER NOT NULL,
    estimated          INTEGER NOT NULL,
    cost               INTEGER NOT NULL,
    input_tokens       INTEGER NOT NULL,
    cache_read_tokens  INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    output_tokens      INTEGER NOT NULL,
    reasoning_tokens   INTEGER NOT NULL,
    PRIMARY KEY (slot, key, team, provider, model, endpoint, tool, source)
) STRICT, WITHOUT ROWID;

-- What a charge that is over adds to its slot: said once, for the triggers and for the proof.
CREATE VIEW charge_amount AS SELECT id, at_us / 900000000 AS slot, key, team, provider,
    iif(served = '', model, served) AS model, endpoint, tool, source, session, at_us, 1 AS calls,
    state = 'released' AS errors, basis = 'unpriced' AS unpriced,
    basis IN ('partial', 'estimated', 'expired') AS estimated, cost, input_tokens,
    cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens
    FROM charge WHERE state != 'reserved';

-- What a charge adds to its counters.
CREATE VIEW charge_counter AS SELECT charge_hold.win AS win,
    iif(state = 'reserved', hold, 0) AS reserved, cost AS settled
    FROM charge JOIN charge_hold ON charge_hold.charge = charge.id;

CREATE TRIGGER charge_held AFTER INSERT ON charge_hold BEGIN
    UPDATE budget_window SET reserved = reserved + (SELECT hold FROM charge WHERE id = new.charge)
        WHERE id = new.win;
END;

CREATE TRIGGER charge_counted AFTER UPDATE ON charge BEGIN
    UPDATE budget_window SET settled = settled + new.cost - old.cost, reserved = reserved
        + iif(new.state = 'reserved', new.hold, 0) - iif(old.state = 'reserved', old.hold, 0)
        WHERE id IN (SELECT win FROM charge_hold WHERE charge = new.id);
END;

CREATE TRIGGER charge_unsummed BEFORE UPDATE ON charge WHEN old.state != 'reserved' BEGIN
    UPDATE usage_slot SET
        calls = usage_slot.calls - one.calls,
        errors = usage_slot.errors - one.errors,
        unpriced = usage_slot.unpriced - one.unpriced,
        estimated = usage_slot.estimated - one.estimated,
        cost = usage_slot.cost - one.cost,
        input_tokens = usage_slot.input_tokens - one.input_tokens,
        cache_read_tokens = usage_slot.cache_read_tokens - one.cache_read_tokens,
        cache_write_tokens = usage_slot.cache_write_tokens - one.cache_write_tokens,
        output_tokens = usage_slot.output_tokens - one.output_tokens,
        reasoning_tokens = usage_slot.reasoning_tokens - one.reasoning_tokens
        FROM (SELECT * FROM charge_amount WHERE id = old.id) AS one
        WHERE usage_slot.slot = one.slot AND usage_slot.key = one.key
        AND usage_slot.team = one.team AND usage_slot.provider = one.provider
        AND usage_slot.model = one.model AND usage_slot.endpoint = one.endpoint
        AND usage_slot.tool = one.tool AND usage_slot.source = one.source;
END;

CREATE TRIGGER charge_summed AFTER UPDATE ON charge WHEN new.state != 'reserved' BEGIN
    INSERT INTO usage_slot SELECT slot, key, team, provider, model, endpoint, tool, source,
        calls, errors, unpriced, estimated, cost, input_tokens, cache_read_tokens,
        cache_write_tokens, output_tokens, reasoning_tokens FROM charge_amount WHERE id = new.id
        ON CONFLICT DO UPDATE SET
        calls = usage_slot.calls + excluded.calls,
        errors = usage_slot.errors + excluded.errors,
        unpriced = usage_slot.unpriced + excluded.unpriced,
        estimated = usage_slot.estimated + excluded.estimated,
        cost = usage_slot.cost + excluded.cost,
        input_tokens = usage_slot.input_tokens + excluded.input_tokens,
        cache_read_tokens = usage_slot.cache_read_tokens + excluded.cache_read_tokens,
        cache_write_tokens = usage_slot.cache_write_tokens + excluded.cache_write_tokens,
        output_tokens = usage_slot.output_tokens + excluded.output_tokens,
        reasoning_tokens = usage_slot.reasoning_tokens + excluded.reasoning_tokens;
END;
