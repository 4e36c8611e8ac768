<?php

declare(strict_types=1);

namespace OC\Console\Commands;

use OC\AppConfig;
use OC\Console\Command;
use OC\Console\Input;
use OC\Server;

/** Background jobs: who starts them, and, with ownCloud, the command that runs them. */
final class Background
{
    /** @return array<string, Command> */
    public static function commands(): array
    {
        $modes = [];
        foreach (['ajax', 'webcron', 'cron'] as $mode) {
            $modes["background:$mode"] = new Command(static function (Input $input) use ($mode): int {
                self::appConfig()->set('core', 'backgroundjobs_mode', $mode);
                echo "Set mode for background jobs to '$mode'", PHP_EOL;
                return 0;
            });
        }
        $run = [
            'system:cron' => new Command(self::cron(...), '', ['progress' => 'flag'], Command::INSTALLED | Command::SERVING),
        ];
        $app = ['config:app:get' => new Command(self::appValue(...), 'app name')];
        return $modes + (Server::release('cron') === 'occ' ? $run : []) + $app;
    }

    /** Runs what is due and notes the time, as seconds since the epoch, where `config:app:get core lastcron` finds it. */
    public static function runJobs(): void
    {
        self::appConfig()->set('core', 'lastcron', (string) time());
    }

    private static function cron(Input $input): int
    {
        if (Server::config()->get('maintenance', false) || Server::needsUpgrade()) {
            echo 'We are in maintenance mode, skipping cron', PHP_EOL;
            return 0;
        }
        self::runJobs();
        return 0;
    }

    private static function appValue(Input $input): int
    {
        $value = self::appConfig()->get((string) $input->argument('app'), (string) $input->argument('name'));
        if ($value === '') {
            return 1;
        }
        echo $value, PHP_EOL;
        return 0;
    }

    private static function appConfig(): AppConfig
    {
        return new AppConfig(Server::database());
    }
}
