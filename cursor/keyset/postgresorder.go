package keyset

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// The order of a key is decided by definitions that stand behind the name of its type: the
// labels of an enum, the locale of a collation, what a domain is over. They can be
// exchanged under the name. So a column's identity has them, as they are defined and without
// a number of the catalog's, which another copy of the database does not have.

// A postgresType is what a column is of.
type postgresType struct {
	oid, collation int64
	text           string // as the server writes it; "" where that is to be asked for
	mod            int64
}

// A typeOrder is what decides how the values of a type are sorted and written.
type typeOrder struct {
	name      string   // of the type, in every session the same
	collation string   // of its own
	parts     []string // definitions of what it is made of, but for enums
	enums     []string // definitions of those
	labels    []string // of all enums, each with its number in the catalog, in their order
	arrays    bool     // it is an array, or has one in it
	money     bool     // so is this
	domain    bool
	made      bool   // of other types, and not only over one
	enum      string // the last enum, as a statement names it
}

// identity writes an order down.
func (o *typeOrder) identity() string {
	text := strings.TrimSpace(o.name + " " + o.collation)
	if all := append(slices.Clone(o.parts), o.enums...); len(all) > 0 {
		text += " [" + shorten(strings.Join(all, "; ")) + "]"
	}
	return text
}

// frame writes down what must stay while the enums get more labels.
func (o *typeOrder) frame() string {
	return strings.Join(append([]string{o.name, o.collation}, o.parts...), "; ")
}

// shorten returns a text that is short, and different for different texts.
func shorten(text string) string {
	const most = 160
	if len(text) <= most {
		return text
	}
	sum := sha256.Sum256([]byte(text))
	cut := most - 40
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "… " + hex.EncodeToString(sum[:8])
}

// describe tells a column what decides its order.
func (o *typeOrder) describe(c *columnInfo) {
	c.identity, c.frame, c.labels = o.identity(), o.frame(), o.labels
	c.base, c.arrays, c.money = o.base(), o.arrays, o.money
}

// base returns the enum that a domain is over, "" of any other type.
func (o *typeOrder) base() string {
	if !o.domain || o.made {
		return ""
	}
	return o.enum
}

// A catalogType is a type, by its number in the catalog.
type catalogType struct {
	schema, name, text string
	kind               string // as pg_type has it
	elem, base         int64  // of an array, and of a domain
	collation          int64
	parts              []typePart
}

// A typePart is a label of an enum, a column of a composite, or what a range is of.
type typePart struct {
	oid, collation int64 // of a label the oid is its own
	text           string
}

// postgresTypes are the types of some columns, and all that they are made of.
type postgresTypes struct {
	types      map[int64]*catalogType
	collations map[int64]string
}

// postgresOrders asks the catalog what decides the order of types. It asks level by level:
// where there are only the server's own types, that is once.
func postgresOrders(ctx context.Context, db Querier, roots []postgresType) ([]typeOrder, error) {
	all := &postgresTypes{map[int64]*catalogType{}, map[int64]string{}}
	var wanted []int64
	for _, r := range roots {
		wanted = append(wanted, r.oid)
		all.collations[r.collation] = ""
	}
	for len(wanted) > 0 {
		if err := all.read(ctx, db, wanted); err != nil {
			return nil, err
		}
		var made, next []int64
		for _, oid := range wanted {
			if t := all.types[oid]; t != nil && t.schema != "pg_catalog" && t.elem == 0 {
				made = append(made, oid)
			}
		}
		if len(made) > 0 {
			if err := all.readParts(ctx, db, made); err != nil {
				return nil, err
			}
		}
		for _, oid := range wanted {
			if t := all.types[oid]; t != nil {
				all.collations[t.collation] = ""
				for _, child := range t.children() {
					if all.types[child] == nil {
						next = append(next, child)
					}
				}
				for _, p := range t.parts {
					all.collations[p.collation] = ""
				}
			}
		}
		wanted = next
	}
	if err := all.readCollations(ctx, db); err != nil {
		return nil, err
	}
	orders := make([]typeOrder, len(roots))
	for i, r := range roots {
		o := &orders[i]
		if t := all.types[r.oid]; t != nil {
			o.domain = t.kind == "d"
			o.name = all.nameOf(r)
		}
		o.collation = all.collations[r.collation]
		all.collect(o, r.oid, map[int64]bool{})
		slices.Sort(o.parts)
		slices.Sort(o.enums)
	}
	return orders, nil
}

