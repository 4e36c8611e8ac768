<?php
/** @var string $product  @var string $version  @var string $sentence */
?>
<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Stand-in, not <?= htmlspecialchars($product) ?></title></head>
<body>
<h1>This is a stand-in, not <?= htmlspecialchars($product) ?></h1>
<p>hearth's tests use it in place of <?= htmlspecialchars("$product $version") ?>. Keep nothing here.</p>
<p><?= htmlspecialchars($sentence) ?></p>
</body>
</html>
