<?php

declare(strict_types=1);

namespace OC;

use Throwable;

/** The upgrade of an installation to the release in whose tree it runs. */
final class Updater
{
    /** Whether it succeeded. It ends maintenance mode itself; after a failure maintenance mode stays. */
    public function upgrade(callable $say): bool
    {
        $config = Server::config();
        $config->set(['maintenance' => true]);
        $say('Turned on maintenance mode');
        try {
            $say('Updating database schema');
            (new Migrations(Server::database()))->run($say);
            $say('Updated database');
            $config->set(['version' => Server::release('version')]);
        } catch (Throwable $error) {
            Server::logger()->error((string) $error);
            $say(get_class($error) . ': ' . $error->getMessage());
            $say('Update failed');
            $say('Maintenance mode is kept active');
            return false;
        }
        $config->set(['maintenance' => false]);
        $say('Turned off maintenance mode');
        $say('Update successful');
        return true;
    }
}
