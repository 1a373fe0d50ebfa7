package p2p

import (
	"bytes"
	"testing"
	"time"
)

func TestBareStream(t *testing.T) {
	want := bytes.Repeat([]byte("bare"), 1<<20)
	var got bytes.Buffer
	n, err := BareStream(within(t, 20*time.Second), &got, bytes.NewReader(want))
	if err != nil || n != int64(len(want)) || !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%d of %d bytes, %v", n, len(want), err)
	}
}
