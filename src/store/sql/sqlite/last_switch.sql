-- The kill switch of a tap as it stands. By `tap_log_last`.
SELECT at, unbound, actor, reason FROM tap_log WHERE tap = ?1 ORDER BY id DESC LIMIT 1
