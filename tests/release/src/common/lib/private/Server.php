<?php

declare(strict_types=1);

namespace OC;

use OC\DB\Connection;
use OC\Lock\RedisLocks;
use OC\Log\ErrorHandler;
use OC\Log\Logger;
use RuntimeException;

/** What every request and every command starts with: release, configuration, log, database, locks. */
final class Server
{
    private static string $root;
    /** @var array<string, mixed> */
    private static array $release;
    private static Config $config;
    private static Logger $logger;
    private static ?Connection $database = null;
    private static ?RedisLocks $locks = null;

    /** Throws when the configured services cannot be reached: then no command works, as with ownCloud. */
    public static function boot(string $root): void
    {
        ini_set('display_errors', '0');
        self::$root = $root;
        self::$release = require $root . '/lib/release.php';
        self::$config = new Config($root . '/config');
        self::$logger = new Logger();
        if (self::$release['error_handler'] === 'static') {
            ErrorHandler::setLogger(self::$logger);
            ErrorHandler::register();
        } else {
            ErrorHandler::watch(self::$logger);
        }
        self::checkMemcache();
        if (self::$config->installed()) {
            self::database();
        }
    }

    public static function root(): string
    {
        return self::$root;
    }

    /** One fact of this release (lib/release.php): versions, and the behaviours in which releases differ. */
    public static function release(string $key): mixed
    {
        return self::$release[$key];
    }

    public static function config(): Config
    {
        return self::$config;
    }

    public static function logger(): Logger
    {
        return self::$logger;
    }

    public static function locks(): ?RedisLocks
    {
        return self::$locks;
    }

    public static function database(): Connection
    {
        // Assigned only once the connection stands: whoever asks while it is being made starts a second one.
        return self::$database ??= new Connection(self::$config);
    }

    public static function users(): Users
    {
        return new Users(self::database(), self::dataDirectory());
    }

    public static function apps(): Apps
    {
        return new Apps(self::$root, new AppConfig(self::database()));
    }

    public static function dataDirectory(): string
    {
        return (string) self::$config->get('datadirectory', self::$root . '/data');
    }

    /** Whether the tree is newer than what config.php says was installed; throws when it is older. */
    public static function needsUpgrade(): bool
    {
        if (!self::$config->installed()) {
            return false;
        }
        $installed = (string) self::$config->get('version', '0.0.0');
        $here = (string) self::release('version');
        if (version_compare($here, $installed) < 0) {
            throw new RuntimeException(
                "Downgrading is not supported and is likely to cause unpredictable issues (from $installed to $here)",
            );
        }
        return version_compare($here, $installed) > 0;
    }

    /** The environment's faults, each as a sentence; empty when it can serve. */
    public static function faults(): array
    {
        if (!self::$config->installed()) {
            return [];
        }
        $data = self::dataDirectory();
        if (!is_file("$data/.ocdata")) {
            return ["Data directory ($data) is invalid: there is no file \".ocdata\" in its root."];
        }
        if (!is_writable($data)) {
            return ["Data directory ($data) is not writable."];
        }
        if ((fileperms($data) & 0007) !== 0 && !@chmod($data, 0770)) {
            return ["Data directory ($data) is readable by other users: set its mode to 0770."];
        }
        return [];
    }

    private static function checkMemcache(): void
    {
        $name = static fn (string $key): string => ltrim((string) self::$config->get($key, ''), '\\');
        // On the command line ownCloud goes without a local cache, in a request it refuses to.
        if (PHP_SAPI !== 'cli' && $name('memcache.local') === 'OC\Memcache\APCu' && !extension_loaded('apcu')) {
            throw new RuntimeException('Memcache \OC\Memcache\APCu not available for local cache');
        }
        if ($name('memcache.locking') === 'OC\Memcache\Redis' && self::$config->get('filelocking.enabled', true)) {
            self::$locks = new RedisLocks((array) self::$config->get('redis', []));
        }
    }
}
