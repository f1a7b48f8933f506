-- What was said with the hub's own agent, message by message, and the runs in which it was.

CREATE TABLE conversation (
    id         TEXT PRIMARY KEY,
    caller     TEXT NOT NULL,
    title      TEXT NOT NULL,
    model      TEXT NOT NULL,
    created_at INTEGER NOT NULL,           -- seconds since 1970, as all times here
    changed_at INTEGER NOT NULL,
    messages   INTEGER NOT NULL DEFAULT 0, -- the number of the last one
    summary    TEXT NOT NULL DEFAULT '',
    summarised INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX conversation_by_change ON conversation (changed_at, id);
CREATE INDEX conversation_of_caller ON conversation (caller, changed_at, id);

CREATE TABLE message (
    conversation TEXT NOT NULL,
    number       INTEGER NOT NULL,
    token        TEXT NOT NULL UNIQUE,     -- so that a repeated write is one row
    run          TEXT NOT NULL,
    at           INTEGER NOT NULL,
    data         BLOB NOT NULL,            -- JSON of domain.dialogue.Message
    PRIMARY KEY (conversation, number)
) STRICT;

-- Numbers have no gaps, whoever writes: a message takes the next one with it.
CREATE TRIGGER message_counted AFTER INSERT ON message BEGIN
    UPDATE conversation SET messages = new.number, changed_at = max(changed_at, new.at)
        WHERE id = new.conversation;
END;

CREATE TABLE run (
    id           TEXT PRIMARY KEY,
    conversation TEXT NOT NULL,
    state        TEXT NOT NULL,
    started_at   INTEGER NOT NULL,
    ended_at     INTEGER NOT NULL DEFAULT 0,
    problem      TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX run_of_conversation ON run (conversation);
CREATE INDEX run_under_way ON run (state) WHERE state = 'running';

CREATE TRIGGER conversation_forgotten AFTER DELETE ON conversation BEGIN
    DELETE FROM message WHERE conversation = old.id;
    DELETE FROM run WHERE conversation = old.id;
END;
