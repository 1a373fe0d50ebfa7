# rsync -aHX: a second run moves nothing, by times and sizes and by checksums, there and back.
need rsync
make_tree "$OUT/tree"
rsync -aHX "$OUT/tree/" "$MNT/tree/"
for how in "" --checksum; do
  moved=$(rsync -aHX $how --delete --itemize-changes "$OUT/tree/" "$MNT/tree/")
  [ -z "$moved" ] || fail "moved again ($how): $moved"
done
rsync -aHX "$MNT/tree/" "$OUT/back/"
moved=$(rsync -aHX --checksum --delete --itemize-changes "$OUT/tree/" "$OUT/back/")
[ -z "$moved" ] || fail "not as it was: $moved"
echo more >>"$OUT/tree/folder/file 7"
rm "$OUT/tree/folder/file 8"
rsync -aHX --delete --inplace "$OUT/tree/" "$MNT/tree/"
moved=$(rsync -aHX --checksum --delete --itemize-changes "$OUT/tree/" "$MNT/tree/")
[ -z "$moved" ] || fail "moved again after a change: $moved"
