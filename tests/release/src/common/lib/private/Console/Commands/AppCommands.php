<?php

declare(strict_types=1);

namespace OC\Console\Commands;

use FilesystemIterator;
use InvalidArgumentException;
use OC\Console\Application;
use OC\Console\Command;
use OC\Console\Input;
use OC\Server;
use RecursiveDirectoryIterator;
use RecursiveIteratorIterator;

/** Apps, and the commands that apps bring. */
final class AppCommands
{
    /** @return array<string, Command> */
    public static function commands(): array
    {
        return [
            'app:enable' => new Command(static fn (Input $input): int => self::switch($input, true), 'app-id'),
            'app:disable' => new Command(static fn (Input $input): int => self::switch($input, false), 'app-id'),
            'app:list' => new Command(self::list(...), 'search-pattern?'),
            'files:scan' => new Command(self::scan(...), 'user?', ['all' => 'flag', 'path' => 'value'], Command::SERVING),
        ];
    }

    private static function switch(Input $input, bool $on): int
    {
        $name = (string) $input->argument('app-id');
        $word = $on ? 'enabled' : 'disabled';
        try {
            $changed = Server::apps()->switch($name, $on);
        } catch (InvalidArgumentException $error) {
            echo $error->getMessage(), PHP_EOL;
            return 1;
        }
        echo $changed ? "$name $word" : "$name already $word", PHP_EOL;
        return 0;
    }

    private static function list(Input $input): int
    {
        $pick = static function (bool $enabled) use ($input): array {
            $apps = array_filter(
                Server::apps()->all($enabled),
                static fn (string $name): bool => str_contains($name, (string) $input->argument('search-pattern')),
                ARRAY_FILTER_USE_KEY,
            );
            return Server::release('app_list') === 'nested' ? $apps : array_map(static fn ($app) => $app['Version'], $apps);
        };
        // Objects, so that none at all is {} and not [].
        Application::show($input, ['enabled' => (object) $pick(true), 'disabled' => (object) $pick(false)]);
        return 0;
    }

    private static function scan(Input $input): int
    {
        $named = $input->argument('user');
        $known = Server::users()->all();
        if ($named === null && !$input->option('all', false)) {
            echo 'Please specify the user id to scan, "--all" to scan for all users or "--path=..."', PHP_EOL;
            return 1;
        }
        $folders = $files = 0;
        foreach ($named !== null ? [$named] : array_keys($known) as $user) {
            if (!isset($known[$user])) {
                echo "Unknown user $user", PHP_EOL;
                return 1;
            }
            $tree = new RecursiveDirectoryIterator(Server::users()->home((string) $user), FilesystemIterator::SKIP_DOTS);
            foreach (new RecursiveIteratorIterator($tree, RecursiveIteratorIterator::SELF_FIRST) as $entry) {
                $entry->isDir() ? $folders++ : $files++;
            }
        }
        echo "| Folders | Files |", PHP_EOL, "| $folders | $files |", PHP_EOL;
        return 0;
    }
}
