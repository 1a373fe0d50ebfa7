# sqlite: in WAL and in rollback mode; the daemon is killed while rows are inserted. What was committed is there, and the database is whole. With less
# than "extra" sqlite does not sync the removal of its journal, and what it committed last may be rolled back after a crash, on any file system.
need sqlite3
for mode in wal delete truncate persist; do
  db=$MNT/$mode.db
  sqlite3 "$db" "pragma journal_mode=$mode; create table t(n integer primary key, s text); create index i on t(s);" >/dev/null
  insert() { # inserts rows from $1 on until it fails, and notes each that is committed
    local n=$1
    while sqlite3 -cmd ".timeout 10000" "$db" \
      "pragma journal_mode=$mode; pragma synchronous=extra; begin; insert into t values($n, hex(randomblob(500))); update t set s=hex(randomblob(300)) where n=abs(random())%$n; commit;" \
      >/dev/null 2>>"$OUT/$mode.err"; do
      echo "$n" >"$OUT/$mode.committed.new"
      mv "$OUT/$mode.committed.new" "$OUT/$mode.committed"
      n=$((n + 1))
    done
  }
  next=1
  echo 0 >"$OUT/$mode.committed"
  for round in 1 2 3 4; do
    insert "$next" &
    writer=$!
    sleep "1.$round"
    daemon_kill
    wait "$writer"
    daemon_start
    committed=$(cat "$OUT/$mode.committed")
    got=$(sqlite3 "$db" "pragma integrity_check; select ifnull(max(n), 0) from t;" | tr '\n' ' ')
    max=$(echo "$got" | cut -d' ' -f2)
    [ "${got%% *}" = ok ] || fail "$mode, round $round: $got"
    [ "$max" -ge "$committed" ] || fail "$mode, round $round: row $committed was committed, $max is the last one"
    [ "$max" -le $((committed + 1)) ] || fail "$mode, round $round: $max rows, $committed were committed"
    next=$((max + 1))
  done
  [ "$next" -gt 4 ] || fail "$mode: nothing was inserted: $(tail -1 "$OUT/$mode.err")"
  echo "$mode: $((next - 1)) rows, 4 kills"
done
