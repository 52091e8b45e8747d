-- Incidents: what is stuck, grouped by the first reason. The stuck orders only, by orders_stuck.
SELECT saga, stuck_step, reason, count(*) AS orders, min(stuck_since) AS first_at, max(stuck_since) AS last_at,
    json_group_array(order_id ORDER BY place) FILTER (WHERE place <= 10) AS samples
FROM (
    SELECT saga, stuck_step, reason, stuck_since, order_id,
        row_number() OVER (PARTITION BY saga, reason, stuck_step ORDER BY stuck_since, order_id) AS place
    FROM (
        SELECT saga, stuck_step, iif(instr(reason, ',') = 0, reason, substr(reason, 1, instr(reason, ',') - 1)) AS reason, stuck_since, order_id
        FROM orders WHERE reason IS NOT NULL
    )
)
GROUP BY saga, stuck_step, reason
ORDER BY orders DESC, saga, reason, stuck_step
