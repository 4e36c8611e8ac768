<?php

declare(strict_types=1);

namespace OC;

use FilesystemIterator;
use RecursiveCallbackFilterIterator;
use RecursiveDirectoryIterator;
use RecursiveIteratorIterator;

/** Compares the tree with core/signature.json, the SHA-512 of every file of the release. */
final class Integrity
{
    /** Below it `maintenance:update:htaccess` may write. */
    public const HTACCESS_MARK = '#### DO NOT CHANGE ANYTHING ABOVE THIS LINE ####';

    /** What belongs to the household, not to the release. */
    private const OURS = ['config', 'data', 'apps-external', 'core/signature.json'];

    /** @return array<string, list<string>> paths by fault: INVALID_HASH, FILE_MISSING, EXTRA_FILE */
    public function faults(): array
    {
        $root = Server::root();
        $signed = json_decode((string) file_get_contents("$root/core/signature.json"), true)['hashes'];
        $present = array_map(static fn (string $path): string => substr($path, strlen($root) + 1), self::files($root));
        $faults = [
            'INVALID_HASH' => array_filter(
                array_intersect(array_keys($signed), $present),
                static fn (string $path): bool => self::hash($root, $path) !== $signed[$path],
            ),
            'FILE_MISSING' => array_diff(array_keys($signed), $present),
            'EXTRA_FILE' => array_diff($present, array_keys($signed)),
        ];
        return array_filter(array_map('array_values', $faults));
    }

    private static function hash(string $root, string $path): string
    {
        $text = (string) file_get_contents("$root/$path");
        if ($path === '.htaccess') {
            $text = explode(self::HTACCESS_MARK, $text, 2)[0];
        }
        return hash('sha512', $text);
    }

    /** @return list<string> */
    private static function files(string $root): array
    {
        $ours = array_map(static fn (string $path): string => "$root/$path", self::OURS);
        $filter = new RecursiveCallbackFilterIterator(
            new RecursiveDirectoryIterator($root, FilesystemIterator::SKIP_DOTS),
            static fn ($entry): bool => !in_array($entry->getPathname(), $ours, true),
        );
        $paths = array_map('strval', iterator_to_array(new RecursiveIteratorIterator($filter), false));
        sort($paths);
        return $paths;
    }
}
