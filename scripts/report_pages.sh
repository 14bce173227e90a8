#!/bin/sh
# Pictures of a report in headless Chromium (Debian's package chromium): `report_pages.sh REPORT.html FOLDER` writes
# light and dark, 1280 and 400 pixels wide, and the printed page as PDF.
set -eu
page=$(realpath "$1") out=$2
mkdir -p "$out"
browser="chromium --headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync
  --disable-component-update --hide-scrollbars --user-data-dir=$(mktemp -d)"
for scheme in light:1 dark:0; do
  for width in 1280 400; do
    # A frame of the width wanted: windows of the browser itself are not as narrow as that.
    frame="$out/frame.html"
    printf '<!doctype html><meta name="color-scheme" content="light dark"><body style="margin:0"><iframe src="file://%s" style="border:0;width:%spx;height:16000px">' "$page" "$width" > "$frame"
    $browser --blink-settings=preferredColorScheme="${scheme#*:}" --window-size=1280,16000 \
      --screenshot="$out/${scheme%:*}-$width.png" "file://$(realpath "$frame")" 2> /dev/null
  done
done
$browser --print-to-pdf="$out/report.pdf" --no-pdf-header-footer "file://$page" 2> /dev/null
rm -f "$out/frame.html"
ls -l "$out"
