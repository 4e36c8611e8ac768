<?php

declare(strict_types=1);

namespace OC\Log;

use OC\AppConfig;
use OC\Server;

/** Lines of JSON in DATA/PRODUCT.log, or in the system's log when `log_type` is syslog. */
final class Logger
{
    private const DEBUG = 0;
    private const ERROR = 3;
    private const CRITICAL = 4;

    /** @param array<string, string> $context `app` says whose message it is */
    public function debug(string $message, array $context = []): void
    {
        $this->log(self::DEBUG, $message, $context);
    }

    /** @param array<string, string> $context */
    public function error(string $message, array $context = []): void
    {
        $this->log(self::ERROR, $message, $context);
    }

    /** @param array<string, string> $context */
    public function critical(string $message, array $context = []): void
    {
        $this->log(self::CRITICAL, $message, $context);
    }

    private function log(int $level, string $message, array $context): void
    {
        $least = (int) Server::config()->get('loglevel', 2);
        // Once installed, the database may say another level: this is how a notice raised while the database's own
        // classes load comes back to the database before it is there.
        if (Server::config()->installed()) {
            $least = (int) (new AppConfig(Server::database()))->get('core', 'loglevel', (string) $least);
        }
        if ($level < $least) {
            return;
        }
        $line = json_encode([
            'time' => gmdate('c'),
            'level' => $level,
            'app' => $context['app'] ?? 'core',
            'message' => $message,
        ], JSON_UNESCAPED_SLASHES | JSON_INVALID_UTF8_SUBSTITUTE);
        if (Server::config()->get('log_type') === 'syslog') {
            openlog((string) Server::config()->get('syslog_tag', Server::release('name')), LOG_PID, LOG_USER);
            syslog($level === self::DEBUG ? LOG_DEBUG : LOG_ERR, (string) $line);
            return;
        }
        $file = Server::dataDirectory() . '/' . Server::release('product') . '.log';
        if (is_dir(dirname($file))) {
            @file_put_contents($file, $line . "\n", FILE_APPEND | LOCK_EX);
        }
    }
}
