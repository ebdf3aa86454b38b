package encode

import (
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"example.com/pipeline/cursor"
)

// Compressions are the endings of files by the names of their compressions.
var Compressions = map[string]string{"": "", "gzip": ".gz", "zstd": ".zst"}

// Compressor returns what compresses a file, one gzip member or zstd frame a commit.
func Compressor(compression string) func(io.Writer) cursor.Compressor {
	if compression == "gzip" {
		return func(w io.Writer) cursor.Compressor { return gzip.NewWriter(w) }
	}
	return func(w io.Writer) cursor.Compressor {
		// One goroutine, the caller's; and a frame also for nothing.
		z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithZeroFrames(true), zstd.WithEncoderCRC(true))
		if err != nil {
			panic(err) // the options are constants
		}
		return z
	}
}

// Decompress reads what was compressed, member by member.
func Decompress(compression string, r io.Reader) (io.ReadCloser, error) {
	switch compression {
	case "":
		return io.NopCloser(r), nil
	case "gzip":
		return gzip.NewReader(r)
	case "zstd":
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	}
	return nil, fmt.Errorf("there is no compression %q", compression)
}
