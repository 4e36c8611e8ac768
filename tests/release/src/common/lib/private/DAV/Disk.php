<?php

declare(strict_types=1);

namespace OC\DAV;

use FilesystemIterator;
use OC\Server as Core;
use RecursiveDirectoryIterator;
use RecursiveIteratorIterator;

/** What happens to files on the disk, with failures as answers. */
final class Disk
{
    /** What a file is called while it arrives. */
    public const PART = '.part';

    /** Runs `work` while no other request changes `path`; without Redis nothing is locked. */
    public static function locked(string $path, callable $work): void
    {
        $locks = Core::locks();
        if ($locks !== null && !$locks->acquire($path)) {
            throw new DavException(423, '"' . basename($path) . '" is locked');
        }
        try {
            $work();
        } finally {
            $locks?->release($path);
        }
    }

    /** Lets `write` fill a file beside `path`, which takes its place only when it is complete. */
    public static function replace(string $path, callable $write): void
    {
        $part = $path . '.ocTransferId' . random_int(1, PHP_INT_MAX) . self::PART;
        $target = @fopen($part, 'xb') ?: throw new DavException(507, 'The file could not be written');
        // A visitor who hangs up must not leave the piece behind.
        ignore_user_abort(true);
        try {
            $write($target);
            if (!fflush($target) || !fclose($target) || !rename($part, $path)) {
                throw new DavException(507, 'The file could not be written');
            }
        } catch (\Throwable $error) {
            @unlink($part);
            throw $error;
        }
    }

    /**
     * Writes the request's body. PHP spools it under upload_tmp_dir while php://input is read, so a full folder there
     * ends in a body that is too short.
     *
     * @param resource $target
     * @param ?int $expected bytes, or null when the client did not say
     */
    public static function receive($target, ?int $expected): void
    {
        $body = fopen('php://input', 'rb');
        $got = (int) @stream_copy_to_stream($body, $target);
        if ($expected !== null && $got !== $expected) {
            throw new DavException(400, "expected filesize $expected got $got");
        }
    }

    public static function mustExist(string $path): void
    {
        if (!file_exists($path)) {
            throw new DavException(404, 'File with name ' . basename($path) . ' could not be located');
        }
    }

    public static function etag(string $path): string
    {
        $facts = stat($path);
        return '"' . md5("$facts[ino] $facts[mtime] $facts[ctime] $facts[size]") . '"';
    }

    public static function rename(string $from, string $to): void
    {
        if (!@rename($from, $to)) {
            throw new DavException(507, 'The resource could not be moved');
        }
    }

    public static function copy(string $from, string $to): void
    {
        if (!is_dir($from)) {
            self::replace($to, static function ($target) use ($from): void {
                $source = fopen($from, 'rb');
                if (stream_copy_to_stream($source, $target) !== filesize($from)) {
                    throw new DavException(507, 'The file could not be copied');
                }
            });
            return;
        }
        mkdir($to, 0770);
        foreach (array_diff(scandir($from) ?: [], ['.', '..']) as $name) {
            self::copy("$from/$name", "$to/$name");
        }
    }

    public static function remove(string $path): void
    {
        if (!is_dir($path) || is_link($path)) {
            unlink($path);
            return;
        }
        $tree = new RecursiveDirectoryIterator($path, FilesystemIterator::SKIP_DOTS);
        foreach (new RecursiveIteratorIterator($tree, RecursiveIteratorIterator::CHILD_FIRST) as $entry) {
            $entry->isDir() && !$entry->isLink() ? rmdir((string) $entry) : unlink((string) $entry);
        }
        rmdir($path);
    }
}
