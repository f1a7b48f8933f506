-- What was approved can be shown beside what there is now. Empty: approved before this was kept.
ALTER TABLE pin ADD COLUMN definition BLOB NOT NULL DEFAULT x'';
