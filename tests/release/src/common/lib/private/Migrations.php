<?php

declare(strict_types=1);

namespace OC;

use OC\DB\Connection;

/** The steps that bring the database to this release, one file a release in core/Migrations, each applied once. */
final class Migrations
{
    public function __construct(private readonly Connection $database)
    {
    }

    /** Applies what is missing, oldest first, and tells `$say` about it; throws what a step throws. */
    public function run(callable $say): void
    {
        $sql = 'SELECT version FROM *PREFIX*migrations';
        $done = $this->database->query($sql)->fetchAll(\PDO::FETCH_COLUMN);
        $files = glob(Server::root() . '/core/Migrations/*.php') ?: [];
        usort($files, static fn (string $a, string $b): int => version_compare(basename($a, '.php'), basename($b, '.php')));
        foreach ($files as $file) {
            $version = basename($file, '.php');
            if (in_array($version, $done, true)) {
                continue;
            }
            $say("Migrating the database to $version");
            // Each statement stands when it is done: MariaDB commits a change of the schema at once, so a step that
            // fails half-way leaves the first half behind.
            foreach (require $file as $statement) {
                $this->database->query($statement);
            }
            $this->database->query('INSERT INTO *PREFIX*migrations (version) VALUES (?)', $version);
        }
    }
}
