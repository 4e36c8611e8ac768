<?php

// Behaviour, not code, is ownCloud's: who may run it, where errors go, and with which status it ends.

declare(strict_types=1);

use OC\Console\Application;
use OC\Server;

if (PHP_SAPI !== 'cli') {
    http_response_code(404);
    exit(1);
}

function refuse(string ...$lines): never
{
    echo implode(PHP_EOL, $lines), PHP_EOL;
    exit(1);
}

try {
    require_once __DIR__ . '/lib/base.php';
    // Only this folder's owner can know the right config: a foreign user would leave files that PHP-FPM cannot write.
    $config = Server::config()->file();
    $owner = posix_getpwuid((int) fileowner(is_file($config) ? $config : dirname($config)))['name'] ?? '?';
    $user = posix_getpwuid(posix_geteuid())['name'] ?? '?';
    if ($user !== $owner) {
        refuse(
            'Console has to be executed with the user that owns the file config/config.php',
            "Current user: $user",
            "Owner of config.php: $owner",
        );
    }
    if (!chdir(__DIR__)) {
        refuse('Cannot change to the root directory of the installation.');
    }
    set_time_limit(0);
    // Read here and not earlier: an auto_prepend_file may have added arguments that must not show in `ps`.
    exit((new Application())->run(array_slice($_SERVER['argv'], 1)));
} catch (Throwable $error) {
    refuse('An unhandled exception has been thrown:', (string) $error);
}