// children are the types that one is made of.
func (t *catalogType) children() (all []int64) {
	if t.elem != 0 {
		all = append(all, t.elem)
	}
	if t.base != 0 {
		all = append(all, t.base)
	}
	if t.kind != "e" {
		for _, p := range t.parts {
			if p.oid != 0 {
				all = append(all, p.oid)
			}
		}
	}
	return all
}

// oids is a list as the catalog is asked for it.
func oids(list []int64) string {
	return strings.NewReplacer("[", "{", "]", "}", " ", ",").Replace(fmt.Sprint(list))
}

func (p *postgresTypes) read(ctx context.Context, db Querier, wanted []int64) error {
	return queryEach(ctx, db, func(rows *sql.Rows) error {
		var oid int64
		var t catalogType
		err := rows.Scan(&oid, &t.schema, &t.name, &t.text, &t.kind, &t.elem, &t.base, &t.collation)
		p.types[oid] = &t
		return err
	}, `SELECT t.oid::int8, n.nspname::text, t.typname::text, format_type(t.oid, NULL), t.typtype::text,
			CASE WHEN t.typcategory = 'A' AND t.typlen = -1 THEN t.typelem::int8 ELSE 0 END, t.typbasetype::int8, CASE t.typtype WHEN 'd' THEN t.typcollation::int8 ELSE 0 END
		FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.oid = ANY ($1::text::oid[])`, oids(wanted))
}

// readParts reads what the types of users are made of. What a server of another version does
// not have is read from the row as JSON.
func (p *postgresTypes) readParts(ctx context.Context, db Querier, wanted []int64) error {
	return queryEach(ctx, db, func(rows *sql.Rows) error {
		var oid int64
		var part typePart
		var place float64
		err := rows.Scan(&oid, &part.oid, &part.collation, &part.text, &place)
		p.types[oid].parts = append(p.types[oid].parts, part)
		return err
	}, `SELECT enumtypid::int8, oid::int8, 0::int8, enumlabel::text, enumsortorder::float8 FROM pg_enum WHERE enumtypid = ANY ($1::text::oid[])
		UNION ALL
		SELECT r.rngtypid::int8, r.rngsubtype::int8, r.rngcollation::int8, o.opcname::text, 0
			FROM pg_range r JOIN pg_opclass o ON o.oid = r.rngsubopc WHERE r.rngtypid = ANY ($1::text::oid[])
		UNION ALL
		SELECT (to_jsonb(r)->>'rngmultitypid')::int8, r.rngtypid::int8, 0, '', 0 FROM pg_range r WHERE (to_jsonb(r)->>'rngmultitypid')::oid = ANY ($1::text::oid[])
		UNION ALL
		SELECT t.oid::int8, a.atttypid::int8, a.attcollation::int8, '', a.attnum FROM pg_type t JOIN pg_attribute a ON a.attrelid = t.typrelid
			WHERE t.oid = ANY ($1::text::oid[]) AND t.typtype = 'c' AND a.attnum > 0 AND NOT a.attisdropped
		UNION ALL
		SELECT o.opcintype::int8, 0, 0, o.opcname::text, 0 FROM pg_opclass o JOIN pg_am m ON m.oid = o.opcmethod JOIN pg_type t ON t.oid = o.opcintype
			WHERE m.amname = 'btree' AND o.opcdefault AND t.typtype = 'b' AND o.opcintype = ANY ($1::text::oid[])
		ORDER BY 5`, oids(wanted))
}

