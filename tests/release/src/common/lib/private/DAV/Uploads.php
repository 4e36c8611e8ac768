<?php

declare(strict_types=1);

namespace OC\DAV;

use OC\Server as Core;

/** The chunked upload: MKCOL uploads/USER/ID, PUT the chunks, MOVE ID/.file to where the file belongs. */
final class Uploads
{
    private const WHOLE = '.file';

    private readonly string $folder;

    public function __construct(private readonly string $user)
    {
        $this->folder = Core::dataDirectory() . "/$user/uploads";
    }

    /** @param list<string> $names the upload's name and, for most methods, a chunk's */
    public function handle(string $method, array $names): void
    {
        [$upload, $chunk] = array_pad($names, 2, '');
        if ($upload === '' || count($names) > 2) {
            throw new DavException(405, 'An upload is one folder of chunks');
        }
        $folder = "$this->folder/$upload";
        match (true) {
            $method === 'MKCOL' && $chunk === '' => $this->begin($folder),
            $method === 'DELETE' && $chunk === '' => $this->abandon($folder),
            $method === 'PUT' && ctype_digit($chunk) => $this->put($folder, $chunk),
            $method === 'MOVE' && $chunk === self::WHOLE => $this->finish($folder),
            $method === 'PROPFIND' && $chunk === '' => $this->list($folder, $upload),
            default => throw new DavException(405, "$method is not for this part of an upload"),
        };
    }

    private function begin(string $folder): void
    {
        if (is_dir($folder)) {
            throw new DavException(405, 'The resource you tried to create already exists');
        }
        if (!@mkdir($folder, 0770, true)) {
            throw new DavException(507, 'The folder could not be made');
        }
        http_response_code(201);
    }

    private function abandon(string $folder): void
    {
        Disk::mustExist($folder);
        Disk::remove($folder);
        http_response_code(204);
    }

    private function put(string $folder, string $chunk): void
    {
        Disk::mustExist($folder);
        Disk::replace("$folder/$chunk", static fn ($target) => Disk::receive($target, Request::length()));
        http_response_code(201);
    }

    private function finish(string $folder): void
    {
        Disk::mustExist($folder);
        $files = new Files($this->user, ['dav', 'files', $this->user]);
        $chunks = $this->chunks($folder);
        $total = array_sum(array_map('filesize', $chunks));
        $expected = (string) ($_SERVER['HTTP_OC_TOTAL_LENGTH'] ?? $total);
        if ($expected !== (string) $total) {
            throw new DavException(400, "Chunks on server do not sum up to $expected but to $total bytes");
        }
        $files->store($files->destination(), static function ($target) use ($chunks): void {
            foreach ($chunks as $chunk) {
                $source = fopen($chunk, 'rb');
                if (stream_copy_to_stream($source, $target) !== filesize($chunk)) {
                    throw new DavException(507, 'The chunks could not be put together');
                }
            }
        });
        Disk::remove($folder);
    }

    private function list(string $folder, string $upload): void
    {
        Disk::mustExist($folder);
        $answer = new Multistatus();
        $names = ['dav', 'uploads', $this->user, $upload];
        $answer->add($names, ['d:collection'], []);
        foreach ($this->chunks($folder) as $chunk) {
            $answer->add([...$names, basename($chunk)], [], ['d:getcontentlength' => (string) filesize($chunk)]);
        }
        $answer->send();
    }

    /** @return list<string> the chunks' paths in the order of their numbers */
    private function chunks(string $folder): array
    {
        $names = array_filter(scandir($folder) ?: [], 'ctype_digit');
        sort($names, SORT_NATURAL);
        return array_map(static fn (string $name): string => "$folder/$name", $names);
    }
}
