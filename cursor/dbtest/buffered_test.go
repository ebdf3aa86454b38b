package dbtest

import (
	"database/sql"
	"encoding/csv"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"example.com/pipeline/cursor"
)

// TestBufferedInTransactions writes rows to a csv.Writer that nobody flushes, and commits by
// CommitTx. What is rolled back is done again with the job opened anew, and stands in the file
// once, as do the rows before and after it.
func TestBufferedInTransactions(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		s := newStore(t, db)
		path := filepath.Join(t.TempDir(), "out.csv")
		f, err := cursor.OpenFile(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		rows := csv.NewWriter(f.Buffered())
		batch := func(c *cursor.Checkpoint[int], to int, failure error) {
			inTx(t, db.DB, func(tx *sql.Tx) error {
				for n := position(c) + 1; n <= to; n++ {
					rows.Write([]string{strconv.Itoa(n)})
				}
				if err := c.CommitTx(t.Context(), tx, to); err != nil {
					t.Fatal(err)
				}
				return failure
			})
		}
		want := func(text string) {
			t.Helper()
			got, err := os.ReadFile(path)
			if err != nil || string(got) != text {
				t.Fatalf("the file is %q, want %q; %v", got, text, err)
			}
		}
		c := openJob(t, s, "job", cursor.Attach("rows", f))
		batch(c, 1, nil)
		want("0\n1\n")
		batch(c, 3, errors.New("roll back"))
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		c = openJob(t, s, "job", cursor.Attach("rows", f))
		want("0\n1\n")
		batch(c, 3, nil)
		batch(c, 4, nil)
		want("0\n1\n2\n3\n4\n")
	})
}
