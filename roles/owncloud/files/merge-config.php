<?php
// This file belongs to hearth and is replaced whole; changes made here are lost.
// Standard input: a JSON list of two lists of texts, a backup's config.php with what was beside it, and this box's own.
// Prints the backup's, with the places and the database account of this box, in maintenance mode.

declare(strict_types=1);

/** @return array<string, mixed> */
function settings(string $text): array
{
    $CONFIG = [];
    ob_start();
    eval('?>' . $text);
    ob_end_clean();
    return $CONFIG;
}

$read = static fn (array $texts): array => array_merge(...array_map(settings(...), $texts));
[$theirs, $ours] = array_map($read, json_decode(stream_get_contents(STDIN), true, 3, JSON_THROW_ON_ERROR));
$here = ['datadirectory', 'dbtype', 'dbhost', 'dbname', 'dbuser', 'dbpassword'];
$merged = array_merge($theirs, array_intersect_key($ours, array_flip($here)), ['installed' => true, 'maintenance' => true]);
echo "<?php\n\$CONFIG = ", var_export($merged, true), ";\n";
