-- As 0005_ledger.sql, in PostgreSQL. Money, in nano-dollars. Sums follow the rows by triggers, in the same transaction: no code can
-- write a charge and forget a counter.

CREATE TABLE budget (
    id              TEXT COLLATE "C" PRIMARY KEY,
    wall            BIGINT NOT NULL,  -- up to here calls get in
    suspended_until BIGINT NOT NULL,  -- seconds since 1970
    data            TEXT COLLATE "C" NOT NULL      -- JSON of domain.budget.Budget
);
INSERT INTO budget VALUES ('default', 110000000000, 0,
    '{"id":"default","limit":100000000000,"name":"Everything"}');

-- A budget's counter in one window. It outlives its budget, should that come back.
CREATE TABLE budget_window (
    id        BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    budget    TEXT COLLATE "C" NOT NULL,
    win       TEXT COLLATE "C" NOT NULL,           -- key of domain.period.Window
    starts_at BIGINT NOT NULL,
    ends_at   BIGINT NOT NULL,
    reserved  BIGINT NOT NULL DEFAULT 0 CHECK (reserved >= 0),
    settled   BIGINT NOT NULL DEFAULT 0 CHECK (settled >= 0),
    credit    BIGINT NOT NULL DEFAULT 0,
    UNIQUE (budget, win)
);

