# How pages of measured figures are written; sourced by scripts that set `page` (the file), `work` (a folder for what is
# printed) and `program` (a build of Ampoule). Each figure stands below the command that printed it.
failed=0

# Commands are shown with this name, whatever the program's path.
ampoule() { "$program" "$@"; }

say() { printf '\n%s\n' "$*" >>"$page"; }

# title NAME: the first lines, with the day and the commit, which `measured` names where the program was built of another one.
title() {
  local commit
  commit=${measured:-$(git rev-parse --short HEAD 2>/dev/null || echo "no commit")}
  [ -n "${measured:-}" ] || [ -z "$(git status --porcelain --untracked-files=no -- crates cli python Cargo.lock 2>/dev/null || true)" ] || commit="$commit with changes"
  printf '# %s\n\nWritten by `%s` on %s, of commit %s. Each figure stands below the\ncommand that printed it. Times hold for this machine only; how they are taken is in [measuring.md](measuring.md).\n' \
    "$1" "$0" "$(date -u +%Y-%m-%d)" "$commit" >"$page"
}

# show COMMAND…: the command as a reader types it, and what it prints. A failure is a figure too.
show() {
  local status=0
  {
    printf '\n```\n$'
    printf ' %s' "$@"
    printf '\n'
  } >>"$page"
  "$@" </dev/null >"$work/printed" 2>"$work/said" || status=$?
  cat "$work/printed" >>"$page"
  if [ "$status" -ne 0 ]; then
    cat "$work/said" >>"$page"
    echo "exit code $status" >>"$page"
    failed=$((failed + 1))
    echo "exit code $status: $*" >&2
  fi
  printf '```\n' >>"$page"
}
