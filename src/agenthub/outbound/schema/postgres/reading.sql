-- What PostgreSQL is asked, as in ledger.sql; what is written is in 0001_ledger.sql.

-- name: budgets
SELECT convert_to(data, 'UTF8') FROM budget ORDER BY id;

-- name: differing_windows
WITH sums AS (SELECT win, sum(reserved)::bigint AS reserved, sum(settled)::bigint AS settled FROM
    charge_counter
    GROUP BY win) SELECT count(*) FROM budget_window AS kept LEFT JOIN sums ON sums.win = kept.id
    WHERE kept.reserved != coalesce(sums.reserved, 0) OR kept.settled != coalesce(sums.settled, 0);

-- name: differing_slots
WITH sums AS (SELECT slot, key, team, provider, model, endpoint, tool, source, sum(calls)::bigint,
    sum(errors)::bigint, sum(unpriced)::bigint, sum(estimated)::bigint, sum(cost)::bigint,
    sum(input_tokens)::bigint,
    sum(cache_read_tokens)::bigint, sum(cache_write_tokens)::bigint, sum(output_tokens)::bigint,
    sum(reasoning_tokens)::bigint
    FROM charge_amount GROUP BY slot, key, team, provider, model, endpoint, tool, source),
    kept AS (SELECT * FROM usage_slot WHERE calls != 0)
    SELECT (SELECT count(*) FROM (SELECT * FROM sums EXCEPT SELECT * FROM kept) AS a)
    + (SELECT count(*) FROM (SELECT * FROM kept EXCEPT SELECT * FROM sums) AS b);

-- name: standing
SELECT coalesce(sum(reserved), 0)::bigint, coalesce(sum(settled), 0)::bigint,
    coalesce(sum(credit), 0)::bigint FROM json_array_elements($1::json) WITH ORDINALITY AS
    one(value, place) LEFT JOIN budget_window ON budget = value->>0
    AND win BETWEEN value->>1 AND value->>2 GROUP BY place ORDER BY place;

-- name: summary
WITH span AS (SELECT (value->>0)::bigint AS since, (value->>1)::bigint AS until
    FROM json_array_elements($1::json))
    SELECT since, '', sum(calls)::bigint, sum(errors)::bigint, sum(unpriced)::bigint,
    sum(estimated)::bigint, sum(cost)::bigint,
    sum(input_tokens)::bigint, sum(cache_read_tokens)::bigint, sum(cache_write_tokens)::bigint,
    sum(output_tokens)::bigint,
    sum(reasoning_tokens)::bigint FROM (
    SELECT slot, sum(calls)::bigint AS calls, sum(errors)::bigint AS errors, sum(unpriced)::bigint
    AS unpriced,
    sum(estimated)::bigint AS estimated, sum(cost)::bigint AS cost, sum(input_tokens)::bigint AS
    input_tokens,
    sum(cache_read_tokens)::bigint AS cache_read_tokens, sum(cache_write_tokens)::bigint AS
    cache_write_tokens, sum(output_tokens)::bigint AS output_tokens, sum(reasoning_tokens)::bigint
    AS
    reasoning_tokens FROM usage_slot
    WHERE slot >= (SELECT min(since) FROM span) AND slot < (SELECT max(until) FROM span)
    GROUP BY slot) AS sums JOIN span ON slot >= since AND slot < until
    WHERE calls != 0 GROUP BY since ORDER BY since;

-- name: totals
WITH span AS (SELECT (value->>0)::bigint AS since, (value->>1)::bigint AS until
    FROM json_array_elements($1::json))
    SELECT since, CASE $2::text WHEN 'key' THEN key WHEN 'team' THEN team WHEN 'provider' THEN
    provider
    WHEN 'model' THEN model WHEN 'endpoint' THEN endpoint WHEN 'tool' THEN tool
    WHEN 'source' THEN source ELSE '' END AS name, sum(calls)::bigint, sum(errors)::bigint,
    sum(unpriced)::bigint,
    sum(estimated)::bigint, sum(cost)::bigint, sum(input_tokens)::bigint,
    sum(cache_read_tokens)::bigint, sum(cache_write_tokens)::bigint,
    sum(output_tokens)::bigint, sum(reasoning_tokens)::bigint
    FROM span JOIN usage_slot ON slot >= since AND slot < until
    WHERE ($3::text IS NULL OR key = $3) AND ($4::text IS NULL OR team = $4)
    AND ($5::text IS NULL OR provider = $5) AND ($6::text IS NULL OR model = $6)
    AND ($7::text IS NULL OR endpoint = $7) AND ($8::text IS NULL OR tool = $8)
    AND ($9::text IS NULL OR source = $9) AND calls != 0 GROUP BY since, name ORDER BY since, name;

