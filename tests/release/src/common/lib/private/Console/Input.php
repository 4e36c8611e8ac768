<?php

declare(strict_types=1);

namespace OC\Console;

/** A command line, read against what its command allows. */
final class Input
{
    /** What every command takes, and what each stands for when it is a short one. */
    private const GLOBAL_FLAGS = ['no-interaction', 'no-warnings', 'no-ansi', 'ansi', 'quiet', 'verbose'];
    private const SHORT = ['-n' => 'no-interaction', '-q' => 'quiet', '-v' => 'verbose', '-vv' => 'verbose', '-vvv' => 'verbose'];

    /** @var array<string, string> */
    private array $arguments = [];
    /** @var array<string, mixed> */
    private array $options = [];

    /**
     * @param list<string> $words what follows the name of the command
     * @param array<string, string> $aliases short options of this command, such as "-e", and what they stand for
     */
    public function __construct(Command $command, array $words, array $aliases = [])
    {
        $kinds = $command->options + array_fill_keys(self::GLOBAL_FLAGS, 'flag') + ['output' => 'value'];
        $plain = [];
        while ($words !== []) {
            $word = array_shift($words);
            $word = isset(self::SHORT[$word]) ? '--' . self::SHORT[$word] : ($aliases[$word] ?? $word);
            if (!str_starts_with($word, '-') || $word === '-') {
                $plain[] = $word;
                continue;
            }
            [$name, $value] = array_pad(explode('=', ltrim($word, '-'), 2), 2, null);
            $kind = str_starts_with($word, '--') ? ($kinds[$name] ?? null) : null;
            if ($kind === null) {
                $dashes = str_starts_with($word, '--') ? '--' : '-';
                throw new ConsoleError("The \"$dashes$name\" option does not exist.");
            }
            if ($kind === 'flag') {
                $this->options[$name] = true;
                continue;
            }
            $value ??= array_shift($words) ?? throw new ConsoleError("The \"--$name\" option requires a value.");
            $this->options[$name] = $kind === 'list' ? [...$this->options[$name] ?? [], $value] : $value;
        }
        $this->takeArguments($command, $plain);
    }

    public function argument(string $name): ?string
    {
        return $this->arguments[$name] ?? null;
    }

    public function option(string $name, mixed $default = null): mixed
    {
        return $this->options[$name] ?? $default;
    }

    public function wantsJson(): bool
    {
        return in_array($this->option('output', 'plain'), ['json', 'json_pretty'], true);
    }

    /** @param list<string> $words */
    private function takeArguments(Command $command, array $words): void
    {
        foreach (array_filter(explode(' ', $command->arguments)) as $name) {
            if ($name === '...') {
                $this->arguments['...'] = implode("\0", $words);
                return;
            }
            $word = array_shift($words);
            if ($word === null && !str_ends_with($name, '?')) {
                throw new ConsoleError("Not enough arguments (missing: \"$name\").");
            }
            if ($word !== null) {
                $this->arguments[rtrim($name, '?')] = $word;
            }
        }
        if ($words !== []) {
            throw new ConsoleError('Too many arguments.');
        }
    }
}
