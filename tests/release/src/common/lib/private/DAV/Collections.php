<?php

declare(strict_types=1);

namespace OC\DAV;

use OC\Server as Core;

/** Each account's one calendar and one address book, their entries kept in the database. */
final class Collections
{
    private const KINDS = [
        'calendars' => ['name' => 'personal', 'type' => 'cal:calendar', 'title' => 'Personal'],
        'addressbooks' => ['name' => 'contacts', 'type' => 'card:addressbook', 'title' => 'Contacts'],
    ];

    public function __construct(private readonly string $user)
    {
    }

    /**
     * Answers where a client finds the account and its collections.
     *
     * @param list<string> $names
     */
    public function discover(array $names): void
    {
        if ($_SERVER['REQUEST_METHOD'] !== 'PROPFIND') {
            throw new DavException(405, 'Only PROPFIND is possible here');
        }
        $answer = new Multistatus();
        $answer->add($names, ['d:collection'], [
            'href:d:current-user-principal' => Multistatus::href(['dav', 'principals', 'users', $this->user]) . '/',
            'href:cal:calendar-home-set' => Multistatus::href(['dav', 'calendars', $this->user]) . '/',
            'href:card:addressbook-home-set' => Multistatus::href(['dav', 'addressbooks', 'users', $this->user]) . '/',
        ]);
        $answer->send();
    }

    /**
     * @param list<string> $names the whole path
     * @param list<string> $below what of it comes after the account: nothing, a collection, or one of its entries
     */
    public function handle(string $method, array $names, array $below): void
    {
        $kind = self::KINDS[$names[1]];
        [$collection, $entry] = array_pad($below, 2, '');
        if (count($below) > 2 || ($collection !== '' && $collection !== $kind['name'])) {
            throw new DavException(404, "Node with name '" . end($below) . "' could not be found");
        }
        $key = [$this->user, "$names[1]/$collection"];
        match (true) {
            $method === 'PROPFIND' && $collection === '' => $this->listHome($names, $kind),
            $method === 'PROPFIND' && $entry === '' => $this->listEntries($names, $kind, $key),
            $method === 'PUT' && $entry !== '' => $this->put([...$key, $entry]),
            in_array($method, ['GET', 'HEAD', 'DELETE'], true) && $entry !== '' => $this->entry($method, [...$key, $entry]),
            default => throw new DavException(405, "$method is not possible here"),
        };
    }

    /** @param list<string> $names */
    private function listHome(array $names, array $kind): void
    {
        $answer = new Multistatus();
        $answer->add($names, ['d:collection'], []);
        if (Request::depth() === 1) {
            $answer->add([...$names, $kind['name']], ['d:collection', $kind['type']], ['d:displayname' => $kind['title']]);
        }
        $answer->send();
    }

    /** @param list<string> $names */
    private function listEntries(array $names, array $kind, array $key): void
    {
        $answer = new Multistatus();
        $answer->add($names, ['d:collection', $kind['type']], ['d:displayname' => $kind['title']]);
        if (Request::depth() === 1) {
            $sql = 'SELECT uri, etag FROM *PREFIX*dav_objects WHERE owner = ? AND collection = ? ORDER BY uri';
            foreach (Core::database()->query($sql, ...$key) as $row) {
                $answer->add([...$names, $row['uri']], [], ['d:getetag' => "\"$row[etag]\""]);
            }
        }
        $answer->send();
    }

    private function put(array $key): void
    {
        $data = (string) file_get_contents('php://input');
        $expected = Request::length();
        if ($expected !== null && strlen($data) !== $expected) {
            throw new DavException(400, "expected filesize $expected got " . strlen($data));
        }
        $existed = $this->find($key) !== null;
        $row = array_combine(['owner', 'collection', 'uri'], $key) + ['etag' => md5($data), 'data' => $data];
        Core::database()->adapter()->upsert('*PREFIX*dav_objects', $row);
        header('ETag: "' . md5($data) . '"');
        http_response_code($existed ? 204 : 201);
    }

    private function entry(string $method, array $key): void
    {
        $row = $this->find($key) ?? throw new DavException(404, 'Entry not found');
        if ($method === 'DELETE') {
            $sql = 'DELETE FROM *PREFIX*dav_objects WHERE owner = ? AND collection = ? AND uri = ?';
            Core::database()->query($sql, ...$key);
            http_response_code(204);
            return;
        }
        header('Content-Type: ' . (str_starts_with($key[1], 'cal') ? 'text/calendar' : 'text/vcard') . '; charset=utf-8');
        header("ETag: \"$row[etag]\"");
        header('Content-Length: ' . strlen($row['data']));
        echo $method === 'GET' ? $row['data'] : '';
    }

    /** @return ?array{etag: string, data: string} */
    private function find(array $key): ?array
    {
        $sql = 'SELECT etag, data FROM *PREFIX*dav_objects WHERE owner = ? AND collection = ? AND uri = ?';
        return Core::database()->query($sql, ...$key)->fetch(\PDO::FETCH_ASSOC) ?: null;
    }
}
