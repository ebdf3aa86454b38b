package riverjob

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"example.com/pipeline/cursor"
)

// readObject reads what counts of an object. Where that is not what was written, it
// ends with an error that Is [cursor.ErrOutputChanged].
func readObject(ctx context.Context, sink Sink, o PartObject) (io.ReadCloser, error) {
	r, err := sink.Open(ctx, o.Name)
	if err != nil {
		return nil, fmt.Errorf("%w: open %s: %w", cursor.ErrOutputChanged, o.Name, err)
	}
	return &objectReader{ReadCloser: r, of: o, left: o.Size}, nil
}

type objectReader struct {
	io.ReadCloser
	of   PartObject
	left int64
	sum  uint32
}

func (r *objectReader) Read(buf []byte) (int, error) {
	if r.left == 0 {
		if r.sum != r.of.Sum {
			return 0, fmt.Errorf("%w: object %s: its bytes are not those that were written", cursor.ErrOutputChanged, r.of.Name)
		}
		return 0, io.EOF
	}
	n, err := r.ReadCloser.Read(buf[:min(int64(len(buf)), r.left)])
	r.left -= int64(n)
	r.sum = crc32.Update(r.sum, castagnoli, buf[:n])
	switch {
	case errors.Is(err, io.EOF) && r.left > 0:
		return n, fmt.Errorf("%w: object %s: it has %d bytes, the checkpoint says %d", cursor.ErrOutputChanged, r.of.Name, r.of.Size-r.left, r.of.Size)
	case errors.Is(err, io.EOF):
		return n, nil // the sum is looked at next
	}
	return n, err
}

// A StoredPart is a range's output as its checkpoint has it.
type StoredPart struct {
	Number   int
	Rows     int64
	Finished bool
	Objects  []PartObject
}

// Open reads the part: what counts of each of its objects, one after another. A part
// that is not as it was written ends with an error that Is [cursor.ErrOutputChanged].
func (p StoredPart) Open(ctx context.Context, sink Sink) io.ReadCloser {
	return &partReader{ctx: ctx, sink: sink, left: p.Objects}
}

type partReader struct {
	ctx  context.Context
	sink Sink
	left []PartObject
	now  io.ReadCloser
}

func (r *partReader) Read(buf []byte) (int, error) {
	for {
		if r.now == nil {
			if len(r.left) == 0 {
				return 0, io.EOF
			}
			now, err := readObject(r.ctx, r.sink, r.left[0])
			if err != nil {
				return 0, err
			}
			r.now, r.left = now, r.left[1:]
		}
		n, err := r.now.Read(buf)
		if err != io.EOF {
			return n, err
		}
		if err := r.Close(); err != nil {
			return 0, err
		}
	}
}

func (r *partReader) Close() error {
	if r.now == nil {
		return nil
	}
	err := r.now.Close()
	r.now = nil
	return err
}

// Parts returns what each range has written so far, for jobs with a Sink.
func (s *Store) Parts(ctx context.Context, job string) ([]StoredPart, error) {
	rows, err := s.pool.Query(ctx, s.sql(`SELECT r.number, COALESCE(c.items, 0), COALESCE(c.status, '') = 'finished', COALESCE(c.states, '{}')
		FROM {ranges} r LEFT JOIN {checkpoints} c ON c.job = r.checkpoint WHERE r.job = $1 ORDER BY r.number`), job)
	if err != nil {
		return nil, fmt.Errorf("riverjob: list the parts of job %q: %w", job, err)
	}
	defer rows.Close()
	var parts []StoredPart
	for rows.Next() {
		var p StoredPart
		var text string
		if err := rows.Scan(&p.Number, &p.Rows, &p.Finished, &text); err != nil {
			return nil, fmt.Errorf("riverjob: list the parts of job %q: %w", job, err)
		}
		var states map[string]json.RawMessage
		var r partRecord
		if err := json.Unmarshal([]byte(text), &states); err != nil {
			return nil, fmt.Errorf("%w: job %q, range %d: %w", cursor.ErrCorrupt, job, p.Number, err)
		}
		if state, ok := states[partState]; ok && !bytes.Equal(state, []byte("null")) {
			if err := json.Unmarshal(state, &r); err != nil {
				return nil, fmt.Errorf("%w: job %q, range %d: the part's state is %s", cursor.ErrCorrupt, job, p.Number, state)
			}
		}
		p.Objects = r.Objects
		parts = append(parts, p)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("riverjob: list the parts of job %q: %w", job, err)
	}
	if len(parts) == 0 {
		return nil, fmt.Errorf("%w: %q", ErrNoPlan, job)
	}
	return parts, nil
}
