<?php

declare(strict_types=1);

namespace OC\Http;

use OC\Server;

/** What browsers see, and who may ask at all. */
final class Page
{
    /** Ends the request with 400 when its Host is not one of `trusted_domains`. */
    public static function refuseForeignHost(bool $json = false): void
    {
        if (!Server::config()->installed() || self::isTrusted((string) ($_SERVER['HTTP_HOST'] ?? ''))) {
            return;
        }
        if ($json) {
            http_response_code(400);
            header('Content-Type: application/json');
            echo '{"error": "Trusted domain error.", "code": 15}';
        } else {
            self::show(400, 'You are accessing the server from an untrusted domain.');
        }
        exit;
    }

    public static function show(int $status, string $sentence): void
    {
        http_response_code($status);
        header('Content-Type: text/html; charset=UTF-8');
        if ($status === 503) {
            header('Retry-After: 120');
        }
        $product = Server::release('name');
        $version = Server::release('versionstring');
        require Server::root() . '/core/templates/page.php';
    }

    /** scheme://host[:port] as the visitor wrote it, or as overwriteprotocol and overwritehost say. */
    public static function address(): string
    {
        $scheme = Server::config()->get('overwriteprotocol', '');
        if ($scheme === '') {
            $scheme = in_array($_SERVER['HTTPS'] ?? '', ['', 'off'], true) ? 'http' : 'https';
        }
        return $scheme . '://' . (Server::config()->get('overwritehost', '') ?: $_SERVER['HTTP_HOST']);
    }

    private static function isTrusted(string $host): bool
    {
        $name = strtolower((string) preg_replace('/:\d+$/D', '', $host));
        if (in_array($name, ['localhost', '127.0.0.1', '[::1]'], true)) {
            return true;
        }
        foreach ((array) Server::config()->get('trusted_domains', []) as $trusted) {
            $pattern = '/^' . str_replace('\*', '[-.a-z0-9]*', preg_quote(strtolower((string) $trusted), '/')) . '$/D';
            if (preg_match($pattern, $name) === 1 || strtolower((string) $trusted) === strtolower($host)) {
                return true;
            }
        }
        return false;
    }
}
