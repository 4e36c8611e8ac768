<?php

declare(strict_types=1);

namespace OC;

use InvalidArgumentException;
use OC\DB\Connection;

/** The accounts of the household, kept in the database; passwords only as hashes. */
final class Users
{
    private const SHORTEST_PASSWORD = 8;

    public function __construct(private readonly Connection $database, private readonly string $data)
    {
    }

    /** @return array<string, string> the display name by account name */
    public function all(): array
    {
        $sql = 'SELECT uid, displayname FROM *PREFIX*users ORDER BY uid';
        return $this->database->query($sql)->fetchAll(\PDO::FETCH_KEY_PAIR);
    }

    /** The name as it was created (names do not differ by case), or null. */
    public function find(string $name): ?string
    {
        return $this->database->query('SELECT uid FROM *PREFIX*users WHERE uid = ?', $name)->fetchColumn() ?: null;
    }

    /** Throws InvalidArgumentException with the sentence to show. */
    public function create(string $name, #[\SensitiveParameter] string $password): void
    {
        if (preg_match('/^[A-Za-z0-9+_.@\'-]+$/D', $name) !== 1 || $name === '.' || $name === '..') {
            throw new InvalidArgumentException(
                'Only the following characters are allowed in a username: "a-z", "A-Z", "0-9", and "+_.@-\'"',
            );
        }
        if ($this->find($name) !== null) {
            throw new InvalidArgumentException('The username is already being used');
        }
        self::checkPassword($password);
        $this->database->query(
            'INSERT INTO *PREFIX*users (uid, displayname, password) VALUES (?, ?, ?)',
            $name,
            $name,
            self::hash($password),
        );
        $this->home($name);
    }

    public function setDisplayName(string $name, string $display): void
    {
        $this->database->query('UPDATE *PREFIX*users SET displayname = ? WHERE uid = ?', $display, $name);
    }

    /** Throws InvalidArgumentException with the sentence to show. */
    public function setPassword(string $name, #[\SensitiveParameter] string $password): void
    {
        self::checkPassword($password);
        $this->database->query('UPDATE *PREFIX*users SET password = ? WHERE uid = ?', self::hash($password), $name);
    }

    public function delete(string $name): void
    {
        $this->database->query('DELETE FROM *PREFIX*users WHERE uid = ?', $name);
        $this->database->query('DELETE FROM *PREFIX*group_user WHERE uid = ?', $name);
    }

    public function addToGroup(string $name, string $group): void
    {
        $this->database->query('INSERT IGNORE INTO *PREFIX*group_user (gid, uid) VALUES (?, ?)', $group, $name);
    }

    /** The account's name when the password is right, otherwise null. */
    public function authenticate(string $name, #[\SensitiveParameter] string $password): ?string
    {
        $row = $this->database->query('SELECT uid, password FROM *PREFIX*users WHERE uid = ?', $name)->fetch();
        return $row !== false && password_verify($password, $row['password']) ? $row['uid'] : null;
    }

    /** The folder of the account's files, made when it is not there. */
    public function home(string $name): string
    {
        $files = "$this->data/$name/files";
        if (!is_dir($files) && !@mkdir($files, 0770, true) && !is_dir($files)) {
            throw new \RuntimeException("Cannot create the home folder $files");
        }
        return $files;
    }

    private static function checkPassword(#[\SensitiveParameter] string $password): void
    {
        if (mb_strlen($password) < self::SHORTEST_PASSWORD) {
            throw new InvalidArgumentException('Password needs to be at least ' . self::SHORTEST_PASSWORD . ' characters long');
        }
    }

    private static function hash(#[\SensitiveParameter] string $password): string
    {
        // Cost 10 takes some 50 ms: every DAV request proves the password anew.
        return password_hash($password, PASSWORD_BCRYPT, ['cost' => 10]);
    }
}
