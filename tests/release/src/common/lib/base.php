<?php

declare(strict_types=1);

use OC\Server;

spl_autoload_register(static function (string $class): void {
    if (!str_starts_with($class, 'OC\\')) {
        return;
    }
    $file = __DIR__ . '/private/' . str_replace('\\', '/', substr($class, 3)) . '.php';
    if (is_file($file)) {
        require $file;
    }
});

Server::boot(dirname(__DIR__));
