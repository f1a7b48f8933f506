-- What the hub may ask the database for, by name. Values are bound (?1, ?2 …), never written in.

-- name: put_endpoint
INSERT INTO endpoint VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET data = ?2;

-- name: delete_endpoint
DELETE FROM endpoint WHERE name = ?1;

-- '0' is the character after '/', so the range holds exactly the keys of the server's tools.
-- name: delete_breakers
DELETE FROM breaker WHERE key = ?1 OR (key > ?1 || '/' AND key < ?1 || '0');

-- name: delete_transitions
DELETE FROM transition WHERE endpoint = ?1;

-- name: delete_listing
DELETE FROM listing WHERE endpoint = ?1;

-- name: delete_pins
DELETE FROM pin WHERE endpoint = ?1;

-- name: put_key
INSERT INTO client_key VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (id) DO UPDATE
    SET name = ?2, digest = ?3, scopes = ?4, endpoints = ?5, created_at = ?6, expires_at = ?7,
    revoked = ?8, terms = ?9, rotation = ?10;

-- name: put_view
INSERT INTO view VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET data = ?2;

-- name: delete_view
DELETE FROM view WHERE name = ?1;

-- name: put_listing
INSERT INTO listing VALUES (?1, ?2) ON CONFLICT (endpoint) DO UPDATE SET data = ?2;

-- name: put_pin
INSERT INTO pin VALUES (?1, ?2, ?3, ?4) ON CONFLICT (endpoint, tool) DO UPDATE SET digest = ?3,
    definition = ?4;

-- name: put_breaker
INSERT INTO breaker VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET data = ?2;

-- name: replace_secret
INSERT INTO secret VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2;
-- name: delete_secret
DELETE FROM secret WHERE name = ?1;
-- name: delete_credentials
DELETE FROM secret WHERE name = 'oauth:' || ?1;
-- name: put_secret
INSERT INTO secret VALUES (?1, ?2) ON CONFLICT (name) DO NOTHING;

-- name: put_transition
INSERT INTO transition (token, endpoint, data) VALUES (?1, ?2, ?3) ON CONFLICT (token) DO
    NOTHING;

-- name: prune_transitions
DELETE FROM transition WHERE endpoint = ?1 AND id <= (SELECT id FROM transition WHERE endpoint =
    ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2);

-- A claim that is over, and the oldest that are, in small steps.
-- name: expire_claim
DELETE FROM claim WHERE scope = ?1 AND at_s <= ?2;

-- name: sweep_claims
DELETE FROM claim WHERE id IN (SELECT id FROM claim ORDER BY id LIMIT ?2) AND at_s <= ?1;

-- Changes a row if the claim is new, and there is room for it: ?6 of one caller, ?7 of all.
-- name: put_claim
INSERT INTO claim (scope, caller, digest, call_id, at_s) SELECT ?1, ?2, ?3, ?4, ?5
    WHERE ifnull((SELECT claims FROM claim_use WHERE caller = ?2), 0) < ?6
    AND ifnull((SELECT claims FROM claim_use WHERE caller = ''), 0) < ?7
    ON CONFLICT (scope) DO NOTHING;

-- Where there is no room for the answer (?4 of one caller, ?5 of all), it is known that it ran.
-- name: finish_claim
UPDATE claim SET answer = CASE
    WHEN (SELECT bytes FROM claim_use WHERE caller = claim.caller) + length(?3) <= ?4
    AND (SELECT bytes FROM claim_use WHERE caller = '') + length(?3) <= ?5 THEN ?3 ELSE x'' END
    WHERE scope = ?1 AND call_id = ?2 AND answer IS NULL;

-- name: forget_claim
DELETE FROM claim WHERE scope = ?1 AND call_id = ?2 AND answer IS NULL;

-- A gap between two runs that no clock can vouch for (R17): all claims live on from now.
-- name: renew_claims
UPDATE claim SET at_s = ?1
    WHERE (SELECT at_s FROM claim ORDER BY id DESC LIMIT 1) NOT BETWEEN ?1 - ?2 AND ?1;

-- name: claim
SELECT call_id, digest, answer FROM claim WHERE scope = ?1;

-- name: endpoints
SELECT name, data FROM endpoint ORDER BY name;

-- name: keys
SELECT id, name, digest, scopes, endpoints, created_at, expires_at, revoked, terms, rotation
    FROM client_key ORDER BY created_at, id;

-- name: views
SELECT name, data FROM view ORDER BY name;

