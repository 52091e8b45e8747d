-- Bulk actions: one order more of which this became. By primary key.
UPDATE bulk_actions SET
    done = done + CASE WHEN ?2 = 'done' THEN 1 ELSE 0 END,
    refused = refused + CASE WHEN ?2 = 'refused' THEN 1 ELSE 0 END,
    gone = gone + CASE WHEN ?2 = 'gone' THEN 1 ELSE 0 END
WHERE id = ?1
