-- What the ledger is asked, by name, beside statements.sql. Texts that a client chose are cut.

-- name: put_budget
INSERT INTO budget (id, wall, suspended_until, data, cap, warning, critical, blocked)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (id) DO UPDATE SET wall = ?2,
    suspended_until = ?3, data = ?4, cap = ?5, warning = ?6, critical = ?7, blocked = ?8;

-- A budget that was changed may have reached a level by that: as the trigger, for one window.
-- name: look_again
INSERT INTO alert (token, budget, win, level, settled, top, starts_at, ends_at)
    SELECT lower(hex(randomblob(12))), budget, win, level, settled, top, starts_at, ends_at
    FROM budget_level AS now WHERE budget = ?1 AND win = ?2 AND level > 0
    AND NOT EXISTS (SELECT 1 FROM alert WHERE alert.budget = now.budget
    AND alert.win BETWEEN now.oldest AND now.win AND alert.level >= now.level);

-- name: delete_budget
DELETE FROM budget WHERE id = ?1;

-- name: budgets
SELECT data FROM budget ORDER BY id;

-- A counter, and those that count with it; the wall is NULL where nothing is blocked.
-- name: window
SELECT max(iif(win = ?2, id, NULL)), ifnull(sum(reserved), 0), ifnull(sum(settled), 0),
    ifnull(sum(credit), 0), (SELECT wall FROM budget WHERE id = ?1 AND suspended_until <= ?4)
    FROM budget_window WHERE budget = ?1 AND win BETWEEN ?3 AND ?2;

-- name: new_window
INSERT INTO budget_window (budget, win, oldest, starts_at, ends_at) VALUES (?1, ?2, ?3, ?4, ?5);

-- name: new_charge
INSERT INTO charge (state, call, boot, at_us, expires_at, hold, key, team, session, provider,
    endpoint, model, tool, door, source) VALUES ('reserved', ?, ?, ?, ?, ?, substr(?, 1, 200),
    substr(?, 1, 200), substr(?, 1, 200), substr(?, 1, 200), substr(?, 1, 200), substr(?, 1, 200),
    substr(?, 1, 400), substr(?, 1, 200), substr(?, 1, 200)) ON CONFLICT (call) DO NOTHING;

-- name: new_hold
INSERT INTO charge_hold VALUES (?1, ?2, ?3);

-- name: find_charge
SELECT id, state, hold, cost, basis FROM charge WHERE call = ?1;

-- name: windows_of
SELECT budget, budget_window.win, first, starts_at, ends_at FROM charge_hold JOIN budget_window
    ON budget_window.id = charge_hold.win WHERE charge = ?1;

-- name: raise_hold
UPDATE charge SET hold = ?2 WHERE id = ?1;

-- name: move_charge
UPDATE charge SET provider = substr(?2, 1, 200), endpoint = substr(?3, 1, 200),
    model = substr(?4, 1, 200) WHERE id = ?1;

-- name: take_off
DELETE FROM charge_hold WHERE charge = ?1 AND win IN (SELECT id FROM budget_window
    WHERE budget = ?2);

-- name: settle_charge
UPDATE charge SET state = 'settled', cost = ?2, basis = ?3, served = substr(?4, 1, 200),
    input_tokens = ?5, cache_read_tokens = ?6, cache_write_tokens = ?7, cache_write_1h_tokens = ?8,
    output_tokens = ?9, reasoning_tokens = ?10, input_audio_tokens = ?11,
    output_audio_tokens = ?12, price_ref = ?13, rates = ?14, ended_us = ?15, duration_us = ?16
    WHERE id = ?1;

-- name: release_charge
UPDATE charge SET state = 'released', cost = 0, basis = '' WHERE id = ?1;

-- name: adjust_charge
UPDATE charge SET state = 'settled', cost = ?2, basis = 'fixed' WHERE id = ?1;

-- name: expire_charges
UPDATE charge SET state = 'unknown', cost = hold, basis = 'expired'
    WHERE state = 'reserved' AND (boot != ?1 OR expires_at <= ?2);

-- name: forget_attempts
DELETE FROM charge_attempt WHERE charge = ?1;

-- name: new_attempt
INSERT INTO charge_attempt VALUES (?, ?, substr(?, 1, 200), substr(?, 1, 200), ?,
    substr(?, 1, 200), ?, ?);

-- name: late_entry
INSERT INTO entry (token, kind, call, budget, delta, reason, at) SELECT ?1 || ' ' || (SELECT
    count(*) FROM entry WHERE call = ?1), 'late', ?1, '', ?2, '', ?3;

-- name: new_entry
INSERT INTO entry (token, kind, call, budget, delta, reason, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6,
    ?7) ON CONFLICT (token) DO NOTHING;

-- name: add_credit
UPDATE budget_window SET credit = credit + ?2 WHERE id = ?1;

