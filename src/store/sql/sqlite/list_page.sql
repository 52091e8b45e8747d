-- Lists of orders, part 4: newest created first.
    ORDER BY o.created_at DESC, o.saga DESC, o.order_id DESC LIMIT ?12
)
ORDER BY o.created_at DESC, o.saga DESC, o.order_id DESC LIMIT ?12
