#!/usr/bin/env bash
# Builds the program for each system as one file that needs nothing beside it, into target/release-files:
#
#   scripts/release.sh [--twice] [linux] [windows] [aarch64]
#
# Each file is stripped, tells no path of this machine, and is started where this machine can start it (wine, qemu-user). One of
# more than 25 MB is said to be. Beside it: its bill of materials, SHA-256 sums of all, and `ran.txt` with a line for each of what
# was run where. --twice builds each a second time from nothing and fails where the bytes differ.
set -euo pipefail
cd "$(dirname "$0")/.."
CROSS=${CROSS:-target/cross}
OUT=target/release-files
MOST=25000000
twice=
systems=()
for word in "$@"; do
  case $word in
    --twice) twice=1 ;;
    linux | windows | aarch64) systems+=("$word") ;;
    *)
      sed -n '2,10p' "$0"
      exit 2
      ;;
  esac
done
[ ${#systems[@]} -gt 0 ] || systems=(linux windows aarch64)
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
root=$PWD
foreign=()
for system in "${systems[@]}"; do [ "$system" = linux ] || foreign+=("$system"); done
[ ${#foreign[@]} -eq 0 ] || scripts/cross_setup.sh "${foreign[@]}"
rm -rf "$OUT"
mkdir -p "$OUT"

# What compilers write of places is named after what lies there.
renamed() { # SYSROOT
  echo "--remap-path-prefix=$root=/ampoule --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo" \
    "--remap-path-prefix=$1=/rust"
}

# Builds SYSTEM in the folder BUILD and prints the program's path.
build() { # SYSTEM BUILD
  local triple flags std=() name=ampoule
  case $1 in
    linux)
      triple=x86_64-unknown-linux-gnu
      flags="-Ctarget-feature=+crt-static"
      ;;
    windows)
      triple=x86_64-pc-windows-gnu
      flags="-Ctarget-feature=+crt-static -Clink-arg=-Wl,--no-insert-timestamp"
      name=ampoule.exe
      ;;
    aarch64)
      triple=aarch64-unknown-linux-gnu
      flags="-Ctarget-feature=+crt-static"
      ;;
  esac
  (
    if [ "$1" != linux ]; then
      # shellcheck disable=SC1091
      . "$CROSS/env"
      std=("$CROSS_STD")
    fi
    RUSTFLAGS="$flags $(renamed "$(rustc --print sysroot)")"
    export RUSTFLAGS CARGO_TARGET_DIR=$2 CARGO_INCREMENTAL=0
    cargo build --quiet --locked --profile dist "${std[@]}" --target "$triple" -p ampoule-cli --no-default-features >&2
  )
  echo "$2/$triple/dist/$name"
}

# Starts the program where this machine can, and prints what was run and how it went.
started() { # SYSTEM FILE
  local with=() where work
  case $1 in
    linux) where="this machine ($(uname -sr))" ;;
    windows)
      with=("$CROSS/wine.sh")
      where="$(/usr/lib/wine/wine64 --version)"
      ;;
    aarch64)
      with=(qemu-aarch64)
      where="$(qemu-aarch64 --version | head -1)"
      ;;
  esac
  work=$(mktemp -d)
  if ! "${with[@]}" "$2" --version >/dev/null || ! "${with[@]}" "$2" run "$root/assets/quick/discs.onnx" "$root/assets/quick/test" \
    -o "$work/out" --recipe discs --isa scalar --quiet; then
    echo "$(basename "$2"): does not run in $where" >&2
    rm -rf "$work"
    return 1
  fi
  echo "$(basename "$2"): --version and run of discs.onnx on 16 tiles in $where, labels $(cat "$work"/out/*_mask.png | sha256sum | cut -c1-16)"
  rm -rf "$work"
}

for system in "${systems[@]}"; do
  echo "== $system"
  built=$(build "$system" "$root/target/dist-$system")
  case $system in
    linux) file=$OUT/ampoule-$version-x86_64-linux triple=x86_64-unknown-linux-gnu ;;
    windows) file=$OUT/ampoule-$version-x86_64-windows.exe triple=x86_64-pc-windows-gnu ;;
    aarch64) file=$OUT/ampoule-$version-aarch64-linux triple=aarch64-unknown-linux-gnu ;;
  esac
  cp "$built" "$file"
  size=$(stat -c %s "$file")
  [ "$size" -le "$MOST" ] || echo "$(basename "$file"): $size bytes, more than the $MOST aimed at" | tee -a "$OUT/ran.txt"
  for place in "$root" "${CARGO_HOME:-$HOME/.cargo}" "$HOME/.rustup"; do
    if grep -q -a -F "$place" "$file"; then
      echo "$file tells a path of this machine: $place" >&2
      exit 1
    fi
  done
  if [ -n "$twice" ]; then
    rm -rf "$root/target/dist-$system"
    again=$(build "$system" "$root/target/dist-$system")
    cmp "$file" "$again" || { echo "two builds for $system differ" >&2; exit 1; }
    echo "$(basename "$file"): two builds have the same bytes" | tee -a "$OUT/ran.txt"
  fi
  python3 scripts/sbom.py "$file.cdx.json" "$triple" >/dev/null
  started "$system" "$file" | tee -a "$OUT/ran.txt"
  echo "$(basename "$file"): $((size / 1000)) kB"
done
(cd "$OUT" && sha256sum ampoule-* >SHA256SUMS && cat SHA256SUMS)
