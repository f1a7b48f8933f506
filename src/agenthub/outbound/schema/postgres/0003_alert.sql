-- As 0008_alert.sql, in PostgreSQL.

ALTER TABLE budget_window ADD COLUMN oldest TEXT COLLATE "C" NOT NULL DEFAULT '';
UPDATE budget_window SET oldest = coalesce((SELECT min(first) FROM charge_hold
    WHERE charge_hold.win = budget_window.id), win);

CREATE TABLE alert (
    id        BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    token     TEXT NOT NULL UNIQUE DEFAULT replace(gen_random_uuid()::text, '-', ''),
    budget    TEXT COLLATE "C" NOT NULL,
    win       TEXT COLLATE "C" NOT NULL,
    level     INT NOT NULL,
    settled   BIGINT NOT NULL,
    top       BIGINT NOT NULL,
    starts_at BIGINT NOT NULL,
    ends_at   BIGINT NOT NULL,
    told_at   BIGINT NOT NULL DEFAULT 0,
    state     TEXT NOT NULL DEFAULT 'new'
        CHECK (state IN ('new', 'told', 'waiting', 'sent', 'given_up')),
    tries     INT NOT NULL DEFAULT 0,
    lease     BIGINT NOT NULL DEFAULT 0,
    UNIQUE (budget, win, level)
);
CREATE INDEX alert_open ON alert (id) WHERE state IN ('new', 'waiting');

CREATE VIEW budget_level AS SELECT budget, win, oldest, starts_at, ends_at, settled, top,
    CASE WHEN settled * 100 >= top * blocked THEN 3 WHEN settled * 100 >= top * critical THEN 2
    WHEN settled * 100 >= top * warning THEN 1 ELSE 0 END AS level
    FROM (SELECT kept.budget, kept.win, kept.oldest, kept.starts_at, kept.ends_at, sums.settled,
    (data::json->>'limit')::numeric + sums.credit AS top,
    coalesce((data::json->>'warning')::int, 90) AS warning,
    coalesce((data::json->>'critical')::int, 100) AS critical,
    coalesce((data::json->>'blocked')::int, 110) AS blocked
    FROM budget_window AS kept JOIN budget ON budget.id = kept.budget
    CROSS JOIN LATERAL (SELECT sum(one.settled) AS settled, sum(one.credit) AS credit
    FROM budget_window AS one WHERE one.budget = kept.budget
    AND one.win BETWEEN kept.oldest AND kept.win) AS sums) AS found;

CREATE FUNCTION ledger_look(one text, window_key text) RETURNS void LANGUAGE sql AS $$
    INSERT INTO alert (budget, win, level, settled, top, starts_at, ends_at)
        SELECT budget, win, level, settled, top, starts_at, ends_at FROM budget_level AS now
        WHERE budget = one AND win = window_key AND level > 0
        AND NOT EXISTS (SELECT FROM alert WHERE alert.budget = now.budget
        AND alert.win BETWEEN now.oldest AND now.win AND alert.level >= now.level);
$$;

CREATE FUNCTION window_reached() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF new.oldest <> new.win OR new.credit < 0
        OR new.settled::numeric * 100 >= (SELECT (data::json->>'limit')::numeric
        * coalesce((data::json->>'warning')::int, 90) FROM budget WHERE id = new.budget) THEN
        PERFORM ledger_look(new.budget, new.win);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER window_reached AFTER UPDATE ON budget_window FOR EACH ROW
    WHEN (new.settled > old.settled OR new.credit < old.credit)
    EXECUTE FUNCTION window_reached();

CREATE OR REPLACE FUNCTION ledger_window(one json) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE found bigint; BEGIN
    SELECT id INTO found FROM budget_window WHERE budget = one->>0 AND win = one->>1;
    IF found IS NULL THEN
        INSERT INTO budget_window (budget, win, oldest, starts_at, ends_at) VALUES (one->>0,
            one->>1, one->>2, (one->>3)::bigint, (one->>4)::bigint) RETURNING id INTO found;
    END IF;
    RETURN found;
END $$;

CREATE FUNCTION ledger_put_budget(one json, window_key text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO budget VALUES (one->>0, (one->>1)::bigint, (one->>2)::bigint, one->>3)
        ON CONFLICT (id) DO UPDATE SET wall = excluded.wall,
        suspended_until = excluded.suspended_until, data = excluded.data;
    PERFORM ledger_look(one->>0, window_key);
END $$;

-- The oldest that waits to be sent, and is nobody else's until then.
CREATE FUNCTION ledger_lease_alert(now_s bigint, until_s bigint) RETURNS json LANGUAGE sql AS $$
    UPDATE alert SET tries = tries + 1, lease = until_s WHERE id = (SELECT min(id) FROM alert
        WHERE state = 'waiting' AND lease <= now_s)
        RETURNING json_build_array(id, token, budget, win, level, settled, top, starts_at,
        ends_at, told_at, state, tries);
$$;

ALTER FUNCTION ledger_step(text, json) RENAME TO ledger_step_2;

CREATE FUNCTION ledger_step(step text, v json) RETURNS json LANGUAGE plpgsql AS $$ BEGIN
    CASE step
    WHEN 'put_budget' THEN PERFORM ledger_put_budget(v->0, v->>1);
    WHEN 'alerts_told' THEN UPDATE alert SET state = v->>1, told_at = (v->>2)::bigint
        WHERE id <= (v->>0)::bigint AND state = 'new';
    WHEN 'lease_alert' THEN RETURN ledger_lease_alert((v->>0)::bigint, (v->>1)::bigint);
    WHEN 'alert_over' THEN UPDATE alert SET state = v->>1
        WHERE id = (v->>0)::bigint AND state = 'waiting';
    WHEN 'alert_again' THEN UPDATE alert SET lease = 0 WHERE id = (v->>0)::bigint;
    ELSE RETURN ledger_step_2(step, v);
    END CASE;
    RETURN NULL;
END $$;
