package source

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

var (
	errURL = errors.New("-dsn: not a valid URL of a PostgreSQL database; characters like / ? # % @ in a password are to be escaped (%2F …)")

	errWords = errors.New("-dsn: not a valid list of keywords and values of a PostgreSQL database; a value with blanks or quotes is to be quoted ('it\\'s')")

	errUser = errors.New("-dsn: the user or the database is a name with more in it than that: write user:password@host/database in a URL, without escaping the colon and the slashes, " +
		"and each by its own keyword in a list of keywords")
)

// postgresConfig is what the driver makes of a name, together with the PG* variables,
// ~/.pgpass and the service file. No error shows what may be a secret.
func postgresConfig(d dataSource) (*pgx.ConnConfig, error) {
	if d.form == postgresURL {
		if _, ok := d.split(); !ok {
			return nil, errAmbiguous
		}
	}
	if d.tornPassword() {
		return nil, errors.New("-dsn: what follows the password is no keyword, and may be the rest of it: quote a password with blanks, and in a URL write & in it as %26")
	}
	cfg, err := pgx.ParseConfig(d.String())
	switch {
	case err != nil:
		return nil, reasonOf(err, d)
	case holdsSecret("", cfg.Database) || holdsSecret(cfg.User, "") && !d.givesPassword():
		return nil, errUser
	case slices.ContainsFunc(hostsOf(cfg), func(host string) bool { return strings.LastIndexByte(host, '@') > 0 }):
		return nil, errors.New("-dsn: a host has an @ in its name: it may be a user, or the rest of a password, which is to be escaped in a URL (%2F for / …)")
	}
	for name := range cfg.RuntimeParams {
		switch {
		case name == "hostaddr":
			return nil, errors.New("-dsn: hostaddr is not known here: give the address as host")
		case isCredential(name) && !strings.Contains(name, "."):
			return nil, errors.New("-dsn: a parameter is none of a PostgreSQL database, and looks like a secret: the one for a password is called password")
		}
	}
	return cfg, nil
}

func hostsOf(cfg *pgx.ConnConfig) []string {
	hosts := []string{cfg.Host}
	for _, f := range cfg.Fallbacks {
		hosts = append(hosts, f.Host)
	}
	return hosts
}

// reasons are those of the driver that can be told: the first have no value in them, and
// the errors that the others wrap name files and services.
var reasons = []struct {
	text  string
	cause bool
}{
	{"invalid port", false},
	{"invalid connect_timeout", false},
	{"invalid sslcertmode", false},
	{"unknown target_session_attrs value", false},
	{"invalid min_protocol_version", false},
	{"invalid max_protocol_version", false},
	{"min_protocol_version cannot be greater than max_protocol_version", false},
	{"unknown channel_binding value", false},
	{"invalid require_auth", false},
	{"cannot parse statement_cache_capacity", false},
	{"cannot parse description_cache_capacity", false},
	{"invalid default_query_exec_mode", false},
	{"could not match", false},
	{"failed to read service", true},
	{"failed to configure TLS", true},
}

// reasonOf is why the driver does not take a name. Its message begins with the name, where
// a password may be left, so only what is known of the rest is told.
func reasonOf(err error, d dataSource) error {
	for _, r := range reasons {
		if !strings.Contains(err.Error(), "`: "+r.text) {
			continue
		}
		text := r.text
		switch cause := errors.Unwrap(err); {
		case r.cause && cause != nil:
			text += ": " + cause.Error()
		case r.text == "could not match":
			text = "there must be one port, or one for each host"
		case r.text == "invalid port" && d.form == postgresURL:
			text += "; in a URL, characters like / ? # % @ : in a password are to be escaped (%2F …)"
		}
		return &reason{"-dsn: " + text + "; a PG* variable or the service file may say so, too", r.text == "failed to read service" || errors.As(err, new(*fs.PathError))}
	}
	if d.form == postgresURL {
		return errURL
	}
	return errWords
}

// A reason does not wrap the driver's: what is said of a folder for the output that is not
// there is not meant.
type reason struct {
	text    string
	missing bool // the name is a good one, and something that it names is not
}

func (r *reason) Error() string { return r.text }

func isMissing(err error) bool {
	r := (*reason)(nil)
	return errors.As(err, &r) && r.missing
}

// words are the parameters of a name, in their order.
func (d dataSource) words() (names []string) {
	if d.form == postgresWords {
		for _, m := range keywordValue.FindAllStringSubmatch(d.rest, -1) {
			names = append(names, m[1])
		}
		return names
	}
	u, _ := d.split()
	for p := range strings.SplitSeq(u.query, "&") {
		names = append(names, nameOf(p))
	}
	return names
}

// tornPassword reports whether what follows a password looks like the rest of it. The
// server would say that it does not know it.
func (d dataSource) tornPassword() bool {
	names := d.words()
	for i := range names {
		if i > 0 && isTail(names[i-1], names[i]) {
			return true
		}
	}
	return false
}

// givesPassword reports whether a password comes from where the user comes from.
func (d dataSource) givesPassword() bool {
	names := d.words()
	u := serverURL{}
	if d.form == postgresURL {
		u, _ = d.split()
	}
	return u.hasPassword || slices.Contains(names, "password") || u.user == "" && !slices.Contains(names, "user") && os.Getenv("PGPASSWORD") != ""
}

// unheeded are variables of libpq that the driver does not know, and without which another
// server would be read, or one that was to be refused.
var unheeded = []struct {
	variable string
	values   []string // that matter; none means all
	instead  string
}{
	{"PGHOSTADDR", nil, "give the address as the host, in -dsn or PGHOST"},
	{"PGREQUIREPEER", nil, "nothing here checks which user a server runs as"},
	{"PGGSSENCMODE", []string{"require"}, "there is encryption by TLS (sslmode) only"},
	{"PGREQUIRESSL", []string{"1"}, "set PGSSLMODE=require"},
	{"PGSSLCRL", nil, "nothing here looks for revoked certificates"},
	{"PGSSLCRLDIR", nil, "nothing here looks for revoked certificates"},
	{"PGSSLMINPROTOCOLVERSION", []string{"TLSv1.3"}, "the least here is TLSv1.2"},
}

func checkVariables() error {
	for _, u := range unheeded {
		if value := os.Getenv(u.variable); value != "" && (len(u.values) == 0 || slices.Contains(u.values, value)) {
			return fmt.Errorf("%s is set, and cannot be heeded here: %s, and unset it", u.variable, u.instead)
		}
	}
	return nil
}
