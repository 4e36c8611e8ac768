<?php

declare(strict_types=1);

namespace OC\Lock;

use OC\Server;
use Redis;

/** Exclusive locks on files, shared by all PHP processes through Redis. */
final class RedisLocks
{
    /** A lock whose holder was killed goes away after this time. */
    private const LIFETIME_S = 3600;

    private readonly Redis $redis;

    /** @param array<string, mixed> $settings `redis` of the configuration; port 0 means that host is a socket */
    public function __construct(array $settings)
    {
        $this->redis = new Redis();
        $this->redis->connect(
            (string) ($settings['host'] ?? '127.0.0.1'),
            (int) ($settings['port'] ?? 6379),
            (float) ($settings['timeout'] ?? 0.0),
        );
        if (($settings['password'] ?? '') !== '') {
            $this->redis->auth($settings['password']);
        }
        $this->redis->select((int) ($settings['dbindex'] ?? 0));
        $this->redis->ping();
    }

    /** Whether the lock is ours now. */
    public function acquire(string $path): bool
    {
        return $this->redis->set(self::key($path), '1', ['nx', 'ex' => self::LIFETIME_S]) === true;
    }

    public function release(string $path): void
    {
        $this->redis->del(self::key($path));
    }

    private static function key(string $path): string
    {
        return Server::config()->get('instanceid') . '/files/' . md5($path);
    }
}
