-- What was switched is forgotten: the tap counts as bound.
DROP TABLE tap_log;
