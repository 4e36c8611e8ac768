<?php

declare(strict_types=1);

namespace OC\Console\Commands;

use OC\Console\Application;
use OC\Console\Command;
use OC\Console\ConsoleError;
use OC\Console\Input;
use OC\Integrity;
use OC\Server;
use OC\Setup;
use OC\Updater;

/** Install, upgrade, maintenance mode, and what tells their state. */
final class Maintenance
{
    private const UP_TO_DATE_IN_MAINTENANCE = 2;
    private const UPGRADE_FAILED = 5;

    /** @return array<string, Command> */
    public static function commands(): array
    {
        $install = array_fill_keys([
            'database', 'database-name', 'database-host', 'database-user', 'database-pass', 'database-table-prefix',
            'admin-user', 'admin-pass', 'data-dir',
        ], 'value');
        $always = Command::NOT_INSTALLED | Command::INSTALLED | Command::SERVING;
        return [
            'status' => new Command(self::status(...), '', Server::release('status_full') ? ['exit-code' => 'flag'] : [], $always),
            'maintenance:install' => new Command(self::install(...), '', $install, Command::NOT_INSTALLED),
            'maintenance:mode' => new Command(self::mode(...), '', ['on' => 'flag', 'off' => 'flag']),
            'maintenance:repair' => new Command(self::repair(...)),
            'maintenance:update:htaccess' => new Command(self::updateHtaccess(...)),
            'upgrade' => new Command(self::upgrade(...), '', ['no-app-disable' => 'flag']),
            'integrity:check-core' => new Command(self::checkCore(...)),
        ];
    }

    private static function status(Input $input): int
    {
        $config = Server::config();
        if (!$config->installed() && Server::release('sentence_before_install')) {
            // The sentence is printed already, and no JSON follows it.
            return 1;
        }
        $answer = [
            'installed' => $config->installed(),
            'version' => Server::release('version'),
            'versionstring' => Server::release('versionstring'),
            'edition' => Server::release('edition'),
        ];
        $needsUpgrade = Server::needsUpgrade();
        $maintenance = (bool) $config->get('maintenance', false);
        if (Server::release('status_full')) {
            $answer += ['maintenance' => $maintenance, 'needsDbUpgrade' => $needsUpgrade];
        }
        if ($input->option('exit-code', false)) {
            return $needsUpgrade ? 2 : ($maintenance ? 1 : 0);
        }
        Application::show($input, $answer);
        return 0;
    }

    private static function install(Input $input): int
    {
        if ($input->option('database', 'sqlite') !== 'mysql') {
            throw new ConsoleError('Database <' . $input->option('database', 'sqlite') . '> is not supported.');
        }
        $options = ['database-host' => 'localhost', 'admin-user' => 'admin'];
        foreach (['database-name', 'database-user', 'database-pass', 'admin-pass'] as $name) {
            $options[$name] = $input->option($name) ?? throw new ConsoleError("The option --$name is missing.");
        }
        foreach (['database-host', 'database-table-prefix', 'admin-user', 'data-dir'] as $name) {
            $options[$name] = $input->option($name) ?? $options[$name] ?? null;
        }
        $faults = (new Setup())->install($options);
        echo implode(PHP_EOL, $faults ?: [Server::release('name') . ' was successfully installed']), PHP_EOL;
        return $faults === [] ? 0 : 1;
    }

    private static function mode(Input $input): int
    {
        $on = (bool) Server::config()->get('maintenance', false);
        $wanted = $input->option('on') ? true : ($input->option('off') ? false : null);
        $word = ($wanted ?? $on) ? 'enabled' : 'disabled';
        if ($wanted === null) {
            echo "Maintenance mode is currently $word", PHP_EOL;
        } elseif ($wanted === $on) {
            echo "Maintenance mode already $word", PHP_EOL;
        } else {
            Server::config()->set(['maintenance' => $wanted]);
            echo "Maintenance mode $word", PHP_EOL;
        }
        return 0;
    }

    private static function repair(Input $input): int
    {
        echo ' - Repair the database', PHP_EOL;
        return 0;
    }

    private static function updateHtaccess(Input $input): int
    {
        $file = Server::root() . '/.htaccess';
        $shipped = rtrim(explode(Integrity::HTACCESS_MARK, (string) file_get_contents($file), 2)[0], "\n");
        $text = $shipped . "\n" . Integrity::HTACCESS_MARK . "\nErrorDocument 403 /\nErrorDocument 404 /\n";
        if (!is_writable($file) || file_put_contents($file, $text, LOCK_EX) === false) {
            echo 'Error updating .htaccess file, not enough permissions?', PHP_EOL;
            return 1;
        }
        echo '.htaccess has been updated', PHP_EOL;
        return 0;
    }

    private static function upgrade(Input $input): int
    {
        $say = static function (string $line): void {
            echo gmdate('c '), $line, PHP_EOL;
        };
        if (Server::needsUpgrade()) {
            return (new Updater())->upgrade($say) ? 0 : self::UPGRADE_FAILED;
        }
        if (Server::config()->get('maintenance', false) && Server::release('idle_upgrade_status') !== 0) {
            $say('In maintenance mode: maybe an upgrade is already in process.');
            return self::UP_TO_DATE_IN_MAINTENANCE;
        }
        $say(Server::release('name') . ' is already latest version');
        return Server::release('idle_upgrade_status');
    }

    private static function checkCore(Input $input): int
    {
        $faults = (new Integrity())->faults();
        if ($faults !== [] || $input->wantsJson()) {
            Application::show($input, $faults);
        }
        return $faults === [] ? 0 : 1;
    }
}
