<?php

declare(strict_types=1);

namespace OC\DB;

use OC\Config;
use PDO;
use PDOStatement;

/** MariaDB through PDO. `*PREFIX*` in a statement stands for the configured table prefix. */
final class Connection
{
    private readonly object $adapter;
    private readonly PDO $pdo;
    private readonly string $prefix;

    public function __construct(Config $config)
    {
        $this->prefix = (string) $config->get('dbtableprefix', 'oc_');
        $class = '\OC\DB\AdapterMySQL';
        $this->adapter = new $class($this);
        $this->pdo = self::open(
            (string) $config->get('dbhost', 'localhost'),
            (string) $config->get('dbname', ''),
            (string) $config->get('dbuser', ''),
            (string) $config->get('dbpassword', ''),
        );
    }

    /** `host` as ownCloud writes it: NAME, NAME:PORT or localhost:/PATH/OF/THE.sock. Throws PDOException. */
    public static function open(
        string $host,
        string $name,
        string $user,
        #[\SensitiveParameter] string $password,
    ): PDO
    {
        [$machine, $way] = array_pad(explode(':', $host, 2), 2, '');
        $place = match (true) {
            str_starts_with($way, '/') => "unix_socket=$way",
            $way !== '' => "host=$machine;port=$way",
            default => "host=$machine",
        };
        return new PDO("mysql:$place;dbname=$name;charset=utf8mb4", $user, $password, [
            PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
            PDO::ATTR_EMULATE_PREPARES => false,
        ]);
    }

    public function adapter(): object
    {
        return $this->adapter;
    }

    public function query(string $sql, string ...$values): PDOStatement
    {
        $statement = $this->pdo->prepare(str_replace('*PREFIX*', $this->prefix, $sql));
        $statement->execute($values);
        return $statement;
    }
}
