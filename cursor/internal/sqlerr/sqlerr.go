// Package sqlerr knows the errors of SQL servers without their drivers.
package sqlerr

import (
	"errors"
	"reflect"
)

// Code returns what a server calls an error: the SQLSTATE of PostgreSQL, as its
// drivers give it, or the number of MySQL and MariaDB, which their driver has in a field.
func Code(err error) (state string, number uint64) {
	var coded interface{ SQLState() string }
	if errors.As(err, &coded) {
		return coded.SQLState(), 0
	}
	for ; err != nil; err = errors.Unwrap(err) {
		v := reflect.ValueOf(err)
		if v.Kind() == reflect.Pointer && !v.IsNil() {
			v = v.Elem()
		}
		if v.Kind() != reflect.Struct {
			continue
		}
		if f, ok := v.Type().FieldByName("Number"); ok && f.IsExported() && len(f.Index) == 1 && v.FieldByIndex(f.Index).CanUint() {
			return "", v.FieldByIndex(f.Index).Uint()
		}
	}
	return "", 0
}
