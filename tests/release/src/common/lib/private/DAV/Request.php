<?php

declare(strict_types=1);

namespace OC\DAV;

/** The path of a DAV address, cut into names that are safe to use as names of files. */
final class Request
{
    private const SCRIPT = '/remote.php';

    /**
     * @return list<string> the names after remote.php, decoded
     * @throws DavException 400 for an address outside of remote.php, or with a name that climbs or hides a slash
     */
    public static function names(string $address): array
    {
        $path = (string) parse_url($address, PHP_URL_PATH);
        $start = strpos($path, self::SCRIPT);
        if ($start === false) {
            throw new DavException(400, 'Not an address of this server');
        }
        $names = array_map('rawurldecode', explode('/', substr($path, $start + strlen(self::SCRIPT))));
        $names = array_values(array_filter($names, static fn (string $name): bool => $name !== ''));
        foreach ($names as $name) {
            if ($name === '.' || $name === '..' || strpbrk($name, "/\\\0") !== false || !mb_check_encoding($name, 'UTF-8')) {
                throw new DavException(400, 'Invalid path');
            }
        }
        return $names;
    }

    /** @return list<string> the names in the Destination header */
    public static function destination(): array
    {
        $address = $_SERVER['HTTP_DESTINATION'] ?? throw new DavException(400, 'The Destination header is missing');
        $host = parse_url($address, PHP_URL_HOST);
        if ($host !== null && $host !== preg_replace('/:\d+$/D', '', (string) $_SERVER['HTTP_HOST'])) {
            throw new DavException(502, 'The Destination is on another server');
        }
        return self::names($address);
    }

    /** How far a PROPFIND looks: 0 or 1; "infinity" counts as 1. */
    public static function depth(): int
    {
        return ($_SERVER['HTTP_DEPTH'] ?? '1') === '0' ? 0 : 1;
    }

    /** The declared size of the body in bytes; null when it comes in chunks. */
    public static function length(): ?int
    {
        $length = $_SERVER['CONTENT_LENGTH'] ?? $_SERVER['HTTP_CONTENT_LENGTH'] ?? '';
        return ctype_digit($length) && !isset($_SERVER['HTTP_TRANSFER_ENCODING']) ? (int) $length : null;
    }
}