func (p *postgresTypes) readCollations(ctx context.Context, db Querier) error {
	delete(p.collations, 0)
	wanted := slices.Collect(maps.Keys(p.collations))
	if len(wanted) == 0 {
		return nil
	}
	return queryEach(ctx, db, func(rows *sql.Rows) (err error) {
		var oid int64
		var schema, name, definition string
		var version sql.NullString
		if err := rows.Scan(&oid, &schema, &name, &definition, &version); err != nil {
			return err
		}
		p.collations[oid], err = postgresCollation(schema, name, definition, version.String)
		return err
	}, `SELECT c.oid::int8, n.nspname::text, c.collname::text, CASE WHEN n.nspname = 'pg_catalog' AND c.collname = 'default' THEN (
				SELECT jsonb_build_object('provider', COALESCE(d->>'datlocprovider', 'c'), 'collate', d->>'datcollate', 'ctype', d->>'datctype',
					'locale', COALESCE(d->>'datlocale', d->>'daticulocale'), 'rules', d->>'daticurules')
				FROM (SELECT to_jsonb(b) FROM pg_database b WHERE b.datname = current_database()) b (d))
			ELSE jsonb_build_object('provider', j->>'collprovider', 'collate', j->>'collcollate', 'ctype', j->>'collctype',
				'locale', COALESCE(j->>'colllocale', j->>'colliculocale'), 'rules', j->>'collicurules', 'alike', NOT (j->>'collisdeterministic')::boolean) END::text,
			pg_collation_actual_version(c.oid)
		FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace CROSS JOIN to_jsonb(c) j
		WHERE c.oid = ANY ($1::text::oid[])`, oids(wanted))
}

// nameOf returns the name of a column's type. One that is not the server's own has its schema
// before it, so that its name is the same whatever the search path is.
func (p *postgresTypes) nameOf(r postgresType) string {
	name := p.name(r.oid)
	if builtin, ok := strings.CutPrefix(name, "pg_catalog."); ok {
		if name = r.text; name == "" {
			name = p.types[r.oid].text
		}
		if name = strings.ReplaceAll(name, `"`, ""); name == "" { // as with quote_all_identifiers
			name = builtin
		}
		return name
	}
	if r.mod >= 0 {
		name += fmt.Sprintf("(%d)", r.mod)
	}
	return name
}

// name returns the full name of a type, which is that of its element where it is an array:
// arrays are named by the server as it finds a name that is free.
func (p *postgresTypes) name(oid int64) string {
	t := p.types[oid]
	switch {
	case t == nil:
		return ""
	case t.elem != 0:
		return p.name(t.elem) + "[]"
	}
	return t.schema + "." + t.name
}

// collect adds what a type is made of to an order.
func (p *postgresTypes) collect(o *typeOrder, oid int64, seen map[int64]bool) {
	t := p.types[oid]
	if t == nil || seen[oid] {
		return
	}
	seen[oid] = true
	o.arrays = o.arrays || t.elem != 0
	o.money = o.money || t.name == "money"
	o.made = o.made || t.kind != "d" && t.kind != "e"
	full := p.name(oid)
	with := func(oid, collation int64) string {
		return strings.TrimSpace(p.name(oid) + " " + p.collations[collation])
	}
	switch {
	case t.kind == "e":
		o.enum = quoteWith(`"`, t.schema) + "." + quoteWith(`"`, t.name)
		o.labels = append(o.labels, full)
		var labels []string
		for _, l := range t.parts {
			labels = append(labels, fmt.Sprintf("%q", l.text))
			o.labels = append(o.labels, fmt.Sprint(l.oid, " ", l.text))
		}
		o.enums = append(o.enums, full+" enum "+strings.Join(labels, ", "))
	case t.schema == "pg_catalog" || t.elem != 0:
	case t.kind == "d":
		o.parts = append(o.parts, full+" over "+with(t.base, t.collation))
	default:
		text := full + " of"
		for _, part := range t.parts {
			text += " (" + strings.TrimSpace(with(part.oid, part.collation)+" "+part.text) + ")"
		}
		o.parts = append(o.parts, text)
	}
	for _, child := range t.children() {
		p.collect(o, child, seen)
	}
}
