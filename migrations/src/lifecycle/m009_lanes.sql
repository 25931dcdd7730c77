-- What a signed form is for: the call of its row, or a transfer of nothing to oneself that spends the nonce instead.
ALTER TABLE lifecycle.attempt
    ADD COLUMN intent text NOT NULL DEFAULT 'CALL' CHECK (intent IN ('CALL', 'CANCEL'));

ALTER TABLE lifecycle.transaction
    -- Why its nonce is to be spent by a cancel instead of its call; null while the call is wanted.
    ADD COLUMN cancel_reason text,
    -- The row only spends a nonce that was taken and never used: its operation does not depend on it.
    ADD COLUMN fills boolean NOT NULL DEFAULT false,
    -- Somebody, or the answer of a node, wants a replacement at once.
    ADD COLUMN hurried boolean NOT NULL DEFAULT false,
    -- Which form was mined.
    ADD COLUMN mined_intent text CHECK (mined_intent IN ('CALL', 'CANCEL')),
    -- What the receipt says was paid: gas, and the value unless it was returned by a revert.
    ADD COLUMN paid numeric(78,0) CHECK (paid >= 0),
    ADD CHECK (NOT fills OR cancel_reason IS NOT NULL),
    DROP CONSTRAINT transaction_state_check,
    ADD CONSTRAINT transaction_state_check CHECK (state IN
        ('PLANNED', 'SIGNED', 'BROADCAST', 'MINED', 'CONFIRMED', 'REVERTED', 'CANCELLED', 'DROPPED', 'FOREIGN'));

-- The fee budget of a day is counted from here.
CREATE INDEX transaction_recent ON lifecycle.transaction (create_time) WHERE nonce IS NOT NULL;
