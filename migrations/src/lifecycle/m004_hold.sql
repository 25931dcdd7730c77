-- A reorganisation below `finalized` that no operator has acknowledged, by chain: its id at the indexer, 0 until the
-- indexer has told it, null where there is none. While one stands, nothing is signed or sent on the network. It stands in
-- the row that every message of the stream locks, so that a send is decided wholly before or wholly after it.
ALTER TABLE lifecycle.stream_cursor
    ADD COLUMN held_l1 bigint CHECK (held_l1 >= 0),
    ADD COLUMN held_l2 bigint CHECK (held_l2 >= 0);
