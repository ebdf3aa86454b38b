package sqlstore_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"time"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/keyset"
	"example.com/pipeline/cursor/sqlstore"
)

// noDriver stands for the driver of a real database, which the program imports.
type noDriver struct{}

func (noDriver) Connect(context.Context) (driver.Conn, error) { return nil, errors.New("no database") }
func (noDriver) Driver() driver.Driver                        { return nil }

func ExampleNew() {
	db := sql.OpenDB(noDriver{}) // sql.Open("pgx", dsn), say
	defer db.Close()
	store := sqlstore.New(db, keyset.Postgres, sqlstore.LeaseFor(time.Minute))

	_, err := cursor.Open[int64](context.Background(), store, "orders")
	fmt.Println(err)
	// Output: sqlstore: acquire job "orders": no database (Migrate makes the tables where they are missing)
}

func ExampleStore_DDL() {
	db := sql.OpenDB(noDriver{})
	defer db.Close()
	ddl := sqlstore.New(db, keyset.MySQL, sqlstore.Tables("ops.jobs", "ops.calls")).DDL()
	for line := range strings.Lines(ddl) {
		if strings.Contains(line, "CREATE") || strings.Contains(line, "PRIMARY KEY") {
			fmt.Println(strings.Join(strings.Fields(line), " "))
		}
	}
	// Output:
	// CREATE TABLE IF NOT EXISTS `ops`.`jobs` (
	// job VARBINARY(512) NOT NULL PRIMARY KEY,
	// CREATE TABLE IF NOT EXISTS `ops`.`calls` (
	// name VARBINARY(512) NOT NULL PRIMARY KEY,
}
