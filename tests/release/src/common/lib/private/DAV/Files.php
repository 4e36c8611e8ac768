<?php

declare(strict_types=1);

namespace OC\DAV;

use OC\Server as Core;

/** One account's files. Methods take the names below the account's home, already safe (see Request::names). */
final class Files
{
    private readonly string $home;

    /** @param list<string> $base the names before the home in an address */
    public function __construct(string $user, private readonly array $base)
    {
        $this->home = Core::users()->home($user);
    }

    /** @param list<string> $names */
    public function handle(string $method, array $names): void
    {
        $path = $this->path($names);
        match ($method) {
            'PROPFIND' => $this->propfind($path, $names),
            'GET', 'HEAD' => (new Download($path))->send($method === 'GET'),
            'PUT' => $this->put($path),
            'MKCOL' => $this->makeFolder($path),
            'DELETE' => $this->delete($path, $names),
            'MOVE' => $this->transfer($path, static fn (string $from, string $to) => Disk::rename($from, $to)),
            'COPY' => $this->transfer($path, static fn (string $from, string $to) => Disk::copy($from, $to)),
        };
    }

    /**
     * The place on the disk. A name that the server keeps for itself is refused, and so is a way that leaves the home
     * through a link.
     *
     * @param list<string> $names
     */
    public function path(array $names): string
    {
        $last = (string) end($names);
        if (strtolower($last) === '.htaccess' || str_ends_with($last, Disk::PART)) {
            throw new DavException(403, 'This name is not allowed');
        }
        $path = rtrim($this->home . '/' . implode('/', $names), '/');
        $real = realpath($path) ?: realpath(dirname($path));
        $home = (string) realpath($this->home);
        if ($real !== false && $real !== $home && !str_starts_with($real, "$home/") && $names !== []) {
            throw new DavException(403, 'This path is not allowed');
        }
        return $path;
    }

    /** Puts the stream in place of `path` in one step, under the file's lock, and answers 201 or 204. */
    public function store(string $path, callable $write): void
    {
        if (!is_dir(dirname($path))) {
            throw new DavException(409, 'Files can only be created in existing folders');
        }
        if (is_dir($path)) {
            throw new DavException(409, 'There is a folder of this name');
        }
        Disk::locked($path, static function () use ($path, $write): void {
            $existed = is_file($path);
            Disk::replace($path, $write);
            $mtime = $_SERVER['HTTP_X_OC_MTIME'] ?? '';
            if (ctype_digit($mtime) && touch($path, (int) $mtime)) {
                header('X-OC-MTime: accepted');
            }
            clearstatcache();
            header('ETag: ' . Disk::etag($path));
            header('OC-ETag: ' . Disk::etag($path));
            http_response_code($existed ? 204 : 201);
        });
    }

    private function put(string $path): void
    {
        if (isset($_SERVER['HTTP_CONTENT_RANGE'])) {
            throw new DavException(501, 'PUT with Content-Range is not supported');
        }
        $this->store($path, static fn ($target) => Disk::receive($target, Request::length()));
    }

    private function makeFolder(string $path): void
    {
        if (file_exists($path)) {
            throw new DavException(405, 'The resource you tried to create already exists');
        }
        if (!is_dir(dirname($path))) {
            throw new DavException(409, 'Parent node does not exist');
        }
        if (!@mkdir($path, 0770)) {
            throw new DavException(507, 'The folder could not be made');
        }
        http_response_code(201);
    }

    /** @param list<string> $names */
    private function delete(string $path, array $names): void
    {
        if ($names === []) {
            throw new DavException(403, 'The home folder cannot be deleted');
        }
        Disk::mustExist($path);
        Disk::locked($path, static fn () => Disk::remove($path));
        http_response_code(204);
    }

    private function transfer(string $from, callable $how): void
    {
        Disk::mustExist($from);
        $to = $this->destination();
        if ($from === $this->home || $to === $this->home || str_starts_with("$to/", "$from/")) {
            throw new DavException(403, 'A folder cannot go into itself');
        }
        if (!is_dir(dirname($to))) {
            throw new DavException(409, 'The destination folder does not exist');
        }
        $existed = file_exists($to);
        if ($existed && ($_SERVER['HTTP_OVERWRITE'] ?? 'T') === 'F') {
            throw new DavException(412, 'The destination exists, and Overwrite is F');
        }
        Disk::locked($to, static function () use ($from, $to, $existed, $how): void {
            if ($existed && (is_dir($to) || is_dir($from))) {
                Disk::remove($to);
            }
            $how($from, $to);
        });
        http_response_code($existed ? 204 : 201);
    }

    /** Where the Destination header points, which must be in this same home. */
    public function destination(): string
    {
        $names = Request::destination();
        foreach ([$this->base, ['webdav']] as $base) {
            if (array_slice($names, 0, count($base)) === $base) {
                return $this->path(array_slice($names, count($base)));
            }
        }
        throw new DavException(403, 'The Destination is not among this account\'s files');
    }

    /** @param list<string> $names */
    private function propfind(string $path, array $names): void
    {
        Disk::mustExist($path);
        $answer = new Multistatus();
        $this->describe($answer, $path, [...$this->base, ...$names]);
        if (is_dir($path) && Request::depth() === 1) {
            foreach (scandir($path) ?: [] as $name) {
                if ($name !== '.' && $name !== '..' && !str_ends_with($name, Disk::PART)) {
                    $this->describe($answer, "$path/$name", [...$this->base, ...$names, $name]);
                }
            }
        }
        $answer->send();
    }

    /** @param list<string> $names */
    private function describe(Multistatus $answer, string $path, array $names): void
    {
        $properties = [
            'd:getlastmodified' => gmdate('D, d M Y H:i:s', (int) filemtime($path)) . ' GMT',
            'd:getetag' => Disk::etag($path),
        ];
        if (is_dir($path)) {
            $free = (string) (int) disk_free_space($path);
            $answer->add($names, ['d:collection'], $properties + ['d:quota-available-bytes' => $free]);
            return;
        }
        $answer->add($names, [], $properties + [
            'd:getcontentlength' => (string) filesize($path),
            'd:getcontenttype' => 'application/octet-stream',
        ]);
    }
}
