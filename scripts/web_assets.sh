#!/usr/bin/env bash
# Makes the libraries of the page, crates/serve/assets/*.js.gz, of npm's packages at pinned versions and hashes. The same
# packages give the same bytes. Needs npm; the build needs neither npm nor a network.
set -euo pipefail
cd "$(dirname "$0")/.."
OUT=$PWD/crates/serve/assets
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

bring() { # PACKAGE VERSION SHA256 FILE NAME LICENCE
  local archive
  archive=$(cd "$work" && npm pack --silent "$1@$2")
  echo "$3  $work/$archive" | sha256sum --check --quiet
  mkdir -p "$work/$5"
  tar -xzf "$work/$archive" -C "$work/$5"
  # The text of the licence goes with every copy.
  { echo "/*! $1 $2"; cat "$6"; echo "*/"; cat "$work/$5/package/$4"; } | grep -v '^//# sourceMappingURL=' >"$work/$5.js"
  gzip -9 -n -c "$work/$5.js" >"$OUT/$5.js.gz"
  echo "$5: $(stat -c %s "$work/$5.js") bytes, packed $(stat -c %s "$OUT/$5.js.gz")"
}

bring @niivue/niivue 0.69.0 6e9a6a471b428eb3b258a0086beca9187d95e43a781a39e8a519c6da246af485 dist/niivue.umd.js niivue "$OUT/niivue.LICENSE"
bring openseadragon 6.1.1 b4ab2942f33b90e0448e4d20fc5ed14cee049f1f3ae49d70afd4b05e9a2f92d0 build/openseadragon/openseadragon.min.js openseadragon "$OUT/openseadragon.LICENSE"
