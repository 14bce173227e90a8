#!/usr/bin/env bash
# Licences, advisories, sources and banned crates of all dependencies (deny.toml), and that the bill of materials can be
# made. What is not installed is said and skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
if cargo deny --version >/dev/null 2>&1; then
  cargo deny --log-level error check licenses bans sources
  # Advisories need a database from the network.
  cargo deny --log-level error check advisories || {
    code=$?
    if cargo deny fetch db >/dev/null 2>&1; then exit "$code"; fi
    echo "SKIPPED: advisories: the database cannot be fetched"
  }
else
  echo "SKIPPED: cargo deny is missing (scripts/setup.sh --tools): licences, advisories, bans and sources were not checked"
fi
if command -v python3 >/dev/null; then
  bill=$(mktemp)
  python3 scripts/sbom.py "$bill"
  rm -f "$bill"
else
  echo "SKIPPED: python3 is missing: the bill of materials was not made"
fi
