package cursor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"
	"time"
)

// A stored record is a line that says what follows, and a line of JSON:
//
//	checkpoint 1 5f0c3a7e
//	{"job":"orders","position":42,…}
//
// First the format, so that an older program can tell a newer file from a
// damaged one; then the CRC-32C of the second line. A CRC of 32 bits finds
// every damage within 32 bits in a row, so also every single byte's, and the
// first line has one valid spelling only, so that no damage of it is overlooked.
const recordMagic = "checkpoint"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A recordBody is the JSON of a stored record. The job is in it so that a file
// that was renamed or copied is not taken for another job's.
type recordBody struct {
	Job         string                     `json:"job"`
	Fingerprint string                     `json:"fingerprint,omitempty"`
	Position    json.RawMessage            `json:"position,omitempty"`
	States      map[string]json.RawMessage `json:"states,omitempty"`
	Items       int64                      `json:"items"`
	Seq         int64                      `json:"seq"`
	Finished    bool                       `json:"finished,omitempty"`
	SavedAt     time.Time                  `json:"savedAt"`
}

func recordHeader(format int, body []byte) string {
	return fmt.Sprintf("%s %d %08x\n", recordMagic, format, crc32.Checksum(body, castagnoli))
}

// encodeRecord returns the bytes that a record is stored as.
func encodeRecord(job string, r Record) ([]byte, error) {
	body, err := json.Marshal(recordBody{job, r.Fingerprint, r.Position, r.States, r.Items, r.Seq, r.Finished, r.SavedAt})
	if err != nil {
		return nil, fmt.Errorf("cursor: encode the record of job %q: %w", job, err)
	}
	body = append(body, '\n')
	return append([]byte(recordHeader(r.Format, body)), body...), nil
}

// decodeRecord is the inverse of encodeRecord. Each of its errors Is ErrCorrupt.
func decodeRecord(job string, data []byte) (Record, error) {
	format, b, err := decodeBody(data)
	if err == nil && b.Job != job {
		err = fmt.Errorf("%w: it is of job %q", ErrCorrupt, b.Job)
	}
	if err != nil {
		return Record{}, err
	}
	return Record{format, b.Fingerprint, b.Position, b.States, b.Items, b.Seq, b.Finished, b.SavedAt}, nil
}

// decodeBody is decodeRecord for the record of any job.
func decodeBody(data []byte) (format int, b recordBody, err error) {
	corrupt := func(format string, args ...any) (int, recordBody, error) {
		return 0, recordBody{}, fmt.Errorf("%w: "+format, append([]any{ErrCorrupt}, args...)...)
	}
	if len(data) == 0 {
		return corrupt("it is empty")
	}
	head, body, ok := bytes.Cut(data, []byte("\n"))
	fields := strings.Split(string(head), " ")
	if !ok || len(fields) < 2 || fields[0] != recordMagic {
		return corrupt("it does not begin as a checkpoint does")
	}
	if format, err = strconv.Atoi(fields[1]); err != nil || format < 1 {
		return corrupt("its format is %q", fields[1])
	}
	if format > recordFormat {
		return corrupt("it has format %d, written by a newer version; this one reads up to %d", format, recordFormat)
	}
	if string(head)+"\n" != recordHeader(format, body) {
		return corrupt("its checksum is wrong")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&b); err != nil {
		return corrupt("%v", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return corrupt("something follows it")
	}
	return format, b, nil
}
