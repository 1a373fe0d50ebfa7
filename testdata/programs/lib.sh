# Functions for the scripts in this folder. They are sourced by bash with -euo pipefail.

# need ends the script as skipped if a program is missing.
need() {
  local program
  for program in "$@"; do
    if ! command -v "$program" >/dev/null; then
      echo "SKIPPED: $program is not installed"
      exit 77
    fi
  done
}

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

# daemon_start starts the daemon and waits until it is mounted.
daemon_start() {
  : >"$WORK/ready"
  "$WH" up >"$WORK/ready" 2>>"$WORK/log" &
  echo $! >"$WORK/pid"
  local _
  for _ in $(seq 600); do
    if grep -q '^ready ' "$WORK/ready"; then
      return
    fi
    kill -0 "$(cat "$WORK/pid")" 2>/dev/null || fail "the daemon ended: $(tail -3 "$WORK/log")"
    sleep 0.1
  done
  fail "the daemon is not ready"
}

# daemon_kill kills the daemon as a crash would.
daemon_kill() {
  local pid
  pid=$(cat "$WORK/pid")
  kill -9 "$pid"
  while kill -0 "$pid" 2>/dev/null && ! grep -q '^State:.*Z' "/proc/$pid/status" 2>/dev/null; do
    sleep 0.02
  done
}

# make_tree makes a tree with what trees have in a folder.
make_tree() {
  mkdir -p "$1/folder/deep/deeper" "$1/empty folder" "$1/$(printf 'odd\nname \xff')"
  local i
  for i in $(seq 60); do
    head -c "$((i * 997))" /dev/urandom >"$1/folder/file $i"
  done
  head -c 3000000 /dev/urandom >"$1/folder/deep/large"
  truncate -s 5M "$1/sparse"
  echo end >>"$1/sparse"
  : >"$1/empty"
  ln "$1/folder/file 1" "$1/folder/deep/linked"
  ln "$1/folder/file 1" "$1/linked too"
  ln -s folder/deep "$1/symlink"
  ln -s "nothing here" "$1/dangling"
  mkfifo "$1/fifo"
  chmod 0600 "$1/folder/file 2"
  chmod 0755 "$1/folder/file 3"
  chmod 2755 "$1/folder/deep"
  touch -d '2001-02-03 04:05:06' "$1/folder/file 4" "$1/folder/deep/deeper"
  if command -v setfattr >/dev/null; then
    setfattr -n user.note -v "something" "$1/folder/file 5"
    setfattr -n user.note -v "of a folder" "$1/folder"
  fi
}
