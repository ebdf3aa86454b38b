package keyset

import "database/sql/driver"

// A Lender is what the rows of a driver may be: they lend their values. Where a [Table]
// reads from the driver itself it calls Lend instead of Next.
//
// Lend is Next, but that a value may be a [driver.Valuer], such as a [*Text] or an [*Int],
// that stands for it and is valid until the next call. So nothing need be allocated for a
// value that is only written down: see Encode of [Table]. Its Value returns what Next gives,
// and that keeps.
type Lender interface {
	Lend(dest []driver.Value) error
}

// A Text is a text that is lent.
type Text []byte

// Value implements [driver.Valuer].
func (t *Text) Value() (driver.Value, error) { return string(*t), nil }

// An Int is an integer that is lent.
type Int int64

// Value implements [driver.Valuer].
func (i *Int) Value() (driver.Value, error) { return int64(*i), nil }

// Own puts values that keep in the place of those that are lent. The Next of a [Lender] is
// its Lend and this.
func Own(values []driver.Value) (err error) {
	for i, v := range values {
		if values[i], err = own(v); err != nil {
			return err
		}
	}
	return nil
}

// own returns the value that a driver's stands for, and that keeps where it was lent.
func own(v driver.Value) (driver.Value, error) {
	if lent, ok := v.(driver.Valuer); ok {
		return lent.Value()
	}
	return v, nil
}
