package keyset_test

import (
	"database/sql"
	"testing"
	"time"

	"example.com/pipeline/cursor/keyset"
)

func TestFingerprint(t *testing.T) {
	base := func() keyset.Query[int, int] {
		return keyset.Query[int, int]{Select: "id, name", From: "t", Where: "a = ? AND b > ?", Args: []any{int64(1), "x"}, Key: []string{"id"}}
	}
	// The value is fixed: a checkpoint outlives the program that wrote it.
	if got, want := base().Fingerprint(), "2d51f008a8708d32d5c271226326a30f"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	one, until := int64(1), 7
	for name, same := range map[string]func(*keyset.Query[int, int]){
		"Until":     func(q *keyset.Query[int, int]) { q.Until = &until },
		"Page":      func(q *keyset.Query[int, int]) { q.Page.Size = 7 },
		"Hint":      func(q *keyset.Query[int, int]) { q.Hint = "FORCE INDEX (x)" },
		"int":       func(q *keyset.Query[int, int]) { q.Args[0] = 1 },
		"pointer":   func(q *keyset.Query[int, int]) { q.Args[0] = &one },
		"valuer":    func(q *keyset.Query[int, int]) { q.Args[0] = sql.NullInt64{Int64: 1, Valid: true} },
		"functions": func(q *keyset.Query[int, int]) { q.Position = func(i int) int { return i } },
	} {
		q := base()
		if same(&q); q.Fingerprint() != base().Fingerprint() {
			t.Errorf("%s changed the fingerprint", name)
		}
	}
	seen := map[string]string{base().Fingerprint(): "base"}
	for name, other := range map[string]func(*keyset.Query[int, int]){
		"Select":       func(q *keyset.Query[int, int]) { q.Select = "id" },
		"From":         func(q *keyset.Query[int, int]) { q.From = "u" },
		"Where":        func(q *keyset.Query[int, int]) { q.Where = "" },
		"Desc":         func(q *keyset.Query[int, int]) { q.Desc = true },
		"Key":          func(q *keyset.Query[int, int]) { q.Key = []string{"id", "id"} },
		"Key joined":   func(q *keyset.Query[int, int]) { q.Key = []string{"id, id"} },
		"value":        func(q *keyset.Query[int, int]) { q.Args[0] = int64(2) },
		"text":         func(q *keyset.Query[int, int]) { q.Args[0] = "1" },
		"float":        func(q *keyset.Query[int, int]) { q.Args[0] = 1.0 },
		"bool":         func(q *keyset.Query[int, int]) { q.Args[0] = true },
		"bytes":        func(q *keyset.Query[int, int]) { q.Args[1] = []byte("x") },
		"null":         func(q *keyset.Query[int, int]) { q.Args[1] = nil },
		"time":         func(q *keyset.Query[int, int]) { q.Args[1] = time.Unix(1, 0) },
		"array":        func(q *keyset.Query[int, int]) { q.Args[1] = []string{"x"} },
		"other array":  func(q *keyset.Query[int, int]) { q.Args[1] = []string{"x", "y"} },
		"one argument": func(q *keyset.Query[int, int]) { q.Args = q.Args[:1] },
		"named":        func(q *keyset.Query[int, int]) { q.Args[1] = sql.Named("b", "x") },
	} {
		q := base()
		other(&q)
		if twin, ok := seen[q.Fingerprint()]; ok {
			t.Errorf("%s has the fingerprint of %s", name, twin)
		}
		seen[q.Fingerprint()] = name
	}
	defer func() {
		if recover() == nil {
			t.Error("an argument without a value passed")
		}
	}()
	q := base()
	q.Args[0] = func() {}
	q.Fingerprint()
}
