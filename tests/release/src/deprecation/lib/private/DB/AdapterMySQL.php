<?php

declare(strict_types=1);

namespace OC\DB;

/**
 * What MariaDB says in its own dialect.
 *
 * The parameter that is null by default without saying so in its type is on purpose: PHP 8.4 calls it deprecated while
 * it loads this class, which is what 11.0.0 dies of.
 */
final class AdapterMySQL
{
    public function __construct(private readonly Connection $connection)
    {
    }

    /** @param array<string, string> $row column => value, keys included */
    public function upsert(string $table, array $row, array $changing = null): void
    {
        $columns = array_keys($row);
        $updates = array_map(static fn (string $column): string => "$column = VALUES($column)", $changing ?? $columns);
        $this->connection->query(
            "INSERT INTO $table (" . implode(', ', $columns) . ') VALUES (' . implode(', ', array_fill(0, count($row), '?'))
            . ') ON DUPLICATE KEY UPDATE ' . implode(', ', $updates),
            ...array_values($row),
        );
    }
}