-- The money of one call (domain.account.Charge), and what it is booked under.
CREATE TABLE charge (
    id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    call        TEXT COLLATE "C" NOT NULL UNIQUE,
    boot        TEXT COLLATE "C" NOT NULL,
    at_us       BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL,
    state       TEXT COLLATE "C" NOT NULL CHECK (state IN ('reserved', 'settled', 'released', 'unknown')),
    hold        BIGINT NOT NULL CHECK (hold >= 0),
    cost        BIGINT NOT NULL DEFAULT 0 CHECK (cost >= 0),
    basis       TEXT COLLATE "C" NOT NULL DEFAULT '',
    key         TEXT COLLATE "C" NOT NULL,
    team        TEXT COLLATE "C" NOT NULL,
    session     TEXT COLLATE "C" NOT NULL,
    provider    TEXT COLLATE "C" NOT NULL,
    endpoint    TEXT COLLATE "C" NOT NULL,
    model       TEXT COLLATE "C" NOT NULL,         -- as it was asked for
    tool        TEXT COLLATE "C" NOT NULL,
    door        TEXT COLLATE "C" NOT NULL,
    source      TEXT COLLATE "C" NOT NULL,
    served      TEXT COLLATE "C" NOT NULL DEFAULT '',  -- the model that answered, if it is known
    input_tokens          BIGINT NOT NULL DEFAULT 0,
    cache_read_tokens     BIGINT NOT NULL DEFAULT 0,
    cache_write_tokens    BIGINT NOT NULL DEFAULT 0,
    cache_write_1h_tokens BIGINT NOT NULL DEFAULT 0,
    output_tokens         BIGINT NOT NULL DEFAULT 0,
    reasoning_tokens      BIGINT NOT NULL DEFAULT 0,
    input_audio_tokens    BIGINT NOT NULL DEFAULT 0,
    output_audio_tokens   BIGINT NOT NULL DEFAULT 0,
    price_ref   TEXT COLLATE "C" NOT NULL DEFAULT '',
    rates       TEXT COLLATE "C" NOT NULL DEFAULT '',
    ended_us    BIGINT NOT NULL DEFAULT 0,
    duration_us BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX charge_under_way ON charge (expires_at) WHERE state = 'reserved';
CREATE INDEX charge_doubtful ON charge (id)
    WHERE basis IN ('partial', 'estimated', 'expired', 'unpriced');

-- The counters that a charge goes to.
CREATE TABLE charge_hold (
    charge BIGINT NOT NULL,
    win    BIGINT NOT NULL,           -- id of budget_window
    first  TEXT COLLATE "C" NOT NULL,              -- the oldest that counts with it
    PRIMARY KEY (charge, win)
);

CREATE TABLE charge_attempt (
    charge   BIGINT NOT NULL,
    no       BIGINT NOT NULL,
    endpoint TEXT COLLATE "C" NOT NULL,
    model    TEXT COLLATE "C" NOT NULL,
    status   BIGINT NOT NULL,
    outcome  TEXT COLLATE "C" NOT NULL,
    cost     BIGINT,
    usage    TEXT COLLATE "C",                     -- JSON of domain.usage.Usage
    PRIMARY KEY (charge, no)
);

-- What was changed after the fact; never updated, never deleted.
CREATE TABLE entry (
    id     BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    token  TEXT COLLATE "C" NOT NULL UNIQUE,       -- so that a repeated write is one row
    kind   TEXT COLLATE "C" NOT NULL,
    call   TEXT COLLATE "C" NOT NULL,
    budget TEXT COLLATE "C" NOT NULL,
    delta  BIGINT NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    at     BIGINT NOT NULL
);

-- Sums of charges that are over, by quarters of an hour, on which the days of all zones begin.
CREATE TABLE usage_slot (
    slot     BIGINT NOT NULL,         -- quarters of an hour since 1970
    key      TEXT COLLATE "C" NOT NULL,
    team     TEXT COLLATE "C" NOT NULL,
    provider TEXT COLLATE "C" NOT NULL,
    model    TEXT COLLATE "C" NOT NULL,
    endpoint TEXT COLLATE "C" NOT NULL,
    tool     TEXT COLLATE "C" NOT NULL,
    source   TEXT COLLATE "C" NOT NULL,
    calls              BIGINT NOT NULL,
    errors             BIGINT NOT NULL,
    unpriced           BIGINT NOT NULL,
    estimated          BIGINT NOT NULL,
    cost               BIGINT NOT NULL,
    input_tokens       BIGINT NOT NULL,
    cache_read_tokens  BIGINT NOT NULL,
    cache_write_tokens BIGINT NOT NULL,
    output_tokens      BIGINT NOT NULL,
    reasoning_tokens   BIGINT NOT NULL,
    PRIMARY KEY (slot, key, team, provider, model, endpoint, tool, source)
);

-- What a charge that is over adds to its slot: said once, for the triggers and for the proof.
CREATE VIEW charge_amount AS SELECT id, at_us / 900000000 AS slot, key, team, provider,
    CASE WHEN served = '' THEN model ELSE served END AS model, endpoint, tool, source, session, at_us, 1 AS calls,
    (state = 'released')::int AS errors, (basis = 'unpriced')::int AS unpriced,
    (basis IN ('partial', 'estimated', 'expired'))::int AS estimated, cost, input_tokens,
    cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens
    FROM charge WHERE state != 'reserved';

-- What a charge adds to its counters.
CREATE VIEW charge_counter AS SELECT charge_hold.win AS win,
    CASE WHEN state = 'reserved' THEN hold ELSE 0 END AS reserved, cost AS settled
    FROM charge JOIN charge_hold ON charge_hold.charge = charge.id;

-- Which hubs live: each tells it every few seconds, by the clock of this server.
CREATE TABLE hub (
    boot    TEXT COLLATE "C" PRIMARY KEY,
    seen_at TIMESTAMPTZ NOT NULL
);

CREATE FUNCTION charge_held() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    UPDATE budget_window SET reserved = reserved + (SELECT hold FROM charge WHERE id = new.charge)
        WHERE id = new.win;
    RETURN NULL;
END $$;
CREATE TRIGGER charge_held AFTER INSERT ON charge_hold FOR EACH ROW EXECUTE FUNCTION charge_held();

CREATE FUNCTION charge_counted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    UPDATE budget_window SET settled = settled + new.cost - old.cost, reserved = reserved
        + CASE WHEN new.state = 'reserved' THEN new.hold ELSE 0 END
        - CASE WHEN old.state = 'reserved' THEN old.hold ELSE 0 END
        WHERE id IN (SELECT win FROM charge_hold WHERE charge = new.id);
    IF new.state <> 'reserved' THEN
        INSERT INTO usage_slot AS kept SELECT slot, key, team, provider, model, endpoint, tool,
        source, calls, errors, unpriced, estimated, cost, input_tokens, cache_read_tokens,
        cache_write_tokens, output_tokens, reasoning_tokens FROM charge_amount WHERE id = new.id
        ON CONFLICT (slot, key, team, provider, model, endpoint, tool, source) DO UPDATE SET
        calls = kept.calls + excluded.calls,
        errors = kept.errors + excluded.errors,
        unpriced = kept.unpriced + excluded.unpriced,
        estimated = kept.estimated + excluded.estimated,
        cost = kept.cost + excluded.cost,
        input_tokens = kept.input_tokens + excluded.input_tokens,
        cache_read_tokens = kept.cache_read_tokens + excluded.cache_read_tokens,
        cache_write_tokens = kept.cache_write_tokens + excluded.cache_write_tokens,
        output_tokens = kept.output_tokens + excluded.output_tokens,
        reasoning_tokens = kept.reasoning_tokens + excluded.reasoning_tokens;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER charge_counted AFTER UPDATE ON charge FOR EACH ROW
    EXECUTE FUNCTION charge_counted();

CREATE FUNCTION charge_unsummed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    UPDATE usage_slot AS kept SET
        calls = kept.calls - one.calls,
        errors = kept.errors - one.errors,
        unpriced = kept.unpriced - one.unpriced,
        estimated = kept.estimated - one.estimated,
        cost = kept.cost - one.cost,
        input_tokens = kept.input_tokens - one.input_tokens,
        cache_read_tokens = kept.cache_read_tokens - one.cache_read_tokens,
        cache_write_tokens = kept.cache_write_tokens - one.cache_write_tokens,
        output_tokens = kept.output_tokens - one.output_tokens,
        reasoning_tokens = kept.reasoning_tokens - one.reasoning_tokens
        FROM (SELECT * FROM charge_amount WHERE id = old.id) AS one
        WHERE kept.slot = one.slot AND kept.key = one.key AND kept.team = one.team
        AND kept.provider = one.provider AND kept.model = one.model
        AND kept.endpoint = one.endpoint AND kept.tool = one.tool AND kept.source = one.source;
    RETURN new;
END $$;
CREATE TRIGGER charge_unsummed BEFORE UPDATE ON charge FOR EACH ROW
    WHEN (old.state <> 'reserved') EXECUTE FUNCTION charge_unsummed();

-- The ledger's writes, as database_ledger.py has them: one function for each step. A batch is one
-- transaction, under one lock for all hubs (ledger_batch); each step works once.

-- The id of a counter, made if it is not there.
CREATE FUNCTION ledger_window(one json) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE found bigint; BEGIN
    SELECT id INTO found FROM budget_window WHERE budget = one->>0 AND win = one->>1;
    IF found IS NULL THEN
        INSERT INTO budget_window (budget, win, starts_at, ends_at)
            VALUES (one->>0, one->>1, (one->>3)::bigint, (one->>4)::bigint) RETURNING id INTO found;
    END IF;
    RETURN found;
END $$;

-- NULL: so much more fits into each counter; else the refusal.
CREATE FUNCTION ledger_room(counters json, more bigint, now_s bigint) RETURNS json
LANGUAGE plpgsql AS $$
DECLARE one json; held bigint; spent bigint; given bigint; top bigint; BEGIN
    FOR one IN SELECT value FROM json_array_elements(counters) AS each(value) LOOP
        SELECT wall INTO top FROM budget WHERE id = one->>0 AND suspended_until <= now_s;
        SELECT coalesce(sum(reserved), 0), coalesce(sum(settled), 0), coalesce(sum(credit), 0)
            INTO held, spent, given FROM budget_window
            WHERE budget = one->>0 AND win BETWEEN one->>2 AND one->>1;
        IF held + spent + more > top + given THEN
            RETURN json_build_array(one->0, one->4, held, spent, top + given);
        END IF;
    END LOOP;
    RETURN NULL;
END $$;

CREATE FUNCTION ledger_put(held json, facts json, counters json) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE number bigint; one json; BEGIN
    INSERT INTO charge (state, call, boot, at_us, expires_at, hold, key, team, session, provider,
        endpoint, model, tool, door, source) VALUES ('reserved', held->>0, held->>1,
        (held->>2)::bigint, (held->>3)::bigint, (held->>4)::bigint, left(facts->>0, 200),
        left(facts->>1, 200), left(facts->>2, 200), left(facts->>3, 200), left(facts->>4, 200),
        left(facts->>5, 200), left(facts->>6, 400), left(facts->>7, 200), left(facts->>8, 200))
        ON CONFLICT (call) DO NOTHING RETURNING id INTO number;
    IF number IS NOT NULL THEN
        FOR one IN SELECT value FROM json_array_elements(counters) AS each(value) LOOP
            INSERT INTO charge_hold VALUES (number, ledger_window(one), one->>2);
        END LOOP;
    END IF;
END $$;

CREATE FUNCTION ledger_reserve(held json, facts json, counters json, now_s bigint) RETURNS json
LANGUAGE plpgsql AS $$
DECLARE refused json; BEGIN
    -- Sent again, its own hold would stand in its way.
    IF EXISTS (SELECT FROM charge WHERE call = held->>0) THEN RETURN NULL; END IF;
    refused := ledger_room(counters, (held->>4)::bigint, now_s);
    IF refused IS NULL THEN PERFORM ledger_put(held, facts, counters); END IF;
    RETURN refused;
END $$;

CREATE FUNCTION ledger_top_up(name text, amount bigint, now_s bigint) RETURNS json
LANGUAGE plpgsql AS $$
DECLARE one charge; counters json; refused json; BEGIN
    SELECT * INTO one FROM charge WHERE call = name;
    IF NOT FOUND OR one.state <> 'reserved' OR one.hold >= amount THEN RETURN NULL; END IF;
    SELECT json_agg(json_build_array(budget, kept.win, first, starts_at, ends_at)
        ORDER BY charge_hold.win) INTO counters FROM charge_hold
        JOIN budget_window AS kept ON kept.id = charge_hold.win WHERE charge = one.id;
    refused := ledger_room(counters, amount - one.hold, now_s);
    IF refused IS NULL THEN UPDATE charge SET hold = amount WHERE id = one.id; END IF;
    RETURN refused;
END $$;

CREATE FUNCTION ledger_attempts(number bigint, attempts json) RETURNS void LANGUAGE sql AS $$
    INSERT INTO charge_attempt SELECT number, (a->>0)::bigint, left(a->>1, 200), left(a->>2, 200),
        (a->>3)::bigint, left(a->>4, 200), (a->>5)::bigint, a->>6
        FROM json_array_elements(attempts) AS each(a);
$$;

-- Evidence about a call that was over.
CREATE FUNCTION ledger_late(one charge, change bigint, at_s bigint) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO entry (token, kind, call, budget, delta, reason, at) SELECT one.call || ' '
        || (SELECT count(*) FROM entry WHERE call = one.call), 'late', one.call, '', change, '',
        at_s;
    DELETE FROM charge_attempt WHERE charge = one.id;
$$;

CREATE FUNCTION ledger_settle(name text, spent bigint, known text, rest json, attempts json)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE one charge; BEGIN
    SELECT * INTO one FROM charge WHERE call = name;
    IF NOT FOUND THEN
        PERFORM ledger_put(json_build_array(name, '', (rest->>11)::bigint - (rest->>12)::bigint,
            0, 0), '["","","","","","","","","proxy"]', '[]');
        SELECT * INTO one FROM charge WHERE call = name;
    END IF;
    IF one.state = 'settled' AND (one.basis IN ('provider', 'fixed')
        OR known NOT IN ('provider', 'fixed')) THEN RETURN; END IF;
    UPDATE charge SET state = 'settled', cost = spent, basis = known, served = left(rest->>0, 200),
        input_tokens = (rest->>1)::bigint, cache_read_tokens = (rest->>2)::bigint,
        cache_write_tokens = (rest->>3)::bigint, cache_write_1h_tokens = (rest->>4)::bigint,
        output_tokens = (rest->>5)::bigint, reasoning_tokens = (rest->>6)::bigint,
        input_audio_tokens = (rest->>7)::bigint, output_audio_tokens = (rest->>8)::bigint,
        price_ref = rest->>9, rates = rest->>10, ended_us = (rest->>11)::bigint,
        duration_us = (rest->>12)::bigint WHERE id = one.id;
    IF one.state <> 'reserved' THEN
        PERFORM ledger_late(one, spent - one.cost, (rest->>11)::bigint / 1000000);
    END IF;
    PERFORM ledger_attempts(one.id, attempts);
END $$;

CREATE FUNCTION ledger_release(name text, attempts json, now_s bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE one charge; BEGIN
    SELECT * INTO one FROM charge WHERE call = name;
    IF NOT FOUND OR one.state IN ('settled', 'released') THEN RETURN; END IF;
    UPDATE charge SET state = 'released', cost = 0, basis = '' WHERE id = one.id;
    IF one.state <> 'reserved' THEN PERFORM ledger_late(one, -one.cost, now_s); END IF;
    PERFORM ledger_attempts(one.id, attempts);
END $$;

CREATE FUNCTION ledger_book(reports json) RETURNS json LANGUAGE plpgsql AS $$
DECLARE one json; new int := 0; BEGIN
    FOR one IN SELECT value FROM json_array_elements(reports) AS each(value) LOOP
        IF NOT EXISTS (SELECT FROM charge WHERE call = one->0->>0) THEN
            PERFORM ledger_put(one->0, one->1, one->2);
            PERFORM ledger_settle(one->3->>0, (one->3->>1)::bigint, one->3->>2, one->3->3,
                one->3->4);
            new := new + 1;
        END IF;
    END LOOP;
    RETURN to_json(new);
END $$;

CREATE FUNCTION ledger_credit(what json) RETURNS void LANGUAGE plpgsql AS $$
DECLARE number bigint := ledger_window(what->1); BEGIN
    INSERT INTO entry (token, kind, call, budget, delta, reason, at) VALUES (what->>0, 'credit',
        '', what->1->>0, (what->>2)::bigint, what->>3, (what->>4)::bigint)
        ON CONFLICT (token) DO NOTHING;
    IF FOUND THEN
        UPDATE budget_window SET credit = credit + (what->>2)::bigint WHERE id = number;
    END IF;
END $$;

CREATE FUNCTION ledger_adjust(what json) RETURNS json LANGUAGE plpgsql AS $$
DECLARE one charge; BEGIN
    SELECT * INTO one FROM charge WHERE call = what->>1;
    IF NOT FOUND OR one.state = 'reserved' THEN RETURN 'false'; END IF;
    INSERT INTO entry (token, kind, call, budget, delta, reason, at) VALUES (what->>0,
        'adjustment', one.call, '', (what->>2)::bigint - one.cost, what->>3, (what->>4)::bigint)
        ON CONFLICT (token) DO NOTHING;
    IF FOUND THEN
        UPDATE charge SET state = 'settled', cost = (what->>2)::bigint, basis = 'fixed'
            WHERE id = one.id;
    END IF;
    RETURN 'true';
END $$;

-- This hub lives. Holds of those that have not said so for half a minute count as spent.
CREATE FUNCTION ledger_recover(mine text, now_s bigint) RETURNS json LANGUAGE plpgsql AS $$
DECLARE expired int; BEGIN
    INSERT INTO hub VALUES (mine, clock_timestamp())
        ON CONFLICT (boot) DO UPDATE SET seen_at = excluded.seen_at;
    DELETE FROM hub WHERE seen_at < clock_timestamp() - interval '30 seconds';
    UPDATE charge SET state = 'unknown', cost = hold, basis = 'expired' WHERE state = 'reserved'
        AND (expires_at <= now_s OR boot NOT IN (SELECT boot FROM hub));
    GET DIAGNOSTICS expired = ROW_COUNT;
    RETURN to_json(expired);
END $$;

CREATE FUNCTION ledger_rebuild() RETURNS void LANGUAGE sql AS $$
    UPDATE budget_window AS kept SET
        reserved = (SELECT coalesce(sum(reserved), 0) FROM charge_counter WHERE win = kept.id),
        settled = (SELECT coalesce(sum(settled), 0) FROM charge_counter WHERE win = kept.id);
    DELETE FROM usage_slot;
    INSERT INTO usage_slot SELECT slot, key, team, provider, model, endpoint, tool, source,
        sum(calls), sum(errors), sum(unpriced), sum(estimated), sum(cost), sum(input_tokens),
        sum(cache_read_tokens), sum(cache_write_tokens), sum(output_tokens),
        sum(reasoning_tokens)
        FROM charge_amount GROUP BY slot, key, team, provider, model, endpoint, tool, source;
$$;

CREATE FUNCTION ledger_step(step text, v json) RETURNS json LANGUAGE plpgsql AS $$ BEGIN
    CASE step
    WHEN 'reserve' THEN RETURN ledger_reserve(v->0, v->1, v->2, (v->>3)::bigint);
    WHEN 'top_up' THEN RETURN ledger_top_up(v->>0, (v->>1)::bigint, (v->>2)::bigint);
    WHEN 'settle' THEN PERFORM ledger_settle(v->>0, (v->>1)::bigint, v->>2, v->3, v->4);
    WHEN 'release' THEN PERFORM ledger_release(v->>0, v->1, (v->>2)::bigint);
    WHEN 'book' THEN RETURN ledger_book(v->0);
    WHEN 'credit' THEN PERFORM ledger_credit(v);
    WHEN 'adjust' THEN RETURN ledger_adjust(v);
    WHEN 'recover' THEN RETURN ledger_recover(v->>0, (v->>1)::bigint);
    WHEN 'rebuild' THEN PERFORM ledger_rebuild();
    WHEN 'put_budget' THEN INSERT INTO budget VALUES (v->>0, (v->>1)::bigint, (v->>2)::bigint,
        v->>3) ON CONFLICT (id) DO UPDATE SET wall = excluded.wall,
        suspended_until = excluded.suspended_until, data = excluded.data;
    WHEN 'delete_budget' THEN DELETE FROM budget WHERE id = v->>0;
    END CASE;
    RETURN NULL;
END $$;

-- Steps in their order, [[name, values], ...]; the answers, [[true, answer] | [false, why], ...].
-- All hubs write one after the other, each a batch: no order of locks can be wrong, no snapshot
-- old. What does not fit spoils its own step only; what may go well later spoils the batch.
CREATE FUNCTION ledger_batch(steps json) RETURNS json LANGUAGE plpgsql AS $$
DECLARE one json; answers json[] := '{}'; answer json; BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('agenthub ledger'));
    FOR one IN SELECT value FROM json_array_elements(steps) AS each(value) LOOP
        BEGIN
            answer := json_build_array(true, ledger_step(one->>0, one->1));
        EXCEPTION WHEN data_exception OR integrity_constraint_violation THEN
            answer := json_build_array(false, sqlerrm);
        END;
        answers := answers || answer;
    END LOOP;
    RETURN array_to_json(answers);
END $$;
