-- Taking a tap from the services' exchanges, or giving it back: who did it and why.
INSERT INTO tap_log (tap, unbound, actor, reason, at) VALUES ($1, $2, $3, $4, escrow_now())
