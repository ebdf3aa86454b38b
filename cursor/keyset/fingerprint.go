package keyset

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"database/sql/driver"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"reflect"
	"time"
)

// fingerprint identifies what is read: see [Query.Fingerprint].
func fingerprint(from, where, columns string, desc bool, key []string, args []any) string {
	h := sha256.New()
	writeText(h, "keyset query 1", from, where, columns, fmt.Sprint(desc))
	writeText(h, fmt.Sprint(len(key)))
	writeText(h, key...)
	for _, a := range args {
		writeText(h, argumentText(a))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// suffix returns what a fingerprint says of a key beside the hash. It is there to be read:
// the error of a checkpoint with another one shows both.
func (f keyFacts) suffix() string {
	text := ""
	if f.identity != "" {
		text = " (" + f.identity + ")"
	}
	if f.names != "" {
		text += " of " + f.names
	}
	return text
}

// catalogWait is how long Fingerprint waits for the catalog.
const catalogWait = 10 * time.Second

// keySuffix asks the catalog for the key's part of a fingerprint. Fingerprint has no
// context to wait under and no error to return, so it waits for a short time, and the
// text says where that was not enough.
func (s *spec) keySuffix() string {
	ctx, cancel := context.WithTimeout(context.Background(), catalogWait)
	defer cancel()
	err := s.session(ctx) // for the time zone
	if err == nil || errors.Is(err, ErrSession) {
		if facts, err := s.lookUp(ctx); err == nil {
			return facts.suffix()
		}
	}
	return " (of a key that the catalog was not reached for)"
}

// nameSuffix asks for the part of a fingerprint that says what the names in it stand for.
func (s *spec) nameSuffix() string {
	ctx, cancel := context.WithTimeout(context.Background(), catalogWait)
	defer cancel()
	names, err := s.meaning(ctx)
	if err != nil {
		return " (of names that the catalog was not reached for)"
	}
	return keyFacts{names: names}.suffix()
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
		panic(fmt.Sprintf("keyset.Query.Fingerprint: an argument must have a value of its own, got a %T: %v", a, err))
	}
	return fmt.Sprintf("%T %s", a, text)
}
