<?php

declare(strict_types=1);

namespace OC\Console\Commands;

use InvalidArgumentException;
use OC\Console\Application;
use OC\Console\Command;
use OC\Console\Input;
use OC\Server;

/** Accounts. Passwords come from the environment (OC_PASS), as a command line shows in `ps`. */
final class UserCommands
{
    /** @return array<string, Command> */
    public static function commands(): array
    {
        $add = ['password-from-env' => 'flag', 'display-name' => 'value', 'email' => 'value', 'group' => 'list'];
        return [
            'user:add' => new Command(self::add(...), 'uid', $add),
            'user:delete' => new Command(self::delete(...), 'uid'),
            'user:list' => new Command(self::list(...)),
            'user:resetpassword' => new Command(self::resetPassword(...), 'user', ['password-from-env' => 'flag']),
            // Each product has its own way to give a name.
            ...Server::release('product') === 'owncloud'
                ? ['user:modify' => new Command(self::modify(...), 'uid key value')]
                : ['user:setting' => new Command(self::setting(...), 'uid app key value')],
            'group:add-member' => new Command(self::addMember(...), 'group', ['member' => 'list']),
        ];
    }

    private static function add(Input $input): int
    {
        $users = Server::users();
        $name = (string) $input->argument('uid');
        if ($users->find($name) !== null) {
            return self::fail("The user \"$name\" already exists.");
        }
        try {
            $users->create($name, self::password($input));
        } catch (InvalidArgumentException $error) {
            return self::fail($error->getMessage());
        }
        echo "The user \"$name\" was created successfully", PHP_EOL;
        $display = $input->option('display-name');
        if ($display !== null) {
            $users->setDisplayName($name, $display);
            echo "Display name set to \"$display\"", PHP_EOL;
        }
        foreach ($input->option('group', []) as $group) {
            $users->addToGroup($name, $group);
            echo "User \"$name\" added to group \"$group\"", PHP_EOL;
        }
        return 0;
    }

    private static function delete(Input $input): int
    {
        $name = Server::users()->find((string) $input->argument('uid'));
        if ($name === null) {
            return self::fail('User does not exist');
        }
        Server::users()->delete($name);
        echo "User with uid \"$name\" was deleted", PHP_EOL;
        return 0;
    }

    private static function list(Input $input): int
    {
        $users = Server::users()->all();
        if (Server::release('user_list') === 'nested' && $input->wantsJson()) {
            $users = array_map(static fn (?string $display): array => ['displayName' => $display], $users);
        }
        Application::show($input, $users);
        return 0;
    }

    private static function resetPassword(Input $input): int
    {
        $name = Server::users()->find((string) $input->argument('user'));
        if ($name === null) {
            return self::fail('User does not exist');
        }
        try {
            Server::users()->setPassword($name, self::password($input));
        } catch (InvalidArgumentException $error) {
            return self::fail($error->getMessage());
        }
        echo "Successfully reset password for $name", PHP_EOL;
        return 0;
    }

    private static function modify(Input $input): int
    {
        if ($input->argument('key') !== 'displayname') {
            return self::fail('Supported keys are displayname');
        }
        return self::rename((string) $input->argument('uid'), (string) $input->argument('value'));
    }

    private static function setting(Input $input): int
    {
        if ($input->argument('app') !== 'settings' || $input->argument('key') !== 'display_name') {
            return self::fail('The stand-in knows the setting "settings display_name" only');
        }
        return self::rename((string) $input->argument('uid'), (string) $input->argument('value'));
    }

    private static function rename(string $user, string $display): int
    {
        $name = Server::users()->find($user);
        if ($name === null) {
            return self::fail("The user \"$user\" does not exist.");
        }
        Server::users()->setDisplayName($name, $display);
        echo "The displayname of $name updated to $display", PHP_EOL;
        return 0;
    }

    private static function addMember(Input $input): int
    {
        foreach ($input->option('member', []) as $member) {
            $name = Server::users()->find($member);
            if ($name === null) {
                return self::fail("User \"$member\" could not be found - not added to group \"" . $input->argument('group') . '"');
            }
            Server::users()->addToGroup($name, (string) $input->argument('group'));
            echo "User \"$name\" added to group \"" . $input->argument('group') . '"', PHP_EOL;
        }
        return 0;
    }

    private static function password(Input $input): string
    {
        if (!$input->option('password-from-env', false)) {
            throw new InvalidArgumentException('Interactive input or --password-from-env is needed for entering a password!');
        }
        $password = (string) getenv('OC_PASS');
        return $password !== ''
            ? $password
            : throw new InvalidArgumentException('--password-from-env given, but OC_PASS is empty!');
    }

    private static function fail(string $sentence): int
    {
        echo $sentence, PHP_EOL;
        return 1;
    }
}
