-- Which JSON types the values of each source have had, as JSON: a set of bits per source. A new one is told of.
ALTER TABLE sync_state ADD COLUMN field_types TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(field_types));
