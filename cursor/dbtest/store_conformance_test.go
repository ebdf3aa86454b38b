package dbtest

import (
	"testing"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/cursortest"
	"example.com/pipeline/cursor/sqlstore"
)

func TestSQLStoreConforms(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		newStore(t, db)
		cursortest.TestStore(t, func() cursor.Store { return sqlstore.New(db.DB, db.dialect) })
	})
}