-- name: session_totals
WITH span AS (SELECT (value->>0)::bigint AS since, (value->>1)::bigint AS until
    FROM json_array_elements($1::json))
    SELECT since, session, sum(calls)::bigint, sum(errors)::bigint, sum(unpriced)::bigint,
    sum(estimated)::bigint, sum(cost)::bigint,
    sum(input_tokens)::bigint, sum(cache_read_tokens)::bigint, sum(cache_write_tokens)::bigint,
    sum(output_tokens)::bigint,
    sum(reasoning_tokens)::bigint FROM charge_amount JOIN span ON slot >= since AND slot < until
    WHERE $2::text = 'session' AND ($3::text IS NULL OR key = $3) AND ($4::text IS NULL OR team =
    $4)
    AND ($5::text IS NULL OR provider = $5) AND ($6::text IS NULL OR model = $6)
    AND ($7::text IS NULL OR endpoint = $7) AND ($8::text IS NULL OR tool = $8)
    AND ($9::text IS NULL OR source = $9) GROUP BY since, session ORDER BY since, session;

-- name: charges
SELECT id, call, at_us, state, hold, cost, basis, key, team, session, provider, endpoint, model,
    tool, door, source, served, input_tokens, cache_read_tokens, cache_write_tokens,
    cache_write_1h_tokens, output_tokens, reasoning_tokens, input_audio_tokens,
    output_audio_tokens, price_ref, convert_to(rates, 'UTF8'), ended_us, duration_us FROM charge
    WHERE id < $1 AND at_us >= $3 AND at_us < $4 AND ($5::text IS NULL OR key = $5)
    AND ($6::text IS NULL OR team = $6) AND ($7::text IS NULL OR provider = $7)
    AND ($8::text IS NULL OR CASE WHEN served = '' THEN model ELSE served END = $8) AND ($9::text
    IS NULL OR endpoint = $9)
    AND ($10::text IS NULL OR tool = $10) AND ($11::text IS NULL OR source = $11)
    AND ($12::text IS NULL OR session = $12) ORDER BY id DESC LIMIT $2;

-- name: doubtful_charges
SELECT id, call, at_us, state, hold, cost, basis, key, team, session, provider, endpoint, model,
    tool, door, source, served, input_tokens, cache_read_tokens, cache_write_tokens,
    cache_write_1h_tokens, output_tokens, reasoning_tokens, input_audio_tokens,
    output_audio_tokens, price_ref, convert_to(rates, 'UTF8'), ended_us, duration_us FROM charge
    WHERE basis IN ('partial', 'estimated', 'expired', 'unpriced') AND id < $1
    ORDER BY id DESC LIMIT $2;

-- name: one_charge
SELECT id, call, at_us, state, hold, cost, basis, key, team, session, provider, endpoint, model,
    tool, door, source, served, input_tokens, cache_read_tokens, cache_write_tokens,
    cache_write_1h_tokens, output_tokens, reasoning_tokens, input_audio_tokens,
    output_audio_tokens, price_ref, convert_to(rates, 'UTF8'), ended_us, duration_us FROM charge
    WHERE call = $1;

-- name: attempts
SELECT no, endpoint, model, status, outcome, cost, convert_to(usage, 'UTF8') FROM charge_attempt
    WHERE charge = $1 ORDER BY no;

-- name: entries
SELECT id, token, kind, call, budget, delta, reason, at FROM entry WHERE id < $1
    ORDER BY id DESC LIMIT $2;

-- name: alerts_after
SELECT id, token, budget, win, level, settled, top, starts_at, ends_at, told_at, state, tries
    FROM alert WHERE id > $1 ORDER BY id LIMIT $2;

-- name: alerts_known
SELECT coalesce((SELECT min(id) - 1 FROM alert WHERE state = 'new'),
    (SELECT max(id) FROM alert), 0);

-- name: alerts
SELECT id, token, budget, win, level, settled, top, starts_at, ends_at, told_at, state, tries
    FROM alert WHERE id < $1 ORDER BY id DESC LIMIT $2;
