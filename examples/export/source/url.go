package source

import (
	"errors"
	"regexp"
	"slices"
	"strings"
)

// errAmbiguous is for a URL that is a valid one, and may be so by mistake.
var errAmbiguous = errors.New("-dsn: a URL with an @ behind its host can be read in two ways, so it is not used: characters in a password are to be escaped, " +
	"/ as %2F, ? as %3F, # as %23, @ as %40, % as %25, and so is an @ in the name of a database or in a parameter")

// A serverURL is a URL of a server in its parts, none of which is decoded.
type serverURL struct {
	user, password, where, query string
	hasUser, hasPassword         bool
}

// mayHaveAt are the parameters in whose values an @ is nothing odd.
var mayHaveAt = []string{
	"user", "password", "sslpassword", "application_name", "fallback_application_name", "options", "krbspn", "krbsrvname", "search_path",
	"passfile", "servicefile", "sslcert", "sslkey", "sslrootcert", "sql_mode", "time_zone", "connectionAttributes",
}

// split takes a URL apart where its driver does, and tells whether it is the only way. A
// password in which / or the like is not escaped makes another URL of it, often a valid one:
// in postgres://u:12/x@host/db the host is u, its port 12, and the database x@host/db. But
// what was meant to be the end of the password is an @ behind the host then.
func (d dataSource) split() (u serverURL, ok bool) {
	user, rest := "", d.rest
	if d.form == postgresURL { // libpq looks for the first @ or /, whatever is in between
		if i := strings.IndexAny(rest, "@/"); i >= 0 && rest[i] == '@' {
			user, rest, u.hasUser = rest[:i], rest[i+1:], true
		}
	} else { // net/url, for the last @ of the authority
		end := len(rest)
		if i := strings.IndexAny(rest, "/?#"); i >= 0 {
			end = i
		}
		if i := strings.LastIndexByte(rest[:end], '@'); i >= 0 {
			user, rest, u.hasUser = rest[:i], rest[i+1:], true
		}
	}
	u.user, u.password, u.hasPassword = strings.Cut(user, ":")
	u.where, u.query, _ = strings.Cut(rest, "?")
	if strings.Contains(u.where, "@") || d.form == mysqlURL && strings.Contains(u.query, "#") {
		return u, false
	}
	for p := range strings.SplitSeq(u.query, "&") {
		name, value, _ := strings.Cut(p, "=")
		if strings.Contains(name, "@") || strings.Contains(value, "@") && !slices.Contains(mayHaveAt, name) {
			return u, false
		}
	}
	return u, true
}

// nameInURL writes the name of a database for a URL: only what makes it another one there
// is escaped.
func nameInURL(database string) string {
	return strings.NewReplacer("%", "%25", "/", "%2F", "?", "%3F", "#", "%23", "@", "%40").Replace(database)
}

// holdsSecret reports whether what stands for a user or a database is a name of more than
// that, and so may have a password in it: u%3Apassword@host, dbname=postgres://….
func holdsSecret(user, database string) bool {
	return strings.Contains(user, ":") || strings.Contains(database, "://") || passwordWord.MatchString(database)
}

var passwordWord = regexp.MustCompile(`(?i)(passw|pwd|secret|token)[a-z]*\s*=`)
