ALTER TABLE taps DROP COLUMN committed_at;
ALTER TABLE bindings DROP COLUMN keys;
ALTER TABLE definitions DROP COLUMN applied_at;
ALTER TABLE orders DROP COLUMN earlier;
