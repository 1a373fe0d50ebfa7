package p2p

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
)

func dsKey(s string) datastore.Key { return datastore.NewKey(s) }

// The library's datastore over Records does what a map does, for random operations and queries.
func TestDatastoreModel(t *testing.T) {
	rnd := random(t)
	ctx := t.Context()
	d, model := newDatastore(nil), map[string]string{}
	name := func() string {
		s := ""
		for range 1 + rnd.IntN(3) {
			s += fmt.Sprintf("/%c", 'a'+rnd.IntN(4))
		}
		return s
	}
	for i := range 4000 {
		key := name()
		switch rnd.IntN(5) {
		case 0, 1:
			value := strings.Repeat("v", rnd.IntN(3))
			model[key] = value
			if err := d.Put(ctx, dsKey(key), []byte(value)); err != nil {
				t.Fatal(err)
			}
		case 2:
			delete(model, key)
			if err := d.Delete(ctx, dsKey(key)); err != nil {
				t.Fatal(err)
			}
		case 3:
			want, ok := model[key]
			got, err := d.Get(ctx, dsKey(key))
			if (err == nil) != ok || string(got) != want {
				t.Fatalf("step %d: get %s: %q, %v", i, key, got, err)
			}
			if has, err := d.Has(ctx, dsKey(key)); err != nil || has != ok {
				t.Fatalf("step %d: has %s: %v, %v", i, key, has, err)
			}
			if size, err := d.GetSize(ctx, dsKey(key)); (err == nil) != ok || ok && size != len(want) {
				t.Fatalf("step %d: size of %s: %d, %v", i, key, size, err)
			}
		case 4:
			checkQuery(t, d, model, query.Query{Prefix: key, KeysOnly: rnd.IntN(2) == 0, Limit: rnd.IntN(5)})
		}
	}
	for i := range 3 * storePage { // more than a page
		key := fmt.Sprintf("/many/%d", i)
		model[key] = "x"
		if err := d.Put(ctx, dsKey(key), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	checkQuery(t, d, model, query.Query{})
	checkQuery(t, d, model, query.Query{Prefix: "/many"})
}

func checkQuery(t *testing.T, d *datastoreOf, model map[string]string, q query.Query) {
	t.Helper()
	results, err := d.Query(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := results.Rest()
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, key := range slices.Sorted(maps.Keys(model)) {
		if q.Prefix == "" || strings.HasPrefix(key, q.Prefix+"/") {
			want = append(want, key)
		}
	}
	if q.Limit > 0 {
		want = want[:min(len(want), q.Limit)]
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Key)
		if !q.KeysOnly && string(e.Value) != model[e.Key] {
			t.Errorf("query %+v: %s is %q", q, e.Key, e.Value)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("query %+v: got %v, want %v", q, got, want)
	}
}
