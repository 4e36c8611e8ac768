<?php
// This file belongs to hearth and is replaced whole; changes made here are lost.
// Run before a console program, this appends arguments from standard input to its own, so that a password is never on
// a command line, where every process of the box could read it. Input: {"arguments": [...], "prepend": "file or empty"}.
(static function (): void {
    $given = json_decode((string) stream_get_contents(STDIN), true, 4, JSON_THROW_ON_ERROR);
    $arguments = array_merge($_SERVER['argv'], $given['arguments']);
    $GLOBALS['argv'] = $_SERVER['argv'] = $arguments;
    $GLOBALS['argc'] = $_SERVER['argc'] = count($arguments);
    if ($given['prepend'] !== '') {
        require_once $given['prepend'];
    }
})();
