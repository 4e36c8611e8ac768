<?php

declare(strict_types=1);

namespace OC\DAV;

use OC\Server as Core;

/** One DAV request, from its credentials to its answer. */
final class Server
{
    private const METHODS = ['OPTIONS', 'GET', 'HEAD', 'PUT', 'DELETE', 'MKCOL', 'MOVE', 'COPY', 'PROPFIND'];

    public function serve(): void
    {
        try {
            if (!Core::config()->installed() || Core::needsUpgrade() || Core::config()->get('maintenance', false)) {
                header('Retry-After: 120');
                throw new DavException(503, 'System in maintenance mode.');
            }
            // Credentials come first: what is wrong with an address is nobody's business without them.
            $user = $this->authenticate();
            set_time_limit(0);
            $method = $_SERVER['REQUEST_METHOD'];
            if (!in_array($method, self::METHODS, true)) {
                throw new DavException(501, "There was no handler found for this \"$method\" method");
            }
            header('DAV: 1, 3, extended-mkcol, calendar-access, addressbook');
            $this->dispatch($user, $method, Request::names($_SERVER['REQUEST_URI']));
        } catch (DavException $error) {
            Multistatus::error($error->getCode(), $error->getMessage());
        }
    }

    private function authenticate(): string
    {
        $name = (string) ($_SERVER['PHP_AUTH_USER'] ?? '');
        $user = $name === '' ? null : Core::users()->authenticate($name, (string) ($_SERVER['PHP_AUTH_PW'] ?? ''));
        if ($user !== null) {
            return $user;
        }
        if ($name !== '') {
            Core::logger()->error("Login failed: '$name' (Remote IP: '" . $_SERVER['REMOTE_ADDR'] . "')");
        }
        header('WWW-Authenticate: Basic realm="' . Core::release('name') . '", charset="UTF-8"');
        throw new DavException(401, 'No public access to this resource., Username or password was incorrect');
    }

    /** @param list<string> $names */
    private function dispatch(string $user, string $method, array $names): void
    {
        if ($method === 'OPTIONS') {
            header('Allow: ' . implode(', ', self::METHODS));
            return;
        }
        if (!Core::apps()->isEnabled('dav')) {
            throw new DavException(503, 'The app dav is not enabled');
        }
        [$service, $tree, $owner] = array_pad($names, 3, '');
        if ($service === 'webdav') {
            (new Files($user, ['webdav']))->handle($method, array_slice($names, 1));
        } elseif ($service !== 'dav') {
            throw new DavException(404, "Path not found: $service");
        } elseif ($tree === '' || $tree === 'principals') {
            (new Collections($user))->discover($names);
        } elseif ($tree === 'addressbooks') {
            $this->refuseOthers($user, $names[3] ?? '');
            (new Collections($user))->handle($method, $names, array_slice($names, 4));
        } elseif (in_array($tree, ['files', 'uploads', 'calendars'], true)) {
            $this->refuseOthers($user, $owner);
            match ($tree) {
                'files' => (new Files($user, ['dav', 'files', $user]))->handle($method, array_slice($names, 3)),
                'uploads' => (new Uploads($user))->handle($method, array_slice($names, 3)),
                'calendars' => (new Collections($user))->handle($method, $names, array_slice($names, 3)),
            };
        } else {
            throw new DavException(404, "File not found: $tree");
        }
    }

    private function refuseOthers(string $user, string $owner): void
    {
        if ($owner !== $user) {
            throw new DavException(403, 'Access to another account is refused');
        }
    }
}
