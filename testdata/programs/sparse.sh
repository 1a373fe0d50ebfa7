# cp --sparse: holes are read as zeros, and cost neither time nor space.
truncate -s 2G "$OUT/sparse"
for at in 0 1000000 1073741824 2147000000; do
  echo "text at $at" | dd of="$OUT/sparse" bs=1 seek="$at" conv=notrunc status=none
done
before=$("$WH" df --json | tr ',' '\n' | sed -n 's/.*"stored_bytes":\([0-9]*\).*/\1/p')
for how in always auto; do
  cp --sparse="$how" "$OUT/sparse" "$MNT/$how"
  cmp "$OUT/sparse" "$MNT/$how"
done
cp --sparse=always "$MNT/auto" "$MNT/again"
cmp "$OUT/sparse" "$MNT/again"
cp --sparse=always "$MNT/auto" "$OUT/back"
cmp "$OUT/sparse" "$OUT/back"
[ "$(du -k "$OUT/back" | cut -f1)" -lt 10000 ] || fail "copied back it takes $(du -k "$OUT/back")"
now=$("$WH" df --json | tr ',' '\n' | sed -n 's/.*"stored_bytes":\([0-9]*\).*/\1/p')
[ $((now - before)) -lt 10000000 ] || fail "holes take $((now - before)) bytes"
