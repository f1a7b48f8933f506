-- That a budget's window has reached a level is written down with what made it so, in the same
-- transaction: no alert is lost, and none comes twice. The rows are the outbox of the webhook too.

-- In the columns, for views may not read JSON. The ratios are per cent of the limit.
ALTER TABLE budget ADD COLUMN cap INTEGER NOT NULL DEFAULT 0;
ALTER TABLE budget ADD COLUMN warning INTEGER NOT NULL DEFAULT 90;
ALTER TABLE budget ADD COLUMN critical INTEGER NOT NULL DEFAULT 100;
ALTER TABLE budget ADD COLUMN blocked INTEGER NOT NULL DEFAULT 110;
UPDATE budget SET (cap, warning, critical, blocked) = (SELECT json_extract(text, '$.limit'),
    ifnull(json_extract(text, '$.warning'), 90), ifnull(json_extract(text, '$.critical'), 100),
    ifnull(json_extract(text, '$.blocked'), 110) FROM (SELECT CAST(data AS TEXT) AS text));

ALTER TABLE budget_window ADD COLUMN oldest TEXT NOT NULL DEFAULT '';  -- the oldest that counts with it
UPDATE budget_window SET oldest = ifnull((SELECT min(first) FROM charge_hold
    WHERE charge_hold.win = budget_window.id), win);

CREATE TABLE alert (
    id        INTEGER PRIMARY KEY,
    token     TEXT NOT NULL UNIQUE,    -- for receivers, who may be sent it twice
    budget    TEXT NOT NULL,
    win       TEXT NOT NULL,
    level     INTEGER NOT NULL,        -- 1 warning, 2 critical, 3 blocked
    settled   INTEGER NOT NULL,        -- when it was reached, as all that follows
    top       INTEGER NOT NULL,        -- the limit, with credits
    starts_at INTEGER NOT NULL,
    ends_at   INTEGER NOT NULL,
    told_at   INTEGER NOT NULL DEFAULT 0,  -- seconds since 1970
    state     TEXT NOT NULL DEFAULT 'new'
        CHECK (state IN ('new', 'told', 'waiting', 'sent', 'given_up')),
    tries     INTEGER NOT NULL DEFAULT 0,
    lease     INTEGER NOT NULL DEFAULT 0,  -- until then one hub alone sends it
    UNIQUE (budget, win, level)
) STRICT;
CREATE INDEX alert_open ON alert (id) WHERE state IN ('new', 'waiting');

-- How far each window is: said once, for the trigger and for a budget that is changed.
CREATE VIEW budget_level AS SELECT budget, win, oldest, starts_at, ends_at, settled, top,
    CASE WHEN settled * 100 >= top * blocked THEN 3 WHEN settled * 100 >= top * critical THEN 2
    WHEN settled * 100 >= top * warning THEN 1 ELSE 0 END AS level
    FROM (SELECT kept.budget AS budget, win, oldest, starts_at, ends_at, warning, critical, blocked,
    (SELECT sum(one.settled) FROM budget_window AS one WHERE one.budget = kept.budget
    AND one.win BETWEEN kept.oldest AND kept.win) AS settled,
    cap + (SELECT sum(one.credit) FROM budget_window AS one WHERE one.budget = kept.budget
    AND one.win BETWEEN kept.oldest AND kept.win) AS top
    FROM budget_window AS kept JOIN budget AS rule ON rule.id = kept.budget);

-- What is far from every level costs one look at its budget.
CREATE TRIGGER window_reached AFTER UPDATE OF settled, credit ON budget_window
    WHEN (new.settled > old.settled OR new.credit < old.credit)
    AND (new.oldest != new.win OR new.credit < 0
    OR new.settled * 100 >= (SELECT cap * warning FROM budget WHERE id = new.budget)) BEGIN
    INSERT INTO alert (token, budget, win, level, settled, top, starts_at, ends_at)
        SELECT lower(hex(randomblob(12))), budget, win, level, settled, top, starts_at, ends_at
        FROM budget_level AS now WHERE budget = new.budget AND win = new.win AND level > 0
        AND NOT EXISTS (SELECT 1 FROM alert WHERE alert.budget = now.budget
        AND alert.win BETWEEN now.oldest AND now.win AND alert.level >= now.level);
END;
