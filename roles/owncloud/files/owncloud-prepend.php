<?php
// This file belongs to hearth and is replaced whole; changes made here are lost.
// Run before every script of the cloud: its FPM pool, occ, background jobs. Whether the release needs help is read from
// the stamp of the tree that is served, not from the inventory: until an upgrade the older release goes on serving.
(static function (): void {
    $stamp = json_decode((string) @file_get_contents('/srv/hearth/www/owncloud/config/hearth.release'), true);
    if ($stamp['ignore_deprecations'] ?? false) {
        require_once __DIR__ . '/owncloud-error-handler.php';
    }
})();
