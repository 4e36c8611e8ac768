<?php
// This file belongs to hearth and is replaced whole; changes made here are lost.
// Loaded by owncloud-prepend.php for releases that die of PHP's deprecation notices (ownCloud 11.0.0 on PHP 8.4): their
// error handler logs a notice raised while a database class is being loaded, and the logger goes to that very database.
// This defines the handler class before the release does, the same but deaf to deprecations.

namespace OC\Log;

class ErrorHandler
{
    private static $logger;

    public static function register($debug = false): void
    {
        set_error_handler([self::class, $debug ? 'onAll' : 'onError']);
        set_exception_handler([self::class, 'onException']);
    }

    public static function setLogger($logger): void
    {
        self::$logger = $logger;
    }

    public static function onException($exception): void
    {
        self::log('critical', $exception::class . ': ' . $exception->getMessage()
            . ' at ' . $exception->getFile() . '#' . $exception->getLine());
    }

    public static function onError($number, $message, $file = '', $line = 0): bool
    {
        if (($number & (E_DEPRECATED | E_USER_DEPRECATED)) === 0 && (error_reporting() & $number) !== 0) {
            self::log('error', $message . ' at ' . $file . '#' . $line);
        }
        return true;
    }

    public static function onAll($number, $message, $file = '', $line = 0): bool
    {
        if (($number & (E_DEPRECATED | E_USER_DEPRECATED)) === 0) {
            self::log('debug', $message . ' at ' . $file . '#' . $line);
        }
        return true;
    }

    public static function onShutdown(): void
    {
    }

    private static function log(string $level, string $message): void
    {
        // An address may carry a user and a password.
        self::$logger?->$level(preg_replace('~//(.*):(.*)@~', '//xxx:xxx@', $message), ['app' => 'PHP']);
    }
}
