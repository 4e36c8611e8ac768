<?php

declare(strict_types=1);

namespace OC\Console;

use OC\Console\Commands\AppCommands;
use OC\Console\Commands\Background;
use OC\Console\Commands\Configuration;
use OC\Console\Commands\Maintenance;
use OC\Console\Commands\UserCommands;
use OC\Server;

/** Finds the command that a line names and runs it. */
final class Application
{
    /** @param list<string> $words the command line without the program's name */
    public function run(array $words): int
    {
        $name = $this->takeName($words);
        $state = $this->state($name);
        $fault = Server::faults();
        if ($fault !== []) {
            throw new ConsoleError(implode(PHP_EOL, $fault) . PHP_EOL . 'Environment not properly prepared.');
        }
        $commands = array_filter(self::commands(), static fn (Command $command): bool => ($command->when & $state) !== 0);
        try {
            if ($name === null || $name === 'list') {
                echo implode(PHP_EOL, [Server::release('name') . ' stand-in', ...array_keys($commands)]), PHP_EOL;
                return 0;
            }
            $command = $commands[$name] ?? throw new ConsoleError("Command \"$name\" is not defined.");
            $aliases = $name === 'status' && Server::release('status_full') ? ['-e' => '--exit-code'] : ['-g' => '--group'];
            return ($command->run)(new Input($command, $words, $aliases));
        } catch (ConsoleError $error) {
            fwrite(STDERR, PHP_EOL . '  ' . $error->getMessage() . PHP_EOL . PHP_EOL);
            return 1;
        }
    }

    /** Prints an answer in the way that `--output` asks for. */
    public static function show(Input $input, array $answer): void
    {
        if ($input->wantsJson()) {
            $pretty = $input->option('output') === 'json_pretty' ? JSON_PRETTY_PRINT : 0;
            echo json_encode($answer, $pretty), PHP_EOL;
            return;
        }
        foreach ($answer as $key => $value) {
            $text = is_scalar($value) && !is_bool($value) ? (string) $value : json_encode($value, JSON_UNESCAPED_UNICODE);
            echo "  - $key: $text", PHP_EOL;
        }
    }

    /** @param list<string> $words */
    private function takeName(array &$words): ?string
    {
        foreach ($words as $place => $word) {
            if (!str_starts_with($word, '-')) {
                array_splice($words, $place, 1);
                return $word;
            }
        }
        return null;
    }

    /** What ownCloud warns of before any command, and the state that says which commands there are. */
    private function state(?string $name): int
    {
        $product = Server::release('name');
        if (!Server::config()->installed()) {
            if ($name !== 'maintenance:install' && Server::release('sentence_before_install')) {
                echo "$product is not installed - only a limited number of commands are available", PHP_EOL;
            }
            return Command::NOT_INSTALLED;
        }
        if (Server::needsUpgrade()) {
            echo "$product or one of the apps require upgrade - only a limited number of commands are available", PHP_EOL;
            echo 'You may use your browser or the occ upgrade command to do the upgrade', PHP_EOL;
            return Command::INSTALLED;
        }
        if (Server::config()->get('maintenance', false)) {
            fwrite(STDERR, "$product is in maintenance mode - no app have been loaded" . PHP_EOL);
            return Command::INSTALLED;
        }
        return Command::INSTALLED | Command::SERVING;
    }

    /** @return array<string, Command> */
    private static function commands(): array
    {
        return [
            ...Maintenance::commands(),
            ...Configuration::commands(),
            ...UserCommands::commands(),
            ...AppCommands::commands(),
            ...Background::commands(),
        ];
    }
}
