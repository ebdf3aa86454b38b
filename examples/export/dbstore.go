package main

import (
	"context"
	"errors"

	"example.com/pipeline/cursor"
)

func databaseStore(ctx context.Context, db *database) (cursor.Store, error) {
	return nil, errors.New("not yet")
}

func splitKey(context.Context, cursor.Query[cursor.Row, cursor.Key], int) ([]cursor.Range[cursor.Key], error) {
	return nil, errors.New("not yet")
}

func fingerprint(q cursor.Query[cursor.Row, cursor.Key]) string { return q.Select }
