<?php

declare(strict_types=1);

namespace OC\Console;

use Closure;

/** One command: what its line may say, when it exists, and what it does. */
final class Command
{
    public const NOT_INSTALLED = 1;
    public const INSTALLED = 2;
    /** Installed, neither in maintenance mode nor waiting for an upgrade: apps' commands exist only then. */
    public const SERVING = 4;

    /**
     * @param Closure(Input): int $run prints to stdout and returns the exit status
     * @param string $arguments names in order: "name" is required, "name?" may be missing
     * @param array<string, 'flag'|'value'|'list'> $options by name, without the dashes
     * @param int $when in which states of the installation the command exists
     */
    public function __construct(
        public readonly Closure $run,
        public readonly string $arguments = '',
        public readonly array $options = [],
        public readonly int $when = self::INSTALLED | self::SERVING,
    ) {
    }
}
