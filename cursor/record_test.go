package cursor

import (
	"errors"
	"testing"
)

// FuzzRecord reads arbitrary bytes: a record, which is then stored and read again as
// it was, or ErrCorrupt, never a panic. With the right checksum before them the bytes
// get past the first line.
func FuzzRecord(f *testing.F) {
	for _, seed := range []string{"", "{}", `{"job":"job","items":1,"seq":2,"savedAt":"2024-01-01T00:00:00Z"}`, `{"job":"job","position":1e999,"states":{"a":null}}`,
		`{"job":"job","position":"\ud800","states":null}` + "\n", "[[[[", `{"job":"other"}`, "{} {}"} {
		f.Add([]byte(seed), true)
		f.Add([]byte("checkpoint 1 00000000\n"+seed), false)
	}
	f.Fuzz(func(t *testing.T, data []byte, checksum bool) {
		if checksum {
			data = append([]byte(recordHeader(recordFormat, data)), data...)
		}
		r, err := decodeRecord("job", data)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		again, err := encodeRecord("job", r)
		if err != nil {
			t.Fatalf("a record that was read cannot be stored: %v", err)
		}
		r2, err := decodeRecord("job", again)
		if err != nil || r2.Seq != r.Seq || r2.Items != r.Items || len(r2.States) != len(r.States) || !r2.SavedAt.Equal(r.SavedAt) {
			t.Fatalf("%+v came back as %+v, %v", r, r2, err)
		}
	})
}
