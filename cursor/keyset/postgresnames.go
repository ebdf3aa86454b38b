package keyset

import (
	"context"
	"database/sql"
	"encoding/json"
	"slices"
	"strings"
)

// postgresWord matches what can be a name in SQL.
var postgresWord = pattern(`"(?:[^"]|"")+"|[\pL_][\pL\pN_$]*`)

// postgresMeaning looks up what the names in a text stand for: the tables, functions, types
// and collations of these names that the search path leads to. Each word is taken for such a
// name, which is simpler than SQL and finds more than is there: also names in texts, such as
// in 'a'::regclass, and columns that are called as a table is. A schema that the path has got,
// in which none of the words is a name that is found first, changes nothing.
//
// The settings by which the server understands literals when it reads a statement, which is
// before anything can be pinned, belong to it where there is a literal that they could matter to.
//
// What functions do by names in their bodies is not seen.
func postgresMeaning(ctx context.Context, db Querier, text string) (string, error) {
	words := []string{}
	for _, w := range postgresWord().FindAllString(text, -1) {
		words = append(words, postgresIdent(w))
	}
	slices.Sort(words)
	list, err := json.Marshal(slices.Compact(words))
	if err != nil {
		return "", err
	}
	var found []string
	err = queryEach(ctx, db, func(rows *sql.Rows) error {
		var schema, name string
		err := rows.Scan(&schema, &name)
		if schema != "" {
			name = schema + "." + name
		}
		found = append(found, name)
		return err
	}, `WITH words (word) AS (SELECT w::name FROM jsonb_array_elements_text($1::text::jsonb) w)
		SELECT DISTINCT CASE WHEN n.oid = pg_my_temp_schema() THEN 'pg_temp' ELSE n.nspname::text END, x.name
		FROM (
			SELECT c.relnamespace, c.relname::text FROM pg_class c WHERE c.relname = ANY(ARRAY(SELECT word FROM words)) AND c.relkind NOT IN ('i', 'I', 't', 'c') AND pg_table_is_visible(c.oid)
			UNION ALL
			SELECT p.pronamespace, p.proname || '()' FROM pg_proc p WHERE p.proname = ANY(ARRAY(SELECT word FROM words)) AND pg_function_is_visible(p.oid)
			UNION ALL
			SELECT t.typnamespace, 'type ' || t.typname FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid WHERE t.typname = ANY(ARRAY(SELECT word FROM words)) AND pg_type_is_visible(t.oid) AND COALESCE(c.relkind = 'c', true)
			UNION ALL
			SELECT c.collnamespace, 'collation ' || c.collname FROM pg_collation c WHERE c.collname = ANY(ARRAY(SELECT word FROM words)) AND pg_collation_is_visible(c.oid)
		) x (ns, name) JOIN pg_namespace n ON n.oid = x.ns
		WHERE n.nspname <> 'pg_catalog'
		UNION ALL
		SELECT '', s.name || ' ' || s.setting FROM (VALUES `+settingsOf("transform_null_equals", "standard_conforming_strings", "array_nulls",
		"timezone", "datestyle", "intervalstyle", "default_text_search_config")+`) s (name, setting)
		WHERE CASE s.name
			WHEN 'transform_null_equals' THEN s.setting = 'on'
			WHEN 'standard_conforming_strings' THEN s.setting = 'off' AND strpos($2::text, chr(92)) > 0
			WHEN 'array_nulls' THEN s.setting = 'off' AND strpos($2::text, '{') > 0
			WHEN 'default_text_search_config' THEN $2::text ~* 'ts_?(vector|query|headline)'
			ELSE $2::text ~ '''[^'']*[0-9]' AND (s.name = 'timezone' AND s.setting NOT IN ('UTC', 'Etc/UTC', 'GMT')
				OR s.name = 'datestyle' AND s.setting NOT LIKE '%, MDY' OR s.name = 'intervalstyle' AND s.setting <> 'postgres') END`,
		string(list), text)
	if err != nil {
		return "", err
	}
	slices.Sort(found)
	return shorten(strings.Join(found, ", ")), nil
}

// settingsOf is SQL for the rows of some settings.
func settingsOf(names ...string) string {
	rows := make([]string, len(names))
	for i, n := range names {
		rows[i] = "('" + n + "', current_setting('" + n + "'))"
	}
	return strings.Join(rows, ", ")
}