-- name: alerts_told
UPDATE alert SET state = ?2, told_at = ?3 WHERE id <= ?1 AND state = 'new';

-- name: waiting_alert
SELECT id FROM alert WHERE state = 'waiting' AND lease <= ?1 ORDER BY id LIMIT 1;

-- name: lease_alert
UPDATE alert SET tries = tries + 1, lease = ?2 WHERE id = ?1;

-- name: one_alert
SELECT id, token, budget, win, level, settled, top, starts_at, ends_at, told_at, state, tries
    FROM alert WHERE id = ?1;

-- name: alert_over
UPDATE alert SET state = ?2 WHERE id = ?1 AND state = 'waiting';

-- name: alert_again
UPDATE alert SET lease = 0 WHERE id = ?1;

-- name: rebuild_windows
UPDATE budget_window SET (reserved, settled) = (SELECT ifnull(sum(reserved), 0),
    ifnull(sum(settled), 0) FROM charge_counter WHERE charge_counter.win = budget_window.id);

-- name: forget_slots
DELETE FROM usage_slot;

-- name: rebuild_slots
INSERT INTO usage_slot SELECT slot, key, team, provider, model, endpoint, tool, source, sum(calls),
    sum(errors), sum(unpriced), sum(estimated), sum(cost), sum(input_tokens),
    sum(cache_read_tokens), sum(cache_write_tokens), sum(output_tokens), sum(reasoning_tokens)
    FROM charge_amount GROUP BY slot, key, team, provider, model, endpoint, tool, source;

-- Reading, by a connection of its own.

-- name: differing_windows
WITH sums AS (SELECT win, sum(reserved) AS reserved, sum(settled) AS settled FROM charge_counter
    GROUP BY win) SELECT count(*) FROM budget_window AS kept LEFT JOIN sums ON sums.win = kept.id
    WHERE kept.reserved != ifnull(sums.reserved, 0) OR kept.settled != ifnull(sums.settled, 0);

-- name: differing_slots
WITH sums AS (SELECT slot, key, team, provider, model, endpoint, tool, source, sum(calls),
    sum(errors), sum(unpriced), sum(estimated), sum(cost), sum(input_tokens),
    sum(cache_read_tokens), sum(cache_write_tokens), sum(output_tokens), sum(reasoning_tokens)
    FROM charge_amount GROUP BY slot, key, team, provider, model, endpoint, tool, source),
    kept AS (SELECT * FROM usage_slot WHERE calls != 0)
    SELECT (SELECT count(*) FROM (SELECT * FROM sums EXCEPT SELECT * FROM kept))
    + (SELECT count(*) FROM (SELECT * FROM kept EXCEPT SELECT * FROM sums));

-- Of each counter, with those that count with it; ?1 is JSON: [[budget, first, last], ...].
-- name: standing
SELECT ifnull(sum(reserved), 0), ifnull(sum(settled), 0), ifnull(sum(credit), 0)
    FROM json_each(?1) AS one LEFT JOIN budget_window ON budget = json_extract(one.value, '$[0]')
    AND win BETWEEN json_extract(one.value, '$[1]') AND json_extract(one.value, '$[2]')
    GROUP BY one.key ORDER BY one.key;

-- ?1 is JSON: [[first slot, slot after the last], ...]. Slots are summed up in the order in which
-- they are kept, without a sort: a quarter of the time that `totals` takes.
-- name: summary
WITH span AS (SELECT json_extract(value, '$[0]') AS since, json_extract(value, '$[1]') AS until
    FROM json_each(?1))
    SELECT since, '', sum(calls), sum(errors), sum(unpriced), sum(estimated), sum(cost),
    sum(input_tokens), sum(cache_read_tokens), sum(cache_write_tokens), sum(output_tokens),
    sum(reasoning_tokens) FROM (
    SELECT slot, sum(calls) AS calls, sum(errors) AS errors, sum(unpriced) AS unpriced,
    sum(estimated) AS estimated, sum(cost) AS cost, sum(input_tokens) AS input_tokens,
    sum(cache_read_tokens) AS cache_read_tokens, sum(cache_write_tokens) AS
    cache_write_tokens, sum(output_tokens) AS output_tokens, sum(reasoning_tokens) AS
    reasoning_tokens FROM usage_slot
    WHERE slot >= (SELECT min(since) FROM span) AND slot < (SELECT max(until) FROM span)
    GROUP BY slot) JOIN span ON slot >= since AND slot < until
    WHERE calls != 0 GROUP BY since ORDER BY since;

