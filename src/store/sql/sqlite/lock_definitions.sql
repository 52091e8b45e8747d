-- A definition that is applied: one at a time. Whoever may write is alone already.
SELECT '' AS locked
