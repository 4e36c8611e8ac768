<?php

declare(strict_types=1);

namespace OC\Console\Commands;

use OC\Console\Application;
use OC\Console\Command;
use OC\Console\ConsoleError;
use OC\Console\Input;
use OC\Server;

/** The system configuration, by key and, for what is nested, by keys. */
final class Configuration
{
    private const SECRETS = ['dbpassword', 'dbuser', 'passwordsalt', 'secret', 'instanceid'];

    /** @return array<string, Command> */
    public static function commands(): array
    {
        return [
            'config:system:get' => new Command(self::get(...), '...', ['default-value' => 'value']),
            'config:system:set' => new Command(self::set(...), '...', ['value' => 'value', 'type' => 'value']),
            'config:system:delete' => new Command(self::delete(...), '...'),
            'config:list' => new Command(self::list(...), 'app?', ['private' => 'flag']),
        ];
    }

    private static function get(Input $input): int
    {
        $value = Server::config()->all();
        foreach (self::keys($input) as $key) {
            $value = is_array($value) ? ($value[$key] ?? null) : null;
        }
        $value ??= $input->option('default-value');
        if ($value === null) {
            return 1;
        }
        if ($input->wantsJson()) {
            echo json_encode($value), PHP_EOL;
        } elseif (is_array($value)) {
            echo implode(PHP_EOL, array_map('strval', $value)), PHP_EOL;
        } else {
            echo is_bool($value) ? ($value ? 'true' : 'false') : $value, PHP_EOL;
        }
        return 0;
    }

    private static function set(Input $input): int
    {
        $text = $input->option('value') ?? throw new ConsoleError('The option --value is missing.');
        $type = $input->option('type', 'string');
        $value = match ($type) {
            'string' => $text,
            'integer' => (int) $text,
            'double' => (float) $text,
            'boolean' => in_array(strtolower($text), ['true', '1', 'yes', 'on'], true),
            'json' => json_decode($text, true),
            default => throw new ConsoleError("Unable to parse option \"type\": $type"),
        };
        $keys = self::keys($input);
        $all = Server::config()->all();
        $place = &$all;
        foreach ($keys as $key) {
            $place = is_array($place) ? $place : [];
            $place = &$place[$key];
        }
        $place = $value;
        Server::config()->set([$keys[0] => $all[$keys[0]]]);
        $echo = Server::release('echoes_set_values') ? " to $type $text" : '';
        echo 'System config value ' . implode(' => ', $keys) . " set$echo", PHP_EOL;
        return 0;
    }

    private static function delete(Input $input): int
    {
        $keys = self::keys($input);
        if (count($keys) > 1) {
            throw new ConsoleError('The stand-in deletes whole keys only.');
        }
        if (!array_key_exists($keys[0], Server::config()->all())) {
            echo "System config $keys[0] could not be deleted because it did not exist", PHP_EOL;
            return 1;
        }
        Server::config()->delete($keys[0]);
        echo "System config value $keys[0] deleted", PHP_EOL;
        return 0;
    }

    private static function list(Input $input): int
    {
        $system = Server::config()->all();
        if (!$input->option('private', false)) {
            $system = array_replace($system, array_fill_keys(
                array_intersect(self::SECRETS, array_keys($system)),
                '***REMOVED SENSITIVE VALUE***',
            ));
        }
        Application::show($input, ['system' => $system]);
        return 0;
    }

    /** @return non-empty-list<string> */
    private static function keys(Input $input): array
    {
        $keys = array_values(array_filter(explode("\0", (string) $input->argument('...')), 'strlen'));
        return $keys !== [] ? $keys : throw new ConsoleError('Not enough arguments (missing: "name").');
    }
}
