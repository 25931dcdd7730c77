-- Lists of what is in a rare state: without it they read every operation there ever was.
CREATE INDEX operation_state ON lifecycle.operation (state, id);
