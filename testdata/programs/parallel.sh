# 8 writers at once: files of their own, one that all append to, and folders that they fill and empty.
writers=8 lines=200
: >"$MNT/log"
work() {
  local w=$1 i
  mkdir "$MNT/writer$w"
  for i in $(seq "$lines"); do
    printf 'writer %d line %d %s\n' "$w" "$i" "$(head -c 60 /dev/zero | tr '\0' x)" >>"$MNT/log"
    echo "$w $i" >"$MNT/writer$w/$i.tmp"
    mv "$MNT/writer$w/$i.tmp" "$MNT/writer$w/$i"
    if [ $((i % 3)) -eq 0 ]; then
      rm "$MNT/writer$w/$((i - 1))"
    fi
  done
  head -c 20000000 /dev/urandom >"$OUT/big$w"
  cp "$OUT/big$w" "$MNT/big$w"
}
pids=()
for w in $(seq "$writers"); do
  work "$w" &
  pids+=($!)
done
for pid in "${pids[@]}"; do
  wait "$pid"
done
[ "$(wc -l <"$MNT/log")" -eq $((writers * lines)) ] || fail "$(wc -l <"$MNT/log") lines"
for w in $(seq "$writers"); do
  [ "$(grep -c "^writer $w line [0-9]* x\{60\}$" "$MNT/log")" -eq "$lines" ] || fail "lines of writer $w are torn or lost"
  grep "^writer $w " "$MNT/log" | cut -d' ' -f4 | sort -nc || fail "lines of writer $w are out of order"
  [ "$(find "$MNT/writer$w" -type f | wc -l)" -eq $((lines - lines / 3)) ] || fail "writer $w has $(find "$MNT/writer$w" -type f | wc -l) files"
  cmp "$OUT/big$w" "$MNT/big$w"
done
