# Editors: vim and emacs save in each of their ways, and by the same calls without them; what was saved outlives a kill.
# before makes a file to edit, with a second name and a mode that must stay.
before() {
  printf 'one\ntwo\nthree\n' >"$1"
  chmod 0640 "$1"
}
after() {
  [ "$(cat "$1")" = "$(printf 'one\nTWO\nthree')" ] || fail "$1 holds: $(cat "$1")"
  [ "$(stat -c %a "$1")" = 640 ] || fail "$1 has mode $(stat -c %a "$1")"
}
saved=()
cd "$MNT"
if command -v vim >/dev/null; then
  for copy in yes no auto; do
    for backup in backup nobackup; do
      f=$MNT/vim-$copy-$backup.txt
      before "$f"
      vim -u NONE -i NONE -N -es -c "set fsync swapfile writebackup backupskip= $backup backupcopy=$copy" -c '%s/two/TWO/' -c wq "$f" </dev/null
      after "$f"
      saved+=("$f")
      if [ "$backup" = backup ]; then
        [ "$(cat "$f~")" = "$(printf 'one\ntwo\nthree')" ] || fail "the backup holds: $(cat "$f~")"
      fi
    done
  done
  f=$MNT/vim-linked.txt
  before "$f"
  ln "$f" "$f.second"
  vim -u NONE -i NONE -N -es -c 'set backupcopy=auto' -c '%s/two/TWO/' -c wq "$f" </dev/null
  after "$f"
  after "$f.second"
else
  echo "no vim"
fi
if command -v emacs >/dev/null; then
  for way in "(setq backup-by-copying nil)" "(setq backup-by-copying t)" "(setq file-precious-flag t)" "(setq make-backup-files nil)"; do
    f="$MNT/emacs-${#saved[@]}.txt"
    before "$f"
    emacs -Q --batch --eval "(progn $way (setq write-region-inhibit-fsync nil) (find-file \"$f\") (goto-char 1) (search-forward \"two\") (replace-match \"TWO\" t) (save-buffer))" 2>&1
    after "$f"
    saved+=("$f")
  done
else
  echo "no emacs"
fi
# The calls of vim with backupcopy=no, of emacs with backup-by-copying, and of many others.
f=$MNT/renamed-away.txt
before "$f"
mv "$f" "$f~"
printf 'one\nTWO\nthree\n' | dd of="$f" conv=fsync status=none
chmod 0640 "$f"
rm "$f~"
after "$f"
saved+=("$f")
f=$MNT/copied.txt
before "$f"
cp -p "$f" "$f~"
printf 'one\nTWO\nthree\n' | dd of="$f" conv=fsync status=none # truncated and written in place
after "$f"
saved+=("$f")
f=$MNT/renamed-over.txt
before "$f"
printf 'one\nTWO\nthree\n' | dd of="$f.new" conv=fsync status=none
chmod 0640 "$f.new"
mv "$f.new" "$f"
after "$f"
sync "$MNT" # the folder: a rename alone is durable a little later
saved+=("$f")
cd /
daemon_kill
daemon_start
for f in "${saved[@]}"; do
  after "$f"
done
[ -z "$(find "$MNT" -name '*.sw?' -o -name '4913')" ] || fail "left: $(ls -A "$MNT")"
