# tar: a tree that is unpacked on the mount and packed there is byte for byte the same archive.
need tar
make_tree "$OUT/tree"
pack() { tar -C "$1" --sort=name --numeric-owner --xattrs --xattrs-include='user.*' --format=posix --pax-option=delete=atime,delete=ctime -cf "$2" .; }
pack "$OUT/tree" "$OUT/in.tar"
tar -C "$MNT" --xattrs --xattrs-include='user.*' --numeric-owner -xpf "$OUT/in.tar"
pack "$MNT" "$OUT/out.tar"
diff <(tar -tvf "$OUT/in.tar") <(tar -tvf "$OUT/out.tar")
cmp "$OUT/in.tar" "$OUT/out.tar"
diff -r --no-dereference --exclude=fifo "$OUT/tree" "$MNT"
tar -C "$OUT/tree" --numeric-owner -df "$OUT/out.tar"
