package cursor

import (
	"crypto/sha256"
	"database/sql"
	"database/sql/driver"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"reflect"
	"time"
)

// Fingerprint identifies what the query reads, in every process and on every
// machine alike: From, Where, Args, Key, Desc and Select. Until, Page and Hint may
// change without harm to a position, and Dialect and DB are taken for granted. Give
// it to [WithFingerprint], and a checkpoint of another query is refused.
//
// An argument counts with its value and kind: the integer 1 and the text "1" are
// different, int and int64 are not. It panics where an argument has no value that
// is the same in every process, such as a function or a channel.
func (q Query[T, P]) Fingerprint() string {
	h := sha256.New()
	writeText(h, "cursor query 1", q.From, q.Where, q.Select, fmt.Sprint(q.Desc))
	writeText(h, fmt.Sprint(len(q.Key)))
	writeText(h, q.Key...)
	for _, a := range q.Args {
		writeText(h, argumentText(a))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// writeText hashes texts with their lengths, so that no two lists run into one.
func writeText(h hash.Hash, texts ...string) {
	for _, t := range texts {
		fmt.Fprintf(h, "%d:%s,", len(t), t)
	}
}

// argumentText returns the kind and value of an argument.
func argumentText(a any) string {
	switch v := a.(type) {
	case nil:
		return "null"
	case []byte:
		return "bytes " + string(v)
	case time.Time:
		return "time " + v.UTC().Format(time.RFC3339Nano)
	case sql.NamedArg:
		return "named " + v.Name + " " + argumentText(v.Value)
	}
	r := reflect.ValueOf(a)
	if r.Kind() == reflect.Pointer && r.IsNil() {
		return "null"
	}
	if valuer, ok := a.(driver.Valuer); ok {
		if v, err := valuer.Value(); err == nil {
			return argumentText(v)
		}
	}
	switch r.Kind() {
	case reflect.Pointer:
		return argumentText(r.Elem().Interface())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return fmt.Sprintf("int %d", a)
	case reflect.Float32, reflect.Float64:
		return fmt.Sprintf("float %v", r.Float())
	case reflect.Bool:
		return fmt.Sprintf("bool %v", r.Bool())
	case reflect.String:
		return "text " + r.String()
	}
	// What is left are types of the driver's, such as arrays.
	text, err := json.Marshal(a)
	if err != nil {
		panic(fmt.Sprintf("cursor.Query.Fingerprint: an argument must have a value of its own, got a %T: %v", a, err))
	}
	return fmt.Sprintf("%T %s", a, text)
}
