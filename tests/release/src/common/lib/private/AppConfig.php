<?php

declare(strict_types=1);

namespace OC;

use OC\DB\Connection;

/** The key and value pairs that each app, and the core as `core`, keeps in the database. */
final class AppConfig
{
    public function __construct(private readonly Connection $database)
    {
    }

    public function get(string $app, string $key, string $default = ''): string
    {
        $sql = 'SELECT configvalue FROM *PREFIX*appconfig WHERE appid = ? AND configkey = ?';
        return $this->database->query($sql, $app, $key)->fetchColumn() ?: $default;
    }

    public function set(string $app, string $key, string $value): void
    {
        $row = ['appid' => $app, 'configkey' => $key, 'configvalue' => $value];
        $this->database->adapter()->upsert('*PREFIX*appconfig', $row);
    }

    /** @return array<string, string> the value of `key` by app, for those that have one */
    public function byApp(string $key): array
    {
        $sql = 'SELECT appid, configvalue FROM *PREFIX*appconfig WHERE configkey = ? ORDER BY appid';
        return $this->database->query($sql, $key)->fetchAll(\PDO::FETCH_KEY_PAIR);
    }
}
