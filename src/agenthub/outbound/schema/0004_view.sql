-- What a key is offered beside its scopes and servers, and the views.

ALTER TABLE client_key ADD COLUMN terms BLOB;  -- JSON of domain.caller.KeyTerms; NULL: no limit

CREATE TABLE view (
    name TEXT PRIMARY KEY,
    data BLOB NOT NULL            -- JSON of domain.view.View
) STRICT;
