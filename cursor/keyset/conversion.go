package keyset

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"time"
)

// A conversion is what becomes of a column's values as the driver gives them.
type conversion int

const (
	asGiven    conversion = iota
	asText                // bytes become a string
	asBytes               // a string becomes bytes
	asInteger             // digits become an int64, or a uint64 where it is above that
	asFloat32             // a float64 becomes the float32 that it was made of
	asShortest            // a float64 becomes the one with the shortest digits for that float32
	asStored              // a time is refused: the driver has changed the stored text
)

// apply returns what becomes of v, which may be the driver's memory.
func (c conversion) apply(v any) (any, error) {
	switch v := v.(type) {
	case []byte:
		switch c {
		case asText:
			return string(v), nil
		case asInteger: // a driver's form of integers that are too large for int64
			return strconv.ParseUint(string(v), 10, 64)
		}
		return bytes.Clone(v), nil
	case string:
		if c == asBytes {
			return []byte(v), nil
		}
	case float64:
		switch c {
		case asFloat32:
			return float32(v), nil
		case asShortest:
			return shortest(v)
		}
	case float32:
		if c == asShortest {
			return shortest(float64(v))
		}
	case uint64:
		if c == asInteger && v <= math.MaxInt64 {
			return int64(v), nil
		}
	case time.Time:
		if c == asStored {
			return nil, fmt.Errorf("%w: the driver turns the stored text into a time; open the database without that option (_texttotime)", ErrPosition)
		}
	}
	return v, nil
}

// shortest returns the number with the fewest digits that tell a float32 from all others.
func shortest(v float64) (float64, error) {
	var digits [32]byte
	return strconv.ParseFloat(string(strconv.AppendFloat(digits[:0], v, 'g', -1, 32)), 64)
}

// A cell is a sql.Scanner for a value that must not stay as the driver gives it.
type cell struct {
	to         *any
	conversion conversion
}

// Scan implements sql.Scanner.
func (c *cell) Scan(v any) (err error) {
	*c.to, err = c.conversion.apply(v)
	return err
}
