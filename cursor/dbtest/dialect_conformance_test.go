package dbtest

import (
	"testing"

	"example.com/pipeline/cursor/keyset/keysettest"
)

func TestDialectConforms(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) { keysettest.TestDialect(t, db.DB, db.dialect) })
}
