# The only holder of a file stops answering, and later is killed: on another pod, reads of that file fail in time and say why, everything else works, and
# the file can be read there, by the same mount, when the holder is back.
second() { WH_HOME=$WORK/second "$WH" "$@"; }
token=$("$WH" invite | tail -1)
second join "$token" --name second --mount "$WORK/mnt2" --listen 127.0.0.1:0
second up >"$WORK/ready2" 2>>"$WORK/log2" &
second_pid=$!
end() {
  kill -CONT "$(cat "$WORK/pid")" 2>/dev/null || true
  second down || kill -9 "$second_pid"
  umount -l "$WORK/mnt2" 2>/dev/null || true
}
trap end EXIT
here=$WORK/mnt2/holder
await() { # runs a command until it succeeds
  local _
  for _ in $(seq 300); do
    if "$@" >/dev/null 2>&1; then return; fi
    sleep 0.1
  done
  fail "never: $*"
}
"$WH" policy set /holder none
for i in 1 2 3 4; do
  head -c 3000000 /dev/urandom >"$MNT/only$i"
done
echo small >"$MNT/small"
"$WH" sync --wait --timeout 30s /holder || true
await test -e "$here/small"
cmp "$MNT/only1" "$here/only1"

works() { # what must go on, within some seconds
  local from=$SECONDS
  ls -lR "$WORK/mnt2" >/dev/null
  echo "text $1" >"$here/written$1"
  sync "$here/written$1"
  mv "$here/written$1" "$here/moved$1"
  [ "$(cat "$here/moved$1")" = "text $1" ] || fail "other files can't be read"
  [ "$(cat "$here/small")" = small ] || fail "small files can't be read"
  cmp -n 1000000 "$OUT/only1" "$here/only1"
  [ $((SECONDS - from)) -lt 20 ] || fail "other files took $((SECONDS - from)) s"
}
fails() { # a read of the file must fail in time, and be told with its reason
  local from=$SECONDS status=0
  cat "$here/$1" >/dev/null 2>"$OUT/error" || status=$?
  [ "$status" -ne 0 ] || fail "$1 could be read"
  [ $((SECONDS - from)) -lt 70 ] || fail "the read of $1 took $((SECONDS - from)) s"
  grep -q -e 'Input/output error' -e 'Connection timed out' "$OUT/error" || fail "the read of $1 says $(cat "$OUT/error")"
  second events --since "$((SECONDS - from + 2))s" | tee "$OUT/events" | grep "read_failed .*/holder/$1 " | grep -q first || fail "events: $(cat "$OUT/events")"
  echo "the read of $1 failed after $((SECONDS - from)) s: $(tail -1 "$OUT/error")"
}
cp "$MNT/only1" "$OUT/only1"
cp "$MNT/only2" "$OUT/only2"
cp "$MNT/only3" "$OUT/only3"
cp "$MNT/only4" "$OUT/only4"

kill -STOP "$(cat "$WORK/pid")"
fails only2 &
reader=$!
works 1
wait "$reader"
cat "$here/only3" >/dev/null 2>&1 & # waits, and is interrupted
reader=$!
sleep 0.5
kill -INT "$reader" 2>/dev/null || true
kill -TERM "$reader" 2>/dev/null || true
wait "$reader" || true
kill -CONT "$(cat "$WORK/pid")"
await cmp "$OUT/only2" "$here/only2"
await cmp "$OUT/only3" "$here/only3"

daemon_kill
fails only4
works 2
daemon_start
await cmp "$OUT/only4" "$here/only4"
await cmp "$MNT/moved2" "$here/moved2"
