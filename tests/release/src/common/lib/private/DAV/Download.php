<?php

declare(strict_types=1);

namespace OC\DAV;

/** One file on its way to the client, whole or a range of it. */
final class Download
{
    private const PIECE_BYTES = 1 << 20;

    public function __construct(private readonly string $path)
    {
    }

    public function send(bool $withBody): void
    {
        Disk::mustExist($this->path);
        if (is_dir($this->path)) {
            throw new DavException(405, 'A folder has no content of its own: use PROPFIND');
        }
        $size = (int) filesize($this->path);
        [$first, $last] = $this->range($size);
        header('Content-Type: application/octet-stream');
        header('Content-Disposition: attachment');
        header('Accept-Ranges: bytes');
        header('ETag: ' . Disk::etag($this->path));
        header('OC-ETag: ' . Disk::etag($this->path));
        header('Last-Modified: ' . gmdate('D, d M Y H:i:s', (int) filemtime($this->path)) . ' GMT');
        header('Content-Length: ' . ($last - $first + 1));
        if ($withBody) {
            $this->stream($first, $last - $first + 1);
        }
    }

    /** @return array{int, int} the first and the last byte to send; sets the status when it is a part */
    private function range(int $size): array
    {
        $wanted = (string) ($_SERVER['HTTP_RANGE'] ?? '');
        if ($size === 0 || preg_match('/^bytes=(\d*)-(\d*)$/D', $wanted, $ends) !== 1 || $wanted === 'bytes=-') {
            return [0, $size - 1];
        }
        $first = $ends[1] !== '' ? (int) $ends[1] : max(0, $size - (int) $ends[2]);
        $last = $ends[1] !== '' && $ends[2] !== '' ? min((int) $ends[2], $size - 1) : $size - 1;
        if ($first > $last) {
            header("Content-Range: bytes */$size");
            throw new DavException(416, 'The range is outside of the file');
        }
        http_response_code(206);
        header("Content-Range: bytes $first-$last/$size");
        return [$first, $last];
    }

    private function stream(int $start, int $left): void
    {
        while (ob_get_level() > 0) {
            ob_end_clean();
        }
        $file = fopen($this->path, 'rb');
        fseek($file, $start);
        while ($left > 0 && ($piece = (string) fread($file, min(self::PIECE_BYTES, $left))) !== '') {
            echo $piece;
            flush();
            $left -= strlen($piece);
        }
    }
}
