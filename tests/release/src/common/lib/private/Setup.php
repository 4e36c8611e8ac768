<?php

declare(strict_types=1);

namespace OC;

use InvalidArgumentException;
use OC\DB\Connection;
use PDOException;

/** The first installation. A run that was killed leaves its tables behind, and the next one stumbles over them. */
final class Setup
{
    /** Enabled from the start, as the DAV paths of a new account must exist with no further step. */
    private const ENABLED_APPS = ['comments', 'dav', 'files', 'files_sharing', 'provisioning_api'];

    /**
     * @param array<string, ?string> $options the options of `maintenance:install`
     * @return list<string> what went wrong, as sentences; empty when it is installed
     */
    public function install(#[\SensitiveParameter] array $options): array
    {
        $data = rtrim((string) ($options['data-dir'] ?? Server::root() . '/data'), '/');
        if (!is_dir($data) && !@mkdir($data, 0770, true)) {
            return ["Can't create or write into the data directory $data"];
        }
        if (!is_writable($data)) {
            return ["Can't create or write into the data directory $data"];
        }
        $config = Server::config();
        // Written before the database is touched, as ownCloud does: an aborted run leaves a config.php without
        // 'installed', which must not pass for an installation.
        $config->set([
            'instanceid' => $config->get('instanceid', 'oc' . bin2hex(random_bytes(5))),
            'passwordsalt' => bin2hex(random_bytes(15)),
            'secret' => bin2hex(random_bytes(24)),
            'trusted_domains' => $config->get('trusted_domains', ['localhost']),
            'datadirectory' => $data,
            'overwrite.cli.url' => $config->get('overwrite.cli.url', 'http://localhost'),
            'dbtype' => 'mysql',
            'version' => Server::release('version'),
            'dbname' => $options['database-name'],
            'dbhost' => $options['database-host'],
            'dbtableprefix' => $options['database-table-prefix'] ?? 'oc_',
            'dbuser' => $options['database-user'],
            'dbpassword' => $options['database-pass'],
            'logtimezone' => 'UTC',
        ]);
        try {
            $this->fill($config, (string) $options['admin-user'], (string) $options['admin-pass']);
        } catch (PDOException $error) {
            return ['MySQL username and/or password not valid, or the database is not usable: ' . $error->getMessage()];
        } catch (InvalidArgumentException $error) {
            return [$error->getMessage()];
        }
        touch("$data/.ocdata");
        file_put_contents("$data/.htaccess", "Require all denied\n");
        $config->set(['installed' => true]);
        return [];
    }

    private function fill(Config $config, string $admin, #[\SensitiveParameter] string $password): void
    {
        $database = new Connection($config);
        foreach (self::tables() as $table) {
            $database->query("CREATE TABLE IF NOT EXISTS *PREFIX*$table ENGINE=InnoDB DEFAULT CHARSET=utf8mb4");
        }
        (new Migrations($database))->run(static fn (string $line) => null);
        $users = new Users($database, (string) $config->get('datadirectory'));
        $users->create($admin, $password);
        $users->addToGroup($admin, 'admin');
        $apps = new Apps(Server::root(), new AppConfig($database));
        foreach (self::ENABLED_APPS as $app) {
            $apps->switch($app, true);
        }
        (new AppConfig($database))->set('core', 'installedat', (string) microtime(true));
    }

    /** @return list<string> the tables that the first release had; migrations bring them to this one's */
    private static function tables(): array
    {
        return [
            'users (uid VARCHAR(64) NOT NULL PRIMARY KEY, displayname VARCHAR(64), password VARCHAR(255) NOT NULL)',
            'group_user (gid VARCHAR(64) NOT NULL, uid VARCHAR(64) NOT NULL, PRIMARY KEY (gid, uid))',
            'appconfig (appid VARCHAR(32) NOT NULL, configkey VARCHAR(64) NOT NULL, configvalue LONGTEXT,'
                . ' PRIMARY KEY (appid, configkey))',
            'dav_objects (owner VARCHAR(64) NOT NULL, collection VARCHAR(64) NOT NULL, uri VARCHAR(250) NOT NULL,'
                . ' etag CHAR(32) NOT NULL, data LONGTEXT NOT NULL, PRIMARY KEY (owner, collection, uri))',
            'migrations (version VARCHAR(32) NOT NULL PRIMARY KEY)',
        ];
    }
}
