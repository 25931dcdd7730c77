-- Every endpoint has refused the call of a row for what it is (its gas limit, its chain, its form). Its operation fails when
-- its nonce is spent on nothing, and not before: what was signed could still be mined.
ALTER TABLE lifecycle.transaction
    ADD COLUMN refused boolean NOT NULL DEFAULT false,
    ADD CHECK (NOT refused OR cancel_reason IS NOT NULL);
