<?php
// This file belongs to hearth and is replaced whole; changes made here are lost.
// Run before a console program, this appends arguments from standard input to its own, so that a password is never on
// a command line, where every process of the box could read it. Input: a JSON list of them.
(static function (): void {
    $given = json_decode((string) stream_get_contents(STDIN), true, 2, JSON_THROW_ON_ERROR);
    $arguments = array_merge($_SERVER['argv'], $given);
    $GLOBALS['argv'] = $_SERVER['argv'] = $arguments;
    $GLOBALS['argc'] = $_SERVER['argc'] = count($arguments);
})();
require_once __DIR__ . '/owncloud-prepend.php';
