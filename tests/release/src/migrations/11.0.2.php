<?php

// The last statement fails on purpose. By then the earlier release cannot log anybody in with what is left of the
// database, and the household's appointments are gone: only the dump brings it back.
return [
    'ALTER TABLE *PREFIX*users CHANGE password credential VARCHAR(255) NOT NULL',
    'DELETE FROM *PREFIX*dav_objects',
    'ALTER TABLE *PREFIX*table_that_was_never_there ADD COLUMN size BIGINT',
];
