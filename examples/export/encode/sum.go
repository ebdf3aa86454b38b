package encode

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"iter"
	"math/bits"
)

// A Sum is of rows in any order: how many there are, and the sum of their SHA-256, each cut
// to 128 bits. Two sets of rows that differ by accident have different sums; it does not
// withstand somebody who looks for another set with the same.
type Sum struct {
	Rows   int64
	hi, lo uint64
}

// Add adds a row as it is written, its line ending included.
func (s *Sum) Add(row []byte) {
	sum := sha256.Sum256(row)
	var carry uint64
	s.lo, carry = bits.Add64(s.lo, binary.BigEndian.Uint64(sum[8:]), 0)
	s.hi, _ = bits.Add64(s.hi, binary.BigEndian.Uint64(sum[:]), carry)
	s.Rows++
}

// String is the checksum without the count.
func (s Sum) String() string { return fmt.Sprintf("%016x%016x", s.hi, s.lo) }

// Records reads what an encoder has written, row by row, the header among them. A record is
// valid until the next one. One without its line ending is an error.
func (f Format) Records(r io.Reader) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		in := bufio.NewReaderSize(r, 64<<10)
		var record []byte
		quoted := false // a line end in quotes is part of a field of CSV
		for {
			line, err := in.ReadSlice('\n')
			record = append(record, line...)
			if f.Name == "csv" && bytes.Count(line, []byte{'"'})%2 == 1 {
				quoted = !quoted
			}
			switch {
			case err == io.EOF && len(record) == 0:
				return
			case err == io.EOF:
				yield(nil, io.ErrUnexpectedEOF)
				return
			case err == bufio.ErrBufferFull:
				continue
			case err != nil:
				yield(nil, err)
				return
			case quoted:
				continue
			case !yield(record, nil):
				return
			}
			record = record[:0]
		}
	}
}
