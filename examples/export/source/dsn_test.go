package source

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
)

// clean takes what the environment says of databases away from a test.
func clean(t *testing.T) {
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "PG") || name == "DATABASE_URL" {
			t.Setenv(name, "")
			os.Unsetenv(name)
		}
	}
	t.Setenv("HOME", t.TempDir())
}

// One database has one name, however it is reached; another one has another.
func TestNames(t *testing.T) {
	clean(t)
	dir := t.TempDir()
	t.Chdir(dir)
	for _, name := range []string{"shop.db", "x y#?%.sqlite", "a=b@c"} {
		if err := os.WriteFile(name, nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write := func(name, text string) {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("dsn", "postgres://u:S3cret@h/d\n")
	shop := "sqlite:" + filepath.Join(dir, "shop.db")
	odd := "sqlite:" + filepath.Join(dir, "x y#?%.sqlite")
	for dsn, want := range map[string]string{
		"shop.db":                             shop,
		"./shop.db":                           shop,
		filepath.Join(dir, "shop.db"):         shop,
		"sqlite:shop.db":                      shop,
		"sqlite://shop.db":                    shop,
		"sqlite3:shop.db":                     shop,
		"sqlite://" + dir + "/shop.db":        shop,
		"file:shop.db?mode=ro":                shop,
		"file:shop.db?mode=ro&immutable=1":    shop,
		"file://" + dir + "/shop.db#x":        shop,
		"file://localhost" + dir + "/shop.db": shop,
		"x y#?%.sqlite":                       odd,
		"sqlite:x y#?%.sqlite":                odd,
		"file:x%20y%23%3f%25.sqlite":          odd,
		"a=b@c":                               "sqlite:" + filepath.Join(dir, "a=b@c"),

		"postgres://u:S3cret@h/d":                                  "postgres://h:5432/d",
		"postgresql://v@H:5432/d?sslmode=disable":                  "postgres://h:5432/d",
		"postgres://h/d?user=u&password=S3cret&sslpassword=S3cret": "postgres://h:5432/d",
		"postgres://h/d?default_query_exec_mode=exec":              "postgres://h:5432/d",
		"host=h dbname=d user=u password='S3 cret'":                "postgres://h:5432/d",
		"dbname = d host = h":                                      "postgres://h:5432/d",
		"@dsn":                                                     "postgres://h:5432/d",
		"postgres://u@localhost/d":                                 "postgres://localhost:5432/d",
		"postgres://u@127.0.0.1:5432/d":                            "postgres://localhost:5432/d",
		"postgres://u@[::1]/d":                                     "postgres://localhost:5432/d",
		"postgres://u@a,b:5433/d":                                  "postgres://a:5432,b:5433/d",
		"postgres://u@/d?host=/run/pg":                             "postgres://[/run/pg]:5432/d",
		"postgres://u@h":                                           "postgres://h:5432/u",

		"mysql://u:S3%2Fcret@h/d":             "mysql://h:3306/d",
		"mariadb://v@h:3306/d?charset=latin1": "mysql://h:3306/d",
		"u:S3/c?ret@tcp(h)/d":                 "mysql://h:3306/d",
		"u:S3cret@tcp(h:3306)/d?timeout=5s":   "mysql://h:3306/d",
		"mysql://u:S3/cr?et@tcp(h:3306)/d":    "mysql://h:3306/d",
		"mysql://u@[::1]:33/d":                "mysql://localhost:33/d",
		"u:S3cret@/d":                         "mysql://localhost:3306/d",
		"mysql://u:S3cret@unix(/a.sock)/d":    "mysql://[/a.sock]/d",
	} {
		target, err := parse(dsn)
		if err != nil || target.name != want {
			t.Errorf("%s: %+v, %v, want %s", dsn, target, err, want)
		}
	}
}

// What is no name of a database is refused, and never shown: it may have a password.
func TestBadNames(t *testing.T) {
	clean(t)
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.WriteFile("two", []byte("postgres://u:S3cret@h/d\nanother"), 0o600); err != nil {
		t.Fatal(err)
	}
	for dsn, says := range map[string]string{
		"":                                  "must be",
		"oracle://u:S3cret@h/d":             "must be",
		"no.db":                             "there is no file",
		"sqlite:no.db":                      "there is no file",
		"file:no.db":                        "there is no file",
		"file://host/no.db":                 "names a host",
		"file:no.db?key=S3cret":             `no parameter "key"`,
		"@none":                             "no such file",
		"@two":                              "one line",
		"u:S3cret@h/d":                      "must be",
		"postgres://u:S3/cret@h/d":          "two ways",
		"postgres://u:S3%cret@h/d":          "escaped",
		"host=h port=S3cret":                "invalid port",
		"mysql://u:S3cret@h/":               "names no database",
		"mysql://u:S3/cret@h/d":             "two ways",
		"mysql://u:S3cret@tcp(h:1)/d?tls=x": "parameter tls",
		"mysql://%zz:S3cret@h/d":            "must be mysql://",
	} {
		_, err := parse(dsn)
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "S3") {
			t.Errorf("%s: %v, want %q and no secret", dsn, err, says)
		}
	}
}

func TestFromEnvironment(t *testing.T) {
	clean(t)
	if dsn, _, ok := FromEnvironment(); ok {
		t.Errorf("nothing is set, and it says %s", dsn)
	}
	t.Setenv("PGHOST", "h")
	t.Setenv("PGDATABASE", "d")
	t.Setenv("PGPORT", "77")
	dsn, _, ok := FromEnvironment()
	if target, err := parse(dsn); !ok || err != nil || target.name != "postgres://h:77/d" {
		t.Errorf("from PGHOST: %s, %+v, %v", dsn, target, err)
	}
	t.Setenv("DATABASE_URL", "mysql://u@h/d")
	if dsn, from, ok := FromEnvironment(); !ok || dsn != "mysql://u@h/d" || from != "DATABASE_URL" {
		t.Errorf("from DATABASE_URL: %s", dsn)
	}
}

func TestPathsOfURIs(t *testing.T) {
	for _, test := range []struct {
		path    string
		windows bool
		want    string
	}{
		{"/C:/x/shop.db", true, "C:/x/shop.db"},
		{"/C:/x/shop.db", false, "/C:/x/shop.db"},
		{"/x/shop.db", true, "/x/shop.db"},
		{"shop.db", true, "shop.db"},
	} {
		if got := pathOfURI(test.path, test.windows); got != test.want {
			t.Errorf("%s: %s, want %s", test.path, got, test.want)
		}
	}
}

// What is printed has no secret, and is as it was given otherwise.
func TestRedact(t *testing.T) {
	clean(t)
	t.Chdir(t.TempDir())
	for dsn, want := range map[string]string{
		"shop.db":                               "shop.db",
		"sqlite:a:b@c":                          "sqlite:a:b@c",
		"file:a.db?mode=ro&_pragma=key(S3)":     "file:a.db?mode=ro&_pragma=PASSWORD",
		"@/run/secrets/dsn":                     "@/run/secrets/dsn",
		"postgres://u:S3@h:1/d?sslmode=disable": "postgres://u:PASSWORD@h:1/d?sslmode=disable",
		"postgres://u@h/d":                      "postgres://u@h/d",
		"postgres://h/d?user=u&password=S3&sslpassword=S3&pass%77ord=S3": "postgres://h/d?user=u&password=PASSWORD&sslpassword=PASSWORD&pass%2577ord=PASSWORD",
		"postgres://u:S3/w@h/d":                 hidden,
		"postgres://u:S3?w@h/d":                 "postgres://u:PASSWORD@h/d",
		"postgres://u:S3#w@h/d":                 "postgres://u:PASSWORD@h/d",
		"host=h password='S3 x' dbname=d":       "host=h password=PASSWORD dbname=d",
		"host=h password=S3\\ x dbname=d":       "host=h password=PASSWORD dbname=d",
		"host=h 'S3":                            hidden,
		"mysql://u:S3@unix(/a.sock)/d":          "mysql://u:PASSWORD@unix(/a.sock)/d",
		"u:S3/?x@tcp(h:3306)/d?timeout=5s&x=S3": "u:PASSWORD@tcp(h:3306)/d?timeout=5s&x=PASSWORD",
		"mysql://u:S3@h/d?tls=skip-verify":      "mysql://u:PASSWORD@h/d?tls=skip-verify",
		"oracle://u:S3@h":                       hidden,
		"u:S3@h/d":                              hidden,
		"password S3":                           "password S3",
	} {
		if got := Redact(dsn); got != want {
			t.Errorf("%s: %s, want %s", dsn, got, want)
		}
	}
}

// FuzzRedact hides a password wherever a user puts it.
func FuzzRedact(f *testing.F) {
	f.Add("x/y?z")
	f.Add("a b'c\\")
	f.Add("@)/")
	f.Add("%2F#&password=")
	f.Fuzz(func(t *testing.T, junk string) {
		secret := "S3" + junk + "cret"
		for _, dsn := range []string{
			"postgres://u:" + secret + "@h/d", "postgres://h/d?password=" + secret, "host=h password=" + secret + " dbname=d",
			"host=h password='" + secret + "'", "mysql://u:" + secret + "@h/d", "u:" + secret + "@tcp(h:1)/d", "mariadb://u:" + secret + "@unix(/s)/d",
		} {
			if got := Redact(dsn); strings.Contains(got, "S3") || strings.Contains(got, "cret") {
				t.Errorf("%q is printed as %q", dsn, got)
			}
			if _, err := parse(dsn); err != nil && (strings.Contains(err.Error(), "S3") || strings.Contains(err.Error(), "cret")) {
				t.Errorf("%q is told in %q", dsn, err)
			}
		}
	})
}

// MySQL has values put into statements where that is safe only, in UTF-8 and UTC.
func TestMySQLSession(t *testing.T) {
	for dsn, want := range map[string]bool{
		"u@tcp(h)/d":                                 true,
		"u@tcp(h)/d?charset=gbk":                     true, // the program reads UTF-8 whatever is given
		"u@tcp(h)/d?collation=gbk_chinese_ci":        true,
		"u@tcp(h)/d?character_set_client=gbk":        false,
		"u@unix(/run/s)/d?parseTime=true":            true,
		"u@tcp(h)/d?sql_mode=%27ANSI_QUOTES%27":      true,
		"u@tcp(h)/d?character_set_results=%27gbk%27": true,
	} {
		cfg := mustMySQL(t, dsn)
		if err := pinMySQL(cfg); err != nil || cfg.InterpolateParams != want {
			t.Errorf("%s: interpolates %v, %v", dsn, cfg.InterpolateParams, err)
		}
		text := cfg.FormatDSN()
		for _, has := range []string{"time_zone", "charset=utf8mb4", "PAD_CHAR_TO_FULL_LENGTH", "sql_select_limit"} {
			if !strings.Contains(text, has) {
				t.Errorf("%s: %s is not in %s", dsn, has, text)
			}
		}
		if strings.Contains(text, "character_set_results") {
			t.Errorf("%s: %s", dsn, text)
		}
	}
}

func mustMySQL(t *testing.T, dsn string) *mysql.Config {
	t.Helper()
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}
