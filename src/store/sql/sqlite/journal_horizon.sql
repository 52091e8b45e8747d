-- The live stream: up to which position everything is committed or never will be. No table.
-- One writer at a time: positions are committed in their order.
SELECT 9223372036854775807 AS horizon
