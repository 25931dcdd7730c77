-- Lists find the blocks first and then the logs in each, so only the first log of each sequencer and of each kind in a
-- block stands in an index. Of logs that were there before, and of those that older code adds meanwhile, every one
-- counts as a first: their lists take longer and say the same.
ALTER TABLE indexer.log
    ADD COLUMN first_of_sequencer boolean NOT NULL DEFAULT true,
    ADD COLUMN first_of_kind boolean NOT NULL DEFAULT true;
CREATE INDEX log_first_of_sequencer ON indexer.log (network, sequencer_id, layer, number) WHERE first_of_sequencer;
CREATE INDEX log_first_of_kind ON indexer.log (network, kind, layer, number) WHERE first_of_kind;
DROP INDEX indexer.log_sequencer;
DROP INDEX indexer.log_kind;
-- An owner's sequencer is found among the last versions of all.
DROP INDEX indexer.sequencer_record_owner;
