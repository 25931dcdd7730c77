-- What the consensus layer knows stands beside the projection, not in its journal: a reorganisation of L1 does not take
-- back what themis or L2 said, nor the other way round. ACTIVE is LOCKED with a signer that is known.

-- Every signer of this life since its lock, hex without 0x, so that a rotation changes nothing about what is known.
-- active_l2_block is no longer read.
ALTER TABLE lifecycle.position ADD COLUMN signers text[] NOT NULL DEFAULT '{}';
UPDATE lifecycle.position SET signers = ARRAY[encode(signer, 'hex')] WHERE seq_id IS NOT NULL;
UPDATE lifecycle.undo SET before = before || jsonb_build_object('signers',
    CASE WHEN before ->> 'seq_id' IS NULL THEN '[]'::jsonb ELSE jsonb_build_array(substr(before ->> 'signer', 3)) END)
    WHERE subject = 'position' AND before IS NOT NULL;

-- Signers whose validator record themis has shown. themis never takes a block back.
CREATE TABLE lifecycle.validator (
    network   text NOT NULL,
    signer    bytea NOT NULL CHECK (octet_length(signer) = 20),
    seen_time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (network, signer)
);
INSERT INTO lifecycle.validator (network, signer)
    SELECT DISTINCT network, signer FROM lifecycle.position WHERE phase = 'ACTIVE' AND active_l2_block IS NULL;

-- The record at a past block: the first before-image above it.
CREATE INDEX undo_key ON lifecycle.undo (key, ordinal);
CREATE INDEX transition_l2 ON lifecycle.transition (network, log_block_number) WHERE log_layer = 2;
