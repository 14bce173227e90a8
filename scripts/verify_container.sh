#!/usr/bin/env bash
# Builds the container image of examples/cohorts/container with buildah (Debian: apt-get install buildah) and looks at
# what came out: one layer with one file, an unprivileged user, the entry point; then runs it.
#   scripts/verify_container.sh [BINARY]     a static program; target/dist/ampoule by default (scripts/release.sh)
set -euo pipefail
cd "$(dirname "$0")/.."
binary=$(realpath "${1:-target/dist/ampoule}")
command -v buildah >/dev/null || { echo "SKIPPED: buildah is not installed; the image is not built"; exit 0; }
[ -x "$binary" ] || { echo "there is no $binary: make it with scripts/release.sh, or name a static program" >&2; exit 2; }
work=$(mktemp -d)
trap 'build umount --all >/dev/null 2>&1 || true; rm -rf "$work"' EXIT
cp "$binary" "$work/ampoule"
build() { buildah --storage-driver vfs --root "$work/root" --runroot "$work/run" "$@"; }
build bud --quiet --isolation chroot -t ampoule -f examples/cohorts/container/Containerfile \
  --build-arg BINARY=ampoule "$work" >/dev/null
build inspect --type image ampoule >"$work/image.json"
python3 - "$work/image.json" <<'PY'
import json, sys

image = json.load(open(sys.argv[1]))["OCIv1"]
config = image["config"]
assert config["User"] == "65532:65532" and config["Entrypoint"] == ["/ampoule"] and config["Cmd"] == ["--help"], config
assert len(image["rootfs"]["diff_ids"]) == 1, image["rootfs"]
PY
container=$(build from ampoule)
mounted=$(build mount "$container")
files=$(cd "$mounted" && find . -type f | sort)
[ "$files" = ./ampoule ] || { echo "the image holds more than the program: $files" >&2; exit 1; }
[ "$(stat -c %a "$mounted/ampoule")" = 755 ] || { echo "the program cannot be run by others" >&2; exit 1; }
build run --isolation chroot "$container" -- /ampoule --version
echo "container: one layer, one file of $(stat -c %s "$mounted/ampoule") bytes, user 65532"
