package source

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// hidden stands for a data source name that cannot be made fit to be printed.
const hidden = "DSN"

// Redact makes a data source name fit to be printed: it is as it was given, but for the
// word PASSWORD where a secret may have been. A name from a file stays @FILE. One that is
// not understood is hidden: who knows where its secrets are.
func Redact(dsn string) string {
	dsn = strings.TrimSpace(dsn)
	if strings.HasPrefix(dsn, "@") {
		return dsn
	}
	ok, text := false, ""
	switch d := formOf(dsn); d.form {
	case sqlitePath, sqliteName:
		return dsn
	case sqliteURI:
		if _, _, err := takeURI(d.String()); err == nil {
			return redactQuery(d.String())
		}
	case postgresURL, postgresWords:
		if _, err := postgresConfig(d); err != nil && !isMissing(err) {
			break
		}
		if d.form == postgresURL {
			text, ok = redactURL(d)
		} else {
			text, ok = redactWords(d.rest)
		}
	case mysqlURL, mysqlDriver:
		if _, err := mysqlConfig(d); err != nil {
			break
		}
		if d.form == mysqlURL {
			text, ok = redactURL(d)
		} else {
			text, ok = redactDriver(d)
		}
	}
	if !ok {
		return hidden
	}
	return text
}

func redactURL(d dataSource) (string, bool) {
	u, ok := d.split()
	user, err := url.PathUnescape(u.user)
	where, errWhere := url.PathUnescape(u.where)
	if !ok || err != nil || errWhere != nil || holdsSecret("", where) || !u.hasPassword && holdsSecret(user, "") {
		return "", false
	}
	text := d.scheme + u.user
	if u.hasPassword {
		text += ":PASSWORD"
	}
	if u.hasUser {
		text += "@"
	}
	text += u.where
	if u.query != "" {
		text += "?" + redactParams(u.query)
	}
	return text, true
}

// redactQuery hides parameters behind a ?. What follows a # is left out, as it is not read,
// and may be the rest of a key.
func redactQuery(dsn string) string {
	dsn, _, _ = strings.Cut(dsn, "#")
	before, query, has := strings.Cut(dsn, "?")
	if has {
		before += "?" + redactParams(query)
	}
	return before
}

func redactParams(query string) string {
	params := strings.Split(query, "&")
	for i, p := range params {
		name, value, has := strings.Cut(p, "=")
		switch plain, err := url.QueryUnescape(value); {
		case !has && p != "":
			params[i] = "PASSWORD"
		case has && (err != nil || !isShown(name, plain)):
			params[i] = url.QueryEscape(name) + "=PASSWORD"
		}
	}
	return strings.Join(params, "&")
}

// isTail reports whether a name may be the rest of the secret before it, in which a
// character was not escaped.
func isTail(before, name string) bool {
	return slices.Contains(secretWords, before) && !slices.Contains(secretWords, name) && !slices.Contains(shown, name)
}

// nameOf is the name of a parameter in a URL, as PostgreSQL's driver reads it.
func nameOf(param string) string {
	name, _, _ := strings.Cut(param, "=")
	if plain, err := url.PathUnescape(name); err == nil {
		return plain
	}
	return name
}

// keywordValue matches a keyword and its value, as the driver takes a list of them apart.
var keywordValue = regexp.MustCompile(`\s*([A-Za-z0-9_.]+)\s*=\s*('(?:[^'\\]|\\.)*'|(?:[^\s'\\]|\\.)(?:[^\s\\]|\\.)*|)`)

func redactWords(dsn string) (string, bool) {
	if strings.TrimSpace(keywordValue.ReplaceAllString(dsn, "")) != "" {
		return "", false
	}
	var words []string
	for _, m := range keywordValue.FindAllStringSubmatch(dsn, -1) {
		name, value := m[1], m[2]
		if !isShown(name, strings.Trim(value, "'")) {
			value = "PASSWORD"
		}
		words = append(words, name+"="+value)
	}
	return strings.Join(words, " "), true
}

func redactDriver(d dataSource) (string, bool) {
	cfg, query, err := driversConfig(d.rest)
	if err != nil {
		return "", false
	}
	text := d.scheme + cfg.User
	if cfg.Passwd != "" {
		text += ":PASSWORD"
	}
	if cfg.User+cfg.Passwd != "" {
		text += "@"
	}
	text += cfg.Net + "(" + cfg.Addr + ")/" + nameInURL(cfg.DBName)
	if query != "" {
		text += "?" + redactParams(query)
	}
	return text, true
}
