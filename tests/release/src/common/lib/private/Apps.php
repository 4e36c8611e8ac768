<?php

declare(strict_types=1);

namespace OC;

use InvalidArgumentException;

/** The apps in apps/ (shipped) and apps-external/ (the household's own), and which of them are enabled. */
final class Apps
{
    public function __construct(private readonly string $root, private readonly AppConfig $config)
    {
    }

    /** @return array<string, array{Version: string, Path: string}> by name, those enabled or those disabled */
    public function all(bool $enabled): array
    {
        $found = [];
        foreach (['apps', 'apps-external'] as $folder) {
            foreach (glob("$this->root/$folder/*/appinfo/info.xml") ?: [] as $info) {
                $path = dirname($info, 2);
                $version = (string) simplexml_load_file($info)->version;
                $found[basename($path)] = ['Version' => $version, 'Path' => $path];
            }
        }
        ksort($found);
        return array_filter($found, fn (string $name): bool => $this->isEnabled($name) === $enabled, ARRAY_FILTER_USE_KEY);
    }

    public function isEnabled(string $name): bool
    {
        return $this->config->get($name, 'enabled', 'no') === 'yes';
    }

    /** Whether it changed anything; throws InvalidArgumentException for an app that is not there. */
    public function switch(string $name, bool $on): bool
    {
        if (!isset($this->all(!$on)[$name])) {
            if (!isset($this->all($on)[$name])) {
                throw new InvalidArgumentException("$name not found");
            }
            return false;
        }
        $this->config->set($name, 'enabled', $on ? 'yes' : 'no');
        $this->config->set($name, 'installed_version', $this->all($on)[$name]['Version']);
        return true;
    }
}