-- name: breakers
SELECT key, data FROM breaker ORDER BY key;

-- name: listings
SELECT endpoint, data FROM listing ORDER BY endpoint;

-- name: pins
SELECT endpoint, tool, digest, definition FROM pin ORDER BY endpoint, tool;

-- name: secrets
SELECT name, value FROM secret;

-- name: transitions
SELECT data FROM transition WHERE endpoint = ?1 ORDER BY id DESC LIMIT ?2;

-- name: call_range
SELECT min(id), max(id) FROM call;

-- A page of the call log: the window is [?1, ?2); a filter that is NULL lets all pass.
-- name: calls
SELECT id, at_us, call_id, caller, door, endpoint, served_by, method, name, outcome, code,
    attempts, duration_us, bytes_in, bytes_out FROM call WHERE id >= ?1 AND id < ?2 AND (?3 IS
    NULL OR endpoint = ?3) AND (?4 IS NULL OR outcome = ?4) AND (?5 IS NULL OR caller = ?5)
    ORDER BY id DESC LIMIT ?6;

-- Texts that others chose (caller, endpoint, name) are cut: a made-up name of a megabyte is not
-- worth a megabyte. The hub's own words are short, and each cut costs 0.13 us.
-- name: put_call
INSERT INTO call VALUES (?, ?, ?, substr(?, 1, 200), ?, substr(?, 1, 200), ?, ?,
    substr(?, 1, 400), ?, ?, ?, ?, ?, ?);

-- name: prune_by_number
DELETE FROM call WHERE id <= ?1;

-- name: prune_by_age
DELETE FROM call WHERE id < ?1 AND at_us < ?2;

-- name: put_conversation
INSERT INTO conversation (id, caller, title, model, created_at, changed_at) VALUES (?1, ?2, ?3, ?4,
    ?5, ?6) ON CONFLICT (id) DO NOTHING;

-- name: prune_conversations
DELETE FROM conversation WHERE id IN (SELECT id FROM conversation ORDER BY changed_at DESC, id DESC
    LIMIT -1 OFFSET ?1);

-- name: conversation
SELECT id, caller, title, model, created_at, changed_at, messages, summary, summarised
    FROM conversation WHERE id = ?1;

-- name: conversations
SELECT id, caller, title, model, created_at, changed_at, messages, summary, summarised
    FROM conversation WHERE (changed_at, id) < (?1, ?2) ORDER BY changed_at DESC, id DESC LIMIT ?3;

-- name: conversations_of
SELECT id, caller, title, model, created_at, changed_at, messages, summary, summarised
    FROM conversation WHERE caller = ?4 AND (changed_at, id) < (?1, ?2)
    ORDER BY changed_at DESC, id DESC LIMIT ?3;

-- name: rename_conversation
UPDATE conversation SET title = ?2, changed_at = max(changed_at, ?3) WHERE id = ?1;

-- name: delete_conversation
DELETE FROM conversation WHERE id = ?1;

-- Whose conversation is gone has no number, and is not written.
-- name: add_message
INSERT INTO message SELECT id, messages + 1, ?2, ?3, ?4, ?5 FROM conversation WHERE id = ?1
    AND messages < ?6 AND (?7 = '' OR EXISTS (SELECT 1 FROM message WHERE token = ?7))
    ON CONFLICT (token) DO NOTHING;

-- name: number_of_message
SELECT number FROM message WHERE token = ?1;

-- name: messages
SELECT number, run, at, data FROM message WHERE conversation = ?1 AND number > ?2 ORDER BY number
    LIMIT ?3;

-- name: summarise_conversation
UPDATE conversation SET summary = ?2, summarised = ?3 WHERE id = ?1 AND summarised < ?3;

-- name: put_run
INSERT INTO run (id, conversation, state, started_at) SELECT ?1, id, ?3, ?4 FROM conversation
    WHERE id = ?2 AND EXISTS (SELECT 1 FROM message WHERE token = ?5) ON CONFLICT (id) DO NOTHING;

-- name: end_run
UPDATE run SET state = ?2, problem = ?3, ended_at = ?4 WHERE id = ?1 AND state = 'running';

-- name: run
SELECT id, conversation, state, started_at, ended_at, problem FROM run WHERE id = ?1;

-- name: runs
SELECT id, conversation, state, started_at, ended_at, problem FROM run WHERE conversation = ?1
    ORDER BY rowid DESC LIMIT 1000;

-- name: interrupt_runs
UPDATE run SET state = 'interrupted', ended_at = ?1 WHERE state = 'running';
