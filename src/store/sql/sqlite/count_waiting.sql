-- Metrics: orders by what they wait for. The open ones only, by orders_waiting.
SELECT saga, waiting, count(*) AS orders FROM orders WHERE waiting <> '' GROUP BY saga, waiting
