-- Whether reads were complete. The credential and scope of a read under way stand in `open_read`.
ALTER TABLE sync_state DROP COLUMN open_view;
-- Why the last read was not proved complete, as JSON: how often per doubt; null where it was, or where there was none.
ALTER TABLE sync_state ADD COLUMN doubts TEXT CHECK (doubts IS NULL OR json_valid(doubts));
-- The numbers of the newest full reads of this stream that were proved complete, oldest first, as JSON.
ALTER TABLE sync_state ADD COLUMN proved_reads TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(proved_reads));