-- A filter that is NULL lets all pass.
-- name: totals
WITH span AS (SELECT json_extract(value, '$[0]') AS since, json_extract(value, '$[1]') AS until
    FROM json_each(?1))
    SELECT since, CASE ?2 WHEN 'key' THEN key WHEN 'team' THEN team WHEN 'provider' THEN provider
    WHEN 'model' THEN model WHEN 'endpoint' THEN endpoint WHEN 'tool' THEN tool
    WHEN 'source' THEN source ELSE '' END AS name, sum(calls), sum(errors), sum(unpriced),
    sum(estimated), sum(cost), sum(input_tokens), sum(cache_read_tokens), sum(cache_write_tokens),
    sum(output_tokens), sum(reasoning_tokens)
    FROM span CROSS JOIN usage_slot ON slot >= since AND slot < until
    WHERE (?3 IS NULL OR key = ?3) AND (?4 IS NULL OR team = ?4)
    AND (?5 IS NULL OR provider = ?5) AND (?6 IS NULL OR model = ?6)
    AND (?7 IS NULL OR endpoint = ?7) AND (?8 IS NULL OR tool = ?8)
    AND (?9 IS NULL OR source = ?9) AND calls != 0 GROUP BY since, name ORDER BY since, name;

-- As `totals`; sessions are many, and in no sums.
-- name: session_totals
WITH span AS (SELECT json_extract(value, '$[0]') AS since, json_extract(value, '$[1]') AS until
    FROM json_each(?1))
    SELECT since, session, sum(calls), sum(errors), sum(unpriced), sum(estimated), sum(cost),
    sum(input_tokens), sum(cache_read_tokens), sum(cache_write_tokens), sum(output_tokens),
    sum(reasoning_tokens) FROM charge_amount CROSS JOIN span ON slot >= since AND slot < until
    WHERE ?2 = 'session' AND (?3 IS NULL OR key = ?3) AND (?4 IS NULL OR team = ?4)
    AND (?5 IS NULL OR provider = ?5) AND (?6 IS NULL OR model = ?6)
    AND (?7 IS NULL OR endpoint = ?7) AND (?8 IS NULL OR tool = ?8)
    AND (?9 IS NULL OR source = ?9) GROUP BY since, session ORDER BY since, session;

-- name: charges
SELECT id, call, at_us, state, hold, cost, basis, key, team, session, provider, endpoint, model,
    tool, door, source, served, input_tokens, cache_read_tokens, cache_write_tokens,
    cache_write_1h_tokens, output_tokens, reasoning_tokens, input_audio_tokens,
    output_audio_tokens, price_ref, rates, ended_us, duration_us FROM charge
    WHERE id < ?1 AND at_us >= ?3 AND at_us < ?4 AND (?5 IS NULL OR key = ?5)
    AND (?6 IS NULL OR team = ?6) AND (?7 IS NULL OR provider = ?7)
    AND (?8 IS NULL OR iif(served = '', model, served) = ?8) AND (?9 IS NULL OR endpoint = ?9)
    AND (?10 IS NULL OR tool = ?10) AND (?11 IS NULL OR source = ?11)
    AND (?12 IS NULL OR session = ?12) ORDER BY id DESC LIMIT ?2;

-- name: doubtful_charges
SELECT id, call, at_us, state, hold, cost, basis, key, team, session, provider, endpoint, model,
    tool, door, source, served, input_tokens, cache_read_tokens, cache_write_tokens,
    cache_write_1h_tokens, output_tokens, reasoning_tokens, input_audio_tokens,
    output_audio_tokens, price_ref, rates, ended_us, duration_us FROM charge
    WHERE basis IN ('partial', 'estimated', 'expired', 'unpriced') AND id < ?1
    ORDER BY id DESC LIMIT ?2;

-- name: one_charge
SELECT id, call, at_us, state, hold, cost, basis, key, team, session, provider, endpoint, model,
    tool, door, source, served, input_tokens, cache_read_tokens, cache_write_tokens,
    cache_write_1h_tokens, output_tokens, reasoning_tokens, input_audio_tokens,
    output_audio_tokens, price_ref, rates, ended_us, duration_us FROM charge WHERE call = ?1;

-- name: attempts
SELECT no, endpoint, model, status, outcome, cost, usage FROM charge_attempt
    WHERE charge = ?1 ORDER BY no;

-- name: entries
SELECT id, token, kind, call, budget, delta, reason, at FROM entry WHERE id < ?1
    ORDER BY id DESC LIMIT ?2;

-- Those after a number; before it all were told.
-- name: alerts_after
SELECT id, token, budget, win, level, settled, top, starts_at, ends_at, told_at, state, tries
    FROM alert WHERE id > ?1 ORDER BY id LIMIT ?2;

-- name: alerts_known
SELECT ifnull((SELECT min(id) - 1 FROM alert WHERE state = 'new'),
    (SELECT ifnull(max(id), 0) FROM alert));

-- name: alerts
SELECT id, token, budget, win, level, settled, top, starts_at, ends_at, told_at, state, tries
    FROM alert WHERE id < ?1 ORDER BY id DESC LIMIT ?2;
