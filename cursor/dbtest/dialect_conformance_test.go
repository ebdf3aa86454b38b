package dbtest

import (
	"testing"

	"example.com/pipeline/cursor/cursortest"
)

func TestDialectConforms(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) { cursortest.TestDialect(t, db.DB, db.dialect) })
}
