-- A definition that is applied; the same meaning in other words replaces the text. By primary key.
INSERT INTO definitions (saga, version, text, fingerprint, stored_at) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (saga, version) DO UPDATE SET text = excluded.text WHERE definitions.fingerprint = excluded.fingerprint
