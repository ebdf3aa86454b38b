package cursor

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"strings"
)

type postgresDialect struct{}

func (postgresDialect) Name() string             { return "postgres" }
func (postgresDialect) Placeholder(n int) string { return "$" + strconv.Itoa(n) }
func (postgresDialect) Quote(name string) string { return quoteWith(`"`, name) }
func (postgresDialect) needsTypes() bool         { return false }

// name folds names that are not quoted, as the server does.
func (postgresDialect) name(ident string) string {
	if ident = strings.TrimSpace(ident); !strings.HasPrefix(ident, `"`) {
		return strings.ToLower(ident)
	}
	return unquote(ident)
}

// param needs no cast: the server gives a parameter the type of the column that it
// is compared with.
func (postgresDialect) param(placeholder string, _ *sql.ColumnType) string { return placeholder }
func (postgresDialect) argument(v any) (any, error)                        { return v, nil }

func (postgresDialect) compare(key []string, op string, value func(int) string) string {
	return compareRows(key, op, value)
}

func (postgresDialect) tables(ctx context.Context, db Querier, schema string) ([]string, error) {
	return nil, errors.New("TODO")
}

func (postgresDialect) describe(ctx context.Context, db Querier, table tableName) (*tableInfo, error) {
	return nil, errors.New("TODO")
}

func (postgresDialect) barrier(ctx context.Context, db Querier, table tableName, read func(Querier) error) error {
	return errors.New("TODO")
}
