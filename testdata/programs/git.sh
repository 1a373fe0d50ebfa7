# git: a clone, a full check, commits, a collection of garbage.
need git
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null
g() { git -c safe.directory='*' -c user.name=test -c user.email=test@localhost -c commit.gpgsign=false "$@"; }
source=$OUT/source
if [ -e "$REPO/.git" ]; then
  g clone -q --no-local "file://$REPO" "$source"
else
  g init -q "$source"
  cp -r "$REPO/docs" "$source"
  g -C "$source" add -A
  g -C "$source" commit -qm first
fi
g clone -q --no-local "file://$source" "$MNT/clone"
cd "$MNT/clone"
g fsck --full --strict
[ -z "$(g status --porcelain)" ] || fail "changed after a clone"
diff -r --no-dereference --exclude=.git "$source" .
for i in $(seq 20); do
  echo "line $i" >>new.txt
  g add new.txt
  g commit -qm "commit $i"
done
g checkout -q -b other HEAD~10
[ "$(wc -l <new.txt)" -eq 10 ] || fail "wrong contents after a checkout"
echo "on a branch" >branch.txt
g add branch.txt
g commit -qm "on a branch"
g rebase -q -
g gc -q --prune=now
g fsck --full --strict
[ -z "$(g status --porcelain)" ] || fail "changed after all"
[ "$(wc -l <new.txt)" -eq 20 ] || fail "wrong contents after a rebase"
