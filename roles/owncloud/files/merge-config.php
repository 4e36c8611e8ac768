<?php
// This file belongs to hearth and is replaced whole; changes made here are lost.
// Standard input: a JSON list of two texts, the config.php of a backup and this box's own. Prints the backup's, with
// the places and the database account of this box, in maintenance mode.

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

[$theirs, $ours] = array_map(settings(...), json_decode(stream_get_contents(STDIN), true, 2, JSON_THROW_ON_ERROR));
$here = ['datadirectory', 'dbtype', 'dbhost', 'dbname', 'dbuser', 'dbpassword'];
$merged = array_merge($theirs, array_intersect_key($ours, array_flip($here)), ['installed' => true, 'maintenance' => true]);
echo "<?php\n\$CONFIG = ", var_export($merged, true), ";\n";
