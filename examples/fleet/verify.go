package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
)

// A sum is what two copies of the table have in common.
type sum struct {
	rows, bytes int64
	hash        hash.Hash
}

func newSum() *sum { return &sum{hash: sha256.New()} }

// Write implements [io.Writer].
func (s *sum) Write(b []byte) (int, error) {
	for _, c := range b {
		if c == '\n' { // no value has one
			s.rows++
		}
	}
	s.bytes += int64(len(b))
	return s.hash.Write(b)
}

func (s *sum) String() string {
	return fmt.Sprintf("%d rows, %d bytes, SHA-256 %x", s.rows, s.bytes, s.hash.Sum(nil))
}

// verify compares the parts, one after another, with what PostgreSQL itself writes of
// the table.
func (p *place) verify(ctx context.Context, out io.Writer, workers *fleet) error {
	parts, err := p.store.Parts(ctx, jobName)
	if err != nil {
		return err
	}
	have, want := newSum(), newSum()
	for _, part := range parts {
		r := part.Open(ctx, p.sink)
		_, err := io.Copy(have, r)
		if err := errors.Join(err, r.Close()); err != nil {
			return fmt.Errorf("fleet: part %d: %w", part.Number, err)
		}
		if len(part.Objects) != 1 {
			return fmt.Errorf("fleet: part %d is in %d files", part.Number, len(part.Objects))
		}
	}
	conn, err := p.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	_, err = conn.Conn().PgConn().CopyTo(ctx, want, "COPY (SELECT id, customer, amount FROM orders ORDER BY id) TO STDOUT (FORMAT csv)")
	conn.Release()
	if err != nil {
		return fmt.Errorf("fleet: read the table: %w", err)
	}
	if have.String() != want.String() {
		return fmt.Errorf("fleet: the parts are not the table:\nparts: %v\ntable: %v", have, want)
	}
	fmt.Fprintf(out, "whole: the table and its %d parts are the same: %v\n", len(parts), have)

	swept, err := p.store.Sweep(ctx, jobName, p.sink)
	if err != nil {
		return err
	}
	worked, largest, err := countAll(p.Out)
	if err != nil {
		return err
	}
	_, killed, frozen, _ := workers.counts()
	fmt.Fprintf(out, "workers were at %d rows, %d of them again, the longest slice had %d; %d were killed and %d suspended; %d files that they left behind are removed\n",
		worked, max(worked-have.rows, 0), largest, killed, frozen, swept)
	return nil
}
