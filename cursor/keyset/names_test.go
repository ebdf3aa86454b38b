package keyset

import (
	"slices"
	"strings"
	"testing"
)

func TestParseFrom(t *testing.T) {
	for _, test := range []struct {
		dialect     *dialect
		from        string
		schema      string
		name, alias string
		ok          bool
	}{
		{&postgres, "Orders", "", "orders", "Orders", true},
		{&postgres, `"Orders"`, "", "Orders", `"Orders"`, true},
		{&postgres, `shop."Or""d.ers" AS o`, "shop", `Or"d.ers`, "o", true},
		{&postgres, "shop.orders o", "shop", "orders", "o", true},
		{&mysql, "`a``b`.`c d` x", "a`b", "c d", "x", true},
		{&sqlite, " [my table] ", "", "my table", "[my table]", true},
		{&sqlite, "größe", "", "größe", "größe", true},
		{&postgres, "ONLY orders", "", "", "", false},
		{&postgres, "a, b", "", "", "", false},
		{&postgres, "a JOIN b ON a.x = b.x", "", "", "", false},
		{&postgres, "(SELECT 1) x", "", "", "", false},
		{&postgres, "f(1)", "", "", "", false},
		{&mysql, "a.b.c", "", "", "", false},
		{&sqlite, "t INDEXED BY x", "", "", "", false},
	} {
		got, ok := parseFrom(test.dialect, test.from)
		if ok != test.ok || got.schema != test.schema || got.name != test.name || got.alias != test.alias {
			t.Errorf("%s: got %+v, %v", test.from, got, ok)
		}
	}
}

func TestParseColumn(t *testing.T) {
	for key, want := range map[string]string{"ID": "id", `"ID"`: "ID", "t.id": "id", `s.t."I d"`: "I d", "lower(x)": "", "a + b": "", "name COLLATE x": ""} {
		if got, ok := parseColumn(&postgres, key); got != want || ok != (want != "") {
			t.Errorf("%s: got %q, %v", key, got, ok)
		}
	}
}

func TestCompare(t *testing.T) {
	key := []string{"a", "b", "c"}
	for _, test := range []struct {
		dialect *dialect
		key     []string
		op      string
		want    string
		args    string
	}{
		{&postgres, key[:1], ">", "a > $3", "0"},
		{&postgres, key, "<=", "(a, b, c) <= ($3, $4, $5)", "012"},
		{&sqlite, key[:2], ">", "(a, b) > (?, ?)", "01"},
		{&mysql, key[:1], ">=", "a >= ?", "0"},
		{&mysql, key[:2], ">", "a > ? OR (a = ? AND b > ?)", "001"},
		{&mysql, key, "<=", "a < ? OR (a = ? AND b < ?) OR (a = ? AND b = ? AND c <= ?)", "001012"},
	} {
		s := &statement{test.dialect, []any{"user's", "own"}}
		args := ""
		got := test.dialect.compare(test.key, test.op, func(i int) string {
			args += string(rune('0' + i))
			return s.arg(i)
		})
		if got != test.want || args != test.args {
			t.Errorf("got %s with %s, want %s with %s", got, args, test.want, test.args)
		}
	}
}

func TestNear(t *testing.T) {
	names := []string{"apple", "banana", "customer", "customer_id", "order", "Orders", "total"}
	if got := near("orders", names); !strings.HasPrefix(got, "the nearest are Orders, order, ") || strings.Contains(got, "banana, apple") {
		t.Error(got)
	}
	if !slices.IsSorted(names[:5]) {
		t.Error("near sorted the caller's names")
	}
	if got := near("x", nil); got != "there are none" {
		t.Error(got)
	}
}

func FuzzParseFrom(f *testing.F) {
	f.Add("a.b AS c")
	f.Add(`"a""b"`)
	f.Fuzz(func(t *testing.T, from string) {
		for _, d := range []Dialect{&sqlite, Postgres, MySQL} {
			if table, ok := parseFrom(d.dialect(), from); ok && (table.name == "" || table.alias == "" || !strings.Contains(from, table.text)) {
				t.Errorf("%q: got %+v", from, table)
			}
		}
	})
}
