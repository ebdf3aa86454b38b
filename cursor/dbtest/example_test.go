package dbtest

import (
	"context"
	"database/sql"
	"fmt"
	"log"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/keyset"
)

// shop opens a database in memory with five orders.
func shop() *sql.DB {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		log.Fatal(err)
	}
	db.SetMaxOpenConns(1) // each connection has a memory of its own
	for _, s := range []string{
		"CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT NOT NULL, total INTEGER NOT NULL)",
		"INSERT INTO orders VALUES (1, 'ada', 5), (2, 'bob', 7), (3, 'ada', 9), (5, 'cy', 1), (8, 'ada', 2)",
	} {
		if _, err := db.Exec(s); err != nil {
			log.Fatal(err)
		}
	}
	return db
}

type order struct {
	ID       int64
	Customer string
	Total    int
}

func orders(db *sql.DB) keyset.Query[order, int64] {
	return keyset.Query[order, int64]{
		DB: db, Dialect: keyset.SQLite,
		Select: "id, customer, total", From: "orders", Key: []string{"id"},
		Scan: func(rows *sql.Rows) (o order, err error) {
			err = rows.Scan(&o.ID, &o.Customer, &o.Total)
			return o, err
		},
		Position: func(o order) int64 { return o.ID },
	}
}

func Example_query() {
	db := shop()
	defer db.Close()
	q := orders(db)
	q.Where, q.Args = "customer = ? OR total > ?", []any{"ada", 6}
	q.Page = cursor.PageConfig{Size: 2, Max: 2, Prefetch: 0.5}
	after := int64(1) // where the last run was
	for o, err := range q.Stream(context.Background(), &after) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(o.ID, o.Customer, o.Total)
	}
	// Output:
	// 2 bob 7
	// 3 ada 9
	// 8 ada 2
}

func Example_table() {
	db := shop()
	defer db.Close()
	ctx := context.Background()
	q, err := keyset.OpenTable(ctx, db, keyset.SQLite, "orders")
	if err == nil {
		err = q.Select("customer", "total")
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	q.Desc = true
	for row, err := range q.Stream(ctx, nil) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(row.Values, row.Key)
	}
	// Output:
	// [ada 2] [8]
	// [cy 1] [5]
	// [ada 9] [3]
	// [bob 7] [2]
	// [ada 5] [1]
}

func Example_preflight() {
	db := shop()
	defer db.Close()
	q := orders(db)
	fmt.Println(q.Preflight(context.Background()))
	q.Key = []string{"total"}
	fmt.Println(q.Preflight(context.Background()))
	// Output:
	// <nil>
	// keyset: the key does not fit: orders: (total) is not unique: no unique index has these columns only; add the columns of the primary key
}

func Example_latest() {
	db := shop()
	defer db.Close()
	q := orders(db)
	latest, err := q.Latest(context.Background())
	fmt.Println(*latest, err)
	q.Until = latest // rows that are inserted from now on are for the next run
	// Output: 8 <nil>
}

func Example_split() {
	db := shop()
	defer db.Close()
	q := orders(db)
	ranges, err := q.Split(context.Background(), 2)
	if err != nil {
		fmt.Println(err)
		return
	}
	for i, r := range ranges { // each of them may run on a machine of its own
		part := q
		part.Until = r.Until
		for o, err := range part.Stream(context.Background(), r.After) {
			if err != nil {
				fmt.Println(err)
				return
			}
			fmt.Println("part", i, "order", o.ID)
		}
	}
	// Output:
	// part 0 order 1
	// part 0 order 2
	// part 1 order 3
	// part 1 order 5
	// part 1 order 8
}
