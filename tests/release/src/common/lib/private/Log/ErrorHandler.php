<?php

declare(strict_types=1);

namespace OC\Log;

/**
 * Logs whatever PHP complains of, deprecations too and whatever `error_reporting` says.
 *
 * A class of this name that exists already (from an `auto_prepend_file`) takes its place: the autoloader is not asked.
 */
final class ErrorHandler
{
    private static Logger $logger;

    public static function setLogger(Logger $logger): void
    {
        self::$logger = $logger;
    }

    public static function register(): void
    {
        set_error_handler(self::onError(...));
    }

    public static function onError(int $level, string $message, string $file, int $line): bool
    {
        // With "@" PHP 8 leaves only the fatal levels on.
        if ((error_reporting() & E_WARNING) !== 0) {
            self::$logger->error("$message at $file#$line", ['app' => 'PHP']);
        }
        return true;
    }
}
