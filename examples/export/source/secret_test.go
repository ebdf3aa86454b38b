package source

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every password of these tests has the same secret in it, which is in nothing that is said.

func tells(text string) bool { return strings.Contains(strings.ToLower(text), "s3cr3t") }

// A URL that is a valid one only because a password is not escaped is refused before a
// connection, and told nothing of; so is all that could have a password where none belongs.
func TestAmbiguousNames(t *testing.T) {
	clean(t)
	t.Chdir(t.TempDir())
	for _, dsn := range []string{
		"postgres://u:/S3cr3t@127.0.0.1/d",
		"postgres://u:x@/S3cr3t@127.0.0.1/test",
		"postgres://localhost:5432/S3cr3t@h/d",
		"postgres://u:1234/S3cr3t@h/d",
		"postgres://u:1234/x?S3cr3t=y@h/d",
		"postgres://u:12?x=a/S3cr3t@h/d",
		"postgres://u:12?connect_timeout=a/S3cr3t@h/d",
		"postgres://u:p@S3cr3t@h/d",
		"postgres://u:p@S3cr3t:1@h/d",
		"postgres://u:p@h1,u:S3cr3t@h2/d",
		"postgres://u:S3cr3t:1/@h/d",
		"postgres://u:%zzS3cr3t@h/d",
		"postgres://u%3AS3cr3t@h/d",
		"postgres://h/d?user=u%3AS3cr3t",
		"postgres://h/d?host=u:S3cr3t@h",
		"postgres://h/d?password=a&S3cr3t",
		"postgres://h/d?password=a&S3cr3t=b",
		"postgres://h/d?pwd=S3cr3t",
		"postgres://h/d?sslmode=S3cr3t",
		"postgres://h/d?connect_timeout=S3cr3t",
		"postgres://h/d?target_session_attrs=S3cr3t",
		"postgres://h/d?channel_binding=S3cr3t",
		"postgres://h/d?require_auth=S3cr3t",
		"postgres://h/d?sslcertmode=S3cr3t",
		"postgres://h/d?min_protocol_version=S3cr3t",
		"postgres://h/d?default_query_exec_mode=S3cr3t",
		"postgres://h/d?statement_cache_capacity=S3cr3t",
		"Postgres://u:/S3cr3t@127.0.0.1/d",
		" postgresql://u:/S3cr3t@127.0.0.1/d",
		"host=h dbname=postgres://u:S3cr3t@h/d",
		"host=h dbname='host=h password=S3cr3t'",
		"host=h user=u:S3cr3t",
		"host=u:S3cr3t@h dbname=d",
		"host=h password=a S3cr3t dbname=d",
		"host=h password=a s3cr3t=1 dbname=d",
		"host=h password='a'S3cr3t dbname=d",
		"host=h password='a'x=S3cr3t dbname=d",
		"host=h password='S3cr3t",
		"host=h passwd=S3cr3t",
		"host=h port=S3cr3t",

		"mysql://u:/S3cr3t@h/d",
		"mysql://u:1234/S3cr3t@h/d",
		"mysql://app:x@/S3cr3t@127.0.0.1/shop",
		"mariadb://u:12?S3cr3t@h/d",
		"mysql://u:12?S3cr3t=a@h/d",
		"mysql://u:12?sql_mode=S3cr3t@h/d#",
		"mysql://u:12#S3cr3t@h/d",
		"mysql://u:12/x#S3cr3t@h/d",
		"mysql://u%3AS3cr3t@h/d",
		"mysql://h/postgres:%2F%2Fu:S3cr3t%40h",
		"MYSQL://u:/S3cr3t@h/d",
		"mysql://u:)/S3cr3t@h/d",
		"mysql://u:(x)/S3cr3t@h",
		"mysql://h/d?password=S3cr3t",
		"mysql://h/d?Password='S3cr3t'",
		"mysql://h/d?pwd=S3cr3t&user=u",
		"mysql://h/d?passwd=S3cr3t",
		"mysql://h/d?pass=S3cr3t",
		"mysql://h/d?user=u:S3cr3t",
		"mysql://h/d?api_token=S3cr3t",
		"mysql://h/d?x%20S3cr3t=1",
		"mysql://h/d?tls=S3cr3t",
		"mysql://h/d?timeout=S3cr3t",
		"mysql://h/d?parseTime=S3cr3t",
		"mysql://h/d?S3cr3t",
		"mysql://h/d?strict=S3cr3t",
		"u@tcp(h)/d?strict=S3cr3t",
		"u@tcp(h)/d?password=S3cr3t",
		"u:x@/S3cr3t@h",
		"u:x@/S3cr3t@h/d",
		"u:x@tcp(h)/S3cr3t@h",
		"u:S3cr3t(x)/d",
		"u:S3cr3t@h/d",
		"u:S3cr3t@tcp(h/d",
		"u:S3cr3t@nosuch(h)/d",

		"jdbc:postgresql://h/d?user=u&password=S3cr3t",
		"oracle://u:S3cr3t@h/d",
		"file:a.db?_pragma=key('a&S3cr3t')",
		"file:a.db?_pragma=key('a&S3cr3t=1')",
	} {
		target, err := parse(dsn)
		if err == nil {
			t.Errorf("%s is taken for %s", dsn, target.name)
		} else if tells(err.Error()) {
			t.Errorf("%s is told in %q", dsn, err)
		}
		if text := Redact(dsn); tells(text) {
			t.Errorf("%s is printed as %q", dsn, text)
		}
		name, err := Identity(dsn)
		if tells(name) || err != nil && tells(err.Error()) {
			t.Errorf("-source=%s is %q, %v", dsn, name, err)
		}
	}
}

