package source

import "os"

// pgVariables are the variables by which people name a PostgreSQL server for all programs.
var pgVariables = []string{"PGHOST", "PGHOSTADDR", "PGSERVICE", "PGDATABASE"}

// FromEnvironment returns the data source name that the environment gives, and the
// variable that it is from: DATABASE_URL, or those of libpq, which the driver reads by
// itself with ~/.pgpass. ok is false where there is none.
func FromEnvironment() (dsn, variable string, ok bool) {
	if dsn := os.Getenv("DATABASE_URL"); dsn != "" {
		return dsn, "DATABASE_URL", true
	}
	for _, variable := range pgVariables {
		if os.Getenv(variable) != "" {
			return "postgres://", variable, true
		}
	}
	return "", "", false
}
