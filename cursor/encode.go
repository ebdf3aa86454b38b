package cursor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"

	"example.com/pipeline/cursor/internal/paging"
)

// encodePosition returns pos as JSON, having made sure that the same position
// comes back from it. JSON alone would turn invalid UTF-8 into other characters,
// leave out unexported fields, and make an integer in an interface a float: a run
// resumed from such a position would skip rows or repeat them.
func encodePosition[P any](pos P) (json.RawMessage, error) {
	data, err := json.Marshal(pos)
	if err != nil {
		return nil, fmt.Errorf("cursor: the position %+v cannot be stored: %w", pos, err)
	}
	back, err := decodePosition[P](data)
	if err != nil {
		return nil, fmt.Errorf("cursor: the position %+v cannot be stored: what would be stored is %s: %w", pos, data, err)
	}
	if !paging.Equal(pos, back) {
		return nil, fmt.Errorf("cursor: the position %+v cannot be stored exactly: it would come back as %+v; a keyset.Key keeps text that is not UTF-8, and times of any year", pos, back)
	}
	return data, nil
}

// decodePosition is the inverse of encodePosition. It refuses data that P has no
// room for, such as a position of a struct whose fields were renamed since.
func decodePosition[P any](data json.RawMessage) (P, error) {
	var pos P
	if err := json.Unmarshal(data, &pos); err != nil {
		return pos, err
	}
	again, err := json.Marshal(pos)
	if err != nil {
		return pos, err
	}
	if !bytes.Equal(again, data) {
		return pos, fmt.Errorf("read as %T it is %s", pos, again)
	}
	return pos, nil
}

// checkPositionType panics where P can hold no position: an interface would come
// back as another type, and a nil pointer could not be told from no position.
func checkPositionType[P any](fn string) {
	switch t := reflect.TypeFor[P](); t.Kind() {
	case reflect.Interface, reflect.Pointer, reflect.Func, reflect.Chan, reflect.UnsafePointer:
		panic(fmt.Sprintf("cursor.%s: the position must be of a type that JSON can hold by value, got %v", fn, t))
	}
}
