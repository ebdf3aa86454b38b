package keyset

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"example.com/pipeline/cursor/internal/paging"
)

// A text of an old character set may have bytes that stand for no character, and one in
// UTF-16 halves of a pair. They come as something else, in MySQL as a question mark, and what
// came does not lead back to the row: rows behind it are missed, or the same ones come again
// and again. Where the key may have such texts its pages have a guard among their
// conditions, which costs no round trip: it is true, and cannot be computed for a row whose
// text is not the same again when it has gone there and back. The numbers that overflow then
// are what the error is known by.

// noPosition returns the error that the guard's failure stands for, nil of any other.
func (s *spec) noPosition(err error) error {
	if err == nil || s.guard == "" {
		return nil
	}
	if text := err.Error(); !strings.Contains(text, mysqlOverflow) && !(s.dialect == &sqlite && strings.Contains(text, "integer overflow")) {
		return nil
	}
	return paging.Final(fmt.Errorf("%w: %s has a row where (%s) has bytes that are no character in its character set (%w); "+
		"correct that row, leave it out with a condition, or choose another key", ErrPosition, s.from, strings.Join(s.key, ", "), err))
}

// mysqlOverflow is what the server's error has of the guard.
const mysqlOverflow = "18446744073709551615 + ("

// mysqlMapped are the character sets in which every text has a way to utf8mb4 and back.
var mysqlMapped = []string{"utf8mb4", "utf8mb3", "utf8", "utf16", "utf16le", "utf32", "ucs2", "binary",
	"latin1", "latin2", "latin5", "latin7", "cp850", "cp852", "cp866", "koi8r", "koi8u", "keybcs2", "macce", "macroman"}

// mysqlArrange sets the guard where the key has text of another character set.
func mysqlArrange(ctx context.Context, s *spec) error {
	var asked []string
	var guards []string
	for i, t := range s.keyTypes {
		switch t.DatabaseTypeName() {
		case "CHAR", "VARCHAR", "TINYTEXT", "TEXT", "MEDIUMTEXT", "LONGTEXT":
		default:
			continue
		}
		collation := ""
		if s.layout != nil {
			collation = s.layout.key[i].collation
		}
		if collation == "" && asked == nil { // the catalog does not tell
			var err error
			if asked, err = s.askEach(ctx, "COALESCE(COLLATION(%[1]s), '')"); err != nil {
				return err
			}
		}
		if collation == "" {
			collation = asked[i]
		}
		set, _, _ := strings.Cut(collation, "_")
		if set == "" || slices.Contains(mysqlMapped, set) {
			continue
		}
		guards = append(guards, fmt.Sprintf("CASE WHEN %[1]s = CONVERT(CONVERT(%[1]s USING utf8mb4) USING %[2]s) COLLATE %[3]s THEN 1 ELSE %[4]s%[1]s IS NOT NULL) END",
			s.keyColumns[i], set, collation, mysqlOverflow))
	}
	s.guard = strings.Join(guards, " AND ")
	return nil
}

// sqliteGuard sets the guard where the database's texts are UTF-16.
func (s *spec) sqliteGuard(ctx context.Context) error {
	encoding, err := queryStrings(ctx, s.db, "PRAGMA encoding")
	if err != nil || slices.Equal(encoding, []string{"UTF-8"}) {
		return err
	}
	var guards []string
	for _, k := range s.qualifiedKey() {
		// replace changes nothing, and is given its text in UTF-8.
		guards = append(guards, fmt.Sprintf("CASE WHEN typeof(%[1]s) <> 'text' OR CAST(%[1]s AS BLOB) = CAST(replace(%[1]s, ' ', ' ') AS BLOB) THEN 1 "+
			"ELSE abs(-9223372036854775808 + (typeof(%[1]s) IS NULL)) END", k))
	}
	s.guard = strings.Join(guards, " AND ")
	return nil
}
