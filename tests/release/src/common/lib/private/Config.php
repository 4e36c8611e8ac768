<?php

declare(strict_types=1);

namespace OC;

use RuntimeException;

/**
 * config.php and, merged over it key by key, every config/*.config.php in the order of their names.
 *
 * Trap kept from ownCloud: a write puts the merged values into config.php, so what another file said stays there
 * after that file is gone.
 */
final class Config
{
    /** @var array<string, mixed> */
    private array $values = [];

    public function __construct(private readonly string $directory)
    {
        $extra = glob("$directory/*.config.php") ?: [];
        foreach ([$this->file(), ...$extra] as $file) {
            if (is_file($file)) {
                $this->values = array_merge($this->values, self::read($file));
            }
        }
    }

    public function file(): string
    {
        return $this->directory . '/config.php';
    }

    public function installed(): bool
    {
        return $this->get('installed', false) === true;
    }

    public function get(string $key, mixed $default = null): mixed
    {
        return $this->values[$key] ?? $default;
    }

    /** @return array<string, mixed> */
    public function all(): array
    {
        return $this->values;
    }

    /** @param array<string, mixed> $values what to set, all in one write */
    public function set(array $values): void
    {
        $this->values = array_merge($this->values, $values);
        $this->write();
    }

    public function delete(string $key): void
    {
        unset($this->values[$key]);
        $this->write();
    }

    /** @return array<string, mixed> */
    private static function read(string $file): array
    {
        $CONFIG = [];
        ob_start();
        try {
            // Through PHP's own include: with OPcache a request may see the old file for two seconds, as it does there.
            include $file;
        } finally {
            ob_end_clean();
        }
        return $CONFIG;
    }

    private function write(): void
    {
        $text = "<?php\n\$CONFIG = " . var_export($this->values, true) . ";\n";
        if (@file_put_contents($this->file(), $text, LOCK_EX) !== strlen($text)) {
            throw new RuntimeException('Cannot write into "config" directory: ' . $this->file());
        }
        chmod($this->file(), 0640);
    }
}
