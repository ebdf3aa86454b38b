package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A list is a flag whose value holds names separated by commas. A name in quotes may have
// commas and blanks of its own, as in CSV: a quote in it is doubled.
type list []string

func (l *list) String() string {
	quoted := make([]string, len(*l))
	for i, name := range *l {
		if name != strings.TrimSpace(name) || strings.ContainsAny(name, `",`) {
			name = `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
		}
		quoted[i] = name
	}
	return strings.Join(quoted, ",")
}

func (l *list) Set(s string) error {
	*l = nil
	for more := true; more; {
		var name string
		var err error
		if name, s, more, err = cutName(s); err != nil {
			return err
		}
		if slices.Contains(*l, name) {
			return fmt.Errorf("%s is named twice", name)
		}
		*l = append(*l, name)
	}
	return nil
}

// keyValues is a flag whose value is a key: like a list, but two values may be the same.
type keyValues []string

func (k *keyValues) String() string { return (*list)(k).String() }

func (k *keyValues) Set(s string) error {
	*k = nil
	for more := true; more; {
		var value string
		var err error
		if value, s, more, err = cutName(s); err != nil {
			return err
		}
		*k = append(*k, value)
	}
	return nil
}

// cutName takes the first name off a list. more is whether another one must follow.
func cutName(s string) (name, rest string, more bool, err error) {
	trimmed := strings.TrimLeft(s, " \t")
	if !strings.HasPrefix(trimmed, `"`) {
		name, rest, more = strings.Cut(s, ",")
		if name = strings.TrimSpace(name); name == "" {
			return "", "", false, errors.New("a name between the commas is missing")
		}
		return name, rest, more, nil
	}
	end := 1
	for {
		i := strings.IndexByte(trimmed[end:], '"')
		if i < 0 {
			return "", "", false, errors.New("a quote is not closed")
		}
		end += i + 1
		if !strings.HasPrefix(trimmed[end:], `"`) {
			break
		}
		end++
	}
	name = strings.ReplaceAll(trimmed[1:end-1], `""`, `"`)
	rest = strings.TrimLeft(trimmed[end:], " \t")
	rest, more = strings.CutPrefix(rest, ",")
	if rest != "" && !more {
		return "", "", false, errors.New("behind a closing quote there must be a comma")
	}
	if name == "" {
		return "", "", false, errors.New("a name between the quotes is missing")
	}
	return name, rest, more, nil
}

// A tableName is a table as it was given: schema.table, with quotes where a name has dots
// or commas of its own.
type tableName struct {
	parts []string // one without dots in quotes, or two
	plain bool     // given without quotes
}

// String is for people and for the name of a file.
func (t tableName) String() string { return strings.Join(t.parts, ".") }

// sql is how package keyset is given the name.
func (t tableName) sql() string {
	if t.plain {
		return t.parts[0]
	}
	quoted := make([]string, len(t.parts))
	for i, p := range t.parts {
		quoted[i] = `"` + strings.ReplaceAll(p, `"`, `""`) + `"`
	}
	return strings.Join(quoted, ".")
}

// all reports whether it stands for all tables of a schema.
func (t tableName) all() bool {
	return t.plain && (t.parts[0] == "*" || strings.HasSuffix(t.parts[0], ".*"))
}

// schema returns the schema of which it stands for all tables, "" for the one in use.
func (t tableName) schema() string {
	return strings.TrimSuffix(strings.TrimSuffix(t.parts[0], "*"), ".")
}

// parseTables reads a list of tables. Commas in quotes are part of a name.
func parseTables(s string) (all []tableName, err error) {
	quote, begin := rune(0), 0
	for i, r := range s + "," {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '"' || r == '`'):
			quote = r
		case quote == 0 && r == ',':
			t, err := parseTable(s[begin:i])
			if err != nil {
				return nil, err
			}
			all, begin = append(all, t), i+1
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("%s: a quote is not closed", s)
	}
	return all, nil
}

// parseTable reads the name of a table: "s"."t.x", s."t.x", or a plain one with or without
// a schema.
func parseTable(s string) (tableName, error) {
	if !strings.ContainsAny(s, "\"`") {
		if s = strings.TrimSpace(s); s == "" {
			return tableName{}, errors.New("the name of a table is missing")
		}
		return tableName{parts: []string{s}, plain: true}, nil
	}
	var t tableName
	for rest := strings.TrimSpace(s); ; {
		var part string
		if q := rest[:min(1, len(rest))]; q == `"` || q == "`" {
			end := 1
			for {
				i := strings.Index(rest[end:], q)
				if i < 0 {
					return t, fmt.Errorf("%s: a quote is not closed", s)
				}
				if end += i + 1; !strings.HasPrefix(rest[end:], q) {
					break
				}
				end++
			}
			part, rest = strings.ReplaceAll(rest[1:end-1], q+q, q), rest[end:]
		} else if i := strings.IndexByte(rest, '.'); i >= 0 {
			part, rest = rest[:i], rest[i:]
		} else {
			part, rest = rest, ""
		}
		if part == "" || strings.ContainsAny(part, "\x00") {
			return t, fmt.Errorf("%s: a name is missing", s)
		}
		t.parts = append(t.parts, part)
		if rest == "" {
			break
		}
		if rest[0] != '.' || len(t.parts) == 2 {
			return t, fmt.Errorf(`%s: a table is named as table, schema.table or "schema"."table"`, s)
		}
		rest = rest[1:]
	}
	return t, nil
}
