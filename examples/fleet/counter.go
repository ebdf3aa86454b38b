package main

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
)

// A counter counts the rows that a worker was at, in a file that outlives it, so that
// the end can tell how much was done twice. It is never more than 256 rows a range
// behind.
type counter struct {
	file    *os.File
	rows    atomic.Int64
	largest atomic.Int64 // slice, in rows
}

const (
	counterPrefix = "rows-of-worker-"
	countEvery    = 256
)

func openCounter(folder string) (*counter, error) {
	f, err := os.Create(filepath.Join(folder, fmt.Sprint(counterPrefix, os.Getpid(), "-", rand.Text())))
	if err != nil {
		return nil, err
	}
	return &counter{file: f}, nil
}

func (c *counter) save() error {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:8], uint64(c.rows.Load()))
	binary.LittleEndian.PutUint64(b[8:], uint64(c.largest.Load()))
	_, err := c.file.WriteAt(b[:], 0)
	return err
}

// A sliceCounter is one slice's; with a nil counter it counts nothing.
type sliceCounter struct {
	of   *counter
	rows int64
	err  error
}

func (c *counter) begin() *sliceCounter { return &sliceCounter{of: c} }

func (s *sliceCounter) row() {
	if s.rows++; s.rows%countEvery == 0 {
		s.add(countEvery)
	}
}

func (s *sliceCounter) add(n int64) {
	if s.of == nil {
		return
	}
	s.of.rows.Add(n)
	for {
		largest := s.of.largest.Load()
		if s.rows <= largest || s.of.largest.CompareAndSwap(largest, s.rows) {
			break
		}
	}
	s.err = errors.Join(s.err, s.of.save())
}

func (s *sliceCounter) end() error {
	s.add(s.rows % countEvery)
	return s.err
}

// countAll adds up what all workers have counted.
func countAll(folder string) (rows, largest int64, err error) {
	files, err := filepath.Glob(filepath.Join(folder, counterPrefix+"*"))
	if err != nil {
		return 0, 0, err
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			return 0, 0, err
		}
		if len(b) == 16 {
			rows += int64(binary.LittleEndian.Uint64(b[:8]))
			largest = max(largest, int64(binary.LittleEndian.Uint64(b[8:])))
		}
	}
	return rows, largest, nil
}
