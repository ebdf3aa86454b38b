package source

import (
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
)

// hidden stands for a data source name that cannot be made fit to be printed.
const hidden = "DSN"

// shown are the parameters of a data source name that hold no secret. All others are
// hidden: who lists the secret ones forgets one.
var shown = []string{
	"host", "hostaddr", "port", "dbname", "database", "user", "service", "sslmode", "sslrootcert", "sslcert", "sslkey", "target_session_attrs", "application_name",
	"connect_timeout", "search_path", "options", "default_query_exec_mode", "timezone", "statement_timeout", "lock_timeout",
	"tls", "timeout", "readTimeout", "writeTimeout", "charset", "collation", "parseTime", "loc", "time_zone", "allowCleartextPasswords", "maxAllowedPacket",
	"mode", "cache", "immutable", "vfs", "nolock", "psow",
}

// Redact makes a data source name fit to be printed: it is as it was given, but for the
// word PASSWORD where a secret may have been. A name from a file stays @FILE.
func Redact(dsn string) string {
	if strings.HasPrefix(dsn, "@") || isFile(dsn) {
		return dsn
	}
	scheme, rest, _ := strings.Cut(dsn, ":")
	switch {
	case scheme == "sqlite" || scheme == "sqlite3":
		return dsn
	case scheme == "file":
		return redactQuery(dsn)
	case strings.HasPrefix(rest, "//") && !strings.Contains(rest, ")/"):
		return redactURL(dsn)
	case keyword.MatchString(dsn):
		return redactKeywords(dsn)
	case scheme == "mysql" || scheme == "mariadb":
		return scheme + "://" + redactMySQL(strings.TrimPrefix(rest, "//"))
	case isDriversMySQL(dsn):
		return redactMySQL(dsn)
	case looksLikePath(dsn):
		return dsn
	}
	return hidden
}

// redactURL trusts a URL only where the parser and the driver agree that it is one: an
// unescaped / or ? in a password makes another one of it.
func redactURL(dsn string) string {
	u, err := url.Parse(dsn)
	if err != nil || u.Opaque != "" || u.Fragment != "" || strings.Contains(u.Path, "@") || strings.Contains(u.RawQuery, "@") {
		return hidden
	}
	user := ""
	if u.User != nil {
		user = url.User(u.User.Username()).String()
		if _, has := u.User.Password(); has {
			user += ":PASSWORD"
		}
		user += "@"
	}
	query := redactParams(u.RawQuery)
	if query != "" {
		query = "?" + query
	}
	return u.Scheme + "://" + user + u.Host + u.EscapedPath() + query
}

// redactQuery hides parameters behind a ?.
func redactQuery(dsn string) string {
	before, query, has := strings.Cut(dsn, "?")
	if !has {
		return dsn
	}
	return before + "?" + redactParams(query)
}

func redactParams(query string) string {
	if query == "" {
		return ""
	}
	params := strings.Split(query, "&")
	for i, p := range params {
		name, _, _ := strings.Cut(p, "=")
		if !slices.Contains(shown, name) {
			params[i] = url.QueryEscape(name) + "=PASSWORD"
		}
	}
	return strings.Join(params, "&")
}

var keywordValue = regexp.MustCompile(`\s*([a-z_]+)\s*=\s*('(?:[^'\\]|\\.)*'|(?:[^\s'\\]|\\.)*)`)

func redactKeywords(dsn string) string {
	if _, err := pgx.ParseConfig(dsn); err != nil || strings.TrimSpace(keywordValue.ReplaceAllString(dsn, "")) != "" {
		return hidden
	}
	var words []string
	for _, m := range keywordValue.FindAllStringSubmatch(dsn, -1) {
		value := m[2]
		if !slices.Contains(shown, m[1]) {
			value = "PASSWORD"
		}
		words = append(words, m[1]+"="+value)
	}
	return strings.Join(words, " ")
}

func redactMySQL(dsn string) string {
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		return hidden
	}
	// The driver looks for the last slash, so the parameters begin behind it.
	_, query, has := strings.Cut(dsn[strings.LastIndex(dsn, "/"):], "?")
	text := cfg.User
	if cfg.Passwd != "" {
		text += ":PASSWORD"
	}
	if text != "" {
		text += "@"
	}
	text += cfg.Net + "(" + cfg.Addr + ")/" + cfg.DBName
	if has {
		text += "?" + redactParams(query)
	}
	return text
}
