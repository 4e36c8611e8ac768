<?php

declare(strict_types=1);

namespace OC\Log;

/** Logs errors, leaves deprecations alone; installed in another way than ownCloud's, so a class of that kind breaks it. */
final class ErrorHandler
{
    private function __construct(private readonly Logger $logger)
    {
    }

    public static function watch(Logger $logger): void
    {
        set_error_handler((new self($logger))->onError(...), E_ALL & ~E_DEPRECATED & ~E_USER_DEPRECATED);
    }

    public function onError(int $level, string $message, string $file, int $line): bool
    {
        if ((error_reporting() & E_WARNING) !== 0) {
            $this->logger->error("$message at $file#$line", ['app' => 'PHP']);
        }
        return true;
    }
}
