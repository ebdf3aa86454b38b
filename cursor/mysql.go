package cursor

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

type mysqlDialect struct{}

func (mysqlDialect) Name() string             { return "mysql" }
func (mysqlDialect) Placeholder(int) string   { return "?" }
func (mysqlDialect) Quote(name string) string { return quoteWith("`", name) }
func (mysqlDialect) name(ident string) string { return unquote(ident) }
func (mysqlDialect) needsTypes() bool         { return true }

func (mysqlDialect) argument(v any) (any, error) { return bytesOf(v), nil }

// param casts what is compared with a decimal: the server would compare a decimal
// with text as floating point numbers, and take neighbours for equal.
func (mysqlDialect) param(placeholder string, column *sql.ColumnType) string {
	if precision, scale, ok := column.DecimalSize(); ok && column.DatabaseTypeName() == "DECIMAL" {
		return fmt.Sprintf("CAST(%s AS DECIMAL(%d,%d))", placeholder, precision, scale)
	}
	return placeholder
}

func (mysqlDialect) compare(key []string, op string, value func(int) string) string {
	return compareColumns(key, op, value)
}

func (mysqlDialect) tables(ctx context.Context, db Querier, schema string) ([]string, error) {
	return nil, errors.New("TODO")
}

func (mysqlDialect) describe(ctx context.Context, db Querier, table tableName) (*tableInfo, error) {
	return nil, errors.New("TODO")
}

func (mysqlDialect) barrier(ctx context.Context, db Querier, table tableName, read func(Querier) error) error {
	return errors.New("TODO")
}
