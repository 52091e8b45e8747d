-- Lists of orders, part 1: what is shown.
SELECT o.saga, o.order_id, o.version, o.status, o.state, o.seen, o.attributes, o.created_at, o.updated_at, o.sequence, o.head, o.duplicates, o.earlier