// The same is held of what the environment and files have.
func TestAmbiguousNamesFromElsewhere(t *testing.T) {
	clean(t)
	t.Chdir(t.TempDir())
	if err := os.WriteFile("name.secret", []byte("postgres://u:12/S3cr3t@h/d\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused := func(what, dsn string) {
		t.Helper()
		if target, err := parse(dsn); err == nil || tells(err.Error()) {
			t.Errorf("%s: %+v, %v", what, target, err)
		}
	}
	refused("@FILE", "@name.secret")
	if name, err := Identity("@name.secret"); err == nil || tells(name+err.Error()) {
		t.Errorf("-source=@FILE: %s, %v", name, err)
	}
	for _, variable := range []string{"PGDATABASE=postgres://u:S3cr3t@h/d", "PGHOST=u:S3cr3t@h", "PGUSER=u:S3cr3t", "PGPORT=S3cr3t", "PGCHANNELBINDING=S3cr3t"} {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
		dsn, _, ok := FromEnvironment()
		if !ok {
			dsn = "postgres://"
		}
		refused(variable, dsn)
		os.Unsetenv(name)
	}
	t.Setenv("DATABASE_URL", "mysql://u:12/S3cr3t@h/d")
	dsn, _, _ := FromEnvironment()
	refused("DATABASE_URL", dsn)
}

// What has only one reading is taken, however odd the password is.
func TestOddPasswords(t *testing.T) {
	clean(t)
	t.Chdir(t.TempDir())
	for dsn, want := range map[string]string{
		"postgres://u:S3cr3t?x@h/d":                               "postgres://h:5432/d",
		"postgres://u:S3cr3t#x:y@h/d":                             "postgres://h:5432/d",
		"postgres://u:S3cr3t%2F%40@h/a%40b%2Fc":                   "postgres://h:5432/a%40b%2Fc",
		"postgres://u:S3cr3t@h/50%25":                             "postgres://h:5432/50%25",
		"postgres://u:S3cr3t@h/my%20db":                           "postgres://h:5432/my db",
		"postgres://h/d?user=u@tenant&password=S3cr3t@x":          "postgres://h:5432/d",
		"postgres://h/d?application_name=a@b":                     "postgres://h:5432/d",
		"postgres://u%40tenant:S3cr3t@h":                          "postgres://h:5432/u%40tenant",
		"postgres://a%3Ab:S3cr3t@h/d":                             "postgres://h:5432/d",
		"Postgres://u:S3cr3t@h/d":                                 "postgres://h:5432/d",
		"POSTGRESQL://u:S3cr3t@h/d":                               "postgres://h:5432/d",
		"client_encoding=utf8 host=h dbname=d password='S3cr3t '": "postgres://h:5432/d",
		"sslrootcert='' host=h dbname=d":                          "postgres://h:5432/d",
		"password=S3cr3t host=h dbname=d":                         "postgres://h:5432/d",
		"host=h dbname=d password=S3cr3t work_mem=1MB":            "postgres://h:5432/d",
		"host=h dbname=d password_encryption=md5":                 "postgres://h:5432/d",
		"mysql://u:S3cr3t@x@h/d":                                  "mysql://h:3306/d",
		"MariaDB://u:S3cr3t@h/a%40b":                              "mysql://h:3306/a%40b",
		"mysql://u:S3cr3t@h/d?loc=Europe/Berlin":                  "mysql://h:3306/d",
		"mysql://u:S3cr3t@h/d?sql_mode=CONCAT(@@sql_mode,'')":     "mysql://h:3306/d",
		"mysql://u@h/d?foreign_key_checks=0&old_passwords=0":      "mysql://h:3306/d",
		"u:S3@cr3t/x:y?@tcp(h)/d?max_statement_time=5":            "mysql://h:3306/d",
		"u:S3cr3t@tcp(x)/y@unix(/a.sock)/a%40b":                   "mysql://[/a.sock]/a%40b",
	} {
		target, err := parse(dsn)
		if err != nil || target.name != want {
			t.Errorf("%s: %+v, %v, want %s", dsn, target, err, want)
			continue
		}
		// An old name of a database, and what the program calls it, are one name for it.
		for _, name := range []string{dsn, want} {
			if got, err := Identity(name); err != nil || got != want {
				t.Errorf("-source=%s: %s, %v, want %s", name, got, err, want)
			}
		}
		if text := Redact(dsn); tells(text) || text == hidden {
			t.Errorf("%s is printed as %q", dsn, text)
		} else if target, err := parse(text); err != nil || target.name != want {
			t.Errorf("%s is printed as %s, which is %+v, %v", dsn, text, target, err)
		}
	}
}

// A name that is no data source name stays one, and does not depend on the files there are.
func TestIdentity(t *testing.T) {
	clean(t)
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.WriteFile("orders", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("old.secret", []byte("postgres://u:S3cr3t@H/d"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PGHOSTADDR", "10.0.0.1") // is in the way of a connection only
	for name, want := range map[string]string{
		"":                                   "",
		"orders":                             "orders",
		"customers":                          "customers",
		"Kunden: alle (neu)":                 "Kunden: alle (neu)",
		"orders@prod":                        "orders@prod",
		"shop.db":                            "shop.db",
		"postgres://[/run/pg]:5432/d":        "postgres://[/run/pg]:5432/d",
		"postgres://a:5432,b:5433/d":         "postgres://a:5432,b:5433/d",
		"postgres://h:5432/my db":            "postgres://h:5432/my db",
		"mysql://[/a.sock]/d":                "mysql://[/a.sock]/d",
		"mysql://u:S3cr3t@unix(/a.sock)/d":   "mysql://[/a.sock]/d",
		"mysql://localhost:3306/d":           "mysql://localhost:3306/d",
		"sqlite:/gone/shop.db":               "sqlite:/gone/shop.db",
		"sqlite:shop.db":                     "sqlite:" + filepath.Join(dir, "shop.db"),
		"file:shop.db?_pragma=key('S3cr3t')": "sqlite:" + filepath.Join(dir, "shop.db"),
		"/gone/shop.db":                      "sqlite:/gone/shop.db",
		"./orders":                           "sqlite:" + filepath.Join(dir, "orders"),
	} {
		for range 2 { // and again what has come of it
			got, err := Identity(name)
			if err != nil || got != want {
				t.Errorf("%s: %s, %v, want %s", name, got, err, want)
			}
			name = want
		}
	}
	os.Unsetenv("PGHOSTADDR")
	for name, want := range map[string]string{
		"postgres://u:S3cr3t@127.0.0.1/d?sslmode=disable": "postgres://localhost:5432/d",
		"@old.secret":                     "postgres://h:5432/d",
		"host=h dbname=d password=S3cr3t": "postgres://h:5432/d",
		"u:S3cr3t@tcp(h)/d":               "mysql://h:3306/d",
	} {
		if got, err := Identity(name); err != nil || got != want {
			t.Errorf("%s: %s, %v, want %s", name, got, err, want)
		}
	}
	for _, name := range []string{"u:S3cr3t@h/d", "oracle://u:S3cr3t@h", "x;Pwd=S3cr3t", "jdbc:mysql://h/d?password=S3cr3t", "mysql://u:S3cr3t@h/"} {
		if got, err := Identity(name); err == nil || tells(err.Error()) || strings.Contains(err.Error(), "-dsn") {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
}

// What the driver of libpq's own would heed is heeded, or refused.
func TestVariablesThatAreNotKnown(t *testing.T) {
	clean(t)
	for variable, refused := range map[string]bool{
		"PGHOSTADDR=127.0.0.1": true, "PGREQUIREPEER=postgres": true, "PGGSSENCMODE=require": true, "PGSSLCRL=/x": true,
		"PGGSSENCMODE=prefer": false, "PGCLIENTENCODING=LATIN1": false, "PGDATESTYLE=German": false, "PGSSLMINPROTOCOLVERSION=TLSv1.2": false,
	} {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
		for _, dsn := range []string{"postgres://u@h/d", "host=h dbname=d user=u"} {
			if _, err := parse(dsn); (err != nil) != refused || err != nil && !strings.Contains(err.Error(), name) {
				t.Errorf("%s: %s: %v", variable, dsn, err)
			}
		}
		if _, err := parse("mysql://u@h/d"); err != nil {
			t.Errorf("%s: MySQL: %v", variable, err)
		}
		os.Unsetenv(name)
	}
	if _, err := parse("hostaddr=127.0.0.1 dbname=d"); err == nil || !strings.Contains(err.Error(), "hostaddr") {
		t.Errorf("hostaddr: %v", err)
	}
	t.Setenv("PGHOSTADDR", "127.0.0.1")
	if dsn, from, ok := FromEnvironment(); !ok || dsn != "postgres://" || from != "PGHOSTADDR" {
		t.Errorf("from PGHOSTADDR: %s, %s, %v", dsn, from, ok)
	}
}

// The driver's own reason is told, and escaping is advised where that may be the reason.
func TestReasons(t *testing.T) {
	clean(t)
	const escape = "to be escaped"
	for dsn, says := range map[string]string{
		"postgres://u:S3cr3t@h/d?service=nosuch":                         "service",
		"postgres://u:S3cr3t@h/d?sslrootcert=/nonexistent":               "/nonexistent",
		"postgres://u:S3cr3t@h/d?sslmode=verify_full":                    "sslmode is invalid",
		"postgres://u:S3cr3t@h/d?connect_timeout=x":                      "invalid connect_timeout",
		"postgres://u:S3cr3t@a,b,c/d?port=1,2":                           "port",
		"host=h password=S3cr3t sslmode=verify_full":                     "sslmode is invalid",
		"host=h password=S3cr3t service=nosuch servicefile=/nonexistent": "/nonexistent",
	} {
		_, err := parse(dsn)
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), escape) || tells(err.Error()) {
			t.Errorf("%s: %v, want %q", dsn, err, says)
		}
	}
	for _, dsn := range []string{"postgres://u:S3cr3t%@h/d", "postgres://u:S3cr3t/@h/d", "postgres://u:S3cr3t:x/h"} {
		if _, err := parse(dsn); err == nil || !strings.Contains(err.Error(), escape) || tells(err.Error()) {
			t.Errorf("%s: %v, want %q", dsn, err, escape)
		}
	}
}

// The command to go on has what it needs, and nothing of what may be a secret.
func TestRedactForACommand(t *testing.T) {
	clean(t)
	t.Chdir(t.TempDir())
	for dsn, want := range map[string]string{
		"  postgres://u:S3cr3t@h/d ":                                "postgres://u:PASSWORD@h/d",
		"postgres://h/d?passfile=/path&channel_binding=prefer":      "postgres://h/d?passfile=/path&channel_binding=prefer",
		"host=h passfile=/path channel_binding=prefer dbname=d":     "host=h passfile=/path channel_binding=prefer dbname=d",
		"host=h options='-c x.secret=S3cr3t' dbname=d":              "host=h options=PASSWORD dbname=d",
		"host=h options='-c search_path=x --work-mem=4MB' dbname=d": "host=h options='-c search_path=x --work-mem=4MB' dbname=d",
		"postgres://h/d?options=-c%20search_path%3Dx":               "postgres://h/d?options=-c%20search_path%3Dx",
		"postgres://h/d?options=-cx.secret%3DS3cr3t":                "postgres://h/d?options=PASSWORD",
		"postgres://h/d?app.key=S3cr3t":                             "postgres://h/d?app.key=PASSWORD",
		"host=h password=it's-S3cr3t dbname=d":                      "host=h password=PASSWORD dbname=d",
		"postgres://u:S3cr3t@h/d?service=nosuch":                    "postgres://u:PASSWORD@h/d?service=nosuch",
		"postgres://u%3AS3cr3t@h/d?service=nosuch":                  hidden,
		"host=h service=nosuch password=a S3cr3t=1":                 hidden,
		"host=h TimeZone=UTC":                                       "host=h TimeZone=UTC",
		"file:a.db?mode=ro&_pragma=key('a#&S3cr3t')":                "file:a.db?mode=ro&_pragma=PASSWORD",
		"host=h service=s":                                          "host=h service=s",
		"Postgres://u:S3cr3t@h/d":                                   "postgres://u:PASSWORD@h/d",
		"u:S3cr3t@tcp(h)/d?sql_mode='ANSI'":                         "u:PASSWORD@tcp(h:3306)/d?sql_mode='ANSI'",
	} {
		if got := Redact(dsn); got != want {
			t.Errorf("%s: %s, want %s", dsn, got, want)
		}
	}
}

// The errors of a connection have no secret that a name, taken as it was meant, has.
func TestErrorsOfConnections(t *testing.T) {
	clean(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // none is made
	for _, dsn := range []string{
		"postgres://u:S3cr3t@127.0.0.1:1/d?sslpassword=S3cr3t", "host=127.0.0.1 port=1 password='S3cr3t x'", "mysql://u:S3cr3t@127.0.0.1:1/d", "u:S3cr3t/@x@tcp(127.0.0.1:1)/d",
		"postgres://u:" + url.QueryEscape("/?#@:%S3cr3t") + "@127.0.0.1:1/d",
	} {
		for _, ctx := range []context.Context{ctx, t.Context()} {
			if s, err := Open(ctx, dsn, false); err == nil || tells(err.Error()) {
				t.Errorf("%s: %+v, %v", dsn, s, err)
			}
		}
	}
}
