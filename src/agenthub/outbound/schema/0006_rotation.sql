-- A key may have a new secret, and the one before it be good for a while yet.

ALTER TABLE client_key ADD COLUMN rotation BLOB;  -- JSON of ports.Rotation; NULL: never rotated
