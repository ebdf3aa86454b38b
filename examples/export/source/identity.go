package source

import (
	"errors"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
)

var (
	errSource = errors.New("-source looks like a data source name with a password in it, and is none that is understood: give the name that an export is known by, as -status shows it")

	// ownName matches what a server is called here, which not every driver could parse: a
	// socket in brackets is no URL.
	ownName = regexp.MustCompile(`^(postgres|mysql)://(\[@?[^]@]+\]|[^][/?#@:]+)(:[0-9]+)?(,(\[@?[^]@]+\]|[^][/?#@:]+)(:[0-9]+)?)*/([^/?#@]+)$`)

	// secretLike matches what has a place for a password, in whatever form.
	secretLike = regexp.MustCompile(`(?is)://.*@|:.*(@|\)/)|(passw|pwd|secret|token)[a-z]*\s*=`)
)

// Identity reduces a data source name to what its database is known by, as [Source.Name] has
// it: the same with every user and password, and with none of them in it. Where it is a file
// that file need not be there any more. Any other text is a name that a user has given to a
// database, and stays as it is. The errors are about the flag -source.
func Identity(name string) (string, error) {
	dsn, err := resolve(name)
	if err != nil {
		return "", asSource(err)
	}
	d := formOf(dsn)
	switch {
	case isOwnName(dsn) && strings.Contains(dsn, "["):
		return dsn, nil
	case d.form == sqliteName:
		return fileName(d.path())
	case d.form == sqliteURI:
		path, _, err := takeURI(d.String())
		if err != nil {
			return "", asSource(err)
		}
		return fileName(path)
	case d.form == noForm && secretLike.MatchString(dsn):
		return "", errSource
	case d.form != noForm && d.form != sqlitePath:
		return serverName(dsn)
	case namesFolder(dsn):
		return fileName(dsn)
	}
	return name, nil // which does not depend on the files there are
}

func serverName(dsn string) (string, error) {
	t, err := parse(dsn)
	switch {
	case err == nil:
		return t.name, nil
	case isOwnName(dsn): // a variable of the environment is in the way
		return dsn, nil
	}
	return "", asSource(err)
}

func isOwnName(name string) bool {
	parts := ownName.FindStringSubmatch(name)
	if parts == nil {
		return false
	}
	database, err := url.PathUnescape(parts[len(parts)-1])
	return err == nil && !holdsSecret("", database)
}

func fileName(path string) (string, error) {
	path, err := filepath.Abs(path)
	return "sqlite:" + path, err
}

// namesFolder reports whether a path says where it begins.
func namesFolder(path string) bool {
	return filepath.IsAbs(path) || strings.HasPrefix(path, "./") || strings.HasPrefix(path, "../")
}

func asSource(err error) error {
	return errors.New(strings.ReplaceAll(err.Error(), "-dsn", "-source"))
}
